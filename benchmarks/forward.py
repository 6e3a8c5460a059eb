"""Forward passes on one CPU core: plain layers beside layers put together and sparse heads.

    python benchmarks/forward.py [--model NAME|FOLDER] [--side 992] [--rounds 3]

Windows of a synthetic slide; the variants take turns, and the best CPU time of each counts.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import torch
from rich.console import Console

from wsi_suite.detector import detector as at_work
from wsi_suite.detector.detector import bf16_is_fast, load_detector
from wsi_suite.detector.int8_layers import int8_is_fast
from wsi_suite.geometry import Box
from wsi_suite.slides.slide import open_slide
from wsi_suite.synthetic import make_slide

console = Console(highlight=False, soft_wrap=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="endonuke-resnet18")
    parser.add_argument("--side", type=int, default=992, help="of the window, px")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        path, side = Path(name) / "slide.tif", arguments.side
        make_slide(path, width=2 * side, height=2 * side, mpp=0.25)
        with open_slide(path) as slide:
            window = slide.raster(0.5).read(Box(0, 0, side, side))[None]
    if int8_is_fast():
        int8 = load_detector(arguments.model, device="cpu", precision="int8")
        seconds = min(_best(lambda: int8.detect(window), 1) for _ in range(arguments.rounds + 1))
        console.print(f"int8  {'maps where nuclei are':44} {side**2 / seconds / 1e6:6.3f} Mpx/s")
    for precision in ("bf16", "fp32") if bf16_is_fast() else ("fp32",):
        now = load_detector(arguments.model, device="cpu", precision=precision)
        with patch.object(at_work, "has_cpu_layers", lambda: False):
            plain = load_detector(arguments.model, device="cpu", precision=precision)
        ways: dict[str, Callable[[], object]] = {
            "plain layers, every map everywhere": lambda plain=plain: plain.forward(window),
            "plain layers, maps where nuclei are": lambda plain=plain: plain.detect(window),
            "layers put together, every map": lambda now=now: now.forward(window),
            "layers put together, maps where nuclei are": lambda now=now: now.detect(window),
        }
        seconds = {name: _best(way, 1) for name, way in ways.items()}
        for _ in range(arguments.rounds):
            seconds = {name: min(seconds[name], _best(way, 1)) for name, way in ways.items()}
        first = next(iter(seconds.values()))
        for name, value in seconds.items():
            rate = side**2 / value / 1e6
            console.print(f"{precision}  {name:44} {rate:6.3f} Mpx/s  {first / value:5.2f}")


def _best(way: Callable[[], object], rounds: int) -> float:
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        way()
        best = min(best, time.process_time() - start)
    return best


if __name__ == "__main__":
    main()
