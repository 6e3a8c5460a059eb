"""The whole picture: caption, slide and close-ups on one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageOps
from shapely.geometry import MultiPolygon

from wsi_suite.files import whole_file
from wsi_suite.geometry import Roi, Scale
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.overview.caption import Caption, draw_caption
from wsi_suite.overview.insets import FIELD_UM, Field, ReadBox, choose_fields, draw_field
from wsi_suite.overview.slide_map import draw_slide_map
from wsi_suite.overview.style import INK, MUTED, PAPER, draw_tag, font, plain, wrapped

_SMALLEST_MAP_PX = 1200
_LARGEST_FIELD_PX = 720


def draw_overview(
    path: Path | str,
    *,
    thumbnail: npt.NDArray[np.uint8],
    scale: Scale,
    mpp: tuple[float, float],
    nuclei: Nuclei,
    grades: npt.NDArray[np.uint8],
    caption: Caption,
    read: ReadBox,
    tissue: MultiPolygon | None = None,
    rois: Sequence[Roi] = (),
    hot_spots: Sequence[Roi] = (),
    artefacts: Sequence[MultiPolygon] = (),
    solid_class: str | None = None,
) -> None:
    """Draw a result as one PNG: a map of the nuclei, the scores, and close-ups.

    The same input gives the same picture.

    Parameters
    ----------
    path
        The PNG, replaced in one step.
    thumbnail
        ``(H, W, 3)`` uint8 RGB of the whole slide; a longest side of about 2000 pixels is best.
    scale
        Level-0 pixels per thumbnail pixel.
    mpp
        Um per level-0 pixel, x and y.
    nuclei, grades
        The nuclei, and ``(N,)`` uint8 with the intensity of each: 0 to 3, or 255.
    caption
        The words.
    read
        Gives the ``(height, width, 3)`` uint8 RGB pixels of a level-0 box, for the close-ups.
    tissue
        Outline of the tissue, level-0 pixels.
    rois
        Regions that were scored, level-0 pixels.
    hot_spots
        Hot-spots, level-0 pixels.
    artefacts
        Areas to hatch, level-0 pixels.
    solid_class
        The compartment whose outlines are drawn through; those of others are broken.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    thumbnail, scale = _enlarged(thumbnail, scale)
    height, width = thumbnail.shape[:2]
    unit = max(22, round(max(width, height) / 70))
    size_px0 = (round(width * scale.x), round(height * scale.y))
    side_px0 = min(round(FIELD_UM / mpp[0]), *size_px0)
    fields = choose_fields(nuclei, grades, side_px0=side_px0, size_px0=size_px0)

    slide = draw_slide_map(
        thumbnail,
        scale=scale,
        mpp=mpp,
        points=nuclei.points,
        grades=grades,
        tissue=tissue,
        rois=rois,
        hot_spots=hot_spots,
        artefacts=artefacts,
        unit=unit,
    )
    _frame_fields(slide, fields, scale=scale, unit=unit)
    beside = width < 2 * height
    close_ups = [
        draw_field(
            field,
            side=_field_side(slide, count=len(fields), beside=beside, gap=unit),
            read=read,
            mpp=mpp,
            nuclei=nuclei,
            grades=grades,
            solid_class=solid_class,
            unit=unit,
        )
        for field in fields
    ]
    details = _joined(close_ups, across=not beside, gap=unit)
    pictures = _joined([slide, details], across=beside, gap=unit)
    text_width = max(pictures.width, 50 * unit)
    words = draw_caption(caption, width=text_width, unit=unit, nuclei=nuclei, grades=grades)
    field_um = side_px0 * mpp[0] if fields else None
    texts = _key_texts(solid_class, field_um=field_um, hot_spots=len(hot_spots))
    if any(not area.is_empty for area in artefacts):
        texts.append("hatched: tissue out of focus, folded, under air bubbles or unreadable")
    key = _key(texts, width=text_width, unit=unit)
    sheet = ImageOps.expand(
        _joined([words, pictures, key], across=False, gap=unit), border=2 * unit, fill=PAPER
    )
    with whole_file(Path(path)) as partial:
        sheet.save(partial, "PNG", compress_level=3)


def _enlarged(
    thumbnail: npt.NDArray[np.uint8], scale: Scale
) -> tuple[npt.NDArray[np.uint8], Scale]:
    """Enlarge the thumbnail of a small slide, so that nuclei can be marked in it."""
    height, width = thumbnail.shape[:2]
    factor = -(-_SMALLEST_MAP_PX // max(width, height))
    if factor == 1:
        return thumbnail, scale
    size = (width * factor, height * factor)
    larger = Image.fromarray(thumbnail).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(larger), Scale(scale.x / factor, scale.y / factor)


def _frame_fields(slide: Image.Image, fields: Sequence[Field], *, scale: Scale, unit: int) -> None:
    """Show on the slide where the close-ups are taken; a frame is never too small to be seen."""
    draw = ImageDraw.Draw(slide)
    for field in fields:
        centre_x = (field.box.x + field.box.width / 2) / scale.x
        centre_y = (field.box.y + field.box.height / 2) / scale.y
        half_x = max(field.box.width / scale.x, unit) / 2
        half_y = max(field.box.height / scale.y, unit) / 2
        frame = (centre_x - half_x, centre_y - half_y, centre_x + half_x, centre_y + half_y)
        draw.rectangle(frame, outline=INK, width=max(2, unit // 10))
        corner = (round(centre_x + half_x), round(centre_y - half_y))
        draw_tag(slide, corner, text=field.letter, size=round(0.8 * unit))


def _field_side(slide: Image.Image, *, count: int, beside: bool, gap: int) -> int:
    """Return the side at which the close-ups together are as long as the slide beside them."""
    length = slide.height if beside else slide.width
    return min(_LARGEST_FIELD_PX, (length - (count - 1) * gap) // max(count, 1))


def _key_texts(solid_class: str | None, *, field_um: float | None, hot_spots: int) -> list[str]:
    texts = ["Research use only"]
    if field_um is not None:
        texts.append(f"close-ups {field_um:.0f} um wide, at full resolution")
    if field_um is not None and solid_class is not None:
        texts.append(f"outlines of {plain(solid_class)} drawn through, others broken")
    if hot_spots:
        texts.append("violet circles: hot-spots of positive nuclei")
    return texts


def _key(texts: Sequence[str], *, width: int, unit: int) -> Image.Image:
    size = round(0.8 * unit)
    lines = wrapped(texts, size=size, width=width, joint=" · ")
    image = Image.new("RGB", (width, round(1.3 * size) * len(lines)), PAPER)
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((0, number * round(1.3 * size)), line, font=font(size), fill=MUTED)
    return image


def _joined(images: Sequence[Image.Image], *, across: bool, gap: int) -> Image.Image:
    """Return images side by side or one below the other, with a gap between them."""
    shown = [image for image in images if image.width and image.height]
    along, other = ("width", "height") if across else ("height", "width")
    length = sum(getattr(image, along) + gap for image in shown) - gap if shown else 0
    breadth = max((getattr(image, other) for image in shown), default=0)
    joined = Image.new("RGB", (length, breadth) if across else (breadth, length), PAPER)
    position = 0
    for image in shown:
        joined.paste(image, (position, 0) if across else (0, position))
        position += getattr(image, along) + gap
    return joined
