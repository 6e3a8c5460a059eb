"""Slides in words and as a card: size, levels, and a thumbnail. Neither raises an error."""

from __future__ import annotations

from PIL import Image

from wsi_suite.cards import PICTURE_PX, Row, card, mpp_in_words
from wsi_suite.slides.slide import Slide

_MOST_PX = 2**26
"""Pixels that are read for a thumbnail: a slide without coarse levels would take minutes."""


def in_words(slide: Slide) -> str:
    """Return a slide as ``repr`` shows it."""
    levels = len(slide.levels)
    return (
        f"<Slide: {slide.path.name}, {slide.width:,} x {slide.height:,} px, "
        f"{mpp_in_words(slide.mpp)}, {levels} level{'s' * (levels > 1)}, "
        f"{'closed' if slide.closed else 'open'}>"
    )


def as_card(slide: Slide, *, picture: Image.Image | None, why_none: str | None) -> str:
    """Return a slide as notebooks show it, with its thumbnail or why there is none."""
    width_mm, height_mm = (
        size * mpp / 1000 for size, mpp in zip((slide.width, slide.height), slide.mpp, strict=True)
    )
    scales = ", ".join(f"{max(level.scale.x, level.scale.y):.4g}" for level in slide.levels)
    rows = [
        Row("size", f"{slide.width:,} x {slide.height:,} px, {width_mm:.3g} x {height_mm:.3g} mm"),
        Row("pixel size", mpp_in_words(slide.mpp)),
        Row("levels", f"{len(slide.levels)} (downsampled by {scales})"),
        Row("format", f"{slide.vendor}, read by {slide.reader}"),
        Row("state", "closed" if slide.closed else "open"),
    ]
    remarks = [*slide.notes, *([f"no picture: {why_none}"] if why_none else [])]
    return card(slide.path.name, rows, picture=picture, remarks=remarks)


def picture_of(slide: Slide) -> tuple[Image.Image | None, str | None]:
    """Return the thumbnail of a slide, or why there is none."""
    if slide.closed:
        return None, "the slide is closed"
    raster = slide.thumbnail_raster(PICTURE_PX)
    level = slide.levels[raster.level]
    if level.width * level.height > _MOST_PX:
        return None, "the file has no small level; thumbnail() reads the whole slide for one"
    try:
        return Image.fromarray(raster.read(raster.box)), None
    except Exception as error:  # a notebook shows what it can, whatever a file or disk does
        why = str(error).partition("\n")[0].replace(str(slide.path), slide.path.name)
        return None, why or type(error).__name__
