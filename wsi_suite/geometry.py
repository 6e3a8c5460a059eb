"""Frames, scales and boxes. The only place where coordinates are converted.

Frames
------
level 0
    Pixels of the slide's full resolution from the corner of its bounds, as in QuPath. Points are
    ``(x, y)`` in float64; a pixel's centre is at ``+ 0.5``.
working
    The same origin, in pixels of the resolution at hand (a :class:`Scale` says how many level-0
    pixels one of them spans). A bare ``px`` is a working pixel, ``px0`` a level-0 pixel.

Intervals are half-open everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from shapely.geometry import MultiPolygon

Points = npt.NDArray[np.float64]
"""``(N, 2)`` float64, columns x and y."""


@dataclass(frozen=True)
class Box:
    """A half-open rectangle of whole pixels, ``[x, x + width) x [y, y + height)``.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> box = ws.Box(x=100, y=50, width=400, height=300)
    >>> box.right, box.bottom
    (500, 350)
    >>> box.intersect(ws.Box(0, 0, 200, 200))
    Box(x=100, y=50, width=100, height=150)
    """

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        assert min(self.width, self.height) >= 0, f"negative size: {self}"

    @property
    def right(self) -> int:
        """The first column beyond the box."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """The first row beyond the box."""
        return self.y + self.height

    @property
    def area(self) -> int:
        """Pixels in the box."""
        return self.width * self.height

    def expand(self, margin: int) -> Box:
        """Return the box grown by `margin` pixels on every side."""
        return Box(
            self.x - margin, self.y - margin, self.width + 2 * margin, self.height + 2 * margin
        )

    def intersect(self, other: Box) -> Box:
        """Return the intersection of both boxes; its area is 0 if they are disjoint."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        right, bottom = min(self.right, other.right), min(self.bottom, other.bottom)
        return Box(x, y, max(0, right - x), max(0, bottom - y))

    def contains(self, points: Points) -> npt.NDArray[np.bool_]:
        """Return for each of ``(N, 2)`` points whether it lies inside (half-open)."""
        x, y = points[:, 0], points[:, 1]
        return (x >= self.x) & (x < self.right) & (y >= self.y) & (y < self.bottom)

    def within(self, outer: Box) -> tuple[slice, slice]:
        """Return the ``(rows, columns)`` slices of this box in an array that holds `outer`."""
        y, x = self.y - outer.y, self.x - outer.x
        return slice(y, y + self.height), slice(x, x + self.width)


@dataclass(frozen=True)
class Scale:
    """Level-0 pixels per working pixel, along each axis.

    Examples
    --------
    >>> import numpy as np
    >>> import wsi_suite as ws
    >>> scale = ws.Scale(4.0, 4.0)
    >>> scale.to_level0(np.array([[10.0, 20.0]])).tolist()
    [[40.0, 80.0]]
    >>> scale.box_from_level0(ws.Box(0, 0, 402, 200))
    Box(x=0, y=0, width=101, height=50)
    """

    x: float
    y: float

    def to_level0(self, points: Points) -> Points:
        """Convert ``(N, 2)`` points from working to level-0 pixels."""
        return np.multiply(points, (self.x, self.y), dtype=np.float64)

    def from_level0(self, points: Points) -> Points:
        """Convert ``(N, 2)`` points from level-0 to working pixels."""
        return np.divide(points, (self.x, self.y), dtype=np.float64)

    def box_from_level0(self, box: Box) -> Box:
        """Return the smallest working box that covers a level-0 box."""
        return _cover(box, 1 / self.x, 1 / self.y)


@dataclass(frozen=True)
class Roi:
    """A region that someone drew.

    Attributes
    ----------
    name
        What its author called it, else ``Region 1``, ``Region 2``, ... in the file's order.
    class_name
        QuPath's class of the annotation, or ``None``.
    area
        Its area, holes left out, in level-0 pixels of QuPath's frame.
    locked
        Whether QuPath protects it from changes.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> from shapely.geometry import MultiPolygon, box
    >>> left = ws.Roi("left half", None, MultiPolygon([box(0, 0, 400, 640)]))
    >>> again = ws.rescore("results/B12_ER", rois=[left])
    >>> [region.name for region in again.summary.regions]
    ['left half']
    """

    name: str
    class_name: str | None
    area: MultiPolygon
    locked: bool = False


def snapped_downsample(size0: int, size: int, reported: float) -> float:
    """Return the true downsample of a level along one axis.

    Readers divide sizes that were rounded and report 4.0001952 for 4. The nearest integer is the
    truth wherever it explains the level's size within one pixel (levels are rounded up or down).
    """
    nearest = max(1, round(reported))
    if abs(size0 / nearest - size) <= 1 and abs(reported / nearest - 1) < 0.01:
        return float(nearest)
    return float(reported)


def _cover(box: Box, factor_x: float, factor_y: float) -> Box:
    # 1e-6 of a pixel keeps exact multiples from growing by a rounding error.
    x, y = math.floor(box.x * factor_x + 1e-6), math.floor(box.y * factor_y + 1e-6)
    right = math.ceil(box.right * factor_x - 1e-6)
    bottom = math.ceil(box.bottom * factor_y - 1e-6)
    return Box(x, y, max(0, right - x), max(0, bottom - y))
