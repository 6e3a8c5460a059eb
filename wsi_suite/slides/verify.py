"""Comparing the pixels of a level with another reader's, and with those of a finer level."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import cv2
import numpy as np

from wsi_suite.errors import DamageError, SlideError
from wsi_suite.geometry import Box
from wsi_suite.slides.reader import Pixels
from wsi_suite.slides.tiff_index import TiffPage

_PROBE_PX = 256

_PATCH_PX = 48
_FINE_PATCH_PX = 768
_GRID = 3
_COLOUR_LIMIT = 20.0
"""How far the mean colours of a patch of 48 px may differ between two levels: compression,
sharpening, decimation and a shift by a few pixels stay far below, another picture does not."""

Read = Callable[[Box], Pixels]


def is_same(page: TiffPage, *, ours: Read, theirs: Read, exact: bool) -> bool:
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
        try:
            if exact or (box.x, box.y) == (0, 0):
                if not np.array_equal(ours(box), theirs(box)):
                    return False
                continue
            inner = box.intersect(whole.expand(-1))
            if inner.area and not _is_near(inner, ours=ours, theirs=theirs):
                return False
        except DamageError:  # damaged tiles say nothing
            continue
    return True


def shows_the_same(coarse: TiffPage, fine: TiffPage, *, read_coarse: Read, read_fine: Read) -> bool:
    """Return whether a level shows the same picture as a finer one, by the colours of patches.

    Patches on tiles that are not stored, or cannot be decoded, say nothing.

    Parameters
    ----------
    coarse, fine
        The levels.
    read_coarse, read_fine
        Read a box of them.
    """
    x, y = fine.width / coarse.width, fine.height / coarse.height
    side = max(4, min(_PATCH_PX, int(_FINE_PATCH_PX / max(x, y))))
    # Means of few pixels are noisy where a level was made by leaving out pixels.
    limit = _COLOUR_LIMIT * max(1.0, 24 / side)
    for box in _patches(coarse, side):
        left, top = round(box.x * x), round(box.y * y)
        right, bottom = round(box.right * x), round(box.bottom * y)
        large = Box(left, top, max(1, right - left), max(1, bottom - top))
        if not (coarse.is_stored(box) and fine.is_stored(large)):
            continue
        try:
            difference = read_coarse(box).mean((0, 1)) - read_fine(large).mean((0, 1))
        except SlideError:
            continue
        if np.abs(difference).max() > limit:
            return False
    return True


def lacks_tiles(coarse: TiffPage, fine: TiffPage) -> bool:
    """Return whether a level misses a tile where a finer one has tiles.

    A scanner leaves out a tile of glass at all levels, so that such a level was not written whole.

    Parameters
    ----------
    coarse, fine
        The levels.
    """
    has_fine = np.array(fine.counts[: fine.rows * fine.columns]).reshape(fine.rows, -1) > 0
    missing = np.array(coarse.counts[: coarse.rows * coarse.columns]) == 0
    factors = fine.width / coarse.width, fine.height / coarse.height
    for row, column in np.argwhere(missing.reshape(coarse.rows, -1)):
        across, down = (
            # Tiles of the finer level wholly below this one.
            slice(ceil(at * side * factor / finer), int((at + 1) * side * factor / finer))
            for at, side, factor, finer in zip(
                (column, row), coarse.tile, factors, fine.tile, strict=True
            )
        )
        if has_fine[down, across].any():
            return True
    return False


def _patches(page: TiffPage, side: int) -> list[Box]:
    """Return squares on a grid over a level, and one in the tile that has the most structure."""
    whole = Box(0, 0, page.width, page.height)
    row, column = divmod(int(np.argmax(page.counts[: page.rows * page.columns])), page.columns)
    middles = [
        (page.width * (2 * n + 1) // (2 * _GRID), page.height * (2 * m + 1) // (2 * _GRID))
        for n in range(_GRID)
        for m in range(_GRID)
    ]
    middles.append((int((column + 0.5) * page.tile[0]), int((row + 0.5) * page.tile[1])))
    squares = [Box(x - side // 2, y - side // 2, side, side).intersect(whole) for x, y in middles]
    return [square for square in squares if square.area]


def _is_near(box: Box, *, ours: Read, theirs: Read) -> bool:
    around = box.expand(1)
    neighbours, found = ours(around), theirs(box)
    square = np.ones((3, 3), np.uint8)
    rounding = 2
    low = cv2.erode(neighbours, square)[box.within(around)].astype(np.int16) - rounding
    high = cv2.dilate(neighbours, square)[box.within(around)].astype(np.int16) + rounding
    return bool(((found >= low) & (found <= high)).all())


def _probes(page: TiffPage) -> list[Box]:
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
