"""Where a slide was never scanned.

A scanner stores what it scanned on a canvas of one colour, often black, white or grey. The canvas
is neither glass nor tissue. Three signs tell it from them: its colour hardly varies, it reaches
the edge of the picture, and its border is made of horizontal and vertical lines. Glass can be as
even, in drawings or after strong compression. So an even colour that glass could have is canvas
only where another one is the glass that tissue lies on.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from wsi_suite.slides.mask_shapes import touching
from wsi_suite.slides.strips import highest, in_strips, median_colour, strips

Mask = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.uint8]
Colours = npt.NDArray[np.int16]

_BLACK = 12  # black is canvas whatever its shape
_DARK = 80  # what is even and darker is no tissue
_GLASS_MIN_GREY = 150  # what is even and darker is no glass
_GLASS_USUAL_GREY = 210
_GLASS_MAX_CHROMA = 45
_GREY_MAX_CHROMA = 20
_TOLERANCE = 3  # levels about the colour of an area, for what compression leaves
_SAME_GLASS = 6  # levels, about 0.01 of optical density
_MIN_SHARE = 0.01  # of the picture, and of its edge
_MOST_COLOURS = 6
_EVEN_DEVIATION = 1.5  # grey levels, over 3 x 3 pixels
_CONTACT_PX = 7
_LINE_PX = 11
_STRAIGHT_SHARE = 0.5  # 0.7 and more where scanned fields join in stairs, 0.4 in an ellipse


@dataclass(frozen=True, eq=False)
class _Area:
    """Pixels of one colour."""

    mask: Mask
    colour: npt.NDArray[np.int16]  # R, G, B

    @property
    def like_glass(self) -> bool:
        """Whether glass could have the colour."""
        bright = self.colour.mean() >= _GLASS_MIN_GREY
        return bool(bright and np.ptp(self.colour) <= _GLASS_MAX_CHROMA)

    @property
    def like_stain(self) -> bool:
        """Whether tissue could have the colour: hematoxylin, eosin and DAB all absorb green."""
        red, green, blue = self.colour
        if self.colour.max() <= _DARK:
            return False
        return bool(np.ptp(self.colour) > _GREY_MAX_CHROMA and green + 10 <= max(red, blue))

    def differs(self, other: _Area) -> bool:
        """Return whether the colours differ by more than those of two places on glass."""
        return bool(np.abs(self.colour - other.colour).max() > _SAME_GLASS)


def find_canvas(rgb: Pixels) -> Mask:
    """Find where nothing was scanned.

    Parameters
    ----------
    rgb
        ``(H, W, 3)`` pixels of a whole slide, about 8 um each.

    Returns
    -------
    ``(H, W)`` bool
        True on the canvas.
    """
    canvas = in_strips(lambda part: highest(part) <= _BLACK, rgb)
    areas = _even_areas(rgb, besides=canvas)
    for area in areas:
        if not area.like_glass and not area.like_stain and _reaches_the_edge(area.mask):
            canvas |= area.mask
    bright = [area for area in areas if area.like_glass]
    framing = [area for area in bright if _reaches_the_edge(area.mask) and is_straight(area.mask)]
    if framing:
        glass = _glass_among(bright, framing, rgb=rgb, canvas=canvas)
        for area in framing:
            if area.differs(glass) or area.colour.mean() < _GLASS_USUAL_GREY:
                canvas |= area.mask
    return canvas


def without_canvas(rgb: Pixels, canvas: Mask) -> Pixels:
    """Return the picture with canvas and its border in the colour of the nearest scanned pixel.

    Pixels at the border mix both colours, and would be taken for tissue.
    """
    mixed = cv2.dilate(canvas.view(np.uint8), np.ones((3, 3), np.uint8))
    if mixed.all() or not mixed.any():
        return rgb
    labels = cv2.distanceTransformWithLabels(mixed, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)[
        1
    ]
    nearest = np.zeros((labels.max() + 1, 3), np.uint8)
    for strip in strips(rgb.shape):
        scanned = mixed[strip.rows] == 0
        nearest[labels[strip.rows][scanned]] = rgb[strip.rows][scanned]
    filled = np.empty_like(rgb)
    for strip in strips(rgb.shape):
        filled[strip.rows] = nearest[labels[strip.rows]]
    return filled


def _even_areas(rgb: Pixels, *, besides: Mask) -> list[_Area]:
    """Return the areas of the commonest colours among the even pixels, the commonest first."""
    even = in_strips(_is_even, rgb, halo_px=1) & ~besides
    colours, counts = _count_colours(rgb, even)
    areas: list[_Area] = []
    while len(areas) < _MOST_COLOURS and counts.sum() >= _MIN_SHARE * even.size:
        colour = colours[counts.argmax()]
        low, high = colour - _TOLERANCE, colour + _TOLERANCE
        near = _between(rgb, low, high) & ~besides
        core = near & even
        if np.count_nonzero(core) < _MIN_SHARE * core.size:
            break
        even &= ~near
        others = ((colours < low) | (colours > high)).any(axis=1)
        colours, counts = colours[others], counts[others]
        areas.append(_Area(touching(near, core), colour))
    return areas


def _is_even(rgb: Pixels) -> Mask:
    square = np.ones((3, 3), np.uint8)
    return np.asarray(highest(cv2.dilate(rgb, square) - cv2.erode(rgb, square)) <= _TOLERANCE)


def _between(rgb: Pixels, low: Colours, high: Colours) -> Mask:
    """Return where all channels lie between two colours, these included."""
    bounds = tuple(low.tolist()), tuple(high.tolist())
    return in_strips(lambda part: cv2.inRange(part, *bounds) > 0, rgb)


def _count_colours(rgb: Pixels, where: Mask) -> tuple[Colours, npt.NDArray[np.int64]]:
    """Return the ``(N, 3)`` colours in a mask, ascending, and how often each is there."""
    codes, counts = np.zeros(0, np.int32), np.zeros(0, np.int64)
    for strip in strips(where.shape):
        chosen = rgb[strip.rows][where[strip.rows]].astype(np.int32)
        packed = chosen @ np.array([1 << 16, 1 << 8, 1], np.int32)
        found, times = np.unique(packed, return_counts=True)
        merged, place = np.unique(np.concatenate([codes, found]), return_inverse=True)
        total = np.zeros(len(merged), np.int64)
        np.add.at(total, place, np.concatenate([counts, times]))
        codes, counts = merged, total
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], -1).astype(np.int16), counts


def _glass_among(bright: list[_Area], framing: list[_Area], *, rgb: Pixels, canvas: Mask) -> _Area:
    """Return the area with the longest border to tissue, if possible one that frames nothing."""
    known = np.logical_or.reduce([canvas, *(area.mask for area in bright)])
    uneven = _uneven_glass(rgb, besides=known)
    if uneven is not None:
        known |= uneven.mask
        bright = [*bright, uneven]
    tissue = cv2.morphologyEx((~known).view(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    near = cv2.dilate(tissue, np.ones((_CONTACT_PX, _CONTACT_PX), np.uint8)) > 0

    def contact_px(area: _Area) -> int:
        return int(np.count_nonzero(area.mask & near))

    inner = [area for area in bright if area not in framing and contact_px(area)]
    return max(inner or bright, key=contact_px)


def _uneven_glass(rgb: Pixels, *, besides: Mask) -> _Area | None:
    """Return the glass whose colour varies from place to place, if there is much of it."""
    mask = in_strips(_is_smooth_and_bright, rgb, halo_px=1) & ~besides
    if np.count_nonzero(mask) < _MIN_SHARE * mask.size:
        return None
    area = _Area(mask, median_colour(rgb, mask).astype(np.int16))
    return area if area.like_glass else None


def _is_smooth_and_bright(rgb: Pixels) -> Mask:
    grey = rgb.astype(np.float32).mean(axis=2)
    mean = cv2.blur(grey, (3, 3))
    smooth = cv2.blur(grey * grey, (3, 3)) - mean * mean < _EVEN_DEVIATION**2
    return np.asarray(smooth & (grey >= _GLASS_MIN_GREY))


def _reaches_the_edge(mask: Mask) -> bool:
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return bool(np.count_nonzero(edge) > _MIN_SHARE * edge.size)


def is_straight(mask: Mask) -> bool:
    """Return whether a border is made of horizontal and vertical lines."""
    straight = total = 0
    smooth = cv2.medianBlur(mask.view(np.uint8), 5)  # compression roughens borders
    for turned in (smooth, np.ascontiguousarray(smooth.T)):
        for strip in strips(turned[1:].shape):
            steps = turned[1:][strip.rows] != turned[:-1][strip.rows]
            share = cv2.blur(
                steps.astype(np.float32), (_LINE_PX, 1), borderType=cv2.BORDER_REPLICATE
            )
            straight += int(np.count_nonzero((share > 0.9) & steps))
            total += int(np.count_nonzero(steps))
    return total > 0 and straight >= _STRAIGHT_SHARE * total
