"""Cores of a tissue microarray, found in the tissue mask of a slide.

Cores are round, of one size, and stand in rows and columns. The diameter is that of the round
pieces of tissue that cover the most area. Discs of that size with glass about them are the cores
that tell the grid (``core_lattice.py``); fragments and cores that touch others are then looked for
at the places of the grid. Where less than a tenth of a core is left, it is missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from wsi_suite.errors import SlideError
from wsi_suite.geometry import Points
from wsi_suite.slides.core_lattice import Lattice, Vector, fit_lattice
from wsi_suite.slides.tissue import TissueMask

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

_DIAMETERS_UM = (250.0, 4000.0)  # needles of arrayers take 0.6 to 2 mm, some 0.3 or 3 mm
_ONE_SIZE = 1.3  # largest over smallest diameter of cores taken for equal
_ROUND = 0.75  # share of the smallest circle about a piece that the piece fills
_COARSE_RADIUS_PX = 12.0
_FILLED, _RING_FREE = 0.6, 0.5
_CIRCLE = 1.05  # of the diameter, as QuPath's dearrayer draws cores
_OFF_PLACE = 0.3  # spacings that a fragment may lie off its place
_MISSING = 0.1
_MIN_CORES = 6
_MIN_ON_GRID, _MIN_PRESENT, _MIN_TISSUE = 0.8, 0.4, 0.5


class CoreError(SlideError):
    """A slide shows no grid of cores."""


@dataclass(frozen=True)
class Core:
    """A core that is there.

    Attributes
    ----------
    name
        As QuPath names cores: row ``A``, ``B``, ..., then column, as in ``A-1``.
    x_px0, y_px0
        Centre of its circle, level-0 pixels.
    tissue_share
        Share of a whole core's area that holds tissue, 0 to 1.
    """

    name: str
    x_px0: float
    y_px0: float
    tissue_share: float


@dataclass(frozen=True)
class CoreGrid:
    """Cores of a slide.

    Attributes
    ----------
    rows, columns
        Size of the grid.
    seen
        Rows and columns from the first to the last in which whole cores are seen.
    diameter_um
        Of a core.
    circle_um
        Diameter of the circle that stands for a core: 5 % more, if the cores are not too near.
    spacing_um
        From column to column, and from row to row.
    rotation_degrees
        Of the rows, clockwise on the screen.
    cores
        Those that are there, row by row.
    missing
        Names of the others, row by row.
    outside
        ``(x, y)`` in level-0 pixels of round pieces of tissue of a core's size beside the grid.
    """

    rows: int
    columns: int
    seen: tuple[int, int]
    diameter_um: float
    circle_um: float
    spacing_um: tuple[float, float]
    rotation_degrees: float
    cores: tuple[Core, ...]
    missing: tuple[str, ...]
    outside: tuple[tuple[float, float], ...]


def find_cores(
    tissue: TissueMask,
    *,
    mpp: tuple[float, float],
    rows: int | None = None,
    columns: int | None = None,
    diameter_um: float | None = None,
) -> CoreGrid:
    """Find the grid of a tissue microarray.

    Parameters
    ----------
    tissue
        Mask without a margin, which would join cores.
    mpp
        um per level-0 pixel, x and y.
    rows, columns
        Size of the grid. If it has more than are seen, the last are missing; if it has fewer, those
        with the most cores are taken. By default, as many as are seen.
    diameter_um
        Of a core; by default, as seen.

    Raises
    ------
    CoreError
        There is no grid of cores; the message says what is there instead.
    """
    scale = tissue.scale
    um = math.sqrt(scale.x * mpp[0] * scale.y * mpp[1])
    diameter = _diameter(tissue.mask, um=um) if diameter_um is None else diameter_um / um
    if diameter is None:
        raise CoreError("no round pieces of tissue of 0.25 to 4 mm")
    points = _whole_cores(tissue.mask, radius=diameter / 2)
    least = 1 if rows is not None and columns is not None else _MIN_CORES
    size = f"whole round pieces of tissue of {diameter * um / 1000:.2g} mm in diameter"
    if len(points) < least:
        raise CoreError(f"{len(points)} {size}, fewer than {least}")
    lattice = fit_lattice(points, diameter=diameter, one_row=rows == 1, one_column=columns == 1)
    if lattice is None or lattice.on.mean() < _MIN_ON_GRID:
        raise CoreError(f"{len(points)} {size}, but not in rows and columns at equal distances")
    rows_seen, columns_seen = lattice.nodes[lattice.on].max(axis=0).tolist()
    seen = (rows_seen + 1, columns_seen + 1)
    lattice, shape = _sized(lattice, rows, columns)
    if (shape[0] < 2 and rows is None) or (shape[1] < 2 and columns is None):
        raise CoreError(f"{len(points)} {size}, all in one row or column")
    circle = min(_CIRCLE * diameter, *lattice.spacing)
    found = list(_at_places(tissue.mask, points, lattice, shape, diameter=diameter, circle=circle))
    there = [one for one in found if one.share >= _MISSING]
    _check(tissue.mask, there, shape=shape, circle=circle, given=least == 1)
    centres = scale.to_level0(np.array([one.centre for one in there]))
    beside = scale.to_level0(points[~lattice.on])
    return CoreGrid(
        *shape,
        seen=seen,
        diameter_um=diameter * um,
        circle_um=circle * um,
        spacing_um=(lattice.spacing[0] * um, lattice.spacing[1] * um),
        rotation_degrees=lattice.rotation_degrees,
        cores=tuple(
            Core(one.name, float(x), float(y), min(1.0, one.share))
            for one, (x, y) in zip(there, centres, strict=True)
        ),
        missing=tuple(one.name for one in found if one.share < _MISSING),
        outside=tuple((float(x), float(y)) for x, y in beside),
    )


def core_name(row: int, column: int) -> str:
    """Return the name that QuPath's dearrayer gives to a core, both counted from 0."""
    letters = ""
    row += 1
    while row:
        row, last = divmod(row - 1, 26)
        letters = chr(ord("A") + last) + letters
    return f"{letters}-{column + 1}"


