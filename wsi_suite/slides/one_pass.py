"""Reading a whole slide at several resolutions in one pass.

A slide without coarser levels has to be decoded as a whole for a picture of any size. So all that
is wanted of it is made from the same pixels, while they are there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from wsi_suite.geometry import Box
from wsi_suite.slides.reader import Pixels
from wsi_suite.slides.resample import source_box
from wsi_suite.slides.slide import Raster

_CELL_PX = 3072
"""Side of the cells that are decoded at once: whole tiles of 256, 512 and 1024 px."""


def read_whole(rasters: Sequence[Raster]) -> list[Pixels]:
    """Return all ``(H, W, 3)`` pixels of each raster of a slide, as :meth:`Raster.read` does.

    Rasters made from one level share one pass over it; others are read one after another.

    Raises
    ------
    SlideError
        The file is damaged.
    """
    if len({raster.level for raster in rasters}) > 1:
        return [raster.read(raster.box) for raster in rasters]
    pictures = [np.empty((raster.height, raster.width, 3), np.uint8) for raster in rasters]
    for cell in _cells(rasters[0].slide.levels[rasters[0].level].box):
        boxes = [_starting_in(cell, raster) for raster in rasters]
        wanted = [(each, box) for each, box in enumerate(boxes) if box.area]
        if not wanted:
            continue
        sources = [source_box(box, factor=rasters[each].factor) for each, box in wanted]
        around = _around(sources)
        pixels = rasters[0].slide.read_level(rasters[0].level, around)
        for (each, box), source in zip(wanted, sources, strict=True):
            part = rasters[each].shrink(pixels[source.within(around)], box)
            pictures[each][box.within(rasters[each].box)] = part
    return pictures


def _cells(level: Box) -> Iterator[Box]:
    """Cut a level into cells, row by row."""
    for y in range(0, level.height, _CELL_PX):
        for x in range(0, level.width, _CELL_PX):
            yield Box(x, y, _CELL_PX, _CELL_PX)


def _starting_in(cell: Box, raster: Raster) -> Box:
    """Return the working pixels that begin in a cell; each begins in one cell alone."""
    across, down = raster.factor
    x, right = (min(raster.width, math.ceil(edge / across)) for edge in (cell.x, cell.right))
    y, bottom = (min(raster.height, math.ceil(edge / down)) for edge in (cell.y, cell.bottom))
    return Box(x, y, right - x, bottom - y)


def _around(boxes: Sequence[Box]) -> Box:
    x, y = min(box.x for box in boxes), min(box.y for box in boxes)
    right, bottom = max(box.right for box in boxes), max(box.bottom for box in boxes)
    return Box(x, y, right - x, bottom - y)
