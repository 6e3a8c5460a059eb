"""Comparing the direct decode of a level with a reader that is known to be right."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from wsi_suite.geometry import Box
from wsi_suite.slides.reader import Pixels
from wsi_suite.slides.tiff_index import TiledPage

_PROBE_PX = 256

Read = Callable[[Box], Pixels]


def is_same(page: TiledPage, *, ours: Read, theirs: Read, exact: bool) -> bool:
    """Return whether two ways to read a level agree on the tiles most likely to differ.

    These are the first tile, the last one (which the level's edges cut), the one of most bytes
    and one that is not stored.

    Parameters
    ----------
    page
        The level.
    ours, theirs
        Read a box of it.
    exact
        Whether `theirs` returns pixels as they are stored. Where it shifts them by less than a
        pixel, theirs must lie between the darkest and the brightest neighbour of ours.
    """
    whole = Box(0, 0, page.width, page.height)
    for box in _probes(page):
        if exact or (box.x, box.y) == (0, 0):
            if not np.array_equal(ours(box), theirs(box)):
                return False
            continue
        inner = box.intersect(whole.expand(-1))
        if inner.area and not _is_near(inner, ours=ours, theirs=theirs):
            return False
    return True


def _is_near(box: Box, *, ours: Read, theirs: Read) -> bool:
    around = box.expand(1)
    neighbours, found = ours(around), theirs(box)
    square = np.ones((3, 3), np.uint8)
    rounding = 2
    low = cv2.erode(neighbours, square)[box.within(around)].astype(np.int16) - rounding
    high = cv2.dilate(neighbours, square)[box.within(around)].astype(np.int16) + rounding
    return bool(((found >= low) & (found <= high)).all())


def _probes(page: TiledPage) -> list[Box]:
    """Return a box of at most 256 x 256 px in each tile to look at."""
    counts = np.array(page.counts)
    indices = [0, len(counts) - 1, int(counts.argmax()), int(counts.argmin())]
    width, height = page.tile
    whole = Box(0, 0, page.width, page.height)
    boxes = []
    for index in dict.fromkeys(indices):
        row, column = divmod(index, page.columns)
        tile = Box(column * width, row * height, width, height).intersect(whole)
        x, y = max(tile.x, tile.right - _PROBE_PX), max(tile.y, tile.bottom - _PROBE_PX)
        boxes.append(Box(x, y, tile.right - x, tile.bottom - y))
    return boxes
