"""Rectangles that cover tissue such that a detector computes the fewest pixels.

A detector is shown each rectangle with a halo, and all pixels that it is shown cost the same: glass
in the rectangle, too, and the halo, which is computed twice next to another rectangle. Few large
rectangles are best where tissue is dense, and more where it is bent or thin.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, product

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
Bounds = tuple[int, int, int, int]
"""Top, left, bottom and right in cells, half-open."""

_NEVER = np.iinfo(np.int64).max // 8


@dataclass(frozen=True)
class Cost:
    """What determines the pixels of a rectangle of cells.

    Attributes
    ----------
    cell_px, halo_px
        Side of a cell, and what is shown around a rectangle.
    most_px
        Most pixels of a rectangle with its halo; a single cell is never refused.
    """

    cell_px: int
    halo_px: int
    most_px: int


def rectangles(cells: BoolArray, cost: Cost) -> Iterator[Bounds]:
    """Yield rectangles that cover all cells that are set; they do not overlap.

    A full rectangle is cut into pieces of about one size. Another one is cut in two where that
    saves most, and its parts are looked at in the same way.

    Parameters
    ----------
    cells
        ``(rows, cols)``.
    cost
        Of a rectangle.
    """
    rows, cols = np.flatnonzero(cells.any(axis=1)), np.flatnonzero(cells.any(axis=0))
    if not len(rows):
        return
    top, left = int(rows[0]), int(cols[0])
    part = cells[top : int(rows[-1]) + 1, left : int(cols[-1]) + 1]
    full = _full_rectangles(max(part.shape), cost)
    pieces = full.pieces(*part.shape) if part.all() else _halves(part, full, cost)
    for a, b, c, d in pieces:
        whole = len(pieces) == 1 or part.all()
        for e, f, g, h in [(0, 0, c - a, d - b)] if whole else rectangles(part[a:c, b:d], cost):
            yield top + a + e, left + b + f, top + a + g, left + b + h


def _halves(part: BoolArray, full: _FullRectangles, cost: Cost) -> list[Bounds]:
    """Return the two parts of the best cut, or the whole if it costs no more."""
    height, width = part.shape
    whole = int(_prices(height, width, cost))
    down, across = _cuts(part, full.prices), _cuts(part.T, full.prices)
    row, col = int(down.argmin()), int(across.argmin())  # 0: no cut
    if whole <= min(down[row], across[col]):
        return [(0, 0, height, width)]
    if down[row] <= across[col]:
        return [(0, 0, row, width), (row, 0, height, width)]
    return [(0, 0, height, col), (0, col, height, width)]


def _cuts(part: BoolArray, prices: IntArray) -> IntArray:
    """Return the price of both sides of a cut above each row; prices are symmetric."""
    above, below = _growing(part)[:-1], _growing(part[::-1])[:-1][::-1]
    both = prices[tuple(above.T)] + prices[tuple(below.T)]
    return np.concatenate([[_NEVER], both])


def _growing(part: BoolArray) -> IntArray:
    """Return height and width of the bounds of the first row, of the first two, and so on.

    The first row is not empty.
    """
    height, width = part.shape
    used = part.any(axis=1)
    first = np.where(used, part.argmax(axis=1), width)
    end = np.where(used, width - part[:, ::-1].argmax(axis=1), 0)
    heights = np.maximum.accumulate(np.where(used, np.arange(1, height + 1), 0))
    widths = np.maximum.accumulate(end) - np.minimum.accumulate(first)
    return np.stack([heights, widths], axis=1)


@dataclass(frozen=True, eq=False)
class _FullRectangles:
    """How full rectangles are cut best, by their rows and columns.

    Attributes
    ----------
    prices
        Pixels of their pieces.
    divisions
        Rows and columns of pieces, ``(side + 1, side + 1, 2)``.
    """

    prices: IntArray
    divisions: IntArray

    def pieces(self, rows: int, cols: int) -> list[Bounds]:
        """Cut a full rectangle."""
        tops, lefts = (
            [number * size // count for number in range(count + 1)]
            for size, count in zip((rows, cols), self.divisions[rows, cols].tolist(), strict=True)
        )
        return [(a, b, c, d) for a, c in pairwise(tops) for b, d in pairwise(lefts)]


@lru_cache(maxsize=64)
def _full_rectangles(side: int, cost: Cost) -> _FullRectangles:
    """Return how rectangles of up to `side` rows and columns are cut best."""
    rows, cols = np.mgrid[: side + 1, : side + 1]
    prices = np.where(rows * cols > 0, _NEVER, 0)
    divisions = np.ones((side + 1, side + 1, 2), np.int64)
    for down, across in product(range(1, side + 1), repeat=2):
        fits = _prices(-(-rows // down), -(-cols // across), cost) < _NEVER
        price = (rows * cost.cell_px + 2 * cost.halo_px * down) * (
            cols * cost.cell_px + 2 * cost.halo_px * across
        )
        better = fits & (down <= rows) & (across <= cols) & (price < prices)
        prices[better], divisions[better] = price[better], (down, across)
    return _FullRectangles(prices, divisions)


def _prices(rows: int | IntArray, cols: int | IntArray, cost: Cost) -> IntArray:
    """Return the pixels of rectangles with their halo, ``_NEVER`` if they are too large."""
    height, width = rows * cost.cell_px + 2 * cost.halo_px, cols * cost.cell_px + 2 * cost.halo_px
    allowed = (height * width <= cost.most_px) | ((rows == 1) & (cols == 1))
    return np.where(allowed, height * width, _NEVER)
