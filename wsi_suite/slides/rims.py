"""The dark rim of a closed line on a slide, such as an air bubble has: traced, and measured.

A rim is looked for along the normals of a rough contour. Of all lines that go round, the one with
the most density in its palest colour is taken (dynamic programming, as of Amini, Weymouth and Jain,
IEEE Trans. Pattern Anal. Mach. Intell. 12 (1990), 855 - 867), so that single dark nuclei, which lie
here and there, make no rim.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Sampler = Callable[[Floats, Floats], Floats]
"""Returns ``(n, k, 3)`` optical densities at ``(n, k)`` x and y in px of the contour; not a number
outside the slide."""

STEP_UM, ACROSS_UM = 4.0, 2.0  # between points of the contour, and along a normal
_BORDER_UM = 16.0  # from the border of the slide
_SMOOTH_UM = 12.0  # of the contour, which follows pixels
_INSIDE_UM, _OUTSIDE_UM = 40.0, 72.0  # how far from the contour its rim may lie
_BESIDE_UM = (8.0, 64.0)  # from the rim: what it is compared with
_BESIDE_PERCENT = 30  # a wide rim reaches into it
_AGAIN = 12  # points at either end that the search goes over twice, since the line is closed
_DARKEST_OD = 1.2  # darker specks draw the line no further


@dataclass(frozen=True, eq=False)
class Rim:
    """A line that goes round.

    Attributes
    ----------
    outline_px
        ``(n, 2)`` x, y in px of the contour, along the outer edge.
    seen
        ``(n,)``, whether the point lies on the slide, and not at its border.
    added_od
        ``(n, 3)``, optical density in R, G and B less that beside it, on the denser side.
    """

    outline_px: Floats
    seen: npt.NDArray[np.bool_]
    added_od: Floats

    @property
    def length_um(self) -> float:
        """About how long it is."""
        return STEP_UM * len(self.outline_px)

    @property
    def seen_share(self) -> float:
        """Share of the line that lies on the slide."""
        return float(self.seen.mean())

    @property
    def usual_od(self) -> float:
        """Median density of the rim over its surroundings, in the colour in which it is least."""
        return float(np.median(self.added_od[self.seen].min(axis=1))) if self.seen.any() else 0.0

    def dark_share(self, *, added_od: float, grey_spread: float) -> float:
        """Return the share of the visible rim that is denser, and grey, than both its sides.

        Densities add up (Beer and Lambert), so that the hue of the tissue below does not matter.

        Parameters
        ----------
        added_od
            Least density that is added in each colour.
        grey_spread
            Largest difference between colours, as a share of what is added in the densest.
        """
        if not self.seen.any():
            return 0.0
        added = self.added_od[self.seen]
        palest, darkest = added.min(axis=1), added.max(axis=1)
        dark = (palest > added_od) & (darkest - palest < grey_spread * darkest)
        return float(dark.mean())


def trace_rim(contour_px: Floats, sample: Sampler, *, mpp: float) -> Rim:
    """Trace the rim about a contour.

    Parameters
    ----------
    contour_px
        ``(n, 2)`` x, y, closed.
    sample
        Returns densities of the slide.
    mpp
        Micrometres per pixel of the contour.
    """
    points, normals = _even(contour_px, mpp=mpp)
    reach = _INSIDE_UM + _BESIDE_UM[1], _OUTSIDE_UM + _BESIDE_UM[1]
    offsets_um = np.arange(-reach[0], reach[1] + 1, ACROSS_UM, dtype=np.float32)
    places = points[:, None] + normals[:, None] * (offsets_um / mpp)[None, :, None]
    density = sample(places[..., 0], places[..., 1])
    palest = density.min(axis=2)
    first, at_contour = (round(um / ACROSS_UM) for um in (_BESIDE_UM[1], reach[0]))
    searched = slice(first, len(offsets_um) - first)
    at = _line(np.nan_to_num(palest[:, searched], nan=0.0)) + first
    rows = np.arange(len(points))
    # The far side of a small contour is not what lies inside this one.
    area_px = abs(cv2.contourArea(points))
    deepest = -0.8 * mpp * math.sqrt(area_px / np.pi)
    lowest = int(np.searchsorted(offsets_um, deepest))
    near, far = (round(um / ACROSS_UM) for um in _BESIDE_UM)
    steps = np.arange(near, far)
    inside = _beside(density, np.maximum(at[:, None] - steps, lowest))
    outside = _beside(density, at[:, None] + steps)
    added = density[rows, at] - np.maximum(inside, outside)
    # A contour that is cut by the border runs along it.
    margin = at_contour + round(_BORDER_UM / ACROSS_UM)
    seen = np.isfinite(palest[rows, at]) & np.isfinite(palest[:, margin])
    half = outside.min(axis=1) + added.min(axis=1) / 2
    outward = np.take_along_axis(palest, at[:, None] + np.arange(far), axis=1) < half[:, None]
    width = round(float(np.median(outward[seen].argmax(axis=1)))) if seen.any() else 0
    return Rim(places[rows, at + width], seen, added)


def _beside(density: Floats, columns: npt.NDArray[np.int_]) -> Floats:
    """Return the ``(n, 3)`` densities of the paler places beside the rim."""
    beside = np.take_along_axis(density, columns[..., None], axis=1)
    at = beside.shape[1] * _BESIDE_PERCENT // 100
    # What lies outside the slide is not there to compare with: it counts as clear.
    return np.asarray(np.partition(np.nan_to_num(beside, nan=0.0), at, axis=1)[:, at])


def _even(contour_px: Floats, *, mpp: float) -> tuple[Floats, Floats]:
    """Return points of equal distances on the contour, smoothed, and their outward normals."""
    closed = np.concatenate([contour_px, contour_px[:1]])
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    count = max(16, round(along[-1] * mpp / STEP_UM))
    at = np.arange(count) * along[-1] / count
    points = np.stack([np.interp(at, along, closed[:, axis]) for axis in (0, 1)], axis=1)
    sigma = min(_SMOOTH_UM / STEP_UM, count / 12)
    frequency = np.fft.rfftfreq(count)[:, None]
    kept = np.exp(-2 * (np.pi * sigma * frequency) ** 2)
    points = np.fft.irfft(np.fft.rfft(points, axis=0) * kept, n=count, axis=0)
    tangents = np.roll(points, -1, axis=0) - np.roll(points, 1, axis=0)
    x, y = points.T
    turn = np.sign(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) or 1.0
    normals = turn * np.stack([tangents[:, 1], -tangents[:, 0]], axis=1)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    return points.astype(np.float32), normals.astype(np.float32)


def _line(palest: Floats) -> npt.NDArray[np.int_]:
    """Return the column of the densest line in each row; the rows go round."""
    count, width = palest.shape
    again = min(count, _AGAIN)
    worth = np.minimum(palest, _DARKEST_OD)
    rows = np.concatenate([worth[-again:], worth, worth[:again]])
    total = np.full((len(rows), width + 2), -np.inf, np.float32)  # with a place on either side
    total[0, 1:-1] = rows[0]
    for row in range(1, len(rows)):
        before, now = total[row - 1], total[row, 1:-1]
        np.maximum(before[:-2], before[1:-1], out=now)
        np.maximum(now, before[2:], out=now)
        now += rows[row]
    at = np.empty(len(rows), np.int_)
    at[-1] = total[-1].argmax()
    for row in range(len(rows) - 1, 0, -1):
        at[row - 1] = at[row] - 1 + total[row - 1, at[row] - 1 : at[row] + 2].argmax()
    return at[again : again + count] - 1
