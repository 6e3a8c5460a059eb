"""Colours of nuclei in a plot: by class, by intensity, or by a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb

from wsi_suite.colours import class_colour
from wsi_suite.errors import InputError, did_you_mean
from wsi_suite.measurements import CONFIDENCE
from wsi_suite.nuclei.card import class_counts
from wsi_suite.nuclei.table import INTENSITIES, NOT_MEASURABLE, Nuclei
from wsi_suite.overview.style import GRADE_COLOURS, GRADE_NAMES, shown_grades

Floats = npt.NDArray[np.float64]
By: TypeAlias = str | npt.ArrayLike
"""What nuclei are coloured by: ``class``, ``confidence``, a measurement, or a value for each."""

_COLOUR_MAP = "viridis"
_MIDDLE_PERCENT = (1, 99)  # of the values; those beyond have the colours at the ends
_MISSING = GRADE_COLOURS[-1]


@dataclass(frozen=True)
class Entry:
    """Line of a legend."""

    name: str
    count: int
    colour: tuple[float, float, float]


@dataclass(frozen=True)
class Shades:
    """Colours of the nuclei that are shown, and the legend or colour bar of them.

    Attributes
    ----------
    colours
        ``(N, 3)`` in [0, 1].
    entries
        Lines of the legend.
    bar
        Colours of values, ``None`` where there are none.
    bar_name
        What the values are.
    """

    colours: Floats
    entries: tuple[Entry, ...]
    bar: ScalarMappable | None = None
    bar_name: str = ""


def shade(nuclei: Nuclei, by: By, *, rows: npt.NDArray[np.intp]) -> Shades:
    """Return the colours of the nuclei at `rows`.

    Raises
    ------
    InputError
        There is no such measurement, or an array does not fit the nuclei.
    """
    if not isinstance(by, str):
        return _shade_array(np.asarray(by), nuclei, rows=rows)
    if by == "class":
        return _shade_classes(nuclei.take(rows))
    if by in ("confidence", CONFIDENCE):
        return _shade_values(nuclei.confidence, rows, name="confidence")
    if by in nuclei.measurements:
        return _shade_values(nuclei.measurements[by], rows, name=by)
    known = ("class", "confidence", *nuclei.measurements)
    names = ", ".join(f"'{name}'" for name in known)
    raise InputError(
        f"by='{by}': no measurement of these nuclei{did_you_mean(by, known)}; expected {names}, or "
        "an array with a value for each nucleus"
    )


def _shade_array(
    values: npt.NDArray[np.generic], nuclei: Nuclei, *, rows: npt.NDArray[np.intp]
) -> Shades:
    if values.shape != (len(nuclei),):
        raise InputError(
            f"by: an array of shape {values.shape}; expected ({len(nuclei)},), a value for each "
            "nucleus"
        )
    if np.issubdtype(values.dtype, np.floating):
        return _shade_values(values.astype(np.float64), rows, name="value")
    if not np.issubdtype(values.dtype, np.integer):
        raise InputError(
            f"by: an array of {values.dtype}; expected numbers: grades of intensity as whole "
            "numbers, other values as floats"
        )
    known = (*range(len(INTENSITIES)), NOT_MEASURABLE)
    if strange := sorted(set(np.unique(values).tolist()) - set(known)):
        raise InputError(
            f"by: {strange[0]} is no grade; expected 0 to 3, or 255 where not measurable; give "
            "other values as floats"
        )
    return _shade_grades(values[rows].astype(np.uint8))


def _shade_classes(nuclei: Nuclei) -> Shades:
    found = sorted(class_counts(nuclei), key=lambda one: one.label)
    colours = np.zeros((256, 3))
    for one in found:
        colours[one.label] = to_rgb(class_colour(one.label))
    entries = [Entry(one.name, one.nuclei, to_rgb(class_colour(one.label))) for one in found]
    return Shades(colours[nuclei.label], tuple(entries))


def _shade_grades(grades: npt.NDArray[np.uint8]) -> Shades:
    shown = shown_grades(grades)
    colours = np.array(GRADE_COLOURS) / 255
    counts = np.bincount(shown, minlength=len(colours))
    entries = [
        Entry(name, int(count), _rgb(colour))
        for name, count, colour in zip(GRADE_NAMES, counts, GRADE_COLOURS, strict=True)
        if count
    ]
    return Shades(colours[shown], tuple(entries))


def _shade_values(
    values: npt.NDArray[np.floating], rows: npt.NDArray[np.intp], *, name: str
) -> Shades:
    """Shade the values at `rows`; the scale is that of all, so that boxes compare."""
    measured, values = values[np.isfinite(values)], values[rows]
    there = np.isfinite(values)
    missing = int(len(values) - there.sum())
    entries = (Entry(GRADE_NAMES[-1], missing, _rgb(_MISSING)),) if missing else ()
    colours = np.tile(np.array(_MISSING) / 255, (len(values), 1))
    if not there.any():
        return Shades(colours, entries)
    low, high = np.percentile(measured.astype(np.float64), _MIDDLE_PERCENT).tolist()
    if low == high:
        low, high = low - 0.5, high + 0.5
    bar = ScalarMappable(Normalize(low, high), colormaps[_COLOUR_MAP])
    colours[there] = np.asarray(bar.to_rgba(values[there]))[:, :3]
    return Shades(colours, entries, bar, name)


def _rgb(colour: tuple[int, int, int]) -> tuple[float, float, float]:
    red, green, blue = (part / 255 for part in colour)
    return red, green, blue
