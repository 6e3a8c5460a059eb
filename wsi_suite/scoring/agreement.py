"""Agreement of paired scores: two readers, a reader and the suite, or two runs.

Every figure is a closed formula of its source, with an interval of 95 %. A figure that does not
exist has no value, and says why (``reason``); it is never 0 or NaN in its place.

Sources
-------
Shrout and Fleiss, Psychol Bull 1979, 86, 420: ICC(2,1). McGraw and Wong, Psychol Methods 1996, 1,
30: its interval. Lin, Biometrics 1989, 45, 255, corrected 2000, 56, 324: concordance correlation.
Cohen, Psychol Bull 1968, 70, 213: weighted kappa. Fleiss, Cohen and Everitt, Psychol Bull 1969, 72,
323: its error. Bland and Altman, Stat Methods Med Res 1999, 8, 135: limits of agreement. Wilson, J
Am Stat Assoc 1927, 22, 209: intervals of shares.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from wsi_suite.documents import Part

Scores = npt.NDArray[np.float64]

LEVEL = 0.95
"""Coverage of the intervals."""

MIN_PAIRS = 3
"""Fewest pairs for a figure: with two, any line is a perfect fit."""

_Z = float(stats.norm.ppf(0.5 + LEVEL / 2))
_DECIMALS = 9  # of scores: as they are stored, 16.1 and 6.1 differ by more than 10
_SAME = 0.5 * 10**-_DECIMALS


class Figure(Part):
    """A figure and its interval.

    Attributes
    ----------
    value
        The figure; ``None`` if it does not exist.
    low, high
        Interval of 95 %; ``None`` if there is none.
    reason
        Why value or interval are missing.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


class Limits(Part):
    """Bland-Altman analysis of differences.

    Attributes
    ----------
    bias
        Mean difference.
    lower, upper
        Limits of agreement: bias -/+ 1.96 standard deviations of the differences.
    """

    bias: Figure
    lower: Figure
    upper: Figure


@dataclass(frozen=True)
class CutoffTable:
    """Pairs by the side of a cut-off that each score lies on; a score at the cut-off is positive.

    Attributes
    ----------
    both, only_first, only_second, neither
        Number of pairs that are positive in both, in one, in none.
    """

    both: int
    only_first: int
    only_second: int
    neither: int

    @property
    def pairs(self) -> int:
        """Number of pairs."""
        return self.both + self.only_first + self.only_second + self.neither


def intraclass_correlation(scores: npt.ArrayLike) -> Figure:
    """Return ICC(2,1): two-way random effects, absolute agreement, single rater.

    Parameters
    ----------
    scores
        ``(N, K)`` scores of N slides by K raters.

    Notes
    -----
    ``(MSR - MSE) / (MSR + (K - 1) MSE + K (MSC - MSE) / N)`` from the mean squares of slides,
    raters and error (Shrout and Fleiss 1979); readers who contradict each other bring it below 0,
    with few slides below -1. Interval: McGraw and Wong 1996, case 2, ICC(A,1).
    """
    table = np.asarray(scores, np.float64)
    slides, raters = table.shape
    if (reason := _why_none(table)) is not None:
        return Figure(value=None, reason=reason)
    if np.abs(table - table[:, :1]).max() <= _SAME:
        return Figure(value=1.0, low=1.0, high=1.0)
    msr, msc, mse = _mean_squares(table)
    value = (msr - mse) / (msr + (raters - 1) * mse + raters * (msc - mse) / slides)
    if 1 - value < _SAME:
        return Figure(value=value, low=value, high=value)
    # Satterthwaite's degrees of freedom of the denominator.
    a = raters * value / (slides * (1 - value))
    b = 1 + raters * value * (slides - 1) / (slides * (1 - value))
    freedom = (a * msc + b * mse) ** 2 / (
        (a * msc) ** 2 / (raters - 1) + (b * mse) ** 2 / ((slides - 1) * (raters - 1))
    )
    tail = 0.5 + LEVEL / 2
    below = float(stats.f.ppf(tail, slides - 1, freedom))
    above = float(stats.f.ppf(tail, freedom, slides - 1))
    rest = raters * msc + (raters * slides - raters - slides) * mse
    low = slides * (msr - below * mse) / (below * rest + slides * msr)
    high = slides * (above * msr - mse) / (rest + slides * above * msr)
    if not low <= value <= high:  # mean squares that cancel each other leave no freedom
        return Figure(value=value, reason="no interval: the correlation is negative")
    return Figure(value=value, low=low, high=high)


