"""How sure a score is: intervals, enough nuclei, doubtful classes and clinical cut-offs.

Intervals tell by how much a figure would change if other tissue of the same kind were on the slide
(:mod:`wsi_suite.scoring.uncertainty`). They know nothing of nuclei that the detector missed, of the
thresholds and of the stain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from wsi_suite.config import ScoreSettings
from wsi_suite.documents import Part
from wsi_suite.measurements import CLASS_PROBABILITY
from wsi_suite.nuclei.table import INTENSITIES, NOT_MEASURABLE, Nuclei
from wsi_suite.scoring.hscore import Score, pooled_name
from wsi_suite.scoring.intensity import Grades
from wsi_suite.scoring.uncertainty import GRADES, POSITIVE, SEED, Grid, Interval, find_interval

DOUBTFUL_BELOW = 0.75
"""The class of a nucleus is doubtful if its probability is below this: one in four is wrong."""

MINIMUM_NUCLEI, MINIMUM_KI67 = 200, 500
"""Nuclei that a score should rest on.

Source for Ki-67: Nielsen et al., J Natl Cancer Inst 113 (2021), 808 - 819.
"""

CUTOFFS_PERCENT: Mapping[str | None, tuple[float, ...]] = {
    "ER": (1, 10),
    "PR": (1, 10),
    "Ki-67": (5, 30),
}
"""Positive % at which a diagnosis changes, by marker.

Sources: Allison et al. (ASCO/CAP), J Clin Oncol 38 (2020), 1346 - 1366, for ER and PR; Nielsen et
al. (2021) for Ki-67.
"""

REVIEW = "review by eye"

_SAME = 1e-9  # 7 of 100 nuclei are 7.000000000000001 %, as QuPath computes them


class Doubt(Part):
    """Nuclei whose class is doubtful, and the scores if all of them were of the other class.

    Attributes
    ----------
    nuclei, share
        How many nuclei of the class are doubtful, and which share that is of its nuclei.
    positive_percent, h_score
        Scores of the class without its own doubtful nuclei and with those of other classes.
    reason
        Why one of the values is missing, or ``None``.
    """

    nuclei: int | None
    share: float | None
    positive_percent: float | None
    h_score: float | None
    reason: str | None


class NearestCutOff(Part):
    """The cut-off that positive % is nearest to.

    Attributes
    ----------
    percent, distance
        The cut-off, and positive % less the cut-off, in percentage points.
    held
        All cut-offs in the interval of positive %.
    crossed
        All cut-offs between positive % and what it would be if all doubtful nuclei were of the
        other class; empty in earlier results.
    verdict
        "review by eye" if `held` or `crossed` has any, or if there are too few nuclei; else
        "clear". ``None`` if there is no interval and no other reason to look.
    """

    percent: float
    distance: float
    held: tuple[float, ...]
    crossed: tuple[float, ...] = ()
    verdict: Literal["clear", "review by eye"] | None


class Certainty(Part):
    """How sure the scores of a class are.

    Attributes
    ----------
    h_score, positive_percent
        Their 95 % intervals.
    minimum, enough
        How many measured nuclei a score should rest on, and whether it does.
    doubt
        Nuclei whose class is doubtful.
    cut_off
        The nearest cut-off; ``None`` if the marker has none, without a score, and on slides that
        get no verdict.
    """

    h_score: Interval
    positive_percent: Interval
    minimum: int
    enough: bool
    doubt: Doubt
    cut_off: NearestCutOff | None


def find_certainty(
    nuclei: Nuclei,
    grades: Grades,
    *,
    grid: Grid,
    settings: ScoreSettings,
    rows: npt.NDArray[np.int_] | None = None,
) -> dict[str, Certainty]:
    """Return how sure the scores of each class are, and last those of all classes together.

    Parameters
    ----------
    nuclei
        The table, N nuclei.
    grades
        ``(N,)``, see :func:`~wsi_suite.scoring.intensity.grade_nuclei`.
    grid
        The blocks of the nuclei.
    settings
        Marker and cut-offs.
    rows
        The nuclei that count; ``None``: all.
    """
    rows = np.arange(len(nuclei)) if rows is None else rows
    label = nuclei.label[rows]
    found = {}
    for code, (name, (score, doubt)) in enumerate(_doubts(nuclei, grades, rows=rows).items()):
        one_class = code < len(nuclei.classes)
        blocks = grid.count(grades, rows=rows[label == code] if one_class else rows)
        share = find_interval(blocks, POSITIVE, rng=np.random.default_rng(SEED))
        minimum = MINIMUM_KI67 if settings.marker == "Ki-67" else MINIMUM_NUCLEI
        found[name] = Certainty(
            h_score=find_interval(blocks, GRADES, rng=np.random.default_rng(SEED)),
            positive_percent=share,
            minimum=minimum,
            enough=score.measured >= minimum,
            doubt=doubt,
            cut_off=_nearest(
                score.positive_percent,
                share,
                doubt=doubt,
                cutoffs=cutoffs_of(settings),
                enough=score.measured >= minimum,
            ),
        )
    return found


def cutoffs_of(settings: ScoreSettings) -> tuple[float, ...]:
    """Return the cut-offs of positive %: those that were set, else the marker's in the breast."""
    if settings.cutoffs_percent is not None:
        return settings.cutoffs_percent
    return CUTOFFS_PERCENT.get(settings.marker, ()) if settings.breast_guidelines else ()


