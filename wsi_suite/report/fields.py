"""Which parts of a slide a report shows at high power, and which nuclei it doubts most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wsi_suite.geometry import Box, Points
from wsi_suite.measurements import CLASS_PROBABILITY
from wsi_suite.nuclei.table import NOT_MEASURABLE, Nuclei

FIELD_UM = 128.0
"""Side of a field: some hundred nuclei, each large enough to judge its outline."""

CROP_UM = 32.0
"""Side of the picture of one nucleus."""

DOUBTFUL = 16
"""Nuclei that are shown one by one."""

Starts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Places:
    """Fields evenly spread over a slide, apart from each other; all of them lie on it.

    Attributes
    ----------
    starts
        Left borders of the columns and upper borders of the rows, level-0 pixels.
    side_px0
        Of a field.
    """

    starts: tuple[Starts, Starts]
    side_px0: tuple[int, int]

    @classmethod
    def over(cls, size_px0: tuple[int, int], *, side_px0: tuple[int, int]) -> _Places:
        counts = [max(1, size // side) for size, side in zip(size_px0, side_px0, strict=True)]
        columns, rows = (
            np.arange(count) * size // count for count, size in zip(counts, size_px0, strict=True)
        )
        width, height = (min(side, size) for side, size in zip(side_px0, size_px0, strict=True))
        return cls((columns, rows), (width, height))

    def of(self, points: Points) -> tuple[Starts, npt.NDArray[np.bool_]]:
        """Return the number of the field of each of ``(N, 2)`` points, and whether it has one."""
        number = np.zeros(len(points), np.int64)
        inside = np.ones(len(points), np.bool_)
        for axis in (1, 0):
            starts, values = self.starts[axis], points[:, axis]
            place = np.clip(np.searchsorted(starts, values, side="right") - 1, 0, None)
            inside &= (values >= starts[0]) & (values < starts[place] + self.side_px0[axis])
            number = number * len(starts) + place
        return number, inside

    def box(self, number: int) -> Box:
        row, column = divmod(number, len(self.starts[0]))
        return Box(int(self.starts[0][column]), int(self.starts[1][row]), *self.side_px0)


@dataclass(frozen=True)
class Field:
    """A square of the slide.

    Attributes
    ----------
    letter
        Its name on the map.
    title
        Why it was chosen.
    box
        Level-0 pixels.
    nuclei
        Scored nuclei in it, of the class of the headline.
    h_score
        Of these.
    certainty
        Mean certainty of all nuclei in it.
    """

    letter: str
    title: str
    box: Box
    nuclei: int
    h_score: float
    certainty: float


def certainty_of(nuclei: Nuclei) -> Floats:
    """Return ``(N,)`` probabilities that a nucleus is there and of its class.

    Tables of earlier versions tell no probability of the class; there it is the confidence alone.
    """
    certainty = nuclei.confidence.astype(np.float64)
    of_class = nuclei.measurements.get(CLASS_PROBABILITY)
    return certainty if of_class is None else certainty * np.nan_to_num(of_class, nan=1.0)


def most_doubtful(nuclei: Nuclei, *, rows: npt.NDArray[np.int_]) -> npt.NDArray[np.int_]:
    """Return up to ``DOUBTFUL`` of the rows of a table, those of the lowest certainty, first."""
    certainty = certainty_of(nuclei)[rows]
    if len(rows) > DOUBTFUL:  # sorting a million nuclei takes seconds
        few = certainty <= np.partition(certainty, DOUBTFUL)[DOUBTFUL]
        rows, certainty = rows[few], certainty[few]
    order = np.lexsort([nuclei.x[rows], nuclei.y[rows], certainty])
    return rows[order[:DOUBTFUL]]


def choose_fields(
    nuclei: Nuclei,
    grades: npt.NDArray[np.uint8],
    *,
    of_class: int | None,
    side_px0: tuple[int, int],
    size_px0: tuple[int, int],
) -> list[Field]:
    """Choose up to three fields: the hot-spot, the median and the most doubtful.

    Of the fields with at least half the usual number of measured nuclei, the hot-spot has the
    highest H-score, the median field an H-score with as many fields above as below, and the most
    doubtful one the lowest mean certainty. The choice depends on the nuclei alone.

    Parameters
    ----------
    nuclei, grades
        All that is scored.
    of_class
        The class whose nuclei are scored; ``None``: all.
    side_px0, size_px0
        Sides of a field and of the slide, level-0 pixels, x and y.
    """
    counted = grades != NOT_MEASURABLE
    if of_class is not None:
        counted &= nuclei.label == of_class
    if not counted.any():
        return []
    places = _Places.over(size_px0, side_px0=side_px0)
    cell, inside = places.of(nuclei.points)
    nuclei, grades, counted = nuclei.take(inside), grades[inside], counted[inside]
    cells, own = np.unique(cell[inside], return_inverse=True)
    if not counted.any():
        return []
    counts = np.bincount(own[counted], minlength=len(cells))
    sums = np.bincount(own[counted], grades[counted], minlength=len(cells))
    certainty = np.bincount(own, certainty_of(nuclei)) / np.bincount(own)
    filled = np.flatnonzero(counts >= max(1.0, np.median(counts[own[counted]]) / 2))
    h_scores = 100 * sums / np.maximum(counts, 1)

    by_h_score = filled[np.lexsort([-counts[filled], h_scores[filled]])]
    wishes = [
        ("Hot-spot: the highest H-score", by_h_score[::-1]),
        ("Median: as many fields above as below", _from_the_middle(by_h_score)),
        ("Doubtful: the lowest certainty", filled[np.argsort(certainty[filled], kind="stable")]),
    ]
    chosen: list[int] = []
    fields: list[Field] = []
    for title, ranked in wishes:
        best = next((int(place) for place in ranked if int(place) not in chosen), None)
        if best is None:
            break
        chosen.append(best)
        fields.append(
            Field(
                letter="ABC"[len(fields)],
                title=title,
                box=places.box(int(cells[best])),
                nuclei=int(counts[best]),
                h_score=float(h_scores[best]),
                certainty=float(certainty[best]),
            )
        )
    return fields


def crop_box(x: float, y: float, *, side_px0: tuple[int, int]) -> Box:
    """Return the box about a point; it may reach beyond the slide."""
    left, top = round(x - side_px0[0] / 2), round(y - side_px0[1] / 2)
    return Box(left, top, *side_px0)


def _from_the_middle(ranked: npt.NDArray[np.int_]) -> npt.NDArray[np.int_]:
    distance = np.abs(np.arange(len(ranked)) - (len(ranked) - 1) / 2)
    return ranked[np.argsort(distance, kind="stable")]
