"""Where on a slide there is tissue.

Tissue is what absorbs light where glass does not. The mask is made at one fixed resolution, so that
it depends on the slide alone, in steps that can each be looked at:

1. the colour of the glass is read off the slide itself: bright, smooth, nearly grey;
2. optical density relative to it, slightly smoothed; hysteresis keeps faint parts (hematoxylin
   alone, loose stroma) that touch clear ones;
3. what was never scanned (``canvas.py``) and strokes of a marker pen are taken out;
4. gaps are closed, and pieces that are small (dust) or grey (hairs, shadows, the edge of a cover
   glass) dropped;
5. the mask is grown by a margin.

Pens in the colours of a stain, such as brown, pink or violet, cannot be told from it and stay in.
Ink too pale to be told for certain stays in, too, and is warned of.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from shapely.geometry import MultiPolygon, Polygon, box
from shapely.ops import unary_union

from wsi_suite.config import TissueSettings
from wsi_suite.geometry import Box, Scale
from wsi_suite.slides.canvas import find_canvas, is_straight, without_canvas
from wsi_suite.slides.ink import find_ink, ink_warnings
from wsi_suite.slides.mask_shapes import (
    close,
    count_labels,
    grow,
    label,
    labelled,
    large,
    touching,
)
from wsi_suite.slides.overview_density import OverviewDensity, density_of
from wsi_suite.slides.slide import Raster, Slide
from wsi_suite.slides.strips import (
    highest,
    in_strips,
    lowest,
    median_colour,
    percentile_of_counts,
    strips,
)

Mask = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]

_DEFAULTS = TissueSettings()

# Optical densities at 8 um per pixel: glass stays below 0.015 on all slides looked at, the palest
# tissue (loose stroma, hematoxylin alone) lies at 0.03 to 0.05.
_FAINT_OD = 0.025
_CLEAR_OD = 0.05
_STAINED_OD, _STAINED_SPREAD_OD = 0.1, 0.04  # of a single pixel; dust and shadows are grey
_SPECK_UM2 = 1000.0  # of stain outside the tissue: a smaller speck is dust
_GREY_SPREAD = 0.15  # stains absorb one channel a third less than another, or more
_COLOURED_SHARE = 0.05  # where brown and blue mix, tissue is grey in part
_CLOSE_UM = 24.0
_GLASS_MIN_GREY = 150
_GLASS_MAX_CHROMA = 45
_GLASS_MAX_DEVIATION = 1.5  # grey levels, over 3 x 3 pixels
_GLASS_MIN_SHARE = 0.01
_DARK = 60
_ONE_COLOUR = 0.25  # smallest over largest channel: below it light has one or two colours
_WHITE = 254


@dataclass(frozen=True)
class TissueMask:
    """Where tissue is.

    Attributes
    ----------
    mask
        ``(rows, columns)``, true on tissue; the first pixel stands at the slide's corner.
    scale
        Level-0 pixels per pixel of the mask.
    left_out
        Like `mask`, true where nothing was scanned and under ink: there is no glass to be seen,
        either. ``None``: nowhere.
    warnings
        What everybody who uses the mask should read: ink, and what may be ink.
    ink
        Like `mask`, true on strokes of a marker pen that were left out. ``None``: none were.
    missed
        Like `mask`, true on areas outside that are clearly stained: small pieces, or cells that
        lie apart. ``None``: not looked for.
    picture, glass_rgb
        ``(rows, columns, 3)`` uint8 that the mask was made from, its canvas in the colour of what
        is beside it, and the R, G, B of glass in it. ``None``: not kept.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> with ws.open_slide("slides/B12_ER.svs") as slide:
    ...     tissue = ws.find_tissue(slide)
    >>> tissue.mask.shape
    (20, 25)
    >>> tissue.covers(ws.Box(300, 200, 64, 64))
    True
    >>> tissue.outline().geom_type
    'MultiPolygon'
    """

    mask: Mask
    scale: Scale
    left_out: Mask | None = None
    warnings: tuple[str, ...] = ()
    ink: Mask | None = None
    missed: Mask | None = None
    picture: npt.NDArray[np.uint8] | None = None
    glass_rgb: FloatArray | None = None

    @property
    def area_px0(self) -> float:
        """Area of the tissue in level-0 pixels."""
        return int(np.count_nonzero(self.mask)) * self.scale.x * self.scale.y

    @property
    def glass(self) -> Mask:
        """``(rows, columns)``, true on empty glass."""
        return ~self.mask if self.left_out is None else ~(self.mask | self.left_out)

    def covers(self, box0: Box) -> bool:
        """Return whether there is any tissue in a box of level-0 pixels."""
        rows, columns = self.mask.shape
        if box0.area == 0:
            return False
        part = self.scale.box_from_level0(box0).intersect(Box(0, 0, columns, rows))
        return bool(self.mask[part.y : part.bottom, part.x : part.right].any())

    def outline(self) -> MultiPolygon:
        """Return the border of the tissue, along the mask's pixels, in level-0 px; maybe empty."""
        return outline_of(self.mask, scale=self.scale)