def held_cutoffs(interval: Interval, cutoffs: Sequence[float]) -> tuple[float, ...]:
    """Return the cut-offs in an interval of positive %; its limits belong to it."""
    low, high = interval.low, interval.high
    if low is None or high is None:
        return ()
    return tuple(cutoff for cutoff in cutoffs if low <= cutoff <= high)


def crossed_cutoffs(percent: float, doubt: Doubt, cutoffs: Sequence[float]) -> tuple[float, ...]:
    """Return the cut-offs that positive % crosses if doubtful nuclei are of the other class."""
    other = doubt.positive_percent
    if other is None or other == percent:
        return ()
    low, high = sorted((percent, other))
    # Some cut-offs belong to what is below, as 10 % for ER: both ends count.
    return tuple(cutoff for cutoff in cutoffs if low - _SAME <= cutoff <= high + _SAME)


def _nearest(
    percent: float | None,
    interval: Interval,
    *,
    doubt: Doubt,
    cutoffs: Sequence[float],
    enough: bool,
) -> NearestCutOff | None:
    if percent is None or not cutoffs:
        return None
    nearest = min(cutoffs, key=lambda cutoff: abs(percent - cutoff))
    held, crossed = held_cutoffs(interval, cutoffs), crossed_cutoffs(percent, doubt, cutoffs)
    known = interval.low is not None
    look = held or crossed or (known and not enough)
    return NearestCutOff(
        percent=nearest,
        distance=0.0 if abs(percent - nearest) < _SAME else percent - nearest,
        held=held,
        crossed=crossed,
        verdict=REVIEW if look else "clear" if known else None,
    )


def _doubts(
    nuclei: Nuclei, grades: Grades, *, rows: npt.NDArray[np.int_]
) -> dict[str, tuple[Score, Doubt]]:
    """Return the score and the doubtful nuclei of each class, and last of all together."""
    probability = nuclei.measurements.get(CLASS_PROBABILITY)
    values = np.ones(len(rows)) if probability is None else probability[rows]
    reason = _why_no_doubt(nuclei, values, known=probability is not None)
    unknown, kinds, classes = len(INTENSITIES), len(INTENSITIES) + 1, len(nuclei.classes)
    grade = np.where(grades[rows] == NOT_MEASURABLE, unknown, grades[rows])
    codes = (nuclei.label[rows].astype(np.intp) * 2 + (values < DOUBTFUL_BELOW)) * kinds + grade
    table = np.bincount(codes, minlength=classes * 2 * kinds).reshape(classes, 2, kinds)
    sure, doubtful = table[:, 0], table[:, 1]
    found = {}
    for code, name in enumerate(nuclei.classes):
        others = doubtful.sum(axis=0) - doubtful[code]
        score = Score(*map(int, table[code].sum(axis=0)))
        other = Score(*map(int, sure[code] + others))
        found[name] = score, _doubt(score, int(doubtful[code].sum()), other=other, reason=reason)
    whole = Score(*map(int, table.sum(axis=(0, 1))))
    found[pooled_name(nuclei.classes)] = (
        whole,
        _doubt(whole, int(doubtful.sum()), other=whole, reason=reason),
    )
    return found


def _why_no_doubt(nuclei: Nuclei, values: npt.NDArray[np.floating], *, known: bool) -> str | None:
    if len(nuclei.classes) < 2:
        return "the model knows one class only"
    if not known and len(values):
        return f"the table lacks '{CLASS_PROBABILITY}'"
    unknown = int(np.isnan(values).sum())
    return f"{unknown} nuclei have no '{CLASS_PROBABILITY}'" if unknown else None


def _doubt(score: Score, doubtful: int, *, other: Score, reason: str | None) -> Doubt:
    if reason is not None:
        return Doubt(nuclei=None, share=None, positive_percent=None, h_score=None, reason=reason)
    return Doubt(
        nuclei=doubtful,
        share=doubtful / score.nuclei if score.nuclei else None,
        positive_percent=other.positive_percent,
        h_score=other.h_score,
        reason=score.why_no_score,
    )