def _diameter(mask: Mask, *, um: float) -> float | None:
    """Return the diameter of the round pieces of one size that cover most, in mask pixels."""
    diameters = np.sort(list(_round_diameters(mask)))
    diameters = diameters[
        (diameters * um >= _DIAMETERS_UM[0]) & (diameters * um <= _DIAMETERS_UM[1])
    ]
    if not len(diameters):
        return None
    covered = np.concatenate([[0], np.cumsum(diameters**2)])
    ends = np.searchsorted(diameters, _ONE_SIZE * diameters, side="right")
    start = int((covered[ends] - covered[:-1]).argmax())
    return float(np.median(diameters[start : ends[start]]))


def _round_diameters(mask: Mask) -> Iterator[float]:
    """Yield the diameters of the round pieces of a mask, holes filled."""
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    for outline in outlines:
        # The outline runs through the centres of pixels: Pick's theorem counts them.
        area = cv2.contourArea(outline) + len(outline) / 2 + 1
        radius = cv2.minEnclosingCircle(outline)[1] + 0.5
        if area >= _ROUND * math.pi * radius**2:
            yield 2 * math.sqrt(area / math.pi)


def _whole_cores(mask: Mask, *, radius: float) -> Points:
    """Return ``(N, 2)`` centres of discs of tissue with glass about them, mask pixels."""
    height, width = mask.shape
    factor = max(1.0, radius / _COARSE_RADIUS_PX)
    size = (max(1, round(width / factor)), max(1, round(height / factor)))
    small: Floats = np.asarray(
        cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32
    )
    coarse = radius / factor
    filled = _mean_within(small, 0, coarse)
    score: Floats = filled - _mean_within(small, 1.15 * coarse, 1.4 * coarse)
    score = np.asarray(cv2.GaussianBlur(score, (0, 0), 1.0), np.float32)
    around = np.ones((2 * round(coarse) + 1,) * 2, np.uint8)
    top = (score >= cv2.dilate(score, around)) & (filled >= _FILLED)
    top &= score >= _FILLED - _RING_FREE
    places = np.argwhere(top)
    places = places[np.argsort(-score[top], kind="stable")]
    kept: list[Vector] = []
    for row, column in places:
        place = np.array([(column + 0.5) * width / size[0], (row + 0.5) * height / size[1]])
        if all(np.hypot(*(place - other)) >= 1.6 * radius for other in kept):
            kept.append(place)
    return np.array([_centred(mask, place, radius=radius) for place in kept]).reshape(-1, 2)


def _mean_within(image: Floats, inner: float, outer: float) -> Floats:
    """Return for each pixel the mean over the ring about it; outside the image is glass."""
    kernel = _ring(inner, outer)
    return np.asarray(
        cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_CONSTANT), np.float32
    )


def _ring(inner: float, outer: float) -> Floats:
    offsets = np.arange(-math.ceil(outer), math.ceil(outer) + 1)
    distance = np.hypot(offsets[:, None], offsets)
    return ((distance <= outer) & (distance >= inner)).astype(np.float32)


def _centred(mask: Mask, place: Vector, *, radius: float) -> Vector:
    """Return the centre of the tissue within a little more than a core about a place."""
    for _ in range(4):
        window, disc = _circle(mask, place, 2.2 * radius)
        y, x = np.nonzero(mask[window] & disc)
        if not len(x):
            break
        place = np.array([x.mean() + window[1].start, y.mean() + window[0].start]) + 0.5
    return place


