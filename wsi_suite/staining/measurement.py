"""How much stain each nucleus holds.

Measured on original pixels, never on normalised ones, under QuPath's names. Either over a mask of
the nucleus, or over a disc about its centre; the names say which, since the two differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wsi_suite.config import MeasureSettings
from wsi_suite.geometry import Points
from wsi_suite.measurements import (
    DISC_DAB,
    DISC_HEMATOXYLIN,
    NUCLEUS_AREA,
    NUCLEUS_DAB,
    NUCLEUS_DAB_HIGHEST,
    NUCLEUS_DAB_SPREAD,
    NUCLEUS_HEMATOXYLIN,
    OUTLINE_RAYS,
)
from wsi_suite.staining.deconvolution import FloatArray, StainVectors, hematoxylin_and_dab
from wsi_suite.staining.masks import Labels, disc_pixels, label_nuclei, locate

NUCLEUS_MEASUREMENTS = (
    NUCLEUS_DAB,
    NUCLEUS_DAB_SPREAD,
    NUCLEUS_DAB_HIGHEST,
    NUCLEUS_HEMATOXYLIN,
    NUCLEUS_AREA,
)
DISC_MEASUREMENTS = (DISC_DAB, DISC_HEMATOXYLIN)


@dataclass(frozen=True)
class Measured:
    """Measurements of N nuclei.

    Attributes
    ----------
    values
        ``(N,)`` float32 each, by QuPath's name of the measurement.
    outline
        ``(N, 16)`` float32, distance from the point to the border of the mask along each ray, in
        pixels of the array, > 0; ``None`` where a disc was measured.
    """

    values: dict[str, FloatArray]
    outline: FloatArray | None


def measure_nuclei(
    rgb: npt.NDArray[np.uint8],
    points_px: Points,
    *,
    mpp: tuple[float, float],
    stains: StainVectors,
    settings: MeasureSettings,
) -> Measured:
    """Measure the stain in each nucleus.

    Neighbours shape a mask, so the array should reach :func:`halo_um` beyond the nuclei that are
    wanted, and `points_px` should name all nuclei in it. Then the result for a nucleus does not
    depend on how a slide is cut into arrays.

    Parameters
    ----------
    rgb
        ``(H, W, 3)`` original pixels.
    points_px
        ``(N, 2)`` points in pixels of the array, inside it.
    mpp
        um per pixel, x and y.
    stains
        The vectors and the background.
    settings
        The method and its lengths.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> rgb, truth = ws.make_tile(200, mpp=0.5)
    >>> measured = ws.measure_nuclei(
    ...     rgb,
    ...     truth.nuclei.points,
    ...     mpp=(0.5, 0.5),
    ...     stains=ws.StainVectors(),
    ...     settings=ws.Settings().measure,
    ... )
    >>> list(measured.values)[:2]
    ['Nucleus: DAB OD mean', 'Nucleus: DAB OD std dev']
    >>> measured.values["Nucleus: DAB OD mean"].shape, measured.outline.shape
    ((140,), (140, 16))
    """
    names = NUCLEUS_MEASUREMENTS if settings.method == "nucleus" else DISC_MEASUREMENTS
    if len(points_px) == 0:
        outline = np.zeros((0, OUTLINE_RAYS), np.float32) if settings.method == "nucleus" else None
        return Measured({name: np.zeros(0, np.float32) for name in names}, outline)
    assert points_px.min() >= 0, "points lie inside the array"
    assert (points_px <= [rgb.shape[1], rgb.shape[0]]).all(), "points lie inside the array"
    hematoxylin, dab = hematoxylin_and_dab(rgb, stains)
    if settings.method == "disc":
        values = _measure_discs(
            hematoxylin, dab, points_px, mpp=mpp, radius_um=settings.disc_radius_um
        )
        return Measured(dict(zip(names, values, strict=True)), outline=None)
    labels = label_nuclei(
        hematoxylin + dab, points_px, mpp=mpp, max_radius_um=settings.max_radius_um
    )
    cells, _ = locate(points_px, shape=rgb.shape)
    owner = labels[cells[:, 1], cells[:, 0]]  # of two points in one pixel, both have one mask
    values = _measure_masks(
        hematoxylin, dab, labels, pixel_um2=mpp[0] * mpp[1], count=len(points_px)
    )
    return Measured(
        {name: column[owner] for name, column in zip(names, values, strict=True)},
        outline=_cast_rays(
            labels, points_px, owner=owner, reach_px=settings.max_radius_um / min(mpp)
        ),
    )


def halo_um(settings: MeasureSettings) -> float:
    """Return the margin around a tile that measurements need, in um."""
    if settings.method == "disc":
        return settings.disc_radius_um
    # Its own reach, that of a neighbour that competes for its pixels, and the latter's background;
    # then the blur and a margin for the chain of neighbours in the watershed.
    return 3 * settings.max_radius_um + 2.0


def _measure_masks(
    hematoxylin: FloatArray, dab: FloatArray, labels: Labels, *, pixel_um2: float, count: int
) -> tuple[FloatArray, ...]:
    """Return the columns of :data:`NUCLEUS_MEASUREMENTS`, each with a row for label 0 in front."""
    at = np.flatnonzero(labels != 0)
    owner = labels.ravel()[at]
    brown = dab.ravel()[at].astype(np.float64)
    pixels = np.bincount(owner, minlength=count + 1)
    share = 1 / pixels.clip(1)
    mean, blue = (
        np.bincount(owner, amounts, minlength=count + 1) * share
        for amounts in (brown, hematoxylin.ravel()[at])
    )
    squares = np.bincount(owner, (brown - mean[owner]) ** 2, minlength=count + 1)
    # Of a sample, as QuPath has it; one pixel has no spread.
    variance = np.where(pixels > 1, squares / (pixels - 1).clip(1), np.nan)
    highest = np.where(pixels > 0, -np.inf, np.nan)
    np.maximum.at(highest, owner, brown)
    columns = (mean, np.sqrt(variance), highest, blue, pixels * pixel_um2)
    return tuple(column.astype(np.float32) for column in columns)


def _measure_discs(
    hematoxylin: FloatArray,
    dab: FloatArray,
    points_px: Points,
    *,
    mpp: tuple[float, float],
    radius_um: float,
) -> tuple[FloatArray, ...]:
    """Return the columns of :data:`DISC_MEASUREMENTS`.

    Pixels count whose centres lie within the radius, and the one that holds the point.
    """
    owner, cols, rows, _ = disc_pixels(points_px, shape=dab.shape, mpp=mpp, radius_um=radius_um)
    pixels = np.bincount(owner)
    return tuple(
        (np.bincount(owner, stain[rows, cols]) / pixels).astype(np.float32)
        for stain in (dab, hematoxylin)
    )


def _cast_rays(
    labels: Labels, points_px: Points, *, owner: npt.NDArray[np.int32], reach_px: float
) -> FloatArray:
    """Return how much of each ray lies in the mask, smoothed over neighbouring rays."""
    step_px = 0.5
    radii = (np.arange(math.ceil(reach_px / step_px)) + 0.5) * step_px
    angles = 2 * np.pi * np.arange(OUTLINE_RAYS) / OUTLINE_RAYS
    cells, offset = locate(points_px, shape=labels.shape)
    # With a frame that is nobody's, no ray leaves the array.
    frame = math.ceil(reach_px) + 1
    framed = np.pad(labels, frame, constant_values=-1)
    width = framed.shape[1]
    here = ((cells[:, 1] + frame) * width + cells[:, 0] + frame)[:, None]
    lengths = np.zeros((len(points_px), OUTLINE_RAYS), np.float32)
    for ray, direction in enumerate(np.round(np.exp(1j * angles), 9)):
        steps = np.floor(offset[:, 1:] + direction.imag * radii) * width
        steps += np.floor(offset[:, :1] + direction.real * radii)
        hit = framed.ravel()[here + steps.astype(np.int64)] == owner[:, None]
        lengths[:, ray] = np.count_nonzero(hit, axis=1) * step_px
    smooth = (np.roll(lengths, 1, axis=1) + 2 * lengths + np.roll(lengths, -1, axis=1)) / 4
    return np.maximum(smooth, step_px)
