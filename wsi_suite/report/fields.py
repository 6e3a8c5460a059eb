"""Which parts of a slide a report shows at high power, and which nuclei it doubts most."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wsi_suite.geometry import Box, Points
from wsi_suite.measurements import CLASS_PROBABILITY
from wsi_suite.nuclei.table import NOT_MEASURABLE, Nuclei
from wsi_suite.report.spots import ShownSpot

FIELD_UM = 128.0
"""Side of a field: some hundred nuclei, each large enough to judge its outline."""

CROP_UM = 32.0
"""Side of the picture of one nucleus."""

DOUBTFUL = 16
"""Nuclei that are shown one by one."""

Starts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


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

    def of(self, points: Points) -> tuple[Starts, Mask]:
        """Return the number of the field of each of ``(N, 2)`` points, and whether it has one."""
        number = np.zeros(len(points), np.int64)
        inside = np.ones(len(points), np.bool_)
        for axis in (1, 0):
            starts, values = self.starts[axis], points[:, axis]
            place = np.clip(np.searchsorted(starts, values, side="right") - 1, 0, None)
            inside &= (values >= starts[0]) & (values < starts[place] + self.side_px0[axis])
            number = number * len(starts) + place
        return number, inside

    def about(self, x: float, y: float, *, size_px0: tuple[int, int]) -> Box:
        """Return the field about a point, moved so that all of it lies on the slide."""
        left, top = (
            max(0, min(round(middle - side / 2), size - side))
            for middle, side, size in zip((x, y), self.side_px0, size_px0, strict=True)
        )
        return Box(left, top, *self.side_px0)

    def box(self, number: int) -> Box:
        """Return a field by its number."""
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
        Of these; ``None`` if there are none.
    certainty
        Mean certainty of all nuclei in it.
    """

    letter: str
    title: str
    box: Box
    nuclei: int
    h_score: float | None
    certainty: float | None


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
    hot_spot: ShownSpot | None = None,
) -> list[Field]:
    """Choose up to three fields: the hot-spot, the median and the most doubtful.

    Of the fields with at least half the usual number of measured nuclei, the hottest has the
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
    hot_spot
        Show its middle instead of the hottest field.
    """
    counted = grades != NOT_MEASURABLE
    if of_class is not None:
        counted &= nuclei.label == of_class
    places = _Places.over(size_px0, side_px0=side_px0)
    boxes: list[Box] = []
    fields: list[Field] = []

    def add(title: str, ranked: Iterable[Box]) -> None:
        free = (box for box in ranked if not any(box.intersect(other).area for other in boxes))
        box = next(free, None)
        if box is not None:
            boxes.append(box)
            letter = "ABC"[len(fields)]
            fields.append(_field(box, nuclei, grades, counted=counted, letter=letter, title=title))

    by_h_score, by_doubt = _ranked(nuclei, grades, counted=counted, places=places)
    if hot_spot is not None:
        middle = places.about(hot_spot.x, hot_spot.y, size_px0=size_px0)
        add(f"Hot-spot {hot_spot.name}: its middle", [middle])
    else:
        add("Hottest: the highest H-score", map(places.box, by_h_score[::-1]))
    add("Median: as many fields above as below", map(places.box, _from_the_middle(by_h_score)))
    add("Doubtful: the lowest certainty", map(places.box, by_doubt))
    return fields


def _ranked(
    nuclei: Nuclei, grades: npt.NDArray[np.uint8], *, counted: Mask, places: _Places
) -> tuple[list[int], list[int]]:
    """Return the well-filled fields by rising H-score, and by rising certainty."""
    cell, inside = places.of(nuclei.points)
    nuclei, grades, counted = nuclei.take(inside), grades[inside], counted[inside]
    if not counted.any():
        return [], []
    cells, own = np.unique(cell[inside], return_inverse=True)
    counts = np.bincount(own[counted], minlength=len(cells))
    sums = np.bincount(own[counted], grades[counted], minlength=len(cells))
    certainty = np.bincount(own, certainty_of(nuclei)) / np.bincount(own)
    filled = np.flatnonzero(counts >= max(1.0, np.median(counts[own[counted]]) / 2))
    h_scores = sums[filled] / counts[filled]
    by_h_score = filled[np.lexsort([-counts[filled], h_scores])]
    by_doubt = filled[np.argsort(certainty[filled], kind="stable")]
    return cells[by_h_score].tolist(), cells[by_doubt].tolist()


def _field(
    box: Box,
    nuclei: Nuclei,
    grades: npt.NDArray[np.uint8],
    *,
    counted: Mask,
    letter: str,
    title: str,
) -> Field:
    inside = box.contains(nuclei.points)
    own = grades[inside & counted]
    certainty = certainty_of(nuclei.take(inside))
    return Field(
        letter=letter,
        title=title,
        box=box,
        nuclei=len(own),
        h_score=100 * float(own.mean()) if len(own) else None,
        certainty=float(certainty.mean()) if len(certainty) else None,
    )


def crop_box(x: float, y: float, *, side_px0: tuple[int, int]) -> Box:
    """Return the box about a point; it may reach beyond the slide."""
    left, top = round(x - side_px0[0] / 2), round(y - side_px0[1] / 2)
    return Box(left, top, *side_px0)


def _from_the_middle(ranked: Sequence[int]) -> list[int]:
    middle = (len(ranked) - 1) / 2
    return [ranked[place] for place in sorted(range(len(ranked)), key=lambda n: abs(n - middle))]
