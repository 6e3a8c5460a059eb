"""How long nuclei take into QuPath, by route.

    python benchmarks/bridging.py [--nuclei 100000] [--no-qupath]

Without QuPath (``PAQUO_QUPATH_DIR``) only files are written.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console

import wsi_suite
from wsi_suite.measurements import OUTLINE_RAYS
from wsi_suite.nuclei.parquet import write_nuclei
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.qupath.geojson import Shape, write_geojson
from wsi_suite.qupath.objects import origin_of
from wsi_suite.qupath.project import Project
from wsi_suite.staining.deconvolution import StainVectors
from wsi_suite.synthetic import make_slide

SIDE_PX0 = 1000  # of the slide; QuPath takes nuclei beyond its border, and looks at no pixel
SHAPES: tuple[Shape, ...] = ("polygon", "ellipse", "point")
PEERS_NUCLEI = 5000  # what is slow is measured on fewer

# One detection at a time, as paquo does it.
ONE_BY_ONE = """
import sys, time
from paquo.projects import QuPathProject
from shapely.geometry import Polygon
import numpy as np
from wsi_suite.nuclei.parquet import read_nuclei

table, folder, slide, count = sys.argv[1:]
nuclei, _ = read_nuclei(table)
project = QuPathProject(folder, mode="a")
entry = project.add_image(slide)
angle = 2 * np.pi * np.arange(16) / 16
rays = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
rows = range(int(count))
start = time.perf_counter()
with entry.hierarchy.no_autoflush():
    for row in rows:
        ring = nuclei.detected_points[row] + nuclei.outline[row][:, None] * rays
        values = {name: float(column[row]) for name, column in nuclei.measurements.items()}
        entry.hierarchy.add_detection(Polygon(ring), measurements=values)
entry.save()
print(time.perf_counter() - start)
"""

console = Console(highlight=False, soft_wrap=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nuclei", type=int, default=100_000)
    parser.add_argument("--no-qupath", action="store_true", help="only write files")
    arguments = parser.parse_args()
    nuclei = random_nuclei(arguments.nuclei)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        console.print(f"{len(nuclei):,} nuclei          wall s  CPU s  us each  peak MiB")
        for shape in SHAPES:
            write = partial(_write_geojson, nuclei, folder / f"{shape}.geojson", shape=shape)
            _show(f"GeoJSON, {shape}", len(nuclei), write)
        if not arguments.no_qupath:
            _push_all(nuclei, folder)


def random_nuclei(count: int) -> Nuclei:
    """Return nuclei at random places of a slide with as much room for each as tissue has."""
    rng = np.random.default_rng(0)
    side = 30 * np.sqrt(count)  # level-0 px, 0.25 um: 5000 nuclei a mm2 and more
    nuclei = Nuclei(
        x=rng.uniform(50, side, count).round(2),
        y=rng.uniform(50, side, count).round(2),
        confidence=rng.uniform(0.3, 1, count).astype(np.float32),
        label=rng.integers(0, 2, count).astype(np.uint8),
        classes=("Stroma", "Epithelium"),
        measurements={
            name: rng.uniform(0, 1, count).astype(np.float32)
            for name in (
                "Nucleus: DAB OD mean",
                "Nucleus: Hematoxylin OD mean",
                "Nucleus: Area µm^2",
            )
        },
        outline=rng.uniform(8, 14, (count, OUTLINE_RAYS)).astype(np.float32),
    )
    return nuclei.sorted()


def _grades(nuclei: Nuclei) -> np.ndarray:
    dab = nuclei.measurements["Nucleus: DAB OD mean"]
    return np.digitize(dab, (0.2, 0.4, 0.6)).astype(np.uint8)


def _provenance() -> dict[str, object]:
    return {
        "slide": "synthetic.tif",
        "size_px0": [SIDE_PX0, SIDE_PX0],
        "mpp": [0.25, 0.25],
        "model": {"name": "random", "hash": "0" * 64},
        "measure": {"disc_radius_um": 1.0},
        "stain_vectors": StainVectors().to_qupath(),
        "wsi_suite": wsi_suite.__version__,
    }


def _write_geojson(nuclei: Nuclei, path: Path, *, shape: Shape) -> None:
    write_geojson(
        nuclei, path, grades=_grades(nuclei), shape=shape, origin=origin_of(_provenance())
    )


def _push_all(nuclei: Nuclei, folder: Path) -> None:
    slide = folder / "synthetic.tif"
    make_slide(slide, width=SIDE_PX0, height=SIDE_PX0, mpp=0.25)
    table = folder / "nuclei.parquet"
    write_nuclei(nuclei, table, intensity=_grades(nuclei), metadata=_provenance())
    for shape in SHAPES:
        with Project(folder / shape / "project.qpproj", create=True) as project:
            image = project.add(slide)  # starts Java
            push = partial(project.push, image, table=table, shape=shape)
            _show(f"push, {shape}", len(nuclei), push)
            _show(f"push again, {shape}", len(nuclei), push)
    count = str(min(PEERS_NUCLEI, len(nuclei)))
    done = subprocess.run(
        [sys.executable, "-c", ONE_BY_ONE, table, folder / "paquo", slide, count],
        capture_output=True,
        text=True,
        check=True,
    )
    each = float(done.stdout.split()[-1]) / int(count)
    console.print(f"{'paquo, one by one':22} {'':7} {'':6} {1e6 * each:8.0f}")


def _show(what: str, count: int, work: Callable[[], object]) -> None:
    """Time something, in this process and in those that it has started."""
    me = psutil.Process()
    processes = [me, *me.children(recursive=True)]
    stop, peak = threading.Event(), [0]

    def watch() -> None:
        while not stop.wait(0.05):
            peak[0] = max(peak[0], sum(process.memory_info().rss for process in processes))

    watcher = threading.Thread(target=watch)
    watcher.start()
    wall, cpu = time.perf_counter(), _cpu_seconds(processes)
    work()
    wall, cpu = time.perf_counter() - wall, _cpu_seconds(processes) - cpu
    stop.set()
    watcher.join()
    console.print(
        f"{what:22} {wall:7.1f} {cpu:6.1f} {1e6 * wall / count:8.1f} {peak[0] / 2**20:9.0f}"
    )


def _cpu_seconds(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


if __name__ == "__main__":
    main()
