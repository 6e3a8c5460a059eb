"""The picture of explained nuclei: the plain field beside the class map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from wsi_suite.explain.gradcam import Method
from wsi_suite.explain.nuclei import ClassMap, Explained
from wsi_suite.files import whole_file
from wsi_suite.overview.style import (
    INK,
    MUTED,
    PAPER,
    RULE,
    draw_scale_bar,
    font,
    plain,
    shortened,
    wrapped,
)
from wsi_suite.qupath.objects import Colour

FOR: Colour = (213, 94, 0)
AGAINST: Colour = (0, 114, 178)
"""Colours of what speaks for and against, apart for the colour-blind too (Okabe and Ito, 2008)."""

_Floats = npt.NDArray[np.float32]

_SIDE, _EDGE, _TEXT, _SMALL = 440, 24, 22, 17
_WIDTH = 3 * _SIDE + 4 * _EDGE
_MEANING: dict[Method, str] = {
    "Grad-CAM": "where such features lie",
    "HiResCAM": "what decided here",
}
_LONG_MEANING: dict[Method, str] = {
    "Grad-CAM": "each feature of the network is weighed by how it moves the class of this nucleus, "
    "and shown wherever it lies in the field; tissue of the same kind lights up, too. Between "
    "nuclei and on glass it means little, because classes were learned at nuclei only.",
    "HiResCAM": "each place is weighed by how it moves the class of this nucleus, so that this is "
    "the tissue that decided about it.",
}
_RADIUS_UM = 4.0  # of the ring, if the model predicts no sizes


def draw_picture(
    path: Path,
    nuclei: Sequence[Explained],
    *,
    title: str,
    mpp: tuple[float, float],
) -> None:
    """Write a PNG with a row for each nucleus and the meaning of the map in words.

    Parameters
    ----------
    path
        The file; it appears whole or not at all.
    nuclei
        From the top.
    title
        Slide and model.
    mpp
        um per level-0 pixel.
    """
    rows = [_draw_row(one, mpp=mpp) for one in nuclei]
    words = _draw_words(nuclei[0].maps)
    head = _EDGE + _TEXT + _EDGE // 2
    sheet = Image.new("RGB", (_WIDTH, head + sum(r.height for r in rows) + words.height), PAPER)
    text = shortened(plain(title), size=_TEXT, width=_WIDTH - 2 * _EDGE)
    ImageDraw.Draw(sheet).text((_EDGE, _EDGE), text, font=font(_TEXT), fill=INK)
    y = head
    for part in (*rows, words):
        sheet.paste(part, (0, y))
        y += part.height
    with whole_file(path) as partial:
        sheet.save(partial, format="PNG")


def _draw_row(one: Explained, *, mpp: tuple[float, float]) -> Image.Image:
    head = 2 * _TEXT + 2 * _SMALL + _EDGE
    row = Image.new("RGB", (_WIDTH, head + _SIDE + _EDGE // 2), PAPER)
    draw = ImageDraw.Draw(row)
    draw.text((_EDGE, _TEXT // 2), plain(_class_in_words(one)), font=font(_TEXT), fill=INK)
    where = f"at x {one.point[0]:.1f}, y {one.point[1]:.1f} px; confidence {one.confidence:.2f}"
    draw.text((_EDGE, 2 * _TEXT), where, font=font(_SMALL), fill=MUTED)
    field = Image.fromarray(one.rgb).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    panels = [("the field, the nucleus in the ring", field)]
    panels += [(f"{m.method}: {_MEANING[m.method]}", _overlay(m, field)) for m in one.maps]
    for place, (name, panel) in enumerate(panels):
        _ring(panel, one, mpp=mpp)
        x = _EDGE + place * (_SIDE + _EDGE)
        draw.text((x, head - _SMALL - 8), name, font=font(_SMALL), fill=INK)
        row.paste(panel, (x, head))
    return row


def _class_in_words(one: Explained) -> str:
    if one.probability is None:
        return f"{one.name} (this model tells no probability of classes)"
    others = [f"{name} {p:.2f}" for name, p in one.probability.items() if name != one.name]
    rest = f"   ({', '.join(others)})" if others else ""
    return f"{one.name}, probability {one.probability[one.name]:.2f}{rest}"


def _overlay(what: ClassMap, field: Image.Image) -> Image.Image:
    """Return the field in pale grey, under the colours of a map."""
    size, box = (_SIDE, _SIDE), what.inside
    shown = Image.fromarray(what.values).resize(size, Image.Resampling.BILINEAR, box=box)
    value = np.asarray(shown)[..., None]
    grey = np.asarray(field.convert("L"), np.float32)[..., None]
    below = 255 - 0.5 * (255 - grey)
    colour, share = _coloured(value)
    mixed = below * (1 - share) + colour * share
    return Image.fromarray(mixed.round().astype(np.uint8))


def _coloured(value: _Floats) -> tuple[_Floats, _Floats]:
    """Return colours ``(..., 3)`` and opacities ``(..., 1)`` of values ``(..., 1)`` in [-1, 1]."""
    colour = np.where(value > 0, np.array(FOR, np.float32), np.array(AGAINST, np.float32))
    return colour, np.float32(0.8) * np.abs(value)


def _ring(panel: Image.Image, one: Explained, *, mpp: tuple[float, float]) -> None:
    """Mark the nucleus with a ring just beyond it, and draw the scale."""
    zoom = _SIDE / one.field.width
    x, y = (one.point[0] - one.field.x) * zoom, (one.point[1] - one.field.y) * zoom
    radius_px0 = _RADIUS_UM / mpp[0] if one.radius_px0 is None else one.radius_px0
    radius = max(14.0, 1.5 * radius_px0 * zoom)
    draw = ImageDraw.Draw(panel)
    for colour, width, grown in ((PAPER, 7, 2), (INK, 3, 0)):
        r = radius + grown
        draw.ellipse((x - r, y - r, x + r, y + r), outline=colour, width=width)
    draw_scale_bar(panel, um_per_px=mpp[0] / zoom, size=_SMALL)
    draw.rectangle((0, 0, _SIDE - 1, _SIDE - 1), outline=RULE)


def _draw_words(maps: Sequence[ClassMap]) -> Image.Image:
    """Return the meaning of colours and maps."""
    told = [
        "Orange speaks for the class of the nucleus in the ring, blue against it; full colour is "
        "the strongest in the field.",
        *(
            f"{m.method} ({m.layer}, cells of {m.cell_um:.2g} um): {_LONG_MEANING[m.method]}"
            for m in maps
        ),
        "Neither tells whether the model is right.",
    ]
    width = _WIDTH - 2 * _EDGE
    lines = [line for text in told for line in wrapped(text.split(), size=_SMALL, width=width)]
    bar, line = 14, _SMALL + 7
    image = Image.new("RGB", (_WIDTH, bar + line + line * len(lines) + 2 * _EDGE), PAPER)
    draw = ImageDraw.Draw(image)
    ramp = Image.fromarray(_ramp(280, bar))
    image.paste(ramp, (_WIDTH - _EDGE - ramp.width, 0))
    left = _WIDTH - _EDGE - ramp.width
    for text, x, anchor in (
        ("against", left, "lt"),
        ("for this class", _WIDTH - _EDGE, "rt"),
    ):
        draw.text((x, bar + 5), text, font=font(_SMALL), fill=MUTED, anchor=anchor)
    for number, text in enumerate(lines):
        y = bar + line + _EDGE // 2 + number * line
        draw.text((_EDGE, y), text, font=font(_SMALL), fill=INK)
    return image


def _ramp(width: int, height: int) -> npt.NDArray[np.uint8]:
    value = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
    colour, share = _coloured(value)
    return np.repeat((255 * (1 - share) + colour * share).round().astype(np.uint8), height, axis=0)
