"""What a GPU leaves to the CPU: a run whose forward passes are replaced by copies of recorded maps.

    python benchmarks/feeding.py [--sides 4000 8000] [--density 4000] [--threads 1 2] [--batch 8]

Two synthetic slides of dense tissue are run with the network once, and the maps of each window are
kept; then they are run with copies of these. Printed is what each further mm2 of tissue costs, in
CPU seconds, which a busy machine changes less than time: the difference of the two slides, in all
and for each part, for each number of threads, with and without stored tiles. On a quiet machine
compare times: what one thread does alone, or under the interpreter's lock, keeps them from falling
as threads are added.
"""

from __future__ import annotations

import argparse
import functools
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from wsi_suite.analysis import blocks, worker_cache
from wsi_suite.config import load_settings
from wsi_suite.detector import detector as at_work
from wsi_suite.detector.detector import Compute, Detector
from wsi_suite.detector.network import NucleusNet
from wsi_suite.nuclei.parquet import read_nuclei
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.runs import cluster, slide_begin, slide_end
from wsi_suite.runs.batch import run_batch
from wsi_suite.runs.outcome import Outcome
from wsi_suite.slides.store import TileStore
from wsi_suite.synthetic import make_slide

console = Console(highlight=False, soft_wrap=True)
PARTS: dict[str, tuple[object, str]] = {
    "reading": (blocks._BlockBuffer, "_fill"),
    "windows": (blocks, "_stacked"),
    "forward": (Detector, "forward"),
    "peaks": (at_work, "decode_peaks"),
    "separating": (at_work, "separate_peaks"),
    "measuring": (blocks, "measure_nuclei"),
    "storing": (TileStore, "write_block"),
    "survey": (slide_begin, "prepare_run"),
    "results": (slide_end, "finish_run"),
}
"""Part of a run, and the function that does it."""


@dataclass(frozen=True)
class Spent:
    """Time of a run.

    Attributes
    ----------
    mm2, nuclei
        Area of the tissue, and nuclei in it.
    wall
        Seconds.
    cpu
        CPU seconds of each part; those of the whole process under ``all``.
    """

    mm2: float
    nuclei: int
    wall: float
    cpu: dict[str, float]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", type=int, nargs=2, default=(4000, 8000), help="px of 0.25 um")
    parser.add_argument("--density", type=float, default=4000, help="nuclei per mm2")
    parser.add_argument("--threads", type=int, nargs="+", default=(1, 2))
    parser.add_argument("--batch", type=int, default=8, help="windows per pass")
    parser.add_argument("--maps", type=Path, help="file that keeps recorded maps for another time")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, _replayed(arguments.batch, file=arguments.maps):
        folder = Path(name)
        slides = [folder / f"synthetic-{side}.tif" for side in arguments.sides]
        for slide, side in zip(slides, arguments.sides, strict=True):
            make_slide(slide, width=side, height=side, mpp=0.25, tissue_fraction=1)
        threads = max(arguments.threads)
        confidence = _record(slides, folder, threads, density=arguments.density)
        for keep in (False, True):
            for threads in arguments.threads:
                small, large = (
                    _measure(slide, folder, threads, keep=keep, confidence=confidence)
                    for slide in slides
                )
                _print(small, large, what=f"{'tiles stored' if keep else 'no tiles'}, {threads}")


def _record(slides: Sequence[Path], folder: Path, threads: int, *, density: float) -> float:
    """Run each slide, so that all maps are kept; return the confidence that leaves `density`."""
    outcomes = [
        _run(slide, folder / "recorded", threads, keep=False, confidence=0.1) for slide in slides
    ]
    confidence = _nuclei(outcomes[-1]).confidence
    share = 1 - density * _tissue_mm2(outcomes[-1]) / len(confidence)
    return float(np.quantile(confidence, max(0, share)))


