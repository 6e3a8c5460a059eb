"""Nucleus masks: a marker-controlled watershed from detected points.

A pixel may belong to a nucleus where its stain, above the background around that nucleus, is half
to double of what lies at the nucleus' centre. The watershed shares such pixels out between the
centres. Every step looks a few micrometres far at most, and sums are of integers, so the mask of
a nucleus is the same however the slide was cut into tiles; nothing is taken from the whole array.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from wsi_suite.geometry import Points

Labels = npt.NDArray[np.int32]

CORE_RADIUS_UM = 1.0
"""A nucleus owns at least this disc about its point, as far as it is nearer than others."""

_BLUR_UM = 0.5
_BACKGROUND_QUANTILE = 0.2  # nuclei fill less than this leaves, even in dense epithelium
_CONTRAST_RANGE = (0.5, 2.0)  # relative to the centre: half height is the edge of a blurred step
_DISTANCE_WEIGHT = 0.3  # contrast that a micrometre away from the centre costs in the watershed
_LEVELS_PER_OD = 10_000


def label_nuclei(
    total_od: npt.NDArray[np.float32],
    points_px: Points,
    *,
    mpp: tuple[float, float],
    max_radius_um: float,
) -> Labels:
    """Return for each pixel the nucleus it belongs to.

    Parameters
    ----------
    total_od
        ``(H, W)``, how much stain of any kind lies in each pixel.
    points_px
        ``(N, 2)`` points inside the array, N > 0.
    mpp
        um per pixel, x and y.
    max_radius_um
        No pixel farther than this from a point belongs to it.

    Returns
    -------
    Labels
        ``(H, W)``: the row of `points_px` plus 1, or 0 outside nuclei. Each point has at least the
        pixel it lies in, unless another one lies in the same pixel.
    """
    from skimage.segmentation import watershed

    density = _smooth(total_od, mpp=mpp)
    core_um = min(CORE_RADIUS_UM, max_radius_um)
    cores, centre = _draw_cores(points_px, density, mpp=mpp, radius_um=core_um)
    distance_um, nearest = _nearest_core(cores, mpp=mpp)
    background = np.zeros(len(points_px) + 1)
    background[1:] = _local_background(density, points_px, mpp=mpp, radius_um=max_radius_um)

    # Only what is near enough to a core is looked at: less than half of the pixels as a rule.
    near = np.flatnonzero(distance_um <= max_radius_um - core_um)
    owner, distance = nearest.ravel()[near], distance_um.ravel()[near]
    contrast = np.maximum(centre - background, 1).astype(np.float32)
    relative = density.ravel()[near] - background.astype(np.float32)[owner]
    relative /= contrast[owner]
    low, high = _CONTRAST_RANGE
    mask, landscape = np.zeros(density.shape, np.uint8), np.zeros(density.shape, np.float32)
    mask.ravel()[near] = (relative >= low) & (relative <= high)
    landscape.ravel()[near] = _DISTANCE_WEIGHT * distance - relative
    labels = watershed(  # type: ignore[no-untyped-call]
        landscape, cores, mask=_without_threads(mask) | (cores > 0)
    )
    return np.asarray(labels, np.int32)


def locate(
    points_px: Points, *, shape: tuple[int, ...]
) -> tuple[npt.NDArray[np.int_], npt.NDArray[np.float64]]:
    """Return ``(N, 2)`` columns and rows of the points' pixels, and the places within these.

    The places are rounded: their last bit would depend on the origin of the array.
    """
    cells = np.clip(np.floor(points_px).astype(int), 0, [shape[1] - 1, shape[0] - 1])
    return cells, np.round(points_px - cells, 6)


def disc_pixels(
    points_px: Points, *, shape: tuple[int, ...], mpp: tuple[float, float], radius_um: float
) -> tuple[npt.NDArray[np.int_], ...]:
    """Return all pixels whose centre lies in a disc about a point, and the point's own pixel.

    Returns
    -------
    owner, cols, rows, squared_um2
        The row of `points_px`, the pixel, and its squared distance, -1 for the point's own pixel;
        in the order of the points. A pixel in several discs comes several times.
    """
    cells, offset = locate(points_px, shape=shape)
    reach_x, reach_y = (math.ceil(radius_um / size + 0.5) for size in mpp)
    dy, dx = (
        steps.reshape(1, -1) for steps in np.mgrid[-reach_y : reach_y + 1, -reach_x : reach_x + 1]
    )
    x_um, y_um = (dx + 0.5 - offset[:, :1]) * mpp[0], (dy + 0.5 - offset[:, 1:]) * mpp[1]
    squared_um2 = np.where((dx == 0) & (dy == 0), -1, x_um**2 + y_um**2)
    cols, rows = cells[:, :1] + dx, cells[:, 1:] + dy
    inside = (cols >= 0) & (cols < shape[1]) & (rows >= 0) & (rows < shape[0])
    found = np.nonzero(inside & (squared_um2 <= radius_um**2))
    return found[0], cols[found], rows[found], squared_um2[found]


def _smooth(total_od: npt.NDArray[np.float32], *, mpp: tuple[float, float]) -> npt.NDArray[np.int_]:
    # In 16 bits OpenCV blurs in fixed point, the same to the bit at every position.
    levels = np.clip(total_od * _LEVELS_PER_OD, 0, 2**16 - 1).astype(np.uint16)
    return np.asarray(cv2.GaussianBlur(levels, (0, 0), _BLUR_UM / mpp[0], sigmaY=_BLUR_UM / mpp[1]))


def _draw_cores(
    points_px: Points,
    density: npt.NDArray[np.int_],
    *,
    mpp: tuple[float, float],
    radius_um: float,
) -> tuple[Labels, npt.NDArray[np.float64]]:
    """Draw the discs, a pixel within several to the nearest point, and return each's mean density.

    Returns
    -------
    cores, centre
        The discs, and by label the mean density in them, 0 where nothing is left of one.
    """
    owner, cols, rows, squared_um2 = disc_pixels(
        points_px, shape=density.shape, mpp=mpp, radius_um=radius_um
    )
    # Written from far to near, so that the nearest stays; a tie goes by the points' places, never
    # by their order, which a caller may change.
    order = np.lexsort((points_px[owner, 0], points_px[owner, 1], -squared_um2))
    cores = np.zeros(density.shape, np.int32)
    cores[rows[order], cols[order]] = owner[order] + 1
    drawn = cores[rows, cols] == owner + 1
    label = owner[drawn] + 1
    total = np.bincount(label, density[rows[drawn], cols[drawn]], minlength=len(points_px) + 1)
    return cores, total / np.bincount(label, minlength=len(total)).clip(1)


def _nearest_core(
    cores: Labels, *, mpp: tuple[float, float]
) -> tuple[npt.NDArray[np.float32], Labels]:
    """Return the distance to the nearest core in um, and which one that is."""
    distance, source = cv2.distanceTransformWithLabels(
        (cores == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    core_of_source = np.zeros(int(source.max()) + 1, np.int32)
    core_of_source[source[cores > 0]] = cores[cores > 0]
    return distance * np.float32(math.sqrt(mpp[0] * mpp[1])), core_of_source[source]


def _local_background(
    density: npt.NDArray[np.int_], points_px: Points, *, mpp: tuple[float, float], radius_um: float
) -> npt.NDArray[np.int_]:
    """Return a low quantile of the density about each point, from one sample a square um."""
    steps = np.arange(-math.floor(radius_um), math.floor(radius_um) + 1)
    dx, dy = (offsets.ravel() for offsets in np.meshgrid(steps, steps))
    near = np.hypot(dx, dy) <= radius_um
    cells, _ = locate(points_px, shape=density.shape)
    cols = cells[:, :1] + np.rint(dx[near] / mpp[0]).astype(int)
    rows = cells[:, 1:] + np.rint(dy[near] / mpp[1]).astype(int)
    samples = density[rows.clip(0, density.shape[0] - 1), cols.clip(0, density.shape[1] - 1)]
    rank = int(_BACKGROUND_QUANTILE * samples.shape[1])
    return np.partition(samples, rank, axis=1)[:, rank]


def _without_threads(mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Remove parts thinner than three pixels: fibres, membranes, rims of neighbours."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, cross), np.bool_)
