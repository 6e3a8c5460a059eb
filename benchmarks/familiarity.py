"""How well slides that a model has not seen are told from those that are like its training tiles.

For each kind of picture: AUROC of its fields against fields of held-out runs, under each aspect,
and the share of fields that are farther than the limits. Then which slides would be called far.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import rankdata

from wsi_suite.config import TissueSettings
from wsi_suite.detector.field_description import central_fields, describe_fields
from wsi_suite.detector.known_fields import read_known_fields
from wsi_suite.detector.model_folder import ModelFolder, find_model, load_network, trained_runs
from wsi_suite.geometry import Box
from wsi_suite.nuclei.familiarity import (
    ASPECTS,
    FAR_PERCENT,
    KnownFields,
    Vectors,
    compare_with_known,
    learn_aspect,
)
from wsi_suite.slides.slide import open_slide
from wsi_suite.slides.tissue import find_tissue
from wsi_suite.training.familiarity import fields_of_tiles, learn_familiarity
from wsi_suite.training.labelled import load_tiles, tiles_of_runs
from wsi_suite.training.shifts import SHIFTS, blurred, compressed

Rgb = npt.NDArray[np.uint8]

_MOST = 60  # fields of a slide
_SLIDES = (
    ("H&E: CMU-1", "CMU-1-Small-Region.svs", None),
    ("H&E: TCGA", "tcga-cr-7395-01a-01-ts1.svs", 0.25),
    ("membranous DAB: luna", "luna-1065626.svs", None),
    ("Ki-67 tumour", "ki67-OS-2-vsi.ome.tif", None),
)


def larger(rgb: Rgb) -> Rgb:
    """Return a picture as if its pixel size were stated twice as large."""
    return np.asarray(cv2.resize(rgb, None, fx=2, fy=2), np.uint8)


def smaller(rgb: Rgb) -> Rgb:
    """Return a picture as if its pixel size were stated half as large, mirrored to fill."""
    small = cv2.resize(rgb, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    height, width = small.shape[:2]
    pad = ((height // 2, height - height // 2), (width // 2, width - width // 2), (0, 0))
    return np.asarray(np.pad(small, pad, mode="symmetric"), np.uint8)


CHANGES = {
    **SHIFTS,
    "blur 1.5 px": partial(blurred, sigma_px=1.5),
    "blur 3 px": partial(blurred, sigma_px=3.0),
    "JPEG quality 20": partial(compressed, quality=20),
    "JPEG quality 10": partial(compressed, quality=10),
    "2 times too large": larger,
    "2 times too small": smaller,
}


def slide_fields(path: Path, *, mpp: float | None, read_mpp: float, side: int) -> list[Rgb]:
    """Return fields on a grid that are half tissue or more, evenly spread."""
    with open_slide(path, mpp=mpp) as slide:
        tissue, raster = find_tissue(slide, TissueSettings()), slide.raster(read_mpp)
        x_scale = raster.scale.x / tissue.scale.x
        y_scale = raster.scale.y / tissue.scale.y
        boxes = []
        for y in range(0, raster.height - side + 1, side):
            for x in range(0, raster.width - side + 1, side):
                rows = slice(int(y * y_scale), int((y + side) * y_scale) + 1)
                columns = slice(int(x * x_scale), int((x + side) * x_scale) + 1)
                if tissue.mask[rows, columns].mean() >= 0.5:
                    boxes.append(Box(x, y, side, side))
        chosen = np.linspace(0, len(boxes) - 1, min(_MOST, len(boxes))).round().astype(int)
        return [raster.read(boxes[index]) for index in chosen]


def kinds(
    data: Path, held_out: list[Rgb], *, known: KnownFields
) -> Iterator[tuple[str, list[Rgb]]]:
    """Yield the fields of each kind of picture that the model was not trained on."""
    side = known.field_px
    yield (
        "held-out run as it is",
        [field for rgb in held_out for field in central_fields(rgb, side)],
    )
    for name, change in CHANGES.items():
        yield (
            f"held-out, {name}",
            [field for rgb in held_out for field in central_fields(change(rgb), side)[:1]],
        )
    names = (data / "brca_m2c" / "brca_ds_test.txt").read_text("utf-8").split()
    patches = [
        next((data / "brca_m2c" / "images").glob(f"{Path(name).stem}.*"), None) for name in names
    ]
    yield (
        "H&E: BRCA-M2C",
        [
            np.ascontiguousarray(central_fields(cv2.imread(str(path))[..., ::-1], side)[0])
            for path in patches
            if path is not None
        ],
    )
    for name, file, mpp in _SLIDES:
        yield (
            name,
            slide_fields(data / "slides" / file, mpp=mpp, read_mpp=known.read_mpp, side=side),
        )


def auroc(inside: Vectors, outside: Vectors) -> float:
    """Return the probability that a field from outside is farther than one from inside."""
    ranks = rankdata(np.concatenate([inside, outside]))[len(inside) :]
    return float((ranks.sum() / len(outside) - (len(outside) + 1) / 2) / len(inside))


def show(console: Console, model: ModelFolder, *, data: Path, known: KnownFields) -> None:
    """Print the tables."""
    network = load_network(model)
    tiles = load_tiles(data / "endonuke", model.spec.labels)
    runs = sorted({tile.run for tile in tiles} - trained_runs(model.spec.provenance))
    held_out = [tile.read(known.read_mpp).rgb for tile in tiles_of_runs(tiles, runs)]
    table = Table(title="AUROC, and fields beyond the limit in %")
    for column in ("kind", "fields", *ASPECTS, "called"):
        table.add_column(column)
    base: Mapping[str, Vectors] | None = None
    for name, pictures in kinds(data, held_out, known=known):
        described = describe_fields(network, pictures, spec=model.spec)
        distances = distances_of(described, known)
        base = distances if base is None else base
        cells = []
        for aspect in known.aspects:
            share = np.mean(distances[aspect] > known.aspects[aspect].limit(FAR_PERCENT))
            cells.append(f"{auroc(base[aspect], distances[aspect]):.2f} {100 * share:3.0f}")
        table.add_row(name, str(len(pictures)), *cells, called(described, known))
    console.print(table)
    learned = tiles_of_runs(tiles, known.runs)
    fields, names = fields_of_tiles(network, learned, model=model, field_px=known.field_px)
    others = Table(title="Runs of training, each against statistics without it")
    for column in ("run", "fields", "called", *ASPECTS):
        others.add_column(column)
    for run in known.runs:
        own = np.array([name == run for name in names])
        aspects = {
            aspect: learn_aspect(
                values[~own],
                [name for name in names if name != run],
                held_out=np.empty((0, values.shape[1])),
            )
            for aspect, values in fields.items()
        }
        without = known.model_copy(update={"aspects": aspects})
        mine = {aspect: values[own] for aspect, values in fields.items()}
        found = compare_with_known(mine, without, statistics="")
        limits = (f"{figures.times_limit:.2f}" for figures in found.aspects.values())
        others.add_row(run, str(np.count_nonzero(own)), called(mine, without), *limits)
    console.print(others)


def distances_of(described: Mapping[str, Vectors], known: KnownFields) -> dict[str, Vectors]:
    """Return the distances of fields by aspect, as far as they are known."""
    distances = {name: aspect.distances(described[name]) for name, aspect in known.aspects.items()}
    return {name: values[np.isfinite(values)] for name, values in distances.items()}


def called(described: Mapping[str, Vectors], known: KnownFields) -> str:
    """Return what a slide of these fields is called, and the aspects that say so."""
    found = compare_with_known(described, known, statistics="")
    out = [
        f"{name} {figures.times_limit:.1f}"
        for name, figures in found.aspects.items()
        if figures.verdict == found.verdict
    ]
    return f"{found.verdict}: {', '.join(out)}" if found.verdict != "inside" else "inside"


def main() -> None:
    """Print the table, after learning the fields of a model if that is wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of endonuke, brca_m2c and slides")
    parser.add_argument("--model", default="endonuke-resnet18")
    parser.add_argument(
        "--learn", action="store_true", help="learn its fields, write them, then go on"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = find_model(given.model)
    if given.learn:
        tiles = load_tiles(given.data / "endonuke", model.spec.labels)
        learned = sorted(trained_runs(model.spec.provenance))
        rest = sorted({tile.run for tile in tiles} - set(learned))
        learn_familiarity(
            model, train=tiles_of_runs(tiles, learned), held_out=tiles_of_runs(tiles, rest)
        )
    found = read_known_fields(model)
    if found is None:
        parser.error(f"{model.path} says nothing of its fields; give --learn")
    show(Console(width=160), model, data=given.data, known=found[0])


if __name__ == "__main__":
    main()
