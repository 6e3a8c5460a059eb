"""Cross-validations of several settings, compared fold by fold.

Two settings are tried on the same folds with the same seeds: what a difference shows is theirs and
not that of the folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wsi_suite.training.trial import (
    FIGURES,
    RESAMPLES,
    FigureDifference,
    Trial,
    difference_of,
    draw_rows,
    rows_by_run,
)


@dataclass(frozen=True)
class HeldOut:
    """A model on the runs that its training did not see.

    Attributes
    ----------
    test_runs, seed
        Of the fold.
    trial
        The model on the tiles of `test_runs`.
    """

    test_runs: tuple[str, ...]
    seed: int
    trial: Trial


def compare_folds(
    ours: Sequence[HeldOut],
    theirs: Sequence[HeldOut],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, FigureDifference]:
    """Compare two cross-validations of the same folds and seeds.

    A difference is the mean over folds and seeds. For its interval folds are drawn again with
    replacement, in each its tiles (as :func:`~wsi_suite.training.trial.draw_again` does) and its
    seeds; both sides get the same draws. With one seed, how trainings differ is not in it.

    Parameters
    ----------
    ours, theirs
        The same folds and seeds, in the same order.
    resamples
        How often.
    seed
        Of the draws.

    Returns
    -------
    dict
        For each of :data:`~wsi_suite.training.trial.FIGURES` that of `ours` less that of `theirs`.
    """
    pairs: dict[tuple[str, ...], list[tuple[Trial, Trial]]] = {}
    for our, their in zip(ours, theirs, strict=True):
        assert (our.test_runs, our.seed) == (their.test_runs, their.seed)
        pairs.setdefault(our.test_runs, []).append((our.trial, their.trial))
    folds = list(pairs.values())
    groups = [rows_by_run([tile.run for tile in fold[0][0].tiles]) for fold in folds]
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        parts = []
        for fold in rng.integers(len(folds), size=len(folds)):
            rows = draw_rows(groups[fold], rng)
            turns = rng.integers(len(folds[fold]), size=len(folds[fold]))
            parts += [_differences(folds[fold][turn], rows) for turn in turns]
        drawn.append(_mean(parts))
    whole = _mean([_differences(pair, None) for fold in folds for pair in fold])
    columns = np.array(drawn).reshape(-1, len(FIGURES)).T
    return {
        name: difference_of(float(value), column)
        for name, value, column in zip(FIGURES, whole, columns, strict=True)
    }


def _differences(
    pair: tuple[Trial, Trial], rows: npt.NDArray[np.int_] | None
) -> npt.NDArray[np.float64]:
    """Return the difference of each figure on some tiles of a fold."""
    one, other = (trial.evaluate(rows) for trial in pair)
    return np.array([figure(one) - figure(other) for figure in FIGURES.values()])


def _mean(parts: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Return the mean of each figure over the folds that have it; NaN if none has."""
    values = np.array(parts)
    there = ~np.isnan(values)
    number = there.sum(axis=0)
    total = np.where(there, values, 0.0).sum(axis=0)
    mean = np.full(len(FIGURES), np.nan)
    np.divide(total, number, out=mean, where=number > 0)
    return mean
