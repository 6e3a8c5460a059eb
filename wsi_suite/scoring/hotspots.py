"""Hot-spots: circles that hold the highest share of positive nuclei, or the most nuclei.

As in QuPath's density maps, a grid of places is tried, circles lie wholly inside the scored area,
and they do not overlap. A circle has a fixed area, as there, or a fixed number of nuclei.

The search has two steps. Counts in a grid give an estimate of every circle about a cell that holds
a nucleus. Of the most promising circles the figures are then computed exactly, centre and radius
rounded first, so that whoever counts in the circle that is told finds what is told of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from wsi_suite.geometry import Points
from wsi_suite.scoring.count_grid import (
    CountGrid,
    Floats,
    Integers,
    count_in_discs,
    every_second,
    radii_of_discs,
    row_sums,
)

if TYPE_CHECKING:
    from scipy.spatial import cKDTree
    from shapely.geometry.base import BaseGeometry

_CELLS_PER_RADIUS = 10  # QuPath's density maps are as fine
_CELLS_PER_SMALLEST = 5  # of the circles of N nuclei, the larger ones have more
_SPACING_UM = 5.0  # nuclei hardly lie denser
_BATCH = 256  # circles that are computed exactly at a time


class Circle(NamedTuple):
    """A circle: centre in level-0 pixels (0.01 px), radius in um (0.01 um)."""

    x: float
    y: float
    radius_um: float

    @property
    def area_mm2(self) -> float:
        """Its area."""
        return math.pi * self.radius_um**2 / 1e6


@dataclass(frozen=True)
class Window:
    """Size of a hot-spot: a number of nuclei or, if it is given, an area.

    Attributes
    ----------
    nuclei
        Nuclei in a circle whose radius follows from them.
    area_mm2
        Area of a circle in which the nuclei are counted.
    fewest
        Nuclei that a circle of fixed area holds at least.
    """

    nuclei: int = 500
    area_mm2: float | None = None
    fewest: int = 100

    @property
    def radius_um(self) -> float | None:
        """Radius of a circle of fixed area, to 0.01 um."""
        if self.area_mm2 is None:
            return None
        return round(math.sqrt(self.area_mm2 / math.pi) * 1e3, 2)

    @property
    def least(self) -> int:
        """Nuclei that a hot-spot holds at least."""
        return self.nuclei if self.area_mm2 is None else self.fewest


def find_hot_spots(
    points: Points,
    hot: npt.NDArray[np.bool_] | None,
    *,
    window: Window,
    wanted: int,
    mpp: tuple[float, float],
    inside: BaseGeometry | None,
) -> list[Circle]:
    """Return the hottest circles, the hottest first.

    The first is the hottest of all, each further one the hottest of those that do not overlap those
    before it. Ties go to the circle with more nuclei, then to the upper, then to the left one. The
    order of the points does not matter.

    Parameters
    ----------
    points
        ``(N, 2)`` nuclei that are counted, level-0 pixels.
    hot
        ``(N,)``, whether a nucleus is positive: circles are ranked by the share of those, and hold
        one at least. ``None``: by the density of the nuclei.
    window
        Size of a circle.
    wanted
        How many circles at most.
    mpp
        Um per level-0 pixel, x and y.
    inside
        Area in level-0 pixels that a circle may not leave; ``None``: no bounds.
    """
    from scipy.spatial import cKDTree

    if wanted == 0 or len(points) < window.least or (hot is not None and not hot.any()):
        return []
    order = np.lexsort([points[:, 0], points[:, 1]])  # the tree may depend on the order
    points_um = points[order] * mpp
    weights = np.ones(len(points), np.bool_) if hot is None else hot[order]
    bounds = _Bounds.of(inside, mpp=mpp)
    guesses = _screened(points_um, None if hot is None else weights, window=window, bounds=bounds)
    search = _Search(
        tree=cKDTree(points_um, balanced_tree=False, compact_nodes=False),  # few questions
        hot=None if hot is None else weights,
        window=window,
        mpp=mpp,
        bounds=bounds,
    )
    found: list[Circle] = []
    while len(found) < wanted:
        best = _hottest(guesses, search, taken=found)
        if best is None:
            break
        found.append(best)
    return found


class _Bounds:
    """The area that circles may not leave, in um."""

    def __init__(self, area: BaseGeometry) -> None:
        import shapely

        self.area, self.border = area, area.boundary
        shapely.prepare(self.area)
        shapely.prepare(self.border)

    @classmethod
    def of(cls, area: BaseGeometry | None, *, mpp: tuple[float, float]) -> _Bounds | None:
        import shapely

        return None if area is None else cls(shapely.transform(area, lambda xy: xy * mpp))

    def hold(self, centres: Floats, radius: Floats) -> npt.NDArray[np.bool_]:
        """Return for each circle whether it lies wholly inside."""
        import shapely

        places = shapely.points(centres)
        inside = shapely.contains_xy(self.area, centres[:, 0], centres[:, 1])
        return np.asarray(inside & (shapely.distance(self.border, places) >= radius))


class _Guesses(NamedTuple):
    """Circles with estimated figures, the most promising first: centres and radii in um."""

    centres: Floats
    radius: Floats


@dataclass(frozen=True, eq=False)
class _Search:
    """Points and index from which exact figures are computed."""

    tree: cKDTree
    hot: npt.NDArray[np.bool_] | None
    window: Window
    mpp: tuple[float, float]
    bounds: _Bounds | None

    def radii(self, centres: Floats) -> Floats:
        """Return the radius of each circle, to 0.01 um."""
        fixed = self.window.radius_um
        if fixed is not None:
            return np.full(len(centres), fixed)
        # Halfway to the nucleus that is left out, so that rounding moves none over the border.
        distances, _ = self.tree.query(centres, k=[self.window.nuclei, self.window.nuclei + 1])
        last, after = np.asarray(distances).T
        middle = np.where(np.isfinite(after), (last + after) / 2, last + 0.01)
        return np.asarray(np.ceil(middle * 100) / 100)

    def values(self, centres: Floats, radii: Floats) -> tuple[Floats, Integers]:
        """Return the ranking value and the nuclei of circles; -1 for a circle of no use."""
        members = self.tree.query_ball_point(centres, radii)
        counts = np.array([len(rows) for rows in members], np.int_)
        if self.hot is None:
            values = counts / radii**2
        else:
            hot = np.array([np.count_nonzero(self.hot[rows]) for rows in members])
            values = np.where(hot > 0, hot / np.maximum(counts, 1), -1.0)
        values[counts < self.window.least] = -1.0
        if self.bounds is not None:
            values[~self.bounds.hold(centres, radii)] = -1.0
        return values, counts


def _hottest(guesses: _Guesses, search: _Search, *, taken: Sequence[Circle]) -> Circle | None:
    """Return the hottest of the most promising circles that overlap none of those taken."""
    rows = np.flatnonzero(_apart(guesses.centres, guesses.radius, taken, mpp=search.mpp))
    size = _BATCH
    while len(rows):
        batch, rows = rows[:size], rows[size:]
        places = np.round(guesses.centres[batch] / search.mpp, 2)
        centres = places * search.mpp
        radii = search.radii(centres)
        values, counts = search.values(centres, radii)
        values[~_apart(centres, radii, taken, mpp=search.mpp)] = -1.0
        best = np.lexsort([places[:, 0], places[:, 1], -counts, -values])[0]
        if values[best] >= 0:
            x, y = places[best].tolist()
            return Circle(x, y, float(radii[best]))
        size *= 4
    return None


def _apart(
    centres: Floats, radii: Floats, taken: Sequence[Circle], *, mpp: tuple[float, float]
) -> npt.NDArray[np.bool_]:
    """Return for each circle whether it overlaps none of those taken."""
    apart = np.ones(len(centres), np.bool_)
    for circle in taken:
        x, y = circle.x * mpp[0], circle.y * mpp[1]
        apart &= np.hypot(centres[:, 0] - x, centres[:, 1] - y) >= radii + circle.radius_um
    return apart


def _screened(
    points_um: Floats,
    hot: npt.NDArray[np.bool_] | None,
    *,
    window: Window,
    bounds: _Bounds | None,
) -> _Guesses:
    """Estimate circles about every second cell of a grid where there are nuclei, and order them."""
    grid = _grid(points_um, window=window, bounds=bounds)
    nuclei = grid.counts(points_um)
    rows, columns = every_second(*np.nonzero(nuclei))
    reach = grid.reach(None if bounds is None else bounds.area)[rows, columns]
    sums = row_sums(nuclei)
    if window.radius_um is None:
        radius = radii_of_discs(window.nuclei, sums, rows, columns, reach=reach)
    else:
        radius = np.full(len(rows), window.radius_um / grid.side)
    kept = np.flatnonzero(radius <= reach + 1)  # near the border the exact radius decides
    rows, columns, radius = rows[kept], columns[kept], radius[kept]
    count = count_in_discs(sums, rows, columns, radius)
    if hot is None:
        value = count / radius**2
    else:
        positive = count_in_discs(row_sums(grid.counts(points_um[hot])), rows, columns, radius)
        value = positive / np.maximum(count, 1)
    value = np.where(count < window.least / 2, -1.0, value)  # estimates may be too low
    order = np.argsort(-value, kind="stable")
    order = order[value[order] >= 0]
    return _Guesses(grid.centres(rows[order], columns[order]), radius[order] * grid.side)


def _grid(points_um: Floats, *, window: Window, bounds: _Bounds | None) -> CountGrid:
    """Return a grid over the points and the bounds, as fine as the smallest circles need."""
    low, high = points_um.min(axis=0), points_um.max(axis=0)
    if bounds is not None:
        low = np.minimum(low, bounds.area.bounds[:2])
        high = np.maximum(high, bounds.area.bounds[2:])
    if window.radius_um is not None:
        return CountGrid.over(low, high, side=window.radius_um / _CELLS_PER_RADIUS)
    coarse = CountGrid.over(low, high, side=_SPACING_UM * math.sqrt(window.nuclei))
    densest = coarse.counts(points_um).max() / coarse.side**2
    smallest = math.sqrt(window.nuclei / math.pi / densest)
    return CountGrid.over(low, high, side=smallest / _CELLS_PER_SMALLEST)
