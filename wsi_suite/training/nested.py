"""The plan of a learning curve: test cases of each repeat, and growing parts of all others.

A case is a run: a patient or a slide, whose tiles are never parted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wsi_suite.errors import ConfigError, DataError
from wsi_suite.training.settings import SplitSettings, TrainSettings


@dataclass(frozen=True)
class NestedRuns:
    """One training of a learning curve.

    Attributes
    ----------
    repeat
        Which repeat it belongs to, from 1.
    share
        Share of the cases of training, as asked.
    train_runs, test_runs
        Its cases; the former hold those of all smaller shares of the repeat.
    """

    repeat: int
    share: float
    train_runs: tuple[str, ...]
    test_runs: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the training, as its folder below that of its variant is called."""
        return f"repeat-{self.repeat}-cases-{len(self.train_runs)}"


def plan_nested(
    runs: Sequence[str],
    *,
    shares: Sequence[float],
    repeats: int,
    test_share: float,
    seed: int,
) -> list[NestedRuns]:
    """Draw the test cases of each repeat, and nested parts of the others.

    Test cases of one repeat after another go round all cases, so that they overlap as little as
    can be. More repeats or other shares leave what was drawn before as it is.

    Parameters
    ----------
    runs
        The cases, without those of validation.
    shares
        Of the cases that are not test cases, in (0, 1]; each gives at least one case.
    repeats
        How often.
    test_share
        Share of the cases that a repeat is tested on, at least one.
    seed
        Of the draws.

    Returns
    -------
    list
        Repeat by repeat, by rising share. Of shares that give as many cases the largest is kept.

    Raises
    ------
    ConfigError
        A share is not in (0, 1], or there is none.
    DataError
        There are fewer than two cases.
    """
    for share in shares:
        if not 0 < share <= 1:
            raise ConfigError(f"--shares {share:g}: expected shares above 0 and up to 1")
    if not shares:
        raise ConfigError("--shares: expected shares above 0 and up to 1, as 0.25,0.5,1")
    names = sorted(set(runs))
    held_out = max(1, round(test_share * len(names)))
    left = len(names) - held_out
    if left < 1:
        raise DataError(
            f"{len(names)} cases that are not for validation: a learning curve needs at least one "
            "to test on and one to train on; name the runs in tiles.csv"
        )
    round_about = np.random.default_rng(seed).permutation(names)
    planned = []
    for repeat in range(repeats):
        places = [(repeat * held_out + step) % len(names) for step in range(held_out)]
        test = {str(round_about[place]) for place in places}
        rest = [name for name in names if name not in test]
        order = np.random.default_rng((seed, repeat)).permutation(rest)
        sizes = {max(1, round(share * left)): share for share in sorted(shares)}
        planned += [
            NestedRuns(
                repeat=repeat + 1,
                share=share,
                train_runs=tuple(sorted(str(name) for name in order[:size])),
                test_runs=tuple(sorted(test)),
            )
            for size, share in sizes.items()
        ]
    return planned


def settings_of(part: NestedRuns, settings: TrainSettings) -> TrainSettings:
    """Return the settings of one training; each repeat has a seed of its own."""
    split = SplitSettings(
        test_runs=part.test_runs,
        validation_runs=settings.split.validation_runs,
        train_runs=part.train_runs,
    )
    seed = settings.optimiser.seed + part.repeat - 1
    optimiser = settings.optimiser.model_copy(update={"seed": seed})
    return settings.model_copy(update={"split": split, "optimiser": optimiser})
