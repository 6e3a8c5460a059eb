"""The strip of text above the pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from wsi_suite.nuclei.table import NOT_MEASURABLE, Nuclei
from wsi_suite.overview.style import (
    GRADE_COLOURS,
    GRADE_NAMES,
    INK,
    MUTED,
    PAPER,
    RULE,
    WARNING_INK,
    WARNING_PAPER,
    font,
    plain,
    shortened,
    shown_grades,
    width_of,
    wrapped,
)


@dataclass(frozen=True)
class Caption:
    """Text of the picture.

    Attributes
    ----------
    title
        The slide's name.
    headline
        The figure that counts, as in ``H-score 187``, or that there is none.
    detail
        What it is of, as in ``Epithelium, 78.2 % positive``, or why there is none.
    facts
        Short remarks: area, marker, model, pixel size.
    warnings
        What a reader must know before trusting the headline.
    """

    title: str
    headline: str
    detail: str
    facts: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def draw_caption(
    caption: Caption,
    *,
    width: int,
    unit: int,
    nuclei: Nuclei,
    grades: npt.NDArray[np.uint8],
) -> Image.Image:
    """Return the strip, `width` pixels wide and as high as its text in lines of `unit` pixels."""
    gap = 2 * unit
    left_width = int(width * 0.45)
    left = _words(caption, width=left_width, unit=unit)
    right = _counts(nuclei, grades, width=width - left_width - gap, unit=unit)
    below = _warnings(caption.warnings, width=width, unit=unit)

    upper = max(left.height, right.height)
    strip = Image.new("RGB", (width, upper + (below.height + unit if below else 0)), PAPER)
    strip.paste(left, (0, 0))
    strip.paste(right, (left_width + gap, 0))
    if below:
        strip.paste(below, (0, upper + unit))
    return strip


def _words(caption: Caption, *, width: int, unit: int) -> Image.Image:
    middle, large, small = round(1.2 * unit), round(2.6 * unit), round(0.85 * unit)
    title = shortened(plain(caption.title), size=unit, width=width)
    headline = wrapped(plain(caption.headline).split(), size=large, width=width)
    detail = wrapped(plain(caption.detail).split(), size=middle, width=width)
    facts = wrapped(map(plain, caption.facts), size=small, width=width, joint=" · ")
    lines = [(title, unit, MUTED)]
    lines += [(text, large, INK) for text in headline]
    lines += [(text, middle, INK) for text in detail]
    lines += [(text, small, MUTED) for text in facts]
    image = Image.new("RGB", (width, sum(round(1.3 * size) for _, size, _ in lines)), PAPER)
    draw = ImageDraw.Draw(image)
    y = 0
    for text, size, colour in lines:
        draw.text((0, y), text, font=font(size), fill=colour)
        y += round(1.3 * size)
    return image


def _counts(nuclei: Nuclei, grades: npt.NDArray[np.uint8], *, width: int, unit: int) -> Image.Image:
    """Return the key of colours over one bar a class: how its nuclei divide into intensities."""
    shown = shown_grades(grades)
    table = np.zeros((len(nuclei.classes), len(GRADE_NAMES)), np.int64)
    np.add.at(table, (nuclei.label, shown), 1)
    rows = [(name, table[number]) for number, name in enumerate(nuclei.classes)]
    rows = [(name, counts) for name, counts in rows if counts.sum()]
    if len(rows) != 1:
        rows.append(("All", table.sum(axis=0)))
    pitch = round(1.7 * unit)
    image = Image.new("RGB", (width, pitch * (len(rows) + 1)), PAPER)
    _draw_key(image, unit=unit, all_measured=not (grades == NOT_MEASURABLE).any())
    for number, (name, counts) in enumerate(rows, start=1):
        _draw_bar(image, plain(name), counts, top=number * pitch, unit=unit)
    return image


def _draw_key(image: Image.Image, *, unit: int, all_measured: bool) -> None:
    draw = ImageDraw.Draw(image)
    size = round(0.85 * unit)
    x, middle = _bar_span(image.width)[0], round(0.55 * unit)
    entries = list(zip(GRADE_NAMES, GRADE_COLOURS, strict=True))
    for name, colour in entries[:-1] if all_measured else entries:
        draw.ellipse((x, middle - size // 3, x + 2 * (size // 3), middle + size // 3), fill=colour)
        draw.text((x + size, middle), name, font=font(size), fill=MUTED, anchor="lm")
        x += size + width_of(name, size=size) + unit


def _draw_bar(
    image: Image.Image, name: str, counts: npt.NDArray[np.int64], *, top: int, unit: int
) -> None:
    draw = ImageDraw.Draw(image)
    left, right = _bar_span(image.width)
    middle, bottom, total = top + round(0.6 * unit), top + round(1.2 * unit), int(counts.sum())
    label = shortened(name, size=unit, width=left - unit)
    draw.text((0, middle), label, font=font(unit), fill=INK, anchor="lm")
    draw.text((image.width, middle), f"{total:,}", font=font(unit), fill=INK, anchor="rm")
    draw.rectangle((left, top, right - 1, bottom - 1), fill=RULE)
    ends = left + np.rint(np.cumsum(counts) / max(total, 1) * (right - left)).astype(int)
    start, size = left, round(0.75 * unit)
    for grade, end in enumerate(ends.tolist()):
        if end > start:
            draw.rectangle((start, top, end - 1, bottom - 1), fill=GRADE_COLOURS[grade])
        share = f"{100 * counts[grade] / max(total, 1):.0f} %"
        if share == "100 %" and counts[grade] < total:
            share = "> 99 %"
        if end - start > width_of(share, size=size) + size // 2:
            ink = INK if sum(GRADE_COLOURS[grade]) > 420 else PAPER
            place = ((start + end) // 2, middle)
            draw.text(place, share, font=font(size), fill=ink, anchor="mm")
        start = end


def _bar_span(width: int) -> tuple[int, int]:
    return int(width * 0.24), int(width * 0.86)


def _warnings(warnings: tuple[str, ...], *, width: int, unit: int) -> Image.Image | None:
    pad, size = unit // 2, round(0.9 * unit)
    lines = [
        line
        for warning in warnings
        for line in wrapped(plain(warning).split(), size=size, width=width - 3 * pad)
    ]
    if not lines:
        return None
    pitch = round(1.35 * size)
    image = Image.new("RGB", (width, pitch * len(lines) + 2 * pad), WARNING_PAPER)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, pad // 2, image.height), fill=WARNING_INK)
    for number, line in enumerate(lines):
        place = (2 * pad, pad + number * pitch)
        draw.text(place, line, font=font(size), fill=WARNING_INK)
    return image