def _measure(slide: Path, folder: Path, threads: int, *, keep: bool, confidence: float) -> Spent:
    with _watched() as spent:
        wall, cpu = time.perf_counter(), time.process_time()
        out = folder / f"{threads}-{keep}"
        outcome = _run(slide, out, threads, keep=keep, confidence=confidence)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    parts = {**{part: spent[part] for part in PARTS}, "the rest": cpu - sum(spent.values())}
    return Spent(_tissue_mm2(outcome), len(_nuclei(outcome)), wall, {"all": cpu, **parts})


def _print(small: Spent, large: Spent, *, what: str) -> None:
    mm2 = large.mm2 - small.mm2
    further = {part: (large.cpu[part] - cpu) / mm2 for part, cpu in small.cpu.items()}
    every = small.cpu["all"] - small.mm2 * further["all"]
    console.print(
        f"{what} threads: {(large.nuclei - small.nuclei) / mm2:,.0f} nuclei per mm2; each further "
        f"mm2 {(large.wall - small.wall) / mm2:.3f} s; {further.pop('all'):.3f} CPU s, of which"
    )
    console.print("    " + ", ".join(f"{part} {value:.3f}" for part, value in further.items()))
    console.print(f"    beside {every:.2f} CPU s that every slide costs")


def _run(slide: Path, out: Path, threads: int, *, keep: bool, confidence: float) -> Outcome:
    overrides = [f"tiles.keep={str(keep).lower()}", f"detect.min_confidence={confidence}"]
    with patch.object(cluster, "usable_threads", lambda _workers: threads):
        (outcome,) = run_batch([slide], out=out, settings=load_settings(overrides=overrides))
    if outcome.error is not None:
        raise outcome.error
    return outcome


def _nuclei(outcome: Outcome) -> Nuclei:
    return read_nuclei(outcome.folder / "nuclei.parquet")[0]


def _tissue_mm2(outcome: Outcome) -> float:
    assert outcome.summary is not None
    assert outcome.summary.tissue_area_mm2 is not None
    return outcome.summary.tissue_area_mm2


@contextmanager
def _replayed(batch: int, *, file: Path | None) -> Iterator[None]:
    """Keep the maps of each window, and give copies of them when it comes again."""
    kept: dict[bytes, dict[str, Tensor]] = {}
    if file is not None and file.exists():
        kept = torch.load(file)

    def replay(network: NucleusNet, rgb: Tensor) -> dict[str, Tensor]:
        keys = [window[:, 7::61, 7::61].contiguous().numpy().tobytes() for window in rgb]
        for key, window in zip(keys, rgb, strict=True):
            if key not in kept:
                kept[key] = {name: maps.clone() for name, maps in network(window[None]).items()}
        return {name: torch.cat([kept[key][name] for key in keys]) for name in kept[keys[0]]}

    compute = Compute("cpu", "fp32", batch)
    with (
        patch.object(Detector, "look", lambda self, rgb: replay(self.network, rgb)),
        patch.object(NucleusNet, "look_for_peaks", replay),
        patch.object(at_work, "choose_compute", lambda *_, **__: compute),
        patch.object(worker_cache, "takes_turns", lambda _compute: True),
    ):
        yield
    if file is not None:
        torch.save(kept, file)


@contextmanager
def _watched() -> Iterator[dict[str, float]]:
    """Have each part add its CPU seconds up."""
    spent: dict[str, float] = defaultdict(float)
    lock = threading.Lock()

    def timed(name: str, part: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(part)
        def call(*given: Any, **options: Any) -> Any:  # noqa: ANN401 - the part's
            start = time.thread_time()
            try:
                return part(*given, **options)
            finally:
                with lock:
                    spent[name] += time.thread_time() - start

        return call

    patches = [
        patch.object(owner, name, timed(part, getattr(owner, name)))
        for part, (owner, name) in PARTS.items()
    ]
    for each in patches:
        each.start()
    try:
        yield spent
    finally:
        for each in patches:
            each.stop()


if __name__ == "__main__":
    main()
