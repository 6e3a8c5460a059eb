"""Tables of nuclei in words and as a card: counts by class, and a map of their places."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from wsi_suite.cards import PICTURE_PX, Row, card, cut, first_few, mpp_in_words
from wsi_suite.colours import class_colour
from wsi_suite.nuclei.table import Nuclei

_SIDES = (24, 30, 40, 48, 60, 80, 120, 240)
"""Cells along the longer side; a cell is a square of whole pixels."""
_FAINTEST = 90  # of 255: a cell with one nucleus where others hold many
_CLASSES_IN_A_LINE, _CLASSES_IN_A_CARD, _MEASUREMENTS = 4, 10, 6


class ClassCount(NamedTuple):
    """Number of nuclei of a class, beside its label (index in the table) and its name."""

    label: int
    name: str
    nuclei: int


def class_counts(nuclei: Nuclei) -> list[ClassCount]:
    """Return the classes that have nuclei, those with most first."""
    counts = np.bincount(nuclei.label, minlength=len(nuclei.classes))
    found = [
        ClassCount(index, _class_name(nuclei, index), int(counts[index]))
        for index in np.flatnonzero(counts).tolist()
    ]
    return sorted(found, key=lambda one: -one.nuclei)


def in_words(nuclei: Nuclei) -> str:
    """Return a table as ``repr`` shows it."""
    classes = class_counts(nuclei)
    parts = [f"{one.nuclei:,} {cut(one.name)}" for one in classes[:_CLASSES_IN_A_LINE]]
    if more := len(classes) - len(parts):
        parts.append(f"{sum(one.nuclei for one in classes[-more:]):,} of {more} more classes")
    if not len(nuclei):
        return "<Nuclei: none>"
    form = "points" if nuclei.outline is None else "outlines"
    size = [] if nuclei.mpp is None else [mpp_in_words(nuclei.mpp)]
    counted = f"{len(nuclei):,} ({', '.join(parts)})"
    return f"<Nuclei: {', '.join([counted, form, *size])}>"


def as_card(nuclei: Nuclei) -> str:
    """Return a table as notebooks show it."""
    names = first_few([cut(name) for name in nuclei.measurements], most=_MEASUREMENTS)
    rows = [
        *class_rows(nuclei),
        Row("form", "points" if nuclei.outline is None else "outlines"),
        Row("pixel size", "not known" if nuclei.mpp is None else mpp_in_words(nuclei.mpp)),
        Row("measurements", ", ".join(names) or "none"),
    ]
    noun = "nucleus" if len(nuclei) == 1 else "nuclei"
    return card(f"{len(nuclei):,} {noun}", rows, picture=picture_of(nuclei))


def class_rows(nuclei: Nuclei) -> list[Row]:
    """Return a line of a card for each class that has nuclei, in the colours of the picture."""
    classes = class_counts(nuclei)
    rows = [
        Row(cut(one.name), _with_share(one.nuclei, len(nuclei)), class_colour(one.label))
        for one in classes[:_CLASSES_IN_A_CARD]
    ]
    if more := classes[_CLASSES_IN_A_CARD:]:
        count = sum(one.nuclei for one in more)
        rows.append(Row(f"{len(more)} more classes", _with_share(count, len(nuclei))))
    return rows


def picture_of(nuclei: Nuclei) -> Image.Image | None:
    """Return a map of the places of nuclei, transparent where there are none.

    A cell has the colour of the class of one of its nuclei, drawn at random, so that classes mix as
    nuclei do; the more nuclei, the more opaque it is. ``None`` without nuclei.
    """
    placed = np.isfinite(nuclei.x) & np.isfinite(nuclei.y)
    x, y, label = nuclei.x[placed], nuclei.y[placed], nuclei.label[placed]
    if not len(x):
        return None
    left, top = x.min(), y.min()
    side_px0 = max(x.max() - left, y.max() - top) or 1.0
    cells = max(side for side in _SIDES if side <= max(4 * np.sqrt(len(x)), _SIDES[0]))
    scale = (cells - 1) / side_px0
    columns, rows = ((x - left) * scale).astype(np.intp), ((y - top) * scale).astype(np.intp)
    width, height = int(columns.max()) + 1, int(rows.max()) + 1
    places = rows * width + columns

    colours = np.array([_rgb(index) for index in range(int(label.max()) + 1)], np.uint8)
    order = np.random.default_rng(0).permutation(len(x))
    shown = np.zeros(width * height, np.uint8)
    shown[places[order]] = label[order]
    counts = np.bincount(places, minlength=width * height)
    most = np.percentile(counts[counts > 0], 98)
    share = np.sqrt(np.minimum(counts / most, 1))
    pixels = np.zeros((height * width, 4), np.uint8)
    pixels[:, :3] = colours[shown]
    pixels[:, 3] = np.where(counts, _FAINTEST + (255 - _FAINTEST) * share, 0)
    image = Image.fromarray(pixels.reshape(height, width, 4), "RGBA")
    factor = PICTURE_PX // cells
    return image.resize((width * factor, height * factor), Image.Resampling.NEAREST)


def _class_name(nuclei: Nuclei, index: int) -> str:
    name = nuclei.classes[index] if index < len(nuclei.classes) else f"class {index}"
    return name or "no class"


def _with_share(count: int, total: int) -> str:
    return f"{count:,} ({100 * count / total:.3g} %)"


def _rgb(index: int) -> npt.NDArray[np.uint8]:
    return np.frombuffer(bytes.fromhex(class_colour(index).removeprefix("#")), np.uint8)
