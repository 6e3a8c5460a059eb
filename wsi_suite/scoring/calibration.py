"""Intensity thresholds from a laboratory's own labels: graded nuclei, or scores of slides.

Both fits are exact searches: no start, no seed, no local minimum.

**Graded nuclei.** The grade of a nucleus is how many thresholds its optical density (OD) reaches.
Moving threshold k from below to above a nucleus of grade g changes the squared error of its grade
by ``2 (g - k) + 1``, whatever the other thresholds are. So each threshold has a sum of its own to
minimise over the gaps between sorted ODs, and the three minima are always in order.

**Scores of slides.** The H-score is 100 times the sum of the shares of nuclei that reach each
threshold. Over a grid of candidates the squared error of all slides is a sum of entries of one
Gram matrix, so that all triples can be tried, however many slides there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from wsi_suite.errors import DataError
from wsi_suite.nuclei.table import INTENSITIES

Floats = npt.NDArray[np.float64]
Thresholds = tuple[float, float, float]
Range = tuple[float, float]

MIN_PER_GRADE = 10
"""Fewest labelled nuclei of each grade."""

MIN_SLIDES = 5
"""Fewest slides with a score: two more than there are thresholds."""

GRID_OD = 0.01
"""Distance of the candidates for thresholds that are fitted to scores, OD."""

RESAMPLES = 500
"""Number of times that graded nuclei are drawn again."""

LEVEL = 0.95
_MAX_CANDIDATES = 250  # 2.5 OD: no glass slide is darker
_DIGITS = 6


@dataclass(frozen=True)
class Fit:
    """Fitted thresholds.

    Attributes
    ----------
    thresholds_od
        Where 1+, 2+ and 3+ begin; ``None`` for one that the labels say nothing of.
    ranges_od
        How far each can move: for graded nuclei without a change of the error, for scores within
        its interval of 95 %; ``None`` as above. For graded nuclei see :func:`grade_intervals`, too.
    error
        Root of the mean squared error: of grades, or of scores in their unit.
    """

    thresholds_od: tuple[float | None, ...]
    ranges_od: tuple[Range | None, ...]
    error: float


def fit_grades(dab_od: npt.ArrayLike, grades: npt.ArrayLike) -> Fit:
    """Fit thresholds to graded nuclei: the smallest mean squared error of grades.

    Parameters
    ----------
    dab_od
        ``(N,)`` optical densities, finite.
    grades
        ``(N,)`` 0 to 3, as a pathologist has them.

    Returns
    -------
    Fit
        Of all thresholds that are best, those with the fewest decimals.

    Raises
    ------
    DataError
        A grade has too few nuclei, or the labels do not tell two thresholds apart.
    """
    od, grade = np.asarray(dab_od, np.float64), np.asarray(grades, np.int64)
    _refuse_few(np.bincount(grade, minlength=len(INTENSITIES)))
    order = np.argsort(od, kind="stable")
    od, grade = od[order], grade[order]
    bounds = np.concatenate([[-np.inf], od, [np.inf]])
    allowed = bounds[1:] > bounds[:-1]  # equal densities get equal grades
    ranges = []
    for k in (1, 2, 3):
        cost = np.concatenate([[0], np.cumsum(2 * (grade - k) + 1)])
        best = np.flatnonzero(allowed & (cost == cost[allowed].min()))
        widest = best[np.argmax(bounds[best + 1] - bounds[best])]
        ranges.append((float(bounds[widest]), float(bounds[widest + 1])))
    _refuse_joined(ranges)
    thresholds = tuple(simplest_between(max(low, 0.0), high) for low, high in ranges)
    found = sum((od >= threshold).astype(np.int64) for threshold in thresholds)
    error = math.sqrt(float(((found - grade) ** 2).mean()))
    return Fit(thresholds, tuple(ranges), error)


def grade_intervals(
    slides: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]],
) -> tuple[Range, Range, Range]:
    """Return intervals of 95 % of the thresholds that :func:`fit_grades` fits.

    Slides, and nuclei within them, are drawn again with replacement, 500 times and from a fixed
    seed (Davison and Hinkley, *Bootstrap Methods and their Application*, 1997, 3.8). With one slide
    they say nothing of how slides differ.

    Parameters
    ----------
    slides
        ``(N,)`` densities and ``(N,)`` grades of each.
    """
    od = np.concatenate([np.asarray(one, np.float64) for one, _ in slides])
    grade = np.concatenate([np.asarray(each, np.int64) for _, each in slides])
    order = np.argsort(od, kind="stable")
    od, grade = od[order], grade[order]
    last = np.flatnonzero(np.append(od[1:] > od[:-1], True))  # of equal densities
    sizes = [len(np.asarray(one)) for one, _ in slides]
    random = np.random.default_rng(0)
    below, above = np.empty((RESAMPLES, 3)), np.empty((RESAMPLES, 3))  # the gap of a threshold
    for row in range(RESAMPLES):
        times = np.bincount(random.integers(len(slides), size=len(slides)), minlength=len(slides))
        drawn = [
            random.multinomial(size * count, np.full(size, 1 / size))
            if count
            else np.zeros(size, int)
            for size, count in zip(sizes, times, strict=True)
        ]
        weight = np.concatenate(drawn)[order]
        for k in (1, 2, 3):
            cost = np.cumsum(weight * (2 * (grade - k) + 1))[last]
            place = int(cost.argmin())
            below[row, k - 1] = od[last[place]]
            above[row, k - 1] = od[last[min(place + 1, len(last) - 1)]]
    tail = (1 - LEVEL) / 2
    low = np.quantile(below, tail, axis=0, method="inverted_cdf")
    high = np.quantile(above, 1 - tail, axis=0, method="inverted_cdf")
    first, second, third = zip(low.tolist(), high.tolist(), strict=True)
    return first, second, third


def _refuse_few(counts: npt.NDArray[np.int64]) -> None:
    if counts.min() >= MIN_PER_GRADE:
        return
    said = ", ".join(f"{count} {name}" for name, count in zip(INTENSITIES, counts, strict=True))
    raise DataError(
        f"labelled nuclei: {said}; expected at least {MIN_PER_GRADE} of each, so that every "
        "threshold lies between two grades; label more"
    )


def _refuse_joined(ranges: Sequence[Range]) -> None:
    """Refuse thresholds that fall together, or outside of all that was measured."""
    for k, (low, high) in enumerate(ranges, 1):
        if k > 1 and (low, high) == ranges[k - 2]:
            raise DataError(
                f"thresholds of {INTENSITIES[k - 1]} and {INTENSITIES[k]} fall together (at OD "
                f"{low:.3f}): nuclei labelled {INTENSITIES[k - 1]} do not lie between "
                f"{INTENSITIES[k - 2]} and {INTENSITIES[k]} in their density; check these labels"
            )
        if not (math.isfinite(low) and high > 0 and math.isfinite(high)):
            raise DataError(
                f"threshold of {INTENSITIES[k]}: no density above 0 parts the labelled grades; "
                "check the labels, and whether slide and stain fit (stain.background)"
            )


def simplest_between(low: float, high: float) -> float:
    """Return the number with the fewest decimals in ``(low, high]``, of those the middle one."""
    middle = (low + high) / 2
    for digits in range(_DIGITS + 1):
        value = round(middle, digits)
        if low < value <= high:
            return value
    return high


def survival(dab_od: npt.ArrayLike, candidates_od: Floats) -> Floats:
    """Return the share of nuclei that reach (``>=``) each candidate.

    Parameters
    ----------
    dab_od
        ``(N,)`` optical densities of a slide, N > 0, finite.
    candidates_od
        ``(C,)`` rising.
    """
    od = np.sort(np.asarray(dab_od))
    # In the values' precision, as wsi_suite.scoring.intensity has it.
    limits = candidates_od.astype(od.dtype if od.dtype.kind == "f" else np.float64)
    return np.asarray(1 - np.searchsorted(od, limits, side="left") / len(od), np.float64)


def candidate_grid(highest_od: float) -> Floats:
    """Return the candidates for thresholds: steps of 0.01 up to the highest density."""
    number = math.ceil(highest_od / GRID_OD - 1e-6)
    return np.round(np.arange(1, max(4, min(number, _MAX_CANDIDATES) + 1)) * GRID_OD, 2)


def fit_h_scores(shares: Floats, h_scores: Floats, candidates_od: Floats) -> Fit:
    """Fit three thresholds to H-scores of slides: the smallest mean squared error.

    Parameters
    ----------
    shares
        ``(S, C)`` see :func:`survival`.
    h_scores
        ``(S,)`` of pathologists.
    candidates_od
        ``(C,)`` rising.

    Returns
    -------
    Fit
        Ranges are profile-likelihood intervals: the candidates for which, with the best others,
        the squared error is at most ``1 + F(0.95; 1, S - 3) / (S - 3)`` times the smallest (Bates
        and Watts, *Nonlinear Regression Analysis and Its Applications*, 1988, 6.1).

    Raises
    ------
    DataError
        There are too few slides.
    """
    _refuse_few_slides(len(h_scores))
    number = len(candidates_od)
    values = 100 * shares
    gram, along = values.T @ values, values.T @ h_scores
    alone = np.diag(gram) - 2 * along
    best, lowest = (np.inf, (0, 1, 2)), np.full((3, number), np.inf)
    above = np.triu(np.ones((number, number), bool), 1)
    pair = alone[:, None] + alone[None, :] + 2 * gram
    constant = float(h_scores @ h_scores)
    for first in range(number - 2):
        rest = slice(first + 1, number)
        errors = (
            pair[rest, rest]
            + alone[first]
            + 2 * (gram[first, rest][:, None] + gram[first, rest][None, :])
            + constant
        )
        errors = np.where(above[rest, rest], np.maximum(errors, 0), np.inf)
        place = np.unravel_index(int(errors.argmin()), errors.shape)
        least = float(errors[place])
        if least < best[0] - 1e-9:
            best = least, (first, int(place[0]) + first + 1, int(place[1]) + first + 1)
        lowest[0, first] = least
        lowest[1, rest] = np.minimum(lowest[1, rest], errors.min(axis=1))
        lowest[2, rest] = np.minimum(lowest[2, rest], errors.min(axis=0))
    return Fit(
        tuple(float(candidates_od[place]) for place in best[1]),
        tuple(_within(errors, candidates_od, slides=len(h_scores), free=3) for errors in lowest),
        math.sqrt(best[0] / len(h_scores)),
    )


def fit_positive_percent(shares: Floats, percents: Floats, candidates_od: Floats) -> Fit:
    """Fit the threshold of 1+ to positive percentages of slides; 2+ and 3+ do not follow from them.

    Parameters as in :func:`fit_h_scores`.
    """
    _refuse_few_slides(len(percents))
    errors = ((100 * shares - percents[:, None]) ** 2).sum(axis=0)
    place = int(errors.argmin())
    inside = _within(errors, candidates_od, slides=len(percents), free=1)
    error = math.sqrt(float(errors[place]) / len(percents))
    return Fit((float(candidates_od[place]), None, None), (inside, None, None), error)


def _refuse_few_slides(number: int) -> None:
    if number < MIN_SLIDES:
        raise DataError(
            f"{number} slides or regions have both a score and nuclei; expected at least "
            f"{MIN_SLIDES}, with weak and strong ones among them"
        )


def _within(errors: Floats, candidates_od: Floats, *, slides: int, free: int) -> Range:
    """Return the first and last candidate whose squared error is near the smallest."""
    factor = 1 + float(stats.f.ppf(LEVEL, 1, slides - free)) / (slides - free)
    near = np.flatnonzero(errors <= errors.min() * factor + 1e-6)
    return float(candidates_od[near[0]]), float(candidates_od[near[-1]])


def otsu_cuts(dab_od: npt.ArrayLike) -> Thresholds | None:
    """Return where Otsu's method parts densities into four classes; ``None`` if it cannot.

    Source: Liao, Chen and Chung, J Inf Sci Eng 2001, 17, 713 (scikit-image).
    """
    from skimage.filters import threshold_multiotsu

    try:
        cuts = threshold_multiotsu(np.asarray(dab_od, np.float64), 4)  # type: ignore[no-untyped-call]
    except ValueError:  # fewer than four different densities
        return None
    low, middle, high = map(float, cuts)
    return low, middle, high


def quantile_cuts(dab_od: npt.ArrayLike) -> Thresholds:
    """Return the quartiles of densities."""
    low, middle, high = map(float, np.quantile(np.asarray(dab_od, np.float64), [0.25, 0.5, 0.75]))
    return low, middle, high
