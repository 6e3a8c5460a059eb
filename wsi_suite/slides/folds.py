"""Where tissue lies folded on itself.

Light passes a fold through two layers of tissue or more, and their optical densities add up (Beer
and Lambert): all three channels are about twice as dense as in the tissue beside it, so that its
hue stays. A fold is long and narrow. Bands like this are looked for at the resolution of the
tissue's mask, relative to the tissue within 0.3 mm.

Dense tissue, such as epithelium in pale stroma, looks alike from afar. Near by it does not: there
it is the gaps between nuclei that become fewer, while single nuclei are as dense as everywhere. In
a fold the darkest places are darker than those of the tissue beside it, too. So each band is looked
at again at 2 um per pixel.
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

MPP = 2.0
_COARSEST, _COARSEST_MASK = 2.5, 10.0  # um per pixel
_WINDOW_PX = 768
_NEAR_UM = 150.0  # standard deviation of the mean that a place is compared with
_DENSER, _SAME_HUE, _FAINTEST_OD = 1.5, 0.985, 0.15
_PALEST_OD = 0.1  # of tissue about a place: in paler tissue nearly all folds were missed
_USUAL = 1.4  # what is denser does not count as tissue beside a fold
_SHORTEST_UM, _WIDEST_UM, _SMALLEST_UM2, _SLENDER = 150.0, 250.0, 3600.0, 2.0
_MOST_BANDS = 256
_CORE_UM, _GAP_UM, _REACH_UM = 4.0, 16.0, 80.0
_TESTED = ((10, 1.5), (50, 1.5), (99.5, 1.3))  # percentiles of density, and their least ratios
_FEWEST_PX = 100


@dataclass(frozen=True, eq=False)
class Folds:
    """Folds of a slide's tissue.

    Attributes
    ----------
    mpp
        Micrometres per pixel of the mask.
    folded, judged
        Of the shape of the tissue's mask: folds, and tissue in which they could be told.
    """

    mpp: float
    folded: Mask
    judged: Mask


def find_folds(slide: Slide, tissue: TissueMask) -> Folds | None:
    """Find the folds of the tissue.

    Parameters
    ----------
    slide
        The slide; only surroundings of bands that may be folds are read.
    tissue
        Its tissue, with the picture that it was found in.

    Returns
    -------
    Folds or None
        ``None`` if the slide's pixels, or those of the mask, are too coarse, or if the mask has no
        picture.

    Raises
    ------
    SlideError
        The file is damaged near such a band.
    """
    raster = slide.raster(MPP)
    mpp = math.sqrt(slide.mpp[0] * tissue.scale.x * slide.mpp[1] * tissue.scale.y)
    if tissue.picture is None or max(raster.mpp) > _COARSEST or mpp > _COARSEST_MASK:
        return None
    dense, beside, judged = dense_places(tissue, mpp=mpp)
    folded = np.zeros_like(tissue.mask)
    for band, place in _bands(dense, mpp=mpp):
        near = _surroundings(place, tissue.mask.shape, reach_px=math.ceil(_REACH_UM / mpp) + 2)
        inside = np.zeros_like(dense[near])
        top, left = place[0].start - near[0].start, place[1].start - near[1].start
        inside[top : top + band.shape[0], left : left + band.shape[1]] = band
        if _is_double(
            raster, tissue, near, inside=inside, beside=beside[near], glass=_glass(tissue)
        ):
            folded[near] |= inside
    return Folds(mpp, folded & judged, judged)


def dense_places(tissue: TissueMask, *, mpp: float) -> tuple[Mask, Mask, Mask]:
    """Return where tissue is denser than around, in its own hue; as usual; dense enough to tell.

    Parameters
    ----------
    tissue
        The tissue, with its picture.
    mpp
        Micrometres per pixel of it.
    """
    assert tissue.picture is not None
    masks = tuple(np.zeros_like(tissue.mask) for _ in range(3))
    halo = math.ceil(8 * _NEAR_UM / mpp) + 8  # two means, each of four standard deviations
    rows, columns = tissue.mask.shape
    for top in range(0, rows, _WINDOW_PX):
        for left in range(0, columns, _WINDOW_PX):
            core = (slice(top, top + _WINDOW_PX), slice(left, left + _WINDOW_PX))
            if not tissue.mask[core].any():
                continue
            near = _surroundings(core, tissue.mask.shape, reach_px=halo)
            density = _density(tissue.picture[near], _glass(tissue))
            found = _dense(density, tissue.mask[near], mpp=mpp)
            part = (slice(top - near[0].start, None), slice(left - near[1].start, None))
            for whole, window in zip(masks, found, strict=True):
                whole[core] = window[part][:_WINDOW_PX, :_WINDOW_PX]
    dense, usual, judged = masks
    return dense, usual, judged


def _dense(density: FloatArray, mask: Mask, *, mpp: float) -> tuple[Mask, Mask, Mask]:
    smooth = cv2.GaussianBlur(density, (0, 0), 8.0 / mpp)
    stained = mask & (density.max(axis=2) > 0.05)
    sigma_px = _NEAR_UM / mpp
    around = _mean_of(density, stained, sigma_px=sigma_px)
    usual = stained & (smooth.max(axis=2) < _USUAL * around.max(axis=2))
    around = _mean_of(density, usual, sigma_px=sigma_px)
    denser = (smooth / np.maximum(around, 0.02)).min(axis=2) > _DENSER
    lengths = np.linalg.norm(smooth, axis=2) * np.linalg.norm(around, axis=2)
    same_hue = (smooth * around).sum(axis=2) > _SAME_HUE * np.maximum(lengths, 1e-6)
    judged = mask & (around.max(axis=2) > _PALEST_OD)
    dense = denser & same_hue & judged & (smooth.max(axis=2) > _FAINTEST_OD)
    closed = cv2.morphologyEx(dense.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    return closed > 0, usual, judged


def _mean_of(density: FloatArray, mask: Mask, *, sigma_px: float) -> FloatArray:
    """Return the mean density of the pixels of a mask about each pixel."""
    weight = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), sigma_px)
    total = cv2.GaussianBlur(density * mask[..., None], (0, 0), sigma_px)
    return np.asarray(total / np.maximum(weight, 1e-3)[..., None], np.float32)


def _bands(dense: Mask, *, mpp: float) -> Iterator[tuple[Mask, tuple[slice, slice]]]:
    """Yield the long and narrow pieces, the largest first, each in its bounds."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(dense.view(np.uint8))
    by_area = np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable") + 1
    count = 0
    for label in by_area.tolist():
        left, top, width, height, area_px = stats[label].tolist()
        if area_px * mpp**2 < _SMALLEST_UM2 or count == _MOST_BANDS:
            return
        place = (slice(top, top + height), slice(left, left + width))
        band = labels[place] == label
        if _is_long_and_narrow(band, mpp=mpp):
            count += 1
            yield band, place


