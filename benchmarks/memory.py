"""Peak memory of `wsi-suite run` on a small slide, and on a large one with the same tissue.

    python benchmarks/memory.py [--sides 16384 98304] [--one-level] [--network] [--tissue 0.39]

The large slide is the small one in a field of glass: its encoded tiles are copied, so that both
hold the very same tissue. Each is run in a process of its own. The maps of the network are replaced
by the darkness of the pixels unless `--network` is given, since a forward pass takes 0.8 GB for
each thread whatever the slide, beside which the memory of the rest could not be seen. Printed are
the peaks of each part of a run, in MiB: anonymous memory, and pages of files (libraries, model),
which the system can take back at any time; the memory that the imports and the model take; and the
CPU seconds of each part. With `--one-level` slides have no coarser levels, so that all of their
pixels are decoded for the survey. Linux only.
"""

from __future__ import annotations

import argparse
import functools
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

_CHILD = "--child"
_MIB = 2**20
_GLASS = (241, 240, 242)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", type=int, nargs=2, default=(16384, 98304), help="px of 0.25 um")
    parser.add_argument("--tissue", type=float, default=0.39, help="share of the small slide")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one-level", action="store_true", help="slides without coarser levels")
    parser.add_argument("--network", action="store_true", help="with forward passes")
    parser.add_argument("--keep", action="store_true", help="store tiles, too")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--folder", type=Path, help="where slides are kept for another time")
    parser.add_argument(_CHILD, type=Path, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        _child(arguments)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.folder or Path(name)
        slides = _slides(
            folder, arguments.sides, tissue=arguments.tissue, one_level=arguments.one_level
        )
        with tempfile.TemporaryDirectory() as out:
            found = [_measure(slide, Path(out)) for slide in slides]
    if arguments.json:
        print(json.dumps(found))  # noqa: T201
    else:
        _print(arguments.sides, found)


def _print(sides: tuple[int, int], found: list[dict[str, dict[str, float]]]) -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    small, large = found
    console.print(f"{'MiB or s':24} {sides[0]:>12} px {sides[1]:>12} px    ratio")
    for part, before in small.items():
        for kind, value in before.items():
            after = large[part][kind]
            ratio = after / value if value else 1.0
            console.print(f"{part:12} {kind:11} {value:12.0f}    {after:12.0f}    {ratio:9.2f}")


def _measure(slide: Path, out: Path) -> dict[str, dict[str, float]]:
    arguments = [word for word in sys.argv[1:] if word != _CHILD]
    command = [sys.executable, __file__, *arguments, _CHILD, str(slide), str(out / slide.stem)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return found


def _child(arguments: argparse.Namespace) -> None:
    """Run a slide as the command does, and print the peaks as JSON."""
    slide, out = arguments.child
    with ExitStack() as stack:
        watch = stack.enter_context(_watched(arguments.threads))
        if not arguments.network:
            stack.enter_context(_without_network())
        from wsi_suite.cli import main as wsi_suite

        words = ["run", str(slide), "--out", str(out), "--device", "cpu"]
        try:
            wsi_suite([*words, "--keep-tiles" if arguments.keep else "--no-keep-tiles"])
        except SystemExit as end:
            if end.code:
                raise
    print(json.dumps(watch))  # noqa: T201 - for the process that asked


@contextmanager
def _watched(threads: int) -> Iterator[dict[str, dict[str, float]]]:
    """Look at the process' memory every 10 ms, and keep the peak of each part of the run."""
    from wsi_suite.runs import batch, cluster, slide_begin, slide_end

    peaks: dict[str, dict[str, float]] = {}
    now, seconds = ["imports"], [0.0]
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.01):
            memory = _memory()
            for part in (now[0], "whole run"):
                peak = peaks.setdefault(part, dict.fromkeys(memory, 0.0))
                for kind, value in memory.items():
                    peak[kind] = max(peak[kind], value)
            spent, seconds[0] = time.process_time() - seconds[0], time.process_time()
            for part in (now[0], "whole run"):
                peaks[part]["CPU s"] = peaks[part].get("CPU s", 0.0) + spent

    def during(part: str, call: Callable[..., Any], then: str) -> Callable[..., Any]:
        @functools.wraps(call)
        def watched(*given: Any, **options: Any) -> Any:  # noqa: ANN401 - the call's
            now[0] = part
            try:
                return call(*given, **options)
            finally:
                now[0] = then

        return watched

    parts = (
        (slide_begin, "prepare_run", "survey", "blocks"),
        (slide_end, "finish_run", "results", "end"),
        (batch, "open_cluster", "start", "model"),
    )
    with ExitStack() as stack:
        stack.enter_context(patch.object(cluster, "usable_threads", lambda _workers: threads))
        for owner, name, part, then in parts:
            call = during(part, getattr(owner, name), then)
            stack.enter_context(patch.object(owner, name, call))
        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        try:
            yield peaks
        finally:
            over.set()
            watcher.join()


def _memory() -> dict[str, float]:
    """Return the anonymous memory of this process and its pages of files, MiB."""
    kinds = {"RssAnon": "anonymous", "RssFile": "of files"}
    found = {}
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in kinds:
            found[kinds[name]] = int(value.split()[0]) * 1024 / _MIB
    return {**found, "both": sum(found.values())}


@contextmanager
def _without_network() -> Iterator[None]:
    """Have nuclei found where pixels are darker than about them."""
    from torch import Tensor
    from torch.nn.functional import avg_pool2d

    from wsi_suite.detector.detector import Detector
    from wsi_suite.detector.network import NucleusNet

    def look(network: NucleusNet, rgb: Tensor) -> dict[str, Tensor]:
        cell = round(network.spec.cell_px)
        dark = 1 - avg_pool2d(rgb.float().mean(1, keepdim=True), cell) / 255
        heat = avg_pool2d(dark, 5, 1, 2) - avg_pool2d(dark, 25, 1, 12)
        classes = network.kind[-1].out_channels  # of the bundled model
        kind = heat.repeat(1, classes, 1, 1)
        maps = {"heat": 40 * heat, "kind": kind, "offset": heat.new_zeros(1, 2, *heat.shape[2:])}
        return {**maps, "size": heat.new_full(heat.shape, 5.0)}

    with (
        patch.object(Detector, "look", lambda self, rgb: look(self.network, rgb)),
        patch.object(NucleusNet, "look_for_peaks", look),
    ):
        yield


def _slides(folder: Path, sides: tuple[int, int], *, tissue: float, one_level: bool) -> list[Path]:
    """Make the two slides, unless they are there."""
    from wsi_suite.synthetic import make_slide

    folder.mkdir(parents=True, exist_ok=True)
    small, large = (folder / f"{side}-{tissue:g}.tif" for side in sides)
    if not small.exists():
        make_slide(small, width=sides[0], height=sides[0], mpp=0.25, tissue_fraction=tissue)
    if not large.exists() and not one_level:
        _surround(small, large, side=sides[1])
    if not one_level:
        return [small, large]
    flat = [slide.with_name(f"one-level-{slide.name}") for slide in (small, large)]
    for slide, side in zip(flat, sides, strict=True):
        if not slide.exists():
            _surround(small, slide, side=side, levels=1)
    return flat


def _surround(small: Path, large: Path, *, side: int, levels: int | None = None) -> None:
    """Put a slide into the middle of glass: its encoded tiles are copied."""
    import numpy as np
    import tifffile
    from imagecodecs import jpeg_encode

    from wsi_suite.files import whole_file

    rng = np.random.default_rng(0)
    with (
        whole_file(large) as partial,
        tifffile.TiffFile(small) as source,
        tifffile.TiffWriter(partial, bigtiff=True) as tiff,
    ):
        corner = (side - source.pages[0].imagewidth) // 2
        for number, page in enumerate(source.pages[:levels]):
            edge, length = page.tilewidth, side // 4**number
            first = corner // (edge * 16) * (16 // 4**number)  # whole tiles of the coarsest level
            across, down = -(-page.imagewidth // edge), -(-page.imagelength // edge)
            noise = rng.normal(_GLASS, 1.2, (4, edge, edge, 3))
            glass = [jpeg_encode(tile, level=90) for tile in noise.round().astype(np.uint8)]
            tiff.write(
                _tiles(page, glass, count=-(-length // edge), at=first, size=(across, down)),
                shape=(length, length, 3),
                dtype=np.uint8,
                tile=(edge, edge),
                photometric="rgb",
                compression="jpeg",
                subfiletype=1 if number else 0,
                description=None if number else _described(page, side),
                software=False,
                metadata=None,
            )


def _tiles(
    page: Any,  # noqa: ANN401 - tifffile's
    glass: list[bytes],
    *,
    count: int,
    at: int,
    size: tuple[int, int],
) -> Iterator[bytes]:
    file = page.parent.filehandle
    for row in range(count):
        for column in range(count):
            x, y = column - at, row - at
            if 0 <= x < size[0] and 0 <= y < size[1]:
                file.seek(page.dataoffsets[y * size[0] + x])
                yield file.read(page.databytecounts[y * size[0] + x])
            else:
                yield glass[(7 * row + column) % len(glass)]


def _described(page: Any, side: int) -> str:  # noqa: ANN401 - tifffile's
    return str(page.description).replace(f"{page.imagewidth}x{page.imagelength}", f"{side}x{side}")


if __name__ == "__main__":
    main()
