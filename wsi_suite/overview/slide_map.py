"""The whole slide: its thumbnail with tissue, regions and a mark for every nucleus."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageEnhance
from shapely.geometry import MultiPolygon

from wsi_suite.geometry import Points, Roi, Scale
from wsi_suite.overview.style import (
    ARTEFACT,
    GRADE_COLOURS,
    HOT_SPOT,
    INK,
    TISSUE,
    draw_scale_bar,
    draw_tag,
    plain,
    shortened,
    shown_grades,
)

_FINE = 2  # marks are drawn at twice the size and averaged, for smooth edges
_LARGEST_MARK_PX = 12.0
_MARK_OPACITY = 0.85


def draw_slide_map(
    thumbnail: npt.NDArray[np.uint8],
    *,
    scale: Scale,
    mpp: tuple[float, float],
    points: Points,
    grades: npt.NDArray[np.uint8],
    tissue: MultiPolygon | None,
    rois: Sequence[Roi],
    unit: int,
    hot_spots: Sequence[Roi] = (),
    artefacts: Sequence[MultiPolygon] = (),
) -> Image.Image:
    """Return the picture of the whole slide, of the thumbnail's size.

    Parameters
    ----------
    thumbnail
        ``(H, W, 3)`` uint8 RGB.
    scale
        Level-0 pixels per thumbnail pixel.
    mpp
        Um per level-0 pixel, x and y.
    points
        ``(N, 2)`` centres of the nuclei, level-0 pixels.
    grades
        ``(N,)`` uint8, 0 to 3, or 255.
    tissue, rois
        Outlines to draw, level-0 pixels.
    unit
        Height of a line of text in pixels.
    hot_spots
        Outlines to draw in a colour of their own, level-0 pixels.
    artefacts
        Areas to hatch, level-0 pixels.
    """
    # Pale tissue shows what the marks lie on and leaves colour to them.
    pale = ImageEnhance.Color(Image.fromarray(thumbnail)).enhance(0.3)
    image = Image.blend(pale, Image.new("RGB", pale.size, "white"), 0.35)
    marks = _marks(scale.from_level0(points), grades, size=image.size)
    image.paste(marks, (0, 0), marks)

    lines = Image.new("RGBA", (image.width * _FINE, image.height * _FINE))
    for area in artefacts:
        _hatch(lines, area, scale=scale, step=unit * _FINE // 2)
    if tissue is not None:
        _draw_outline(lines, tissue, scale=scale, colour=(*TISSUE, 255), width=2 * _FINE)
    for roi in rois:
        _draw_outline(lines, roi.area, scale=scale, colour=(*INK, 255), width=3 * _FINE)
    for spot in hot_spots:
        _draw_outline(lines, spot.area, scale=scale, colour=(*HOT_SPOT, 255), width=3 * _FINE)
    smooth = lines.reduce(_FINE)
    image.paste(smooth, (0, 0), smooth)
    for roi in (*rois, *hot_spots):
        left, top, right, _ = roi.area.bounds
        corner = (max(0, round(left / scale.x)), max(0, round(top / scale.y)))
        size = round(0.8 * unit)
        room = max(8 * size, round((right - left) / scale.x))
        name = shortened(plain(roi.name), size=size, width=room)
        draw_tag(image, corner, text=name, size=size)
    draw_scale_bar(image, um_per_px=mpp[0] * scale.x, size=unit)
    return image


def mark_diameter(points: Points, *, size: tuple[int, int]) -> float:
    """Return a diameter in pixels at which the marks of most nuclei stay apart.

    It follows from the density that the median nucleus has about it, counted in squares of
    16 pixels; below one pixel single nuclei cannot be told apart any more.
    """
    if not len(points):
        return _LARGEST_MARK_PX
    square = 16
    columns = size[0] // square + 1
    cells = (points // square).astype(np.int64) @ np.array([1, columns])
    _, own, counts = np.unique(cells, return_inverse=True, return_counts=True)
    spacing = square / np.sqrt(np.median(counts[own]))
    return float(np.clip(0.75 * spacing, 1.0, _LARGEST_MARK_PX))


def _marks(points: Points, grades: npt.NDArray[np.uint8], *, size: tuple[int, int]) -> Image.Image:
    """Return the marks as a transparent picture.

    Where marks overlap, a fixed shuffle decides which one is on top, so that no intensity hides
    the others: in dense tissue the mixture of colours is the mixture of intensities.
    """
    width, height = size[0] * _FINE, size[1] * _FINE
    colours = np.zeros((len(GRADE_COLOURS) + 1, 4), np.uint8)
    colours[1:, :3] = GRADE_COLOURS
    colours[1:, 3] = round(255 * _MARK_OPACITY)

    order = np.random.default_rng(0).permutation(len(points))
    centres = (points[order] * _FINE).astype(np.int64)
    shown = shown_grades(grades[order]).astype(np.uint8) + 1
    canvas = np.zeros((height, width), np.uint8)
    for dx, dy in _disc(mark_diameter(points, size=size) * _FINE):
        x, y = centres[:, 0] + dx, centres[:, 1] + dy
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        canvas[y[inside], x[inside]] = shown[inside]
    # A colour as one number is looked up several times faster than as four.
    drawn = colours.view(np.uint32)[:, 0].take(canvas)
    return Image.frombuffer("RGBA", (width, height), drawn, "raw", "RGBA", 0, 1).reduce(_FINE)


def _disc(diameter: float) -> list[tuple[int, int]]:
    """Return the offsets of the pixels of a disc of at least two by two pixels."""
    reach = int(np.ceil(diameter / 2))
    steps = np.arange(-reach, reach)
    x, y = np.meshgrid(steps, steps)
    inside = np.hypot(x + 0.5, y + 0.5) <= max(diameter / 2, 0.75)
    return list(zip(x[inside].tolist(), y[inside].tolist(), strict=True))


def _draw_outline(
    image: Image.Image,
    area: MultiPolygon,
    *,
    scale: Scale,
    colour: tuple[int, int, int, int],
    width: int,
) -> None:
    draw = ImageDraw.Draw(image)
    for polygon in area.geoms:
        for ring in (polygon.exterior, *polygon.interiors):
            vertices = scale.from_level0(np.asarray(ring.coords)[:, :2]) * _FINE
            draw.line([tuple(point) for point in vertices.tolist()], colour, width, joint="curve")


def _hatch(image: Image.Image, area: MultiPolygon, *, scale: Scale, step: int) -> None:
    """Draw slanted lines, `step` pixels apart, over an area."""
    if area.is_empty:
        return
    inside = Image.new("1", image.size)
    draw = ImageDraw.Draw(inside)
    # The widest first, so that a hole does not take what lies inside it.
    for polygon in sorted(area.geoms, key=lambda one: -one.envelope.area):
        for ring, fill in ((polygon.exterior, 1), *((hole, 0) for hole in polygon.interiors)):
            vertices = scale.from_level0(np.asarray(ring.coords)[:, :2]) * _FINE
            draw.polygon([tuple(point) for point in vertices.tolist()], fill=fill)
    bounds = inside.getbbox()
    if bounds is None:  # too small to be seen, or beyond the picture
        return
    left, top, right, bottom = bounds
    rows, columns = (np.arange(*ends, dtype=np.int32) for ends in ((top, bottom), (left, right)))
    slanted = np.add.outer(rows, columns) % step < _FINE
    image.paste(
        (*ARTEFACT, 255), bounds, Image.fromarray(slanted & np.asarray(inside.crop(bounds)))
    )
