"""Time and memory of the end of a run: merging, scores, tables, GeoJSON and picture.

    python benchmarks/finishing.py [--nuclei 100000 1000000] [--side 98304] [--folder DIR]

Nuclei that were measured on a small slide are put at random places of a large one, and recorded as
its blocks; then its run is finished. Each number of nuclei has a process of its own. Linux only.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import memory
import numpy as np

from wsi_suite.analysis.blocks import process_block
from wsi_suite.analysis.request import complete_settings
from wsi_suite.config import load_settings
from wsi_suite.detector.detector import Compute
from wsi_suite.detector.model_folder import find_model
from wsi_suite.nuclei.table import Nuclei, concatenate
from wsi_suite.runs.request import Request
from wsi_suite.runs.slide_run import finish_run, pending_blocks, prepare_run, record_block
from wsi_suite.slides.grid import Block
from wsi_suite.slides.identity import SlideIdentity

_SMALL_PX0 = 4096


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nuclei", type=int, nargs="+", default=(100_000, 1_000_000))
    parser.add_argument("--side", type=int, default=98304, help="px of 0.25 um")
    parser.add_argument("--folder", type=Path, help="where slides are kept for another time")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.folder or Path(name)
        sides = (_SMALL_PX0, arguments.side)
        slides = memory._slides(folder, sides, tissue=0.39, one_level=False)
        if arguments.child:
            print(json.dumps(_finish(slides, Path(name), arguments.nuclei[0])))  # noqa: T201
            return
        for count in arguments.nuclei:
            options = ["--child", "--nuclei", str(count), "--side", str(arguments.side)]
            command = [sys.executable, __file__, *options, "--folder", str(folder)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            print(f"{count:,} nuclei: {done.stdout.splitlines()[-1]}")  # noqa: T201


def _finish(slides: list[Path], folder: Path, count: int) -> dict[str, float]:
    """Return CPU and wall seconds, and MiB before and at the peak."""
    small = prepare_run(_request(slides[0], folder / "small"))
    tables = [process_block(job, block) for job, block in pending_blocks(small)]
    measured = concatenate([table for table in tables if table is not None])
    run = prepare_run(_request(slides[1], folder / "large"))
    pending = pending_blocks(run)
    rng = np.random.default_rng(0)
    for (job, block), number in zip(
        pending, np.diff(np.linspace(0, count, len(pending) + 1).astype(int)), strict=True
    ):
        record_block(run, job, block, _placed(measured, block, int(number), run.job.scale.x, rng))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    wall, cpu = time.perf_counter(), time.process_time()
    finish_run(run)
    return {
        "CPU s": round(time.process_time() - cpu, 1),
        "wall s": round(time.perf_counter() - wall, 1),
        "MiB before": round(before),
        "MiB at the peak": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def _placed(
    measured: Nuclei, block: Block, count: int, scale: float, rng: np.random.Generator
) -> Nuclei:
    """Return nuclei drawn from those measured, at random places of a block."""
    drawn = measured.take(rng.integers(0, len(measured), count))
    corner, size = (block.box.x, block.box.y), (block.box.width, block.box.height)
    places = (np.array(corner) + rng.random((count, 2)) * np.array(size)) * scale
    detected = None if drawn.detected is None else places
    return replace(drawn, x=places[:, 0], y=places[:, 1], detected=detected)


def _request(slide: Path, folder: Path) -> Request:
    model = find_model("endonuke-resnet18")
    settings = load_settings(overrides=["tissue.whole_slide=true", "tiles.keep=false"])
    return Request(
        stage="run",
        slide=slide,
        identity=SlideIdentity.of(slide),
        folder=folder,
        settings=complete_settings(settings, model),
        model=model,
        compute=Compute("cpu", "fp32", 1),
    )


if __name__ == "__main__":
    main()
