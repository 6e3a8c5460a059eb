"""Inverse power law of a learning curve: the error falls as ``a + b n^-c`` with ``n`` cases.

``a`` is what no number of cases takes away, ``c`` how fast the rest falls.

Source: Hestness et al., *Deep Learning Scaling is Predictable, Empirically*, arXiv 1712.00409,
2017; Figueroa et al., *Predicting sample size required for classification performance*, BMC Med
Inform Decis Mak 2012, 12, 8 (weighted least squares).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

EXPONENTS = (0.05, 2.0)
"""Exponents that are looked at. Published ones are 0.07 to 0.35, theory has 0.5 and 1 (Hestness);
a curve that wants a faster one is flat after its first point."""

_STEPS = 60
_ZOOMS = 6


@dataclass(frozen=True)
class PowerLaws:
    """Fitted laws, one for each row of errors.

    Attributes
    ----------
    a, b, c
        ``(B,)`` each; ``a`` and ``b`` are not negative.
    """

    a: Floats
    b: Floats
    c: Floats

    def errors_at(self, cases: Sequence[float] | Floats) -> Floats:
        """Return ``(B, M)`` the errors with each of M numbers of cases."""
        powers = np.asarray(cases, float)[None] ** -self.c[:, None]
        return self.a[:, None] + self.b[:, None] * powers

    @property
    def identified(self) -> npt.NDArray[np.bool_]:
        """``(B,)`` whether the error falls, with an exponent inside :data:`EXPONENTS`."""
        low, high = EXPONENTS
        inside = (self.c > low * 1.01) & (self.c < high * 0.99)
        return inside & (self.b > 1e-9)


def fit_power_laws(cases: Sequence[float], errors: Floats, weights: Floats) -> PowerLaws:
    """Fit ``a + b n^-c`` to each row of errors by weighted least squares.

    For a given ``c`` the law is linear, and solved in closed form under ``a, b >= 0``; ``c`` is
    searched for on a grid that is drawn closer about its best.

    Parameters
    ----------
    cases
        The K numbers of cases, positive and all different.
    errors
        ``(B, K)`` errors with each.
    weights
        ``(K,)`` positive.
    """
    low, high = np.log(EXPONENTS)
    rows = np.arange(len(errors))
    sizes = np.asarray(cases, float)
    centre = np.full(len(errors), (low + high) / 2)
    width = (high - low) / 2
    for _ in range(_ZOOMS):
        place = centre[:, None] + np.linspace(-width, width, _STEPS + 1)
        exponents = np.exp(np.clip(place, low, high))
        a, b, loss = _solve(sizes, errors, weights, exponents)
        best = loss.argmin(axis=1)
        centre = np.log(exponents[rows, best])
        width *= 4 / _STEPS
    return PowerLaws(a[rows, best], b[rows, best], exponents[rows, best])


def _solve(
    sizes: Floats, errors: Floats, weights: Floats, exponents: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return ``(B, C)`` the best a and b for each exponent, and the weighted squares left."""
    share = weights / weights.sum()
    powers = sizes ** -exponents[..., None]  # (B, C, K)
    mean_power = powers @ share
    mean_error = (errors @ share)[:, None]
    apart = powers - mean_power[..., None]
    away = (errors - mean_error)[:, None]
    slope = (apart * away * share).sum(-1) / (apart**2 * share).sum(-1)
    through_zero = (powers * errors[:, None] * share).sum(-1) / (powers**2 * share).sum(-1)
    a = mean_error - slope * mean_power
    b = np.where(slope < 0, 0.0, np.where(a < 0, np.maximum(through_zero, 0.0), slope))
    a = np.where(slope < 0, np.maximum(mean_error, 0.0), np.maximum(a, 0.0))
    left = errors[:, None] - (a[..., None] + b[..., None] * powers)
    return a, b, (left**2 * share).sum(-1)
