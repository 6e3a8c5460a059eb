"""One table of how fast the suite is: beside what bounds it, and beside other programs.

    python benchmarks/evidence.py [--write docs/performance.md] [--side 4000] [--rounds 2]

About ten minutes on two cores that have nothing else to do. The ways of doing a thing take turns
in one process, the best of all rounds counts, and ratios are of CPU time and of wall time, so that
a busy machine leaves at least the former right. With `--write` the table replaces the one between
the markers of a page. Other parts of the benchmarks that are named say more.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import reading
import running
import starting
import tia_engine
import torch
import writing

from wsi_suite import __version__
from wsi_suite.analysis.worker_cache import usable_threads
from wsi_suite.config import load_settings
from wsi_suite.detector.detector import Compute, Detector
from wsi_suite.detector.model_folder import find_model
from wsi_suite.runs.batch import run_batch
from wsi_suite.synthetic import make_slide

BEGIN, END = "<!-- evidence: begin -->", "<!-- evidence: end -->"
OURS = "**wsi-suite**"
HEAD = "| what | way | CPU | wall | beside the limit: CPU | wall | aim | bounded by | benchmark |"
Way = Callable[[int], object]


@dataclass(frozen=True)
class Part:
    """What is compared.

    Attributes
    ----------
    what, benchmark
        Its name, and the program that looks closer.
    aim, bound
        The ratio that is aimed at, and what the limit consists of.
    figures
        By way, the limit first: CPU and wall, in `unit`.
    unit
        ``s``, ``MiB``, or a rate.
    """

    what: str
    benchmark: str
    aim: str
    bound: str
    figures: Mapping[str, tuple[float, float]]
    unit: str

    def rows(self) -> list[str]:
        """Return the rows of the table."""
        limit = next(iter(self.figures.values()))
        rows = []
        for way, figures in self.figures.items():
            ratios = [one / other for one, other in zip(figures, limit, strict=True)]
            ours = way.startswith(OURS)
            cells = [
                "" if rows else self.what,
                way,
                *(
                    f"{value:.3g} {self.unit}" if value < 1000 else f"{value:.0f} {self.unit}"
                    for value in figures
                ),
                *((f"**{ratio:.2f}**" if ours else f"{ratio:.2f}") for ratio in ratios),
                self.aim if ours else "",
                "" if rows else self.bound,
                "" if rows else f"`{self.benchmark}`",
            ]
            rows.append("| " + " | ".join(cells) + " |")
        return rows


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="page with the markers")
    parser.add_argument("--side", type=int, default=4000, help="of the slide that is run, px")
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = []
        for measure in (read, store):
            parts += measure(folder)
            _show(parts[-1])
        parts.append(run(folder, side=arguments.side, rounds=arguments.rounds))
        _show(parts[-1])
        parts.append(start(folder, rounds=arguments.rounds))
        _show(parts[-1])
        parts.append(memory(folder))
        _show(parts[-1])
    table = [HEAD, "|---|---|---|---|---|---|---|---|---|", *(r for p in parts for r in p.rows())]
    text = "\n".join([_described(load), "", *table])
    print(text)  # noqa: T201
    if arguments.write is not None:
        _replace(arguments.write, text)


def read(folder: Path) -> list[Part]:
    """Read regions of 512 px of a JPEG TIFF, each once, so that no cache helps."""
    path = folder / "reading.tif"
    reading.make_slide(path, size=8192, tile=256)
    parts = []
    for what, shift in (("on", 0), ("off", 100)):
        passes = reading.passes_of((8192, 8192), shift=shift)

        def reader(read_box: reading.Read, passes: list[list[reading.Box]] = passes) -> Way:
            return lambda turn: [read_box(box) for box in passes[turn]]

        ways = {_named(way): reader(each) for way, each in reading.readers(path).items()}
        seconds = turns(ways, rounds=reading.PASSES)
        mpx = sum(box.area for box in passes[0]) / 1e6
        parts.append(
            Part(
                f"reading regions of 512 px {what} the tiles' grid",
                "reading.py",
                "0.90" if shift == 0 else "1.00",
                "`pread` and libjpeg-turbo of the tiles",
                {way: (mpx / cpu, mpx / wall) for way, (cpu, wall) in seconds.items()},
                "Mpx/s",
            )
        )
    return parts


def store(folder: Path) -> list[Part]:
    """Write a block, with and without blank chunks."""
    ways = writing.ways(writing.texture(), folder)
    named = {
        "zstd level 1 alone": "zstd alone",
        "zstd of four levels, into a file": "zstd of 4 levels, into a file",
        "zarr-python, one level": "zarr, shard",
        f"{OURS}, 4 levels": "TileStore 0.5, 4 levels",
        f"{OURS}, 4 levels, half of it blank": "TileStore 0.5, 4 levels, half blank",
    }
    seconds = turns({way: lambda _, do=ways[name]: do() for way, name in named.items()}, rounds=4)
    mb = 3 * writing.BLOCK_PX**2 / 1e6
    return [
        Part(
            "storing tiles, in pixels of the finest level",
            "writing.py",
            "0.75",
            "the compressor; a pyramid has 1.33 times the pixels",
            {way: (mb / cpu, mb / wall) for way, (cpu, wall) in seconds.items()},
            "MB/s",
        )
    ]


def run(folder: Path, *, side: int, rounds: int) -> Part:
    """Run a slide, beside the network alone and TIAToolbox with the same network."""
    slide = folder / "running.tif"
    make_slide(slide, width=side, height=side, mpp=0.25, tissue_fraction=0.5)
    detector = Detector(find_model("endonuke-resnet18"), Compute("cpu", "fp32", 1))
    batches, _ = running.tissue_batches(slide, detector, load_settings())
    options = [["tiles.keep=false"], ["tiles.keep=true"]]
    settings = [load_settings(overrides=["run.device=cpu", *each]) for each in options]

    def ours(number: int) -> Way:
        out = folder / f"run-{number}"
        return lambda turn: run_batch([slide], out=out / f"{turn}", settings=settings[number])

    ways: dict[str, Way] = {
        "passes of the network alone": lambda _: running.forward_alone(
            detector, batches, warm_up=False
        ),
        OURS: ours(0),
        f"{OURS}, tiles kept": ours(1),
        "TIAToolbox, NucleusDetector, same network": lambda turn: tia_engine.run(
            slide, detector, folder / f"tia-{turn}", threads=usable_threads(1)
        ),
    }
    tissue, chunks, windows = running.window_pixels(slide, detector, load_settings())
    mm2 = sum(batch.shape[1] * batch.shape[2] for batch in batches) * 0.25e-6
    return Part(
        f"a run, {mm2:.2f} mm² of chunks with tissue",
        "running.py",
        "1.25",
        "the network: chunks of 512 px that hold tissue, no margins; the windows of a run, margins"
        f" included, have {windows / chunks:.2f} x their pixels, and they {chunks / tissue:.2f} x"
        " those of the tissue",
        turns(ways, rounds=rounds),
        "s",
    )


def start(folder: Path, *, rounds: int) -> Part:
    """Start the command, up to the first pass of the network."""
    slide = folder / "starting.tif"
    make_slide(slide, width=2000, height=2000, mpp=0.25)
    commands = starting.commands(slide)
    ways = {
        "`import torch`": commands["import torch"],
        f"{OURS}, `run` to its first pass": commands["wsi-suite run"],
        "`import tiatoolbox` and its engine": [
            sys.executable,
            "-c",
            "from tiatoolbox.models.engine import nucleus_detector",
        ],
    }
    best = {way: (float("inf"), float("inf")) for way in ways}
    for _ in range(rounds + 1):  # the first compiles modules
        for way, command in ways.items():
            best[way] = _best(best[way], starting.seconds(command, folder))
    return Part("starting", "starting.py", "1.7", "torch, which is imported", best, "s")


def memory(folder: Path) -> Part:
    """Run two slides with the same tissue, one with 25 times the glass about it."""
    script = Path(__file__).with_name("memory.py")
    sides = ["8192", "40960"]
    command = [sys.executable, str(script), "--sides", *sides, "--json", "--folder", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    small, large = (found["whole run"] for found in json.loads(done.stdout.splitlines()[-1]))
    figures = {
        f"{OURS}, {side} px": (found["anonymous"], found["both"])
        for side, found in zip(sides, (small, large), strict=True)
    }
    return Part(
        "peak memory beside the network, the same tissue in more glass: anonymous, and with files",
        "memory.py",
        "1.15",
        "libraries, model, blocks in work, results",
        figures,
        "MiB",
    )


def turns(ways: Mapping[str, Way], *, rounds: int) -> dict[str, tuple[float, float]]:
    """Do each way in turn, and return the least CPU and wall seconds of each."""
    best = {way: (float("inf"), float("inf")) for way in ways}
    for turn in range(rounds):
        for way, do in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            do(turn)
            spent = time.process_time() - cpu, time.perf_counter() - wall
            best[way] = _best(best[way], spent)
    return best


def _best(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    return min(one[0], other[0]), min(one[1], other[1])


def _named(way: str) -> str:
    return OURS if way.startswith("wsi-suite") else way.replace(" (the limit)", "")


def _show(part: Part) -> None:
    print("\n".join(part.rows()), file=sys.stderr, flush=True)  # noqa: T201


def _described(load: float) -> str:
    model = find_model("endonuke-resnet18")
    return (
        f"wsi-suite {__version__}, model endonuke-resnet18 ({model.hash[:12]}, fp32), "
        f"{datetime.now(UTC):%Y-%m-%d}; {_processor()}, {usable_threads(1)} threads, Python "
        f"{platform.python_version()}, torch {torch.__version__}. Others used the machine, too: "
        f"load average {load:.1f} at the start and {os.getloadavg()[0]:.1f} at the end. Best of "
        "all rounds; rates are per second of CPU time and of wall time."
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.*)", info.read_text()) if info.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


def _replace(page: Path, text: str) -> None:
    """Put a text between the markers of a page."""
    before, begin, rest = page.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page}: expected the lines {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", "utf-8")


if __name__ == "__main__":
    main()
