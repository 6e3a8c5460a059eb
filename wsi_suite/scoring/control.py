"""Control charts: one control slide scored again and again.

Sources
-------
Levey and Jennings, Am J Clin Pathol 1950, 20, 1059: the chart. Westgard, Barry, Hunt and Groth,
Clin Chem 1981, 27, 493: the rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from wsi_suite.documents import Part
from wsi_suite.errors import DataError

BASELINE = 20
"""Number of first runs that limits are usually set from."""

MIN_BASELINE = 11
"""Fewest runs for limits: of ten values none can lie 3 standard deviations from their mean."""

Rule = Literal["1-3s", "2-2s"]


class ControlLimits(Part):
    """Mean and standard deviation of the first runs, and how many these are."""

    mean: float
    deviation: float
    runs: int


def control_limits(scores: Sequence[float], *, baseline: int = BASELINE) -> ControlLimits:
    """Return limits from the first `baseline` scores, or from all if there are fewer.

    Raises
    ------
    DataError
        There are too few scores, or they are all equal.
    """
    first = np.array(scores[:baseline], np.float64)
    if len(first) < MIN_BASELINE:
        runs = "1 run" if len(first) == 1 else f"{len(first)} runs"
        raise DataError(
            f"{runs} to set limits from; expected at least {MIN_BASELINE}, better {BASELINE}: of "
            "ten scores none can lie 3 standard deviations from their mean"
        )
    deviation = float(first.std(ddof=1))
    if deviation < 1e-9:
        raise DataError(
            f"all {len(first)} runs that limits are set from have the score {first[0]:g}; expected "
            "slides that were stained again, not one run copied"
        )
    return ControlLimits(mean=float(first.mean()), deviation=deviation, runs=len(first))


def broken_rules(scores: Sequence[float], limits: ControlLimits) -> list[tuple[Rule, ...]]:
    """Return for each score the rules that it breaks.

    ``1-3s``: more than 3 standard deviations from the mean. ``2-2s``: it and the one before it
    more than 2, on the same side.
    """
    z = (np.array(scores, np.float64) - limits.mean) / limits.deviation
    broken: list[tuple[Rule, ...]] = []
    for place, value in enumerate(z):
        rules: list[Rule] = []
        if abs(value) > 3:
            rules.append("1-3s")
        pair = z[max(0, place - 1) : place + 1]
        if len(pair) == 2 and ((pair > 2).all() or (pair < -2).all()):
            rules.append("2-2s")
        broken.append(tuple(rules))
    return broken