def _is_long_and_narrow(band: Mask, *, mpp: float) -> bool:
    depth = cv2.distanceTransform(np.pad(band, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    width_um = 2 * mpp * float(np.percentile(depth[band], 90))
    corners = np.argwhere(band).astype(np.float32)
    length_um = mpp * max(cv2.minAreaRect(corners)[1])
    return length_um >= max(_SHORTEST_UM, _SLENDER * width_um) and width_um <= _WIDEST_UM


def _is_double(
    raster: Raster,
    tissue: TissueMask,
    near: tuple[slice, slice],
    *,
    inside: Mask,
    beside: Mask,
    glass: FloatArray,
) -> bool:
    """Return whether a band is denser than tissue beside it, where it is dark and where pale."""
    x, y = tissue.scale.x / raster.scale.x, tissue.scale.y / raster.scale.y
    left, top = round(near[1].start * x), round(near[0].start * y)
    right, bottom = round(near[1].stop * x), round(near[0].stop * y)
    box = Box(left, top, right - left, bottom - top).intersect(raster.box)
    if not box.area:
        return False
    density = _density(raster.read(box), glass)
    mpp = math.sqrt(raster.mpp[0] * raster.mpp[1])
    size = (box.width, box.height)
    band = cv2.resize(inside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    usual = cv2.resize(beside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    core = cv2.erode(band, _disc(_CORE_UM / mpp)) > 0
    ring = cv2.dilate(band, _disc(_REACH_UM / mpp)) > cv2.dilate(band, _disc(_GAP_UM / mpp))
    ring &= usual
    if min(np.count_nonzero(core), np.count_nonzero(ring)) < _FEWEST_PX:
        return False
    shares = [share for share, _ in _TESTED]
    denser = np.percentile(density[core], shares, axis=0) / np.maximum(
        np.percentile(density[ring], shares, axis=0), 0.02
    )
    return bool((denser.min(axis=1) > [ratio for _, ratio in _TESTED]).all())


def _surroundings(
    place: tuple[slice, slice], shape: tuple[int, ...], *, reach_px: int
) -> tuple[slice, slice]:
    rows, columns = (
        slice(max(0, part.start - reach_px), min(length, part.stop + reach_px))
        for part, length in zip(place, shape, strict=False)
    )
    return rows, columns


def _glass(tissue: TissueMask) -> FloatArray:
    return np.full(3, 255, np.float32) if tissue.glass_rgb is None else tissue.glass_rgb


def _density(rgb: npt.NDArray[np.uint8], glass: FloatArray) -> FloatArray:
    return np.asarray(-np.log10(np.maximum(rgb, 1) / glass), np.float32)


def _disc(radius_px: float) -> npt.NDArray[np.uint8]:
    side = 2 * max(1, round(radius_px)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)