def outline_of(mask: Mask, *, scale: Scale) -> MultiPolygon:
    """Return the border of a mask along its pixels, in level-0 px; maybe empty.

    Parameters
    ----------
    mask
        ``(rows, columns)``; the first pixel stands at the slide's corner.
    scale
        Level-0 pixels per pixel of the mask.
    """
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    # Row by row, starts and ends of its runs alternate.
    rows, starts = np.nonzero(edges == 1)
    _, ends = np.nonzero(edges == -1)
    x, y = scale.x, scale.y
    runs = [
        box(start * x, row * y, end * x, (row + 1) * y)
        for row, start, end in zip(rows, starts, ends, strict=True)
    ]
    merged = unary_union(runs)
    if isinstance(merged, Polygon):
        return MultiPolygon([merged])
    return merged if isinstance(merged, MultiPolygon) else MultiPolygon()


def is_fluorescence(rgb: npt.NDArray[np.uint8]) -> bool:
    """Return whether a picture shows light on black, in single colours, as fluorescence does.

    Brightfield may lie on a black canvas, but what passes glass and tissue has all colours.

    Parameters
    ----------
    rgb
        ``(H, W, 3)``, the whole slide, small.
    """
    canvas = find_canvas(rgb)
    dark = rgb.max(axis=-1) < _DARK
    lit = rgb[~dark & ~canvas]
    if not len(lit):
        return bool(dark.any())
    light = np.maximum(lit - _dark_level(rgb, dark, canvas), 0)
    return bool(np.median(light.min(axis=-1) / np.maximum(light.max(axis=-1), 1)) < _ONE_COLOUR)


def _dark_level(rgb: npt.NDArray[np.uint8], dark: Mask, canvas: Mask) -> FloatArray:
    """Return the R, G, B that a camera reads without light, which add to all colours."""
    read = dark & ~canvas
    if 2 * np.count_nonzero(read) > np.count_nonzero(~canvas):
        return np.asarray(np.median(rgb[read], axis=0), np.float32)
    # Mostly light was scanned. What is dark lies about it: a canvas if its borders are straight.
    if 2 * np.count_nonzero(dark) > dark.size and not is_straight(dark | canvas):
        return np.asarray(np.median(rgb[dark], axis=0), np.float32)
    return np.zeros(3, np.float32)


def find_tissue(slide: Slide, settings: TissueSettings = _DEFAULTS) -> TissueMask:
    """Find the tissue of a slide.

    Parameters
    ----------
    slide
        The slide; it is read in parts, from the level nearest to the mask's resolution.
    settings
        Resolution of the mask, and what to leave out.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> with ws.open_slide("slides/B12_ER.svs") as slide:
    ...     tissue = ws.find_tissue(slide)
    ...     area_mm2 = tissue.area_px0 * slide.mpp[0] * slide.mpp[1] / 1e6
    >>> round(area_mm2, 3)
    0.03
    """
    raster = slide.raster(settings.mpp)
    return tissue_of(raster.read(raster.box), raster, settings)


