"""Where air bubbles lie over tissue, under the cover glass.

The wall of a bubble bends light away from the objective, whatever its colour: mounting media and
glass have a refractive index of about 1.5, air of 1, so that rays beyond 42 degrees to the wall are
reflected, and others leave the aperture. So a bubble has a dark, sharp, grey rim that closes, as
wide as about half the gap under the cover glass (10 um and more), and tissue shows through inside.
HistoQC (Janowczyk et al., JCO Clin. Cancer Inform. 3 (2019), 1 - 7) looks for dark ridges, too,
without asking whether they close; GrandQC (Weng et al., Nat. Commun. 15 (2024), 10685) has air
bubbles as a class of a network.

Thin lines that are darker than both their sides are looked for in the picture that the tissue was
found in, at several contrasts, and what they enclose is looked at. Nuclei about a gland and walls
of vessels enclose as much. They have the hue of stain and gaps, so each enclosed place is looked at
again at 2 um per pixel: its rim must be grey and dark nearly all the way round.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from wsi_suite.geometry import Box
from wsi_suite.slides.rims import Floats, Rim, Sampler, trace_rim
from wsi_suite.slides.slide import Raster, Slide
from wsi_suite.slides.strips import strips
from wsi_suite.slides.tissue import TissueMask

Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.int32]

MPP = 2.0
_COARSEST, _COARSEST_MASK = 2.5, 10.0  # um per pixel
_WIDEST_RIM_UM = 80.0
_CONTRASTS_OD = (0.15, 0.2, 0.3, 0.45)
_GREY_SPREAD_AFAR = 0.6  # over tissue a rim takes some of its hue
_SMALLEST_UM2, _LARGEST_UM2 = 2000.0, 20e6
_FULL = 0.55  # of its bounds that a bubble fills; a circle fills 0.79
_LONGEST = 4.0
_AFAR_OD, _USUAL_AFAR_OD, _AFAR_SHARE = 0.1, 0.3, 0.7
_SHORTEST_UM, _SEEN_SHARE, _DARK_SHARE = 240.0, 0.4, 0.8
_USUAL_OD = 0.55  # of a rim; rings of nuclei full of DAB add up to 0.59, less evenly
_EVEN, _GREY_SPREAD = 0.75, 0.5
_MOST_LOOKED_AT = 1024
_CELL_PX = 512
_FINER = 8  # pixels to a side of one of the mask, in filling an outline


@dataclass(frozen=True, eq=False)
class Bubbles:
    """Air bubbles over a slide's tissue.

    Attributes
    ----------
    mpp
        Micrometres per pixel of the mask.
    covered
        Of the shape of the tissue's mask: tissue under bubbles.
    everywhere
        Of the same shape: all that lies under bubbles, glass too.
    """

    mpp: float
    covered: Mask
    everywhere: Mask


def find_bubbles(slide: Slide, tissue: TissueMask) -> Bubbles | None:
    """Find the air bubbles over the tissue.

    Parameters
    ----------
    slide
        The slide; only surroundings of rims that may be those of bubbles are read.
    tissue
        Its tissue, with the picture that it was found in.

    Returns
    -------
    Bubbles or None
        ``None`` if the slide's pixels, or those of the mask, are too coarse, or if the mask has no
        picture.

    Raises
    ------
    SlideError
        The file is damaged near such a rim.
    """
    raster = slide.raster(MPP)
    mpp = math.sqrt(slide.mpp[0] * tissue.scale.x * slide.mpp[1] * tissue.scale.y)
    if tissue.picture is None or max(raster.mpp) > _COARSEST or mpp > _COARSEST_MASK:
        return None
    covered = np.zeros(tissue.mask.shape, np.uint8)
    near, far = _overview_sampler(tissue), _raster_sampler(raster, tissue)
    likely = []
    for contour in _enclosed(tissue, mpp=mpp):
        afar = trace_rim(contour, near, mpp=mpp)
        if _may_be_rim(afar):
            likely.append((afar.usual_od, contour))
    likely.sort(key=lambda each: -each[0])  # so that the darkest are looked at, if there are many
    for _, contour in likely[:_MOST_LOOKED_AT]:
        if _is_known(contour, covered):
            continue
        rim = trace_rim(contour, far, mpp=mpp)
        if _is_rim(rim):
            _fill(covered, rim.outline_px)
    return Bubbles(mpp, (covered > 0) & tissue.mask, covered > 0)


def _fill(mask: npt.NDArray[np.uint8], outline_px: Floats) -> None:
    """Set the pixels of a mask that lie at least half in an outline.

    OpenCV sets all pixels that a polygon touches, which makes a small bubble a fifth too large, so
    that finer ones are filled and counted.
    """
    rows, columns = mask.shape
    box = _bounds(*outline_px.T).intersect(Box(0, 0, columns, rows))
    if not box.area:
        return
    fine = np.zeros((_FINER * box.height, _FINER * box.width), np.uint8)
    points = _FINER * (outline_px - (box.x, box.y)) - 0.5
    cv2.fillPoly(fine, [np.rint(points).astype(np.int32)], 1)
    filled = fine.reshape(box.height, _FINER, box.width, _FINER).sum(axis=(1, 3))
    mask[box.y : box.bottom, box.x : box.right] |= 2 * filled >= _FINER**2


def _may_be_rim(afar: Rim) -> bool:
    dark_share = afar.dark_share(added_od=_AFAR_OD, grey_spread=_GREY_SPREAD_AFAR)
    return afar.usual_od > _USUAL_AFAR_OD and dark_share > _AFAR_SHARE


def _is_rim(rim: Rim) -> bool:
    if rim.length_um < _SHORTEST_UM or rim.seen_share < _SEEN_SHARE or rim.usual_od < _USUAL_OD:
        return False
    return rim.dark_share(added_od=_EVEN * rim.usual_od, grey_spread=_GREY_SPREAD) > _DARK_SHARE


def _enclosed(tissue: TissueMask, *, mpp: float) -> Iterator[Floats]:
    """Yield contours of the areas inside thin dark lines, x and y in px of the mask.

    Also the hulls of lines, since a rim may have gaps.
    """
    ridge = _ridges(tissue, mpp=mpp)
    for contrast_od in _CONTRASTS_OD:
        line = (ridge >= round(100 * contrast_od)).astype(np.uint8)
        yield from _pieces(1 - line, mpp=mpp, lines=False)
        for points in _pieces(line, mpp=mpp, lines=True):
            hull = np.asarray(cv2.convexHull(points)[:, 0], np.float32)
            if cv2.contourArea(hull) * mpp**2 > _SMALLEST_UM2:
                yield hull


def _pieces(mask: npt.NDArray[np.uint8], *, mpp: float, lines: bool) -> Iterator[Floats]:
    """Yield the contours of pieces that may lie inside a rim, or be one if these are lines."""
    connectivity = 8 if lines else 4
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=connectivity)
    width, height, area_px = (np.maximum(stats[:, each], 1) for each in (2, 3, 4))
    bounds_px = width.astype(np.int64) * height
    full = area_px / bounds_px
    area_um2 = mpp**2 * (bounds_px if lines else area_px)
    fits = (area_um2 > _SMALLEST_UM2) & (area_um2 < _LARGEST_UM2)
    fits &= full < _FULL if lines else full > _FULL
    fits &= np.maximum(width, height) < _LONGEST * np.minimum(width, height)
    fits[0] = False
    for label in np.flatnonzero(fits).tolist():
        left, top, width_px, height_px, _ = stats[label].tolist()
        part = labels[top : top + height_px, left : left + width_px] == label
        padded = np.pad(part, 1).astype(np.uint8)
        contours, _ = cv2.findContours(padded, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        contour = max(contours, key=len)[:, 0].astype(np.float32)
        yield contour + np.array([left - 0.5, top - 0.5], np.float32)


def _ridges(tissue: TissueMask, *, mpp: float) -> npt.NDArray[np.uint8]:
    """Return by how much grey lines are denser than both sides, in hundredths of optical density.

    It is the palest colour's density less its opening with a disc, which no thin line holds. Gaps
    of a pixel are closed.
    """
    assert tissue.picture is not None
    disc = _disc(_WIDEST_RIM_UM / 2 / mpp)
    table = _table(tissue)
    ridge = np.empty(tissue.mask.shape, np.uint8)
    for strip in strips(ridge.shape, halo_px=2 * disc.shape[0] + 2):
        density = _densities(tissue.picture[strip.around], table)
        palest = density.min(axis=2)
        palest = cv2.morphologyEx(palest, cv2.MORPH_CLOSE, np.ones((2, 2), np.uint8))
        line = palest - cv2.morphologyEx(palest, cv2.MORPH_OPEN, disc)
        darkest = density.max(axis=2)
        line[darkest - palest > _GREY_SPREAD_AFAR * darkest] = 0
        ridge[strip.rows] = np.clip(np.rint(100 * line[strip.inner]), 0, 255)
    return ridge


def _is_known(contour: Floats, covered: npt.NDArray[np.uint8]) -> bool:
    x, y = np.floor(contour.mean(axis=0)).astype(int)
    return bool(covered[min(y, covered.shape[0] - 1), min(x, covered.shape[1] - 1)])


def _overview_sampler(tissue: TissueMask) -> Sampler:
    assert tissue.picture is not None
    picture, table = tissue.picture, _table(tissue)
    whole = Box(0, 0, picture.shape[1], picture.shape[0])

    def sample(x: Floats, y: Floats) -> Floats:
        box = _bounds(x, y).intersect(whole)
        part = picture[box.y : box.bottom, box.x : box.right]
        return _sampled(part, x - box.x, y - box.y, table)

    return sample


def _raster_sampler(raster: Raster, tissue: TissueMask) -> Sampler:
    """Return a sampler that reads the slide about the points, cell by cell."""
    table = _table(tissue)
    ratio = (tissue.scale.x / raster.scale.x, tissue.scale.y / raster.scale.y)

    def sample(x: Floats, y: Floats) -> Floats:
        x, y = x * np.float32(ratio[0]), y * np.float32(ratio[1])
        density = np.full((*x.shape, 3), np.nan, np.float32)
        middle = x.shape[1] // 2
        cells = np.stack([x[:, middle] // _CELL_PX, y[:, middle] // _CELL_PX], axis=1).astype(int)
        for cell in np.unique(cells, axis=0):
            rows = (cells == cell).all(axis=1)
            box = _bounds(x[rows], y[rows]).intersect(raster.box)
            if box.area:
                density[rows] = _sampled(raster.read(box), x[rows] - box.x, y[rows] - box.y, table)
        return density

    return sample


def _sampled(rgb: npt.NDArray[np.uint8], x: Floats, y: Floats, table: Floats) -> Floats:
    """Return densities between the pixels' middles; not a number beyond the picture."""
    height, width = rgb.shape[:2]
    if not rgb.size:
        return np.full((*x.shape, 3), np.nan, np.float32)
    density = cv2.remap(
        _densities(rgb, table), x - 0.5, y - 0.5, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    density[(x < 0) | (y < 0) | (x > width) | (y > height)] = np.nan
    return np.asarray(density, np.float32)


def _bounds(x: Floats, y: Floats) -> Box:
    left, top = math.floor(x.min()) - 1, math.floor(y.min()) - 1
    return Box(left, top, math.ceil(x.max()) + 1 - left, math.ceil(y.max()) + 1 - top)


def _table(tissue: TissueMask) -> Floats:
    """Return the optical density of each level of R, G and B, ``(256, 3)``."""
    glass = np.full(3, 255, np.float32) if tissue.glass_rgb is None else tissue.glass_rgb
    levels = np.maximum(np.arange(256, dtype=np.float32), 1)[:, None]
    return np.asarray(np.maximum(-np.log10(levels / glass), 0), np.float32)


def _densities(rgb: npt.NDArray[np.uint8], table: Floats) -> Floats:
    return np.stack([table[:, channel][rgb[..., channel]] for channel in range(3)], axis=-1)


def _disc(radius_px: float) -> npt.NDArray[np.uint8]:
    side = 2 * max(1, round(radius_px)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)
