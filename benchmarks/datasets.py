"""Time and memory of listing, splitting and checking a dataset of many tiles.

    python benchmarks/datasets.py [--tiles 100000] [--nuclei 100]

The tables are made at random, without pictures: 1,000 patients, two classes. Each step runs in a
process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wsi_suite.datasets.card import DatasetCard
from wsi_suite.datasets.commits import create_dataset
from wsi_suite.datasets.splitting import balance, class_counts, find_leaks, split_dataset
from wsi_suite.datasets.store import Version, digest_of, open_dataset, read_image_rows
from wsi_suite.datasets.tables import IMAGE_COLUMNS, NUCLEUS_COLUMNS
from wsi_suite.documents import write_document

PATIENTS, CHUNK = 1_000, 1_000


def make_dataset(folder: Path, *, tiles: int, nuclei: int) -> None:
    """Write a dataset of one version: `tiles` rows of pictures with `nuclei` rows each."""
    create_dataset(folder, DatasetCard(name="many", classes=("Stroma", "Epithelium")))
    place = folder / "versions" / "0001"
    place.mkdir()
    rng = np.random.default_rng(0)
    names = [f"{number:07}.png" for number in range(tiles)]
    patient = [f"P{number:04}" for number in rng.integers(0, PATIENTS, tiles)]
    columns = {
        "name": names,
        "sha256": [f"{number:064x}" for number in range(tiles)],
        "dhash": rng.integers(0, 2**63, tiles).astype(np.uint64),
        "width_px": np.full(tiles, 200),
        "height_px": np.full(tiles, 200),
        "mpp_x": np.full(tiles, 0.5),
        "mpp_y": np.full(tiles, 0.5),
        "patient": patient,
        "stain": rng.choice(["ER", "PR"], tiles),
        "nuclei": np.full(tiles, nuclei),
    }
    empty = {field.name: [None] * tiles for field in IMAGE_COLUMNS}
    table = pa.Table.from_pydict({**empty, **columns}, schema=IMAGE_COLUMNS)
    pq.write_table(table, place / "images.parquet", compression="zstd")
    with pq.ParquetWriter(place / "nuclei.parquet", NUCLEUS_COLUMNS, compression="zstd") as writer:
        for start in range(0, tiles, CHUNK):
            count = min(CHUNK, tiles - start) * nuclei
            some = {
                "image": np.repeat(names[start : start + CHUNK], nuclei),
                "x": rng.uniform(0, 200, count),
                "y": rng.uniform(0, 200, count),
                "class": rng.choice(["Stroma", "Epithelium"], count, p=[0.75, 0.25]),
            }
            blank = {field.name: [None] * count for field in NUCLEUS_COLUMNS}
            writer.write_table(pa.Table.from_pydict({**blank, **some}, schema=NUCLEUS_COLUMNS))
    version = Version(
        number=1, digest=digest_of(place), parent=None, created="", message="", images=tiles,
        nuclei=tiles * nuclei, classes={},
    )  # fmt: skip
    write_document(place / "version.json", version)


def list_tiles(folder: Path) -> None:
    """List the pictures with their nuclei by class."""
    opened = open_dataset(folder)
    assert len(class_counts(opened)) == len(read_image_rows(opened))


def split(folder: Path) -> None:
    """Split the pictures by patient."""
    split_dataset(open_dataset(folder), shares={"train": 80, "val": 10, "test": 10})


def check(folder: Path) -> None:
    """Look for leaks, and sum up the parts."""
    opened = open_dataset(folder)
    assert not find_leaks(read_image_rows(opened))
    balance(opened)


def measure(step: Callable[[Path], None], folder: Path, results: multiprocessing.Queue) -> None:
    """Put the seconds, CPU-seconds and peak MiB of a step into a queue."""
    begun = time.perf_counter()
    step(folder)
    used = resource.getrusage(resource.RUSAGE_SELF)
    results.put((time.perf_counter() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=100_000)
    parser.add_argument("--nuclei", type=int, default=100, help="in each tile")
    asked = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "many"
        make_dataset(folder, tiles=asked.tiles, nuclei=asked.nuclei)
        print(f"{asked.tiles:,} tiles, {asked.tiles * asked.nuclei:,} nuclei")  # noqa: T201
        print(f"{'step':12}{'s':>8}{'CPU s':>8}{'MiB':>8}")  # noqa: T201
        for step in (list_tiles, split, check):
            results = spawn.Queue()
            process = spawn.Process(target=measure, args=(step, folder, results))
            process.start()
            wall, cpu, peak = results.get()
            process.join()
            print(f"{step.__name__:12}{wall:8.1f}{cpu:8.1f}{peak:8.0f}")  # noqa: T201


if __name__ == "__main__":
    main()