def tissue_of(
    rgb: npt.NDArray[np.uint8], raster: Raster, settings: TissueSettings = _DEFAULTS
) -> TissueMask:
    """Find the tissue of a slide that has been read.

    Parameters
    ----------
    rgb
        All ``(H, W, 3)`` pixels of `raster`.
    raster
        The slide at `settings.mpp`.
    settings
        Resolution of the mask, and what to leave out.
    """
    mpp = math.sqrt(raster.mpp[0] * raster.mpp[1])
    seen = find_masks(rgb, mpp=mpp, settings=settings)
    mask, left_out, counted = seen.tissue, seen.canvas | seen.ink, seen.pale_ink & seen.tissue
    if settings.whole_slide:
        mask, counted = ~seen.canvas, seen.ink | seen.pale_ink
    warnings = ink_warnings(
        left_out=seen.ink & ~mask, counted=counted, mpp=raster.mpp, scale=raster.scale
    )
    ink = seen.ink if settings.exclude_pen and not settings.whole_slide else None
    missed = _pieces(seen.stained & ~mask, mpp=mpp) & ~(mask | left_out)
    return TissueMask(
        mask, raster.scale, left_out, warnings, ink, missed, seen.picture, seen.glass_rgb
    )


def _pieces(stained: Mask, *, mpp: float) -> Mask:
    """Return the areas that stained pixels fill, closed as tissue is; specks are dropped."""
    return large(close(stained, radius_px=_CLOSE_UM / mpp), min_px=_SPECK_UM2 / mpp**2)


@dataclass(frozen=True, eq=False)
class OverviewMasks:
    """Masks of an overview, each ``(H, W)``.

    Attributes
    ----------
    tissue
        All of an image without any glass; nothing of one of glass alone.
    canvas
        True where nothing was scanned.
    ink, pale_ink
        Strokes of a marker pen, and what may be some.
    stained
        True on single pixels that are clearly stained, in the tissue and outside.
    picture
        ``(H, W, 3)`` uint8, the overview with canvas in the colour of what is beside it.
    glass_rgb
        R, G, B of glass in it.
    """

    tissue: Mask
    canvas: Mask
    ink: Mask
    pale_ink: Mask
    stained: Mask
    picture: npt.NDArray[np.uint8]
    glass_rgb: FloatArray


def find_masks(
    rgb: npt.NDArray[np.uint8], *, mpp: float, settings: TissueSettings = _DEFAULTS
) -> OverviewMasks:
    """Find tissue, canvas and ink in an overview of a slide, or in a field of view.

    Parameters
    ----------
    rgb
        ``(H, W, 3)`` pixels.
    mpp
        Micrometres per pixel, about 8.
    settings
        What to leave out.
    """
    canvas = find_canvas(rgb)
    rgb = without_canvas(rgb, canvas)
    glass = glass_colour(rgb, canvas)
    density = density_of(rgb, glass=glass, left_out=canvas)
    ink, pale_ink = np.zeros_like(canvas), np.zeros_like(canvas)
    if settings.exclude_pen:
        ink, pale_ink = find_ink(density, mpp=mpp)
    left_out = canvas | ink
    density = density.without(ink)
    stained = _stained(density)
    tissue = touching(*_absorbing(density, mpp=mpp))
    tissue = _coloured(tissue & ~left_out, density)
    tissue = close(tissue, radius_px=_CLOSE_UM / mpp)
    # In a small field of view a small piece may be all there is.
    min_area_um2 = min(settings.min_area_um2, 0.1 * tissue.size * mpp**2)
    tissue = large(tissue, min_px=min_area_um2 / mpp**2)
    grown = grow(tissue, radius_px=settings.margin_um / mpp)
    return OverviewMasks(
        grown & ~left_out, canvas, ink & ~canvas, pale_ink & ~canvas, stained, rgb, glass
    )


def _stained(density: OverviewDensity) -> Mask:
    """Return the pixels that are clearly coloured by a stain."""
    stained = np.empty(density.shape, np.bool_)
    for strip in strips(density.shape):
        part = density.rows(strip.rows)
        darkest = highest(part)
        spread = darkest - lowest(part)
        stained[strip.rows] = (darkest > _STAINED_OD) & (spread > _STAINED_SPREAD_OD)
    return stained