def _mean_squares(table: Scores) -> tuple[float, float, float]:
    """Return the mean squares of rows, columns and error of a two-way table."""
    rows, columns = table.shape
    grand = table.mean()
    by_row, by_column = table.mean(axis=1) - grand, table.mean(axis=0) - grand
    error = table - grand - by_row[:, None] - by_column[None, :]
    return (
        float(columns * (by_row**2).sum() / (rows - 1)),
        float(rows * (by_column**2).sum() / (columns - 1)),
        float((error**2).sum() / ((rows - 1) * (columns - 1))),
    )


def concordance_correlation(first: Scores, second: Scores) -> Figure:
    """Return Lin's concordance correlation coefficient; interval by its Z transform.

    Parameters
    ----------
    first, second
        ``(N,)`` scores of the same slides.

    Notes
    -----
    ``2 s12 / (s1² + s2² + d²)`` with moments that divide by N, and d the difference of the means.
    The variance of Z is that of Lin 1989 as corrected in 2000, written with ``c / r`` and
    ``u² c / r``, which stay finite without correlation.
    """
    if (reason := _why_none(np.column_stack([first, second]))) is not None:
        return Figure(value=None, reason=reason)
    if _constant(first) or _constant(second):
        return Figure(value=0.0, reason="one of the two gives all slides the same score")
    if np.abs(first - second).max() <= _SAME:
        return Figure(value=1.0, low=1.0, high=1.0)
    spread = first.std() * second.std()
    total = first.var() + second.var() + (first.mean() - second.mean()) ** 2
    value = float(2 * np.cov(first, second, ddof=0)[0, 1] / total)
    bias_factor = 2 * spread / total
    shift = 2 * (first.mean() - second.mean()) ** 2 / total
    correlation = value / bias_factor
    rest = 1 - value**2
    if rest < _SAME:
        return Figure(value=value, low=value, high=value)
    variance = (
        (1 - correlation**2) * bias_factor**2 / rest
        + (2 * value**2 * (1 - value) * shift - value**2 * shift**2 / 2) / rest**2
    ) / (len(first) - 2)
    half = _Z * math.sqrt(max(0.0, variance))
    z = math.atanh(value)
    return Figure(value=value, low=math.tanh(z - half), high=math.tanh(z + half))


def weighted_kappa(table: npt.ArrayLike) -> Figure:
    """Return kappa with quadratic weights; with two categories it is Cohen's kappa.

    Parameters
    ----------
    table
        ``(C, C)`` number of pairs by the category of the first (rows) and second score (columns),
        in order.

    Notes
    -----
    Weights of agreement ``1 - (i - j)² / (C - 1)²`` (Cohen 1968); error by Fleiss, Cohen and
    Everitt 1969; interval normal, within -1 and 1.
    """
    counts = np.asarray(table, np.float64)
    pairs = counts.sum()
    if pairs < MIN_PAIRS:
        return Figure(value=None, reason=_too_few(int(pairs)))
    share = counts / pairs
    place = np.arange(len(counts))
    weight = 1 - (place[:, None] - place[None, :]) ** 2 / (len(counts) - 1) ** 2
    rows, columns = share.sum(axis=1), share.sum(axis=0)
    observed = float((weight * share).sum())
    expected = float(rows @ weight @ columns)
    if math.isclose(expected, 1, abs_tol=1e-12):
        return Figure(value=None, reason="all pairs are in one category")
    value = (observed - expected) / (1 - expected)
    if 1 in (np.count_nonzero(rows), np.count_nonzero(columns)):  # 0, and its error would be, too
        return Figure(value=0.0, reason="one of the two puts all pairs in one category")
    by_row, by_column = weight @ columns, rows @ weight
    each = weight * (1 - expected) - (by_row[:, None] + by_column[None, :]) * (1 - observed)
    variance = float((share * each**2).sum()) - (observed * expected - 2 * expected + observed) ** 2
    half = _Z * math.sqrt(max(0.0, variance) / pairs) / (1 - expected) ** 2
    return Figure(value=value, low=max(-1.0, value - half), high=min(1.0, value + half))


