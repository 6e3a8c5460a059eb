"""Time from the command `wsi-suite run` to the first forward pass, beside `import torch` alone.

    python benchmarks/starting.py [SLIDE] [--rounds 5]

Each figure is the median of processes of their own, run in turn, so that a busy machine slows all
alike. CPU seconds are those of all threads. Without a slide it draws a small one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

_CHILD = "--child"
_PASSES = {"detect", "forward"}  # the methods of Detector
_COMPARED = ("wsi-suite run", "import torch")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slide", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        slide = arguments.slide or _small_slide(folder)
        compared = commands(slide)
        for command in compared.values():  # files are in memory and modules compiled from here on
            seconds(command, folder)
        taken: dict[str, list[tuple[float, float]]] = {what: [] for what in compared}
        for _ in range(arguments.rounds):
            for what, command in compared.items():
                taken[what].append(seconds(command, folder))
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    medians = {}
    for what, runs in taken.items():
        medians[what] = tuple(statistics.median(column) for column in zip(*runs, strict=True))
        console.print(f"{what:18} {medians[what][0]:6.2f} s CPU {medians[what][1]:6.2f} s wall")
    beside = [run - torch for run, torch in zip(*(medians[w] for w in _COMPARED), strict=True)]
    console.print(f"run beside torch   {beside[0]:6.2f} s CPU {beside[1]:6.2f} s wall")


def commands(slide: Path) -> dict[str, list[str]]:
    """Return what is compared, by name."""
    return {
        "python": [sys.executable, "-c", "pass"],
        "import torch": [sys.executable, "-c", "import torch"],
        "wsi-suite --help": [sys.executable, "-m", "wsi_suite", "--help"],
        "wsi-suite run": [sys.executable, __file__, _CHILD, str(slide)],
    }


def seconds(command: list[str], folder: Path) -> tuple[float, float]:
    """Return CPU and wall seconds of a process."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        words = [*command, *_outputs(command, out)]
        # Compiled modules are kept, whatever the environment says, and beside nobody's code.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        before, start = os.times(), time.perf_counter()
        subprocess.run(words, check=True, capture_output=True, env=environment)
        wall, after = time.perf_counter() - start, os.times()
    spent = after.children_user + after.children_system
    return spent - before.children_user - before.children_system, wall


def _outputs(command: list[str], out: str) -> list[str]:
    return ["--out", out] if _CHILD in command else []


def _small_slide(folder: Path) -> Path:
    from wsi_suite.synthetic import make_slide

    path = folder / "small.tif"
    make_slide(path, width=2000, height=2000, mpp=0.25)
    return path


def _run_to_the_first_pass(arguments: list[str]) -> None:
    """Run, and end the process as soon as the network gets its first windows."""
    threading.Thread(target=_leave_at_the_first_pass, daemon=True).start()
    from wsi_suite.cli import main as wsi_suite

    wsi_suite(["run", *arguments])
    sys.exit("The run ended, and no pass of the network was seen.")


def _leave_at_the_first_pass() -> None:
    while True:
        time.sleep(0.005)
        for top in sys._current_frames().values():
            for frame, _ in traceback.walk_stack(top):
                code = frame.f_code
                if code.co_name in _PASSES and Path(code.co_filename).name == "detector.py":
                    os._exit(0)


if __name__ == "__main__":
    if _CHILD in sys.argv:
        _run_to_the_first_pass(sys.argv[2:])
    else:
        main()
