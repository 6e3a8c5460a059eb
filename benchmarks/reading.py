"""Reading speed, in million pixels per second of one core, against the limit and other readers.

The limit is what the file system and TurboJPEG, the fastest JPEG decoder, need for the same tiles:
a positioned read and a decode of each, into memory used again, with nothing put together.
Without a slide, one is made.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import openslide
import simplejpeg
import tifffile
from rich.console import Console
from rich.table import Table

from wsi_suite.geometry import Box
from wsi_suite.slides.slide import open_slide

REGION_PX = 512
REGION = (REGION_PX, REGION_PX)
PASSES = 3
MAX_REGIONS = 600

Read = Callable[[Box], object]


def make_slide(path: Path, *, size: int, tile: int) -> None:
    """Write a pyramidal JPEG TIFF (quality 75) that is full of nuclei-like blobs."""
    rng = np.random.default_rng(0)
    blobs = cv2.GaussianBlur(rng.normal(size=(2048, 2048, 3)).astype(np.float32), (0, 0), 6)
    grain = rng.normal(scale=4, size=blobs.shape)
    texture = np.clip(190 + blobs * 900 + grain, 0, 255).astype(np.uint8)
    pixels = np.tile(texture, (size // 2048, size // 2048, 1))
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        for factor in (1, 4, 16):
            level = cv2.resize(
                pixels, (size // factor, size // factor), interpolation=cv2.INTER_AREA
            )
            tif.write(
                level,
                tile=(tile, tile),
                compression="jpeg",
                compressionargs={"level": 75},
                photometric="ycbcr",
                subfiletype=int(factor > 1),
                resolution=(4e4 / factor, 4e4 / factor),
                resolutionunit="CENTIMETER",
                metadata=None,
            )


def raw_decode(path: Path) -> Read:
    """Return a function that reads and decodes the tiles of a box into memory used again."""
    with tifffile.TiffFile(path) as tif:
        page = tif.pages.first
        offsets, counts, tables = page.dataoffsets, page.databytecounts, page.jpegtables
        width, height = page.tilewidth, page.tilelength
        columns = -(-page.imagewidth // width)
        shared = b"" if tables is None else tables[:-2]
    file = os.open(path, os.O_RDONLY)
    room = np.empty(3 * width * height, np.uint8)

    def read(box: Box) -> None:
        for row in range(box.y // height, -(-box.bottom // height)):
            for column in range(box.x // width, -(-box.right // width)):
                index = row * columns + column
                data = os.pread(file, counts[index], offsets[index])
                whole = shared + data[2:] if shared else data
                simplejpeg.decode_jpeg(whole, colorspace="RGB", buffer=room)

    return read


def readers(path: Path) -> dict[str, Read]:
    """Return the readers to compare, each opened."""
    found: dict[str, Read] = {"raw decode (the limit)": raw_decode(path)}
    slide = open_slide(path, mpp=0.25)
    found[f"wsi-suite ({slide.reader})"] = lambda box: slide.read_level(0, box)
    other = openslide.OpenSlide(path)
    found["OpenSlide"] = lambda box: np.asarray(
        other.read_region((box.x, box.y), 0, (box.width, box.height))
    )
    try:
        from tiatoolbox.wsicore.wsireader import WSIReader
    except ImportError:
        return found
    tia = WSIReader.open(path, mpp=(0.25, 0.25))
    found["TIAToolbox"] = lambda box: tia.read_rect(
        (box.x, box.y), (box.width, box.height), resolution=0, units="level"
    )
    return found


def measure(read: Read, passes: list[list[Box]]) -> float:
    """Return million pixels per CPU-second, the best pass; no pass repeats boxes of another."""
    speeds = []
    for boxes in passes:
        start = time.process_time()
        for box in boxes:
            read(box)
        speeds.append(sum(box.area for box in boxes) / (time.process_time() - start) / 1e6)
    return max(speeds)


def passes_of(size: tuple[int, int], *, shift: int) -> list[list[Box]]:
    """Return boxes of 512 x 512 px, each once and row by row, `shift` px off the grid."""
    columns, rows = (side // REGION_PX - 1 for side in size)
    cells = range(min(columns * rows, MAX_REGIONS))
    boxes = [
        Box(cell % columns * REGION_PX + shift, cell // columns * REGION_PX + shift, *REGION)
        for cell in cells
    ]
    return [boxes[n * len(boxes) // PASSES : (n + 1) * len(boxes) // PASSES] for n in range(PASSES)]


def compare(path: Path) -> Table:
    """Measure all readers on one slide."""
    with open_slide(path, mpp=0.25) as slide:
        size, tile = (slide.width, slide.height), slide.levels[0].tile
    grid, off = passes_of(size, shift=0), passes_of(size, shift=100)
    table = Table(
        "reader", "on the grid", "of the limit", "off the grid", "of the limit",
        title=f"Mpx per CPU-second, {REGION_PX} px regions, tiles of {tile}",
    )  # fmt: skip
    limit = 0.0
    again = readers(path)  # opened again: nothing cached from the first measurement
    for name, read in readers(path).items():
        on_grid, off_grid = measure(read, grid), measure(again[name], off)
        limit = limit or on_grid
        table.add_row(
            name, f"{on_grid:.0f}", f"{on_grid / limit:.2f}",
            f"{off_grid:.0f}", f"{off_grid / limit:.2f}",
        )  # fmt: skip
    return table


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slide", nargs="?", type=Path, help="a tiled JPEG TIFF (default: made)")
    parser.add_argument("--size", type=int, default=8192, help="of the made slide, px")
    parser.add_argument("--tile", type=int, default=256, help="of the made slide, px")
    options = parser.parse_args()
    console = Console()
    if options.slide is not None:
        console.print(compare(options.slide))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slide.tif"
        make_slide(path, size=options.size, tile=options.tile)
        console.print(compare(path))


if __name__ == "__main__":
    main()
