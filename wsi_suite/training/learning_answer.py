"""The answer of a learning curve as a table: score with each share of the cases, and what is next.

Means are those of the repeats that have a value with every number of cases. A mean over other
repeats with each number would bend the curve, because test cases differ from repeat to repeat.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, stdev

from wsi_suite.training.learning_curve_document import FIGURES, VariantCurve
from wsi_suite.training.outlook import TIMES, Gain
from wsi_suite.training.trial import LEVEL


@dataclass(frozen=True)
class AnswerRow:
    """A figure with some share of the cases.

    Attributes
    ----------
    share, cases
        How many.
    repeats, planned
        Repeats that have a value with every number of cases, and all of them.
    mean
        Over these repeats; ``None`` without any.
    low, high
        Interval of the mean by Student's t; ``None`` for fewer than two repeats.
    doubled
        What twice as many cases are expected to bring; ``None`` but for all cases, and where
        nothing could be extrapolated.
    is_last
        Whether these are all cases.
    """

    share: float
    cases: int
    repeats: int
    planned: int
    mean: float | None
    low: float | None
    high: float | None
    doubled: Gain | None
    is_last: bool


def answer_rows(variant: VariantCurve, figure: str) -> list[AnswerRow]:
    """Return a row for each number of cases, rising.

    Parameters
    ----------
    variant
        The curve.
    figure
        One of :data:`~wsi_suite.training.learning_curve_document.FIGURES`.
    """
    value = FIGURES[figure][1]
    found = {
        (point.repeat, point.cases): number
        for point in variant.points
        if point.figures is not None and (number := value(point.figures)) is not None
    }
    shares = {point.cases: point.share for point in variant.points}
    repeats = sorted({point.repeat for point in variant.points})
    told = [cases for cases in variant.cases if any((one, cases) in found for one in repeats)]
    whole = [one for one in repeats if all((one, cases) in found for cases in told)]
    gains = variant.outlooks[figure].gains
    rows = []
    for cases in variant.cases:
        values = [found[one, cases] for one in whole] if cases in told else []
        low, high = _interval(values)
        is_last = cases == variant.cases[-1]
        rows.append(
            AnswerRow(
                share=shares[cases],
                cases=cases,
                repeats=len(values),
                planned=len(repeats),
                mean=fmean(values) if values else None,
                low=low,
                high=high,
                doubled=next((gain for gain in gains if gain.times == TIMES[0]), None)
                if is_last
                else None,
                is_last=is_last,
            )
        )
    return rows


def _interval(values: list[float]) -> tuple[float | None, float | None]:
    """Return the interval of a mean by Student's t, within 0 and 1."""
    from scipy.special import stdtrit

    if len(values) < 2:
        return None, None
    mean, count = fmean(values), len(values)
    half = float(stdtrit(count - 1, (1 + LEVEL) / 2)) * stdev(values) / math.sqrt(count)
    return max(mean - half, 0.0), min(mean + half, 1.0)
