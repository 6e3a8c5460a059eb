"""Counts of nuclei in the cells of a grid and in discs of such cells: fast, exact to a cell."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wsi_suite.scoring.regions import edges_of

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int_]

_MOST_CELLS = 4_000_000
_ROUNDS = 3  # of finding the radius of a disc of N points


@dataclass(frozen=True)
class CountGrid:
    """Square cells of `side` um; the first begins at `left`, `top`."""

    left: float
    top: float
    width: int
    height: int
    side: float

    @classmethod
    def over(cls, low: Floats, high: Floats, *, side: float) -> CountGrid:
        """Return a grid from one corner to the other; its cells are larger if they are too many."""
        extent = high - low
        side = max(side, math.sqrt(extent.prod() / _MOST_CELLS), extent.max() / _MOST_CELLS)
        width, height = (int(length // side) + 1 for length in extent)
        return cls(float(low[0]), float(low[1]), width, height, side)

    def counts(self, points_um: Floats) -> Integers:
        """Return ``(height, width)``, how many of ``(N, 2)`` points lie in each cell."""
        columns = np.minimum((points_um[:, 0] - self.left) // self.side, self.width - 1)
        rows = np.minimum((points_um[:, 1] - self.top) // self.side, self.height - 1)
        cells = (rows * self.width + columns).astype(np.int_)
        return np.bincount(cells, minlength=self.width * self.height).reshape(-1, self.width)

    def centres(self, rows: Integers, columns: Integers) -> Floats:
        """Return ``(M, 2)`` centres of cells, um."""
        x, y = self.left + (columns + 0.5) * self.side, self.top + (rows + 0.5) * self.side
        return np.column_stack([x, y])

    def reach(self, area_um: BaseGeometry | None) -> Floats:
        """Return ``(height, width)``, the distance of each cell from the border, to about a cell.

        Parameters
        ----------
        area_um
            Where the border is, um; beyond the grid everything is outside. ``None``: nowhere.
        """
        import cv2

        if area_um is None:
            return np.full((self.height, self.width), np.inf)
        mask = np.pad(self._mask(area_um), 1).astype(np.uint8)
        distance = cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        # The border lies half a cell before the next centre outside, give or take as much.
        return np.maximum(distance[1:-1, 1:-1].astype(np.float64) - 0.5, 0)

    def _mask(self, area_um: BaseGeometry) -> npt.NDArray[np.bool_]:
        """Return which cells have their centre in an area: an odd number of edges to their left."""
        corner = (self.left, self.top, self.left, self.top)
        x0, y0, x1, y1 = ((edges_of(area_um) - corner) / self.side - 0.5).T
        first = np.clip(np.ceil(y0), 0, self.height).astype(np.int_)
        count = np.clip(np.ceil(y1), 0, self.height).astype(np.int_) - first
        edge = np.repeat(np.arange(len(count)), count)
        rows = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
        slope = ((x1 - x0) / (y1 - y0))[edge]
        columns = np.clip(np.ceil(x0[edge] + (rows - y0[edge]) * slope), 0, self.width)
        turns = rows * (self.width + 1) + columns.astype(np.int_)
        turns = np.bincount(turns, minlength=self.height * (self.width + 1))
        return np.asarray(np.cumsum(turns.reshape(self.height, -1), axis=1)[:, :-1] % 2 == 1)


def every_second(rows: Integers, columns: Integers) -> tuple[Integers, Integers]:
    """Return one cell of each two by two in which there is one of those given."""
    wide = int(columns.max()) // 2 + 1
    pairs = np.unique(rows // 2 * wide + columns // 2)
    return pairs // wide * 2, pairs % wide * 2


def row_sums(counts: Integers) -> npt.NDArray[np.int32]:
    """Return ``(height + 2, width + 1)``, the sum of the cells left of each column.

    The first and the last row are those beyond the grid, without points.
    """
    return np.pad(np.cumsum(counts, axis=1, dtype=np.int32), ((1, 1), (1, 0)))


def count_in_discs(
    sums: npt.NDArray[np.int32], rows: Integers, columns: Integers, radius: Floats
) -> Integers:
    """Return how many points lie in the cells that have their centre in each disc.

    Parameters
    ----------
    sums
        See :func:`row_sums`.
    rows, columns, radius
        ``(M,)`` each: the cell a disc is centred on, and its radius in cells.
    """
    if len(rows) == 0:
        return np.zeros(0, np.int_)
    last, width = sums.shape[0] - 1, sums.shape[1]
    order = np.argsort(-radius, kind="stable")  # the discs that reach a row stand at the front
    falling, row, column = radius[order], rows[order] + 1, columns[order]
    counts, flat = np.zeros(len(rows), np.int_), sums.ravel()
    for step in range(int(falling[0]) + 1):
        part = slice(np.searchsorted(-falling, -step, side="right"))
        half = np.sqrt(falling[part] ** 2 - step**2).astype(np.int_)
        left = np.maximum(column[part] - half, 0)
        right = np.minimum(column[part] + half + 1, width - 1)
        for other in {step, -step}:
            start = np.clip(row[part] + other, 0, last) * width
            counts[part] += flat[start + right] - flat[start + left]
    found = np.empty(len(rows), np.int_)
    found[order] = counts
    return found


def radii_of_discs(
    nuclei: int,
    sums: npt.NDArray[np.int32],
    rows: Integers,
    columns: Integers,
    *,
    reach: Floats,
) -> Floats:
    """Return about each cell the radius, in cells, of a disc of about so many points.

    It is infinite where a disc as large as `reach` holds too few. The density in a disc tells how
    large the next one to try is.

    Parameters
    ----------
    nuclei
        How many points.
    sums, rows, columns
        As for :func:`count_in_discs`.
    reach
        ``(M,)`` distance from the border, in cells.
    """
    farthest = np.minimum(reach + 1, math.hypot(*sums.shape))
    radius = np.minimum(math.sqrt(4 * len(rows) / math.pi * nuclei / sums[:, -1].sum()), farthest)
    for _ in range(_ROUNDS):
        held = count_in_discs(sums, rows, columns, radius)
        factor = np.sqrt(nuclei / np.maximum(held, nuclei / 16))
        radius = np.minimum(np.maximum(radius * factor, 1.0), farthest)
    edge = np.flatnonzero(radius == farthest)
    short = count_in_discs(sums, rows[edge], columns[edge], radius[edge]) < nuclei
    radius[edge[short]] = np.inf
    return radius
