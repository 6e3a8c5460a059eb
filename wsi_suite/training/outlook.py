"""Outlook of a learning curve: a fit, its extrapolation with intervals, and words.

Repeats, not single trainings, are drawn again, because those of one repeat share their test cases.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from wsi_suite.documents import Part
from wsi_suite.training.power_law import Floats, PowerLaws, fit_power_laws
from wsi_suite.training.trial import LEVEL, RESAMPLES

WORTHWHILE = 0.01
"""A gain below this is none in practice."""

TIMES = (2, 4)
"""Multiples of the largest number of cases that a fit is extrapolated to."""

MIN_SHARES = 3
"""Numbers of cases that a fit with three parameters needs."""


class Expected(Part):
    """A figure with some number of cases by the fitted law, and its interval."""

    cases: float
    value: float
    low: float
    high: float


class Gain(Part):
    """How much a figure rises from the largest number of cases to a multiple of it."""

    times: int
    value: float
    low: float
    high: float


class Outlook(Part):
    """Outlook of a figure with more cases, from its measured values.

    Attributes
    ----------
    figure
        What it is called.
    repeats
        Repeats that the fit is of: those that have a value with each number of cases.
    cases, means
        The numbers of cases, and the mean over these repeats with each.
    a, b, c
        The figure is ``1 - (a + b n^-c)``; ``None`` without a fit.
    curve
        The law from the smallest number of cases to four times the largest, or up to the largest
        if it is not extrapolated.
    gains
        To twice and four times the largest number; empty if it is not extrapolated.
    pays
        Whether more annotation is likely to pay; ``None`` if the data do not tell.
    words
        The answer.
    """

    figure: str
    repeats: int
    cases: tuple[int, ...] = ()
    means: tuple[float, ...] = ()
    a: float | None = None
    b: float | None = None
    c: float | None = None
    curve: tuple[Expected, ...] = ()
    gains: tuple[Gain, ...] = ()
    pays: bool | None = None
    words: str

    def at(self, times: int) -> Expected:
        """Return the expected value at a multiple of the largest number of cases."""
        return next(part for part in self.curve if part.cases == times * self.cases[-1])


def look_ahead(
    figure: str, cases: Sequence[int], values: Floats, *, resamples: int = RESAMPLES, seed: int = 0
) -> Outlook:
    """Fit an inverse power law to a figure and extrapolate it to more cases.

    The interval is that of repeats drawn again with replacement. Of R repeats it is too narrow, so
    that it is widened by ``sqrt(R / (R - 1))`` times the ratio of the quantiles of t and normal.
    Source: Hesterberg, *What teachers should know about the bootstrap*, Am Stat 2015, 69, 371
    (expanded percentile interval).

    Parameters
    ----------
    figure
        What it is called, such as mAP; better is higher, 1 is perfect.
    cases
        The K numbers of cases, rising.
    values
        ``(R, K)`` the figure in each repeat, NaN where there is none.
    resamples, seed
        Of the draws.
    """
    cases, values = _complete(cases, values)
    repeats = len(values)
    if repeats:
        means = tuple(float(value) for value in values.mean(axis=0))
        seen = Outlook(figure=figure, repeats=repeats, cases=cases, means=means, words="")
    else:
        seen = Outlook(figure=figure, repeats=0, words="")
    if not repeats and len(cases) >= MIN_SHARES:
        return _untold(seen, "no repeat has a value with every number of cases")
    if len(cases) < MIN_SHARES:
        return _untold(
            seen,
            f"a curve needs {MIN_SHARES} different numbers of cases, and {len(cases)} have values",
        )
    weights = _weights(values)
    fit = fit_power_laws(cases, 1 - values.mean(axis=0, keepdims=True), weights)
    a, b, c = (float(part[0]) for part in (fit.a, fit.b, fit.c))
    if b <= 1e-9:
        return _untold(seen, f"{figure} does not rise with the number of cases")
    seen = seen.model_copy(update={"a": a, "b": b, "c": c})
    if repeats < 2:
        return _untold(seen, "one repeat does not show how far the curve is chance")
    rows = np.random.default_rng(seed).integers(repeats, size=(resamples, repeats))
    drawn = fit_power_laws(cases, 1 - values[rows].mean(axis=1), weights)
    widening = _widening(repeats)
    if not fit.identified[0] or drawn.identified.mean() < 0.5:
        curve = _curve(fit, drawn, _places(cases, beyond=False), widening=widening)
        return _untold(
            seen.model_copy(update={"curve": curve}),
            "how fast the error falls is not determined by these points",
        )
    return _extrapolated(seen, fit, drawn, widening=widening)


def _complete(cases: Sequence[int], values: Floats) -> tuple[tuple[int, ...], Floats]:
    """Return the numbers of cases that have values, and the repeats that have all of them.

    A repeat with a gap would bend the curve: its test cases are harder or easier than others'.
    """
    there = ~np.isnan(values)
    kept = np.flatnonzero(there.any(axis=0))
    whole = there[:, kept].all(axis=1)
    chosen = tuple(cases[int(place)] for place in kept)
    return chosen, values[whole][:, kept]


def _weights(values: Floats) -> Floats:
    """Return one over the variance with each number of cases, drawn half to that of all.

    A variance of few repeats alone would let one number of cases decide by chance.
    """
    if len(values) < 2:
        return np.ones(values.shape[1])
    variances = values.var(axis=0, ddof=1)
    if variances.mean() < 1e-12:
        return np.ones(values.shape[1])
    return np.asarray(1 / ((variances + variances.mean()) / 2))


def _widening(repeats: int) -> float:
    """Return by how much the interval of few repeats is to be wider."""
    from scipy.special import ndtri, stdtrit

    place = (1 + LEVEL) / 2
    ratio = float(stdtrit(repeats - 1, place) / ndtri(place))
    return ratio * math.sqrt(repeats / (repeats - 1))


def _places(cases: Sequence[int], *, beyond: bool) -> list[float]:
    """Return where the curve is told: at equal steps of the logarithm, and at multiples."""
    last = cases[-1] * (TIMES[-1] if beyond else 1)
    steps = np.geomspace(cases[0], last, 25)[1:-1]
    ends = {float(number) for number in (cases[0], cases[-1], last)}
    if beyond:
        ends |= {float(cases[-1] * times) for times in TIMES}
    return sorted(ends | {round(float(step), 3) for step in steps})


def _curve(
    fit: PowerLaws, drawn: PowerLaws, places: Sequence[float], *, widening: float
) -> tuple[Expected, ...]:
    values = 1 - fit.errors_at(places)[0]
    low, high = _interval(values, 1 - drawn.errors_at(places), widening=widening)
    low, high = np.clip(low, 0, 1), np.clip(high, 0, 1)
    return tuple(
        Expected(cases=place, value=float(value), low=float(bottom), high=float(top))
        for place, value, bottom, top in zip(places, values, low, high, strict=True)
    )


def _interval(values: Floats, drawn: Floats, *, widening: float) -> tuple[Floats, Floats]:
    """Return the widened interval about each of ``(M,)`` values from ``(B, M)`` draws."""
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    below, above = np.maximum(values - low, 0), np.maximum(high - values, 0)
    return values - widening * below, values + widening * above


def _extrapolated(seen: Outlook, fit: PowerLaws, drawn: PowerLaws, *, widening: float) -> Outlook:
    last = seen.cases[-1]
    now = fit.errors_at([last]), drawn.errors_at([last])
    ahead = [last * times for times in TIMES]
    values = (now[0] - fit.errors_at(ahead))[0]
    low, high = _interval(values, now[1] - drawn.errors_at(ahead), widening=widening)
    gains = tuple(
        Gain(times=times, value=float(value), low=float(bottom), high=float(top))
        for times, value, bottom, top in zip(TIMES, values, low, high, strict=True)
    )
    places = _places(seen.cases, beyond=True)
    seen = seen.model_copy(
        update={"curve": _curve(fit, drawn, places, widening=widening), "gains": gains}
    )
    double, before, after = gains[0], seen.at(1), seen.at(TIMES[0])
    expected = (
        f"Doubling the cases, from {last} to {TIMES[0] * last}, is expected to raise {seen.figure} "
        f"from {before.value:.3f} to {after.value:.3f} ({100 * LEVEL:g} % interval "
        f"{after.low:.3f} to {after.high:.3f}), a gain of {double.value:.3f} "
        f"({_signed(double.low)} to {_signed(double.high)}). "
    )
    pays, answer = _answer(double)
    return seen.model_copy(update={"pays": pays, "words": expected + answer})


def _answer(double: Gain) -> tuple[bool | None, str]:
    """Return whether a gain is worth more annotation, and in words."""
    if double.high < WORTHWHILE:
        return False, "More annotation of this kind is unlikely to pay."
    if double.low <= 0:
        return None, "Whether it pays is not told by these data: the interval holds no gain, too."
    if double.value < WORTHWHILE:
        return None, f"Whether it pays is open: a gain, but perhaps one below {WORTHWHILE:g}."
    return True, "More annotation is likely to pay."


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _untold(seen: Outlook, reason: str) -> Outlook:
    words = f"Whether more annotation raises {seen.figure} is not told by these data: {reason}."
    return seen.model_copy(update={"words": words})