def category_table(
    first: Scores, second: Scores, *, borders: Sequence[float]
) -> npt.NDArray[np.int_]:
    """Count pairs by category: ``(C, C)``, the first score's in rows.

    Parameters
    ----------
    first, second
        ``(N,)`` scores.
    borders
        Where a category begins (``>=``), rising; C - 1 of them.
    """
    table = np.zeros((len(borders) + 1,) * 2, np.int_)
    places = [np.searchsorted(borders, scores, side="right") for scores in (first, second)]
    np.add.at(table, (places[0], places[1]), 1)
    return table


def cutoff_table(first: Scores, second: Scores, *, cutoff: float) -> CutoffTable:
    """Count pairs by the side of a cut-off; a score at the cut-off is positive."""
    ((neither, only_second), (only_first, both)) = category_table(
        first, second, borders=[cutoff]
    ).tolist()
    return CutoffTable(both, only_first, only_second, neither)


def limits_of_agreement(first: Scores, second: Scores) -> Limits:
    """Return bias and limits of agreement of ``first - second``.

    Notes
    -----
    Limits ``bias -/+ 1.96 s``; the variance of a limit is ``s² (1 / N + 1.96² / (2 (N - 1)))``, and
    intervals are those of Student's t with N - 1 degrees of freedom (Bland and Altman 1999).
    """
    number = len(first)
    if number < MIN_PAIRS:
        none = Figure(value=None, reason=_too_few(number))
        return Limits(bias=none, lower=none, upper=none)
    difference = first - second
    bias, deviation = float(difference.mean()), float(difference.std(ddof=1))
    quantile = float(stats.t.ppf(0.5 + LEVEL / 2, number - 1))
    of_bias = quantile * deviation / math.sqrt(number)
    of_limit = quantile * deviation * math.sqrt(1 / number + _Z**2 / (2 * (number - 1)))
    return Limits(
        bias=_around(bias, of_bias),
        lower=_around(bias - _Z * deviation, of_limit),
        upper=_around(bias + _Z * deviation, of_limit),
    )


def within_tolerance(first: Scores, second: Scores, *, tolerance: float) -> int:
    """Return how many pairs differ by at most a tolerance."""
    return int((np.round(np.abs(first - second), _DECIMALS) <= tolerance).sum())


def share(number: int, of: int) -> Figure:
    """Return a share and its interval by Wilson."""
    if of == 0:
        return Figure(value=None, reason="no such pairs")
    interval = stats.binomtest(number, of).proportion_ci(LEVEL, method="wilson")
    return Figure(value=number / of, low=float(interval.low), high=float(interval.high))


def _around(value: float, half: float) -> Figure:
    return Figure(value=value, low=value - half, high=value + half)


def _too_few(pairs: int) -> str:
    return f"{pairs} pair{'s' * (pairs != 1)}, at least {MIN_PAIRS} are needed"


def _why_none(table: Scores) -> str | None:
    """Return why a table of scores has no correlation, or ``None`` if it has one."""
    if len(table) < MIN_PAIRS:
        return _too_few(len(table))
    if all(map(_constant, table.T)):
        return "each of the two gives all slides the same score"
    return None


def _constant(scores: Scores) -> bool:
    return bool(np.ptp(scores) <= _SAME)
