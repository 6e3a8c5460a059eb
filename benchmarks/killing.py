"""Kill runs at random moments, and compare what the next ones end in with an undisturbed run.

    python benchmarks/killing.py [--rounds 20] [--seed 0]

Each round kills (SIGKILL) one process that does five small synthetic slides: one with one worker,
one with two worker processes, or one of two that share the slides. The next start, or the other
process, has to end in the same bytes. Needs the tests beside it. Exit code 1 if a round differs.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "runs")]

import sharer  # noqa: E402
from bench import results_of  # noqa: E402
from networks import save_tiny_model  # noqa: E402

from wsi_suite.synthetic import make_slide  # noqa: E402

WAYS: dict[str, dict[str, Any]] = {
    "one worker": {"share": False},
    "two workers": {"share": False, "workers": 2},
    "two sharing processes": {"share": True},
}
BLOCKS = 4  # of each slide

console = Console(highlight=False, soft_wrap=True)


def main() -> None:
    """Kill, go on, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        slides = _slides(folder)
        asked = {"model": folder / "model", "slides": slides}
        _end(sharer.start(**asked, out=folder / "whole", share=False))
        whole = _digest(folder / "whole", slides)
        generator = random.Random(arguments.seed)
        different = 0
        for number in range(arguments.rounds):
            way = list(WAYS)[number % len(WAYS)]
            out = folder / "out"
            when = _kill_once({**asked, **WAYS[way], "out": out}, generator=generator)
            same = _digest(out, slides) == whole
            left = [path.relative_to(out).as_posix() for path in out.glob("*/*partial*")]
            different += not same or bool(left)
            said = "same bytes" if same else "DIFFERENT"
            console.print(f"{number + 1}: {way}, killed at {when}: {said} {' '.join(left)}")
            shutil.rmtree(out)
    console.print(f"{arguments.rounds} rounds, {different} different")
    sys.exit(bool(different))


def _slides(folder: Path) -> list[Path]:
    save_tiny_model(folder / "model")
    slides = [folder / f"slide {number}.tif" for number in range(5)]
    for number, slide in enumerate(slides):
        side = 500 + 10 * number
        make_slide(slide, width=side, height=480, mpp=0.25, tissue_fraction=0.6, seed=number)
    return slides


def _kill_once(asked: dict[str, Any], *, generator: random.Random) -> str:
    """Kill a process after a random number of blocks, and let the work be done; say when it was."""
    out, wanted = asked["out"], generator.randrange(BLOCKS * len(asked["slides"]))
    victim = sharer.start(**asked, pause_s=0.1)
    other = sharer.start(**asked, pause_s=0.1) if asked["share"] else None
    while victim.poll() is None and _blocks_done(out) < wanted:
        time.sleep(0.01)
    time.sleep(generator.uniform(0, 0.4))
    done = _blocks_done(out)
    victim.kill()
    victim.communicate()
    _end(other or sharer.start(**asked))
    return f"block {done}"


def _blocks_done(out: Path) -> int:
    whole = len(list(out.glob("*/summary.json")))
    return BLOCKS * whole + len(list(out.glob("*/regions.partial/*.parquet")))


def _end(process: subprocess.Popen[str]) -> None:
    out, err = process.communicate(timeout=900)
    if process.returncode:
        console.print(out, err)


def _digest(out: Path, slides: list[Path]) -> dict[str, str]:
    """Return hashes of all results, the table and the tiles among them."""
    contents = {
        f"{slide.stem}/{name}": content
        for slide in slides
        for name, content in results_of(out / slide.stem).items()
    }
    contents |= {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in [*out.glob("*/tiles.ome.zarr/**/*"), *out.glob("summary.*")]
        if path.is_file()
    }
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


if __name__ == "__main__":
    main()