def _absorbing(density: OverviewDensity, *, mpp: float) -> tuple[Mask, Mask]:
    """Return the pixels that absorb faintly at least, and those that clearly do.

    The darkest channel shows every stain; a blur of one pixel joins the texture of tissue.
    """
    faint, clear = np.empty(density.shape, np.bool_), np.empty(density.shape, np.bool_)
    blur_px = 8.0 / mpp
    for strip in strips(density.shape, halo_px=math.ceil(4 * blur_px) + 1):
        darkest = cv2.GaussianBlur(highest(density.rows(strip.around)), (0, 0), blur_px)
        faint[strip.rows] = darkest[strip.inner] > _FAINT_OD
        clear[strip.rows] = darkest[strip.inner] > _CLEAR_OD
    return faint, clear


def glass_colour(rgb: npt.NDArray[np.uint8], canvas: Mask | None = None) -> FloatArray:
    """Return the R, G, B of empty glass in an overview of a slide; white where it shows none.

    Glass is smooth, nearly grey, and among the brightest that was scanned.

    Parameters
    ----------
    rgb
        ``(H, W, 3)`` pixels.
    canvas
        ``(H, W)``, true where nothing was scanned.
    """
    scanned = in_strips(lambda part: lowest(part) < _WHITE, rgb)
    if canvas is not None:
        scanned &= ~canvas
    darkest = max(0.9 * _brightest_grey(rgb, scanned), _GLASS_MIN_GREY)
    glass = in_strips(lambda part: _like_glass(part, darkest=darkest), rgb, halo_px=1) & scanned
    # A wide patch: between the cells of loose tissue, single pixels look as even.
    glass = cv2.erode(glass.view(np.uint8), np.ones((3, 3), np.uint8)) > 0
    if np.count_nonzero(glass) <= _GLASS_MIN_SHARE * np.count_nonzero(scanned):
        return np.full(3, 255, np.float32)
    return median_colour(rgb, glass).astype(np.float32)


def _brightest_grey(rgb: npt.NDArray[np.uint8], scanned: Mask) -> float:
    """Return the 99th percentile of the grey of scanned pixels."""
    counts = np.zeros(3 * 255 + 1, np.int64)
    for strip in strips(scanned.shape):
        sums = rgb[strip.rows][scanned[strip.rows]].sum(axis=1, dtype=np.int64)
        counts += np.bincount(sums, minlength=len(counts))
    if not counts.any():
        return 255.0
    greys = np.zeros((len(counts), 3), np.float32)
    greys[:, 0] = np.arange(len(counts))
    return percentile_of_counts(greys.mean(axis=1), counts, 99)


def _like_glass(rgb: npt.NDArray[np.uint8], *, darkest: float) -> Mask:
    """Return the pixels that are bright, nearly grey and as smooth as those about them."""
    grey = rgb.astype(np.float32).mean(axis=2)
    mean = cv2.blur(grey, (3, 3))
    variance = cv2.blur(grey * grey, (3, 3)) - mean * mean
    return np.asarray(
        (grey > darkest)
        & (highest(rgb) - lowest(rgb) < _GLASS_MAX_CHROMA)
        & (variance < _GLASS_MAX_DEVIATION**2)
    )


def _coloured(mask: Mask, density: OverviewDensity) -> Mask:
    """Return the pieces of `mask` that are not grey all over."""
    coloured = np.empty_like(mask)
    for strip in strips(mask.shape):
        part = density.rows(strip.rows)
        darkest = highest(part)
        spread = darkest - lowest(part)
        coloured[strip.rows] = spread > np.maximum(_GREY_SPREAD * darkest, 0.015)
    count, labels = label(mask)
    area = count_labels(labels, np.ones_like(mask), count=count)
    keep = count_labels(labels, coloured, count=count) > _COLOURED_SHARE * area
    keep[0] = False
    return labelled(labels, keep)