def _sized(
    lattice: Lattice, rows: int | None, columns: int | None
) -> tuple[Lattice, tuple[int, int]]:
    """Return the lattice cut to a given size, and its size."""
    nodes = lattice.nodes[lattice.on]
    first, shape = [], []
    for axis, given in enumerate((rows, columns)):
        counts = np.bincount(nodes[:, axis])
        wanted = given or len(counts)
        sums = [counts[at : at + wanted].sum() for at in range(max(1, len(counts) - wanted + 1))]
        first.append(int(np.argmax(sums)))
        shape.append(wanted)
    origin = lattice.place(*first)
    moved = lattice.nodes - first
    on = lattice.on & (moved >= 0).all(axis=1) & (moved < shape).all(axis=1)
    return Lattice(origin, lattice.steps, moved, on), (shape[0], shape[1])


@dataclass(frozen=True, eq=False)
class _Found:
    """Candidate at a place of the grid: its centre in mask pixels, and the share of a core."""

    name: str
    centre: Vector
    share: float


def _at_places(
    mask: Mask,
    points: Points,
    lattice: Lattice,
    shape: tuple[int, int],
    *,
    diameter: float,
    circle: float,
) -> Iterator[_Found]:
    """Yield the candidate at each place of the grid, row by row."""
    whole = {
        tuple(node): point
        for node, point in zip(lattice.nodes[lattice.on].tolist(), points[lattice.on], strict=True)
    }
    others = mask.copy()
    for point in points:  # the tissue of a whole core is nobody else's fragment
        window, disc = _circle(mask, point, circle)
        others[window] &= ~disc
    area = math.pi * diameter**2 / 4
    for row, column in np.ndindex(shape):
        name = core_name(row, column)
        if (row, column) in whole:
            centre = whole[row, column]
            window, disc = _circle(mask, centre, circle)
            yield _Found(name, centre, float(np.count_nonzero(mask[window] & disc)) / area)
        else:
            place = lattice.place(row, column)
            reach = _OFF_PLACE * min(lattice.spacing)
            centre, covered = _fragment(others, place, reach=reach, circle=circle)
            yield _Found(name, centre, covered / area)


def _circle(mask: Mask, centre: Vector, diameter: float) -> tuple[tuple[slice, slice], Mask]:
    """Return the window of a mask about a circle, and which of its pixels lie in the circle."""
    window = _window(mask, centre, reach=diameter / 2)
    return window, _distances(window, centre) <= diameter / 2


def _distances(window: tuple[slice, slice], place: Vector) -> npt.NDArray[np.float64]:
    """Return how far the centres of a window's pixels are from a place."""
    rows, columns = window
    y = np.arange(rows.start, rows.stop)[:, None] + 0.5 - place[1]
    x = np.arange(columns.start, columns.stop) + 0.5 - place[0]
    return np.asarray(np.hypot(x, y))


def _window(mask: Mask, place: Vector, *, reach: float) -> tuple[slice, slice]:
    """Return the rows and columns of a mask within reach of a place."""
    size = np.array(mask.shape[::-1])
    low = np.clip(np.floor(place - reach).astype(int), 0, size)
    high = np.clip(np.ceil(place + reach).astype(int), low, size)
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def _fragment(mask: Mask, place: Vector, *, reach: float, circle: float) -> tuple[Vector, float]:
    """Return where near a place a circle holds most tissue, and how many mask pixels."""
    window = _window(mask, place, reach=reach + circle / 2)
    part = mask[window].astype(np.float32)
    if not part.any():
        return place, 0.0
    covered = cv2.filter2D(part, -1, _ring(0, circle / 2), borderType=cv2.BORDER_CONSTANT)
    off = _distances(window, place)
    # Of circles that hold as much, the one nearest to the place.
    score = np.where(off <= reach, covered - 1e-3 * off, -1.0)
    row, column = np.unravel_index(int(score.argmax()), score.shape)
    centre = np.array([column + window[1].start, row + window[0].start]) + 0.5
    return centre, max(0.0, float(covered[row, column]))


def _check(
    mask: Mask, there: list[_Found], *, shape: tuple[int, int], circle: float, given: bool
) -> None:
    """Refuse grids that chance may have made."""
    held = np.zeros_like(mask)
    for one in there:
        window, disc = _circle(mask, one.centre, circle)
        held[window] |= disc
    share = int(np.count_nonzero(mask & held)) / max(1, int(np.count_nonzero(mask)))
    if share < _MIN_TISSUE:
        raise CoreError(f"only {100 * share:.0f} % of the tissue lies in rows and columns")
    if not given and len(there) < _MIN_PRESENT * shape[0] * shape[1]:
        raise CoreError(f"only {len(there)} of {shape[0]} x {shape[1]} places hold a core")
