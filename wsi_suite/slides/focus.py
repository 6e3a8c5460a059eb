"""Where tissue is out of focus.

How wide an edge is, is told by how much of its gradient is lost if the picture is blurred once
more: a sharp edge loses most of it, a wide one little (Zhuo and Sim, Defocus map estimation from a
single image, Pattern Recognition 44, 2011, 1852-1858). The ratio does not depend on how strong the
stain is, so that pale tissue is not taken for blurred tissue.

A slide is looked at in samples: one patch in each field of tissue, read at about 1 um per pixel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from wsi_suite.geometry import Box
from wsi_suite.slides.slide import Raster, Slide
from wsi_suite.slides.tissue import TissueMask

Mask = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]

MPP = 1.0
BLURRED_UM = 1.5
"""Standard deviation of the blur from which a field is out of focus. Of 224 sharp patches of real
tiles none reads more than 1.41 um."""

FIELD_UM = 256.0
PATCH_UM = 100.0
_MOST_FIELDS = 4096
_COARSEST = 1.2  # um per pixel: with coarser ones a sharp edge cannot be told from a wide one
_FINE_UM, _COARSE_UM = 1.0, 2.0  # blurs whose gradients are compared
_FAINTEST = 0.003  # optical density per um: below it a gradient is noise
_FEWEST = 0.005  # share of pixels with a gradient, of a patch that can be judged


@dataclass(frozen=True, eq=False)
class Focus:
    """Focus of a slide's tissue.

    Attributes
    ----------
    mpp
        Micrometres per pixel of the patches.
    blurred, judged
        Of the shape of the tissue's mask: tissue of fields out of focus, and of all fields with
        enough contrast to tell.
    sampled_um2
        Area of the tissue in the patches.
    """

    mpp: float
    blurred: Mask
    judged: Mask
    sampled_um2: float


def find_blurred(slide: Slide, tissue: TissueMask) -> Focus | None:
    """Find the fields of tissue that are out of focus.

    Fields are squares of 256 um, or of 512 um and more where tissue would have over 4096 of them.
    The patch of a field is 100 um wide and has its middle in tissue.

    Parameters
    ----------
    slide
        The slide; only patches of it are read.
    tissue
        Its tissue.

    Returns
    -------
    Focus or None
        ``None`` if the slide's pixels are too coarse.

    Raises
    ------
    SlideError
        The file is damaged in a patch.
    """
    raster = slide.raster(MPP)
    mpp = math.sqrt(raster.mpp[0] * raster.mpp[1])
    if mpp > _COARSEST:
        return None
    blurred, judged = np.zeros_like(tissue.mask), np.zeros_like(tissue.mask)
    sampled_px = 0.0
    for field in _fields(tissue, slide):
        box = _patch(field, tissue, raster)
        sampled_px += box.area * _tissue_share(box, tissue, raster)
        blur_um = edge_blur_um(raster.read(box), mpp=mpp)
        if blur_um is not None:
            judged[field] = tissue.mask[field]
            blurred[field] = tissue.mask[field] & (blur_um > BLURRED_UM)
    return Focus(mpp, blurred, judged, sampled_px * mpp**2)


def edge_blur_um(rgb: npt.NDArray[np.uint8], *, mpp: float) -> float | None:
    """Return the standard deviation of the blur of the edges in a picture, um.

    Parameters
    ----------
    rgb
        ``(H, W, 3)`` pixels.
    mpp
        Micrometres per pixel, about 1.

    Returns
    -------
    float or None
        0 for edges as sharp as pixels can show; ``None`` if there are too few edges to tell.
    """
    density = -np.log10(np.maximum(rgb, 1).astype(np.float32) / 255).mean(axis=2)
    fine_px, coarse_px = _FINE_UM / mpp, _COARSE_UM / mpp
    fine, coarse = _gradient2(density, fine_px), _gradient2(density, coarse_px)
    edges = fine > (_FAINTEST * mpp) ** 2
    if np.count_nonzero(edges) < _FEWEST * edges.size:
        return None
    # Blurs add up as squares. The energy of the gradient of a step blurred by s falls as 1 / s, of
    # a dot as 1 / s^4; 1 / s^2 gives the blur of tissue, where both are mixed.
    ratio = float(fine[edges].sum(dtype=np.float64) / coarse[edges].sum(dtype=np.float64))
    if ratio <= 1:
        return math.inf
    return mpp * math.sqrt(max(0.0, (coarse_px**2 - ratio * fine_px**2) / (ratio - 1)))


def _tissue_share(box: Box, tissue: TissueMask, raster: Raster) -> float:
    x, y = raster.scale.x / tissue.scale.x, raster.scale.y / tissue.scale.y
    rows = slice(int(box.y * y), math.ceil(box.bottom * y))
    columns = slice(int(box.x * x), math.ceil(box.right * x))
    return float(tissue.mask[rows, columns].mean())


def _gradient2(density: FloatArray, sigma_px: float) -> FloatArray:
    """Return the squared gradient of a blurred picture, per pixel."""
    smooth = cv2.GaussianBlur(density, (0, 0), sigma_px)
    across = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8)
    down = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8)
    return np.asarray(across * across + down * down)


def _fields(tissue: TissueMask, slide: Slide) -> Iterator[tuple[slice, slice]]:
    """Yield the rows and columns of the mask in each field that holds tissue."""
    mpp = math.sqrt(slide.mpp[0] * tissue.scale.x * slide.mpp[1] * tissue.scale.y)
    side = max(1, round(FIELD_UM / mpp))
    while len(starts := _starts(tissue.mask, side)) > _MOST_FIELDS:
        side *= 2
    for row, column in starts:
        yield slice(row, row + side), slice(column, column + side)


def _starts(mask: Mask, side: int) -> list[tuple[int, int]]:
    rows, columns = np.arange(0, mask.shape[0], side), np.arange(0, mask.shape[1], side)
    any_of = np.logical_or.reduceat
    found = np.argwhere(any_of(any_of(mask, rows, axis=0), columns, axis=1)) * side
    return [(int(row), int(column)) for row, column in found]


def _patch(field: tuple[slice, slice], tissue: TissueMask, raster: Raster) -> Box:
    """Return the patch of a field, about the pixel of tissue that is nearest to its middle."""
    rows, columns = np.nonzero(tissue.mask[field])
    nearest = np.argmin(np.hypot(rows - rows.mean(), columns - columns.mean()))
    x0 = (field[1].start + columns[nearest] + 0.5) * tissue.scale.x
    y0 = (field[0].start + rows[nearest] + 0.5) * tissue.scale.y
    width = min(raster.width, round(PATCH_UM / raster.mpp[0]))
    height = min(raster.height, round(PATCH_UM / raster.mpp[1]))
    x = min(max(0, round(x0 / raster.scale.x) - width // 2), raster.width - width)
    y = min(max(0, round(y0 / raster.scale.y) - height // 2), raster.height - height)
    return Box(x, y, width, height)
