"""Where a slide was written on with a marker pen.

Pens in the colours of a stain, such as brown, pink or violet, cannot be told from it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wsi_suite.geometry import Scale
from wsi_suite.slides.mask_shapes import close, grow, large, touching
from wsi_suite.slides.overview_density import FloatArray, OverviewDensity
from wsi_suite.slides.strips import highest, lowest, median_of_counts, strips

Mask = npt.NDArray[np.bool_]

_GREY_SPREAD = 0.15  # stains absorb one channel a third less than another, or more
_MIN_AREA_UM2 = 40_000.0  # a stroke is wider than 0.2 mm and far longer
_GAP_UM = 24.0  # stain below a stroke varies
_MARGIN_UM = 40.0  # its edge is out of focus


def find_ink(density: OverviewDensity, *, mpp: float) -> tuple[Mask, Mask]:
    """Find the area under ink, and areas that may lie under ink too pale to be certain.

    Parameters
    ----------
    density
        Optical densities of ``(H, W)`` pixels.
    mpp
        Micrometres per pixel, about 8.

    Returns
    -------
    ink, pale_ink
        ``(H, W)`` bool each, without common pixels.
    """
    min_px = _MIN_AREA_UM2 / mpp**2
    ink, pale_ink = np.empty(density.shape, np.bool_), np.empty(density.shape, np.bool_)
    usual = _usual_red(density)
    for strip in strips(density.shape):
        part = density.rows(strip.rows)
        ink[strip.rows] = _ink(part, usual_red=usual)
        pale_ink[strip.rows] = _pale_ink(part, usual_red=usual)
    # Where a stroke crosses heavy stain it is told by what it touches.
    strokes = touching(close(ink | pale_ink, radius_px=_GAP_UM / mpp), large(ink, min_px=min_px))
    strokes = grow(strokes, radius_px=_MARGIN_UM / mpp)
    return strokes, large(pale_ink & ~strokes, min_px=min_px)


def ink_warnings(
    *, left_out: Mask, counted: Mask, mpp: tuple[float, float], scale: Scale
) -> tuple[str, ...]:
    """Say how much ink was left out of the tissue, and how much may count as tissue, and where."""
    warnings = []
    if left_out.any():
        warnings.append(
            f"{_extent(left_out, mpp=mpp, scale=scale)} was taken for pen ink and left out of the "
            "tissue: check it on the picture."
        )
    if counted.any():
        warnings.append(
            f"{_extent(counted, mpp=mpp, scale=scale)} has colours that no stain has, as under "
            "pale ink or blood, and counts as tissue: check it, or score regions without it."
        )
    return tuple(warnings)


def _extent(mask: Mask, *, mpp: tuple[float, float], scale: Scale) -> str:
    area_mm2 = np.count_nonzero(mask) * mpp[0] * mpp[1] / 1e6
    rows, columns = np.nonzero(mask)
    left, right = columns.min() * scale.x, (columns.max() + 1) * scale.x
    top, bottom = rows.min() * scale.y, (rows.max() + 1) * scale.y
    return f"{area_mm2:.2f} mm2 (x {left:.0f} - {right:.0f} px, y {top:.0f} - {bottom:.0f} px)"


def _ink(density: FloatArray, *, usual_red: float) -> Mask:
    """Return the pixels that ink colours, on glass and over tissue.

    Hematoxylin, eosin and DAB all absorb green. Blue and green inks let it pass, or absorb red far
    more than tissue does at this resolution. Red ink absorbs green and blue alike, and more than
    blood does. Over tissue the colours mix, so there the slide's own tissue tells what is unusual.
    """
    red, green, blue = density[..., 0], density[..., 1], density[..., 2]
    darkest, brightest = highest(density), lowest(density)
    blue_ink = (red > 0.5) & (red > 1.3 * green) & (blue < 0.45 * red)
    blue_ink |= (red > 0.6) & (red > max(1.1, 1.25 * usual_red) * green)
    green_ink = (red > 0.3) & (green < 0.75 * np.minimum(red, blue))
    red_ink = (green > 0.7) & (blue > 0.7 * green) & (green > 0.8 * blue)
    red_ink &= (red < 0.17 * green) | ((red < 0.5 * usual_red * green) & (blue > 0.8 * green))
    black_ink = (brightest > 0.6) & (darkest - brightest < _GREY_SPREAD * darkest)
    return np.asarray(blue_ink | green_ink | red_ink | black_ink)


def _pale_ink(density: FloatArray, *, usual_red: float) -> Mask:
    """Return the pixels of unusual colour: ink perhaps, or blood, or another dye."""
    red, green, blue = density[..., 0], density[..., 1], density[..., 2]
    bluish = (red > 0.35) & (red > max(1.05, 1.2 * usual_red) * green)
    greenish = (red > 0.2) & (green < 0.85 * np.minimum(red, blue))
    reddish = (green > 0.4) & (red < 0.6 * usual_red * green) & (blue > 0.75 * green)
    return np.asarray(bluish | greenish | (reddish & (green > 0.75 * blue)))


def _usual_red(density: OverviewDensity) -> float:
    """Return the optical density in red over that in green, as it is usual in the tissue.

    Colours of ink are left aside, if much else is stained, so that a wide stroke is not the usual.
    """
    # Counted by the levels of red and green, from which the densities follow.
    all_stained, all_plain = np.zeros(256 * 256, np.int64), np.zeros(256 * 256, np.int64)
    for strip in strips(density.shape):
        part = density.rows(strip.rows)
        red, green, blue = part[..., 0], part[..., 1], part[..., 2]
        stained = green > 0.1
        odd = (red > 0.35) & (red > 1.1 * green)
        odd |= (red < 0.5 * green) & (blue > 0.8 * green) & (blue < 1.25 * green)
        levels = density.rgb[strip.rows].astype(np.int64)
        code = 256 * levels[..., 0] + levels[..., 1]
        all_stained += np.bincount(code[stained], minlength=256 * 256)
        all_plain += np.bincount(code[stained & ~odd], minlength=256 * 256)
    chosen = all_plain if 10 * all_plain.sum() > all_stained.sum() else all_stained
    codes = np.flatnonzero(chosen)
    if not len(codes):
        return 1.0
    ratio = density.table[codes >> 8, 0] / density.table[codes & 255, 1]
    order = np.argsort(ratio)
    return median_of_counts(ratio[order], chosen[codes[order]])
