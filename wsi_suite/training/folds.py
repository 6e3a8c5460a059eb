"""The folds of a cross-validation: which runs each leaves out, and whether all can be trained.

Tiles of a run may share a slide, so that runs are kept together.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wsi_suite.errors import ConfigError, DataError, ModelError
from wsi_suite.training.labelled import LabelledTile, load_tiles
from wsi_suite.training.settings import SplitSettings, TrainSettings
from wsi_suite.training.start import find_start
from wsi_suite.training.train import check_validation, split_tiles


@dataclass(frozen=True)
class Fold:
    """One training of a cross-validation.

    Attributes
    ----------
    test_runs
        Runs that the training does not see.
    seed
        Of the training.
    """

    test_runs: tuple[str, ...]
    seed: int

    @property
    def name(self) -> str:
        """Name of the fold, as its folder is called unless another has this name."""
        runs = "+".join(re.sub(r"[^\w.-]", "_", run) for run in self.test_runs)
        return f"{runs[:50]}-seed{self.seed}"


def plan_folds(
    tiles: Sequence[LabelledTile], *, folds: int | None, seeds: Sequence[int]
) -> list[Fold]:
    """Share the runs of tiles out between folds.

    Parameters
    ----------
    tiles
        The tiles.
    folds
        Number of folds, about equal in tiles; ``None`` leaves one run out at a time.
    seeds
        Each fold is trained once with each.

    Raises
    ------
    DataError
        There are fewer runs than folds, or fewer than two.
    """
    sizes = Counter(tile.run for tile in tiles)
    wanted = len(sizes) if folds is None else folds
    if wanted < 2 or len(sizes) < wanted:
        raise DataError(
            f"{wanted} folds of {len(sizes)} runs: a cross-validation needs at least two folds, "
            "and a run for each; name the runs in tiles.csv"
        )
    groups: list[list[str]] = [[] for _ in range(wanted)]
    for run, _ in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        smallest = min(groups, key=lambda group: sum(sizes[name] for name in group))
        smallest.append(run)
    return [Fold(tuple(sorted(group)), seed) for seed in seeds for group in groups]


@dataclass(frozen=True)
class Work:
    """A cross-validation whose trainings can all begin.

    Attributes
    ----------
    settings
        Of each training but for its split and seed.
    tiles, folds
        All tiles, and how their runs are shared out.
    """

    settings: TrainSettings
    tiles: list[LabelledTile]
    folds: list[Fold]


def plan_work(
    settings: TrainSettings,
    *,
    data: Path,
    folds: int | None,
    seeds: Sequence[int] | None,
    mpp: float | None,
) -> Work:
    """Load tiles, plan folds and refuse settings with which some fold could not begin.

    Parameters
    ----------
    settings, data, folds, seeds, mpp
        As in :func:`~wsi_suite.training.crossvalidation.cross_validate`.

    Raises
    ------
    ConfigError, DataError, ModelError
        A training could not begin: hours later, after those of other folds.
    """
    tiles = load_tiles(data, settings.labels, mpp=mpp)
    planned = plan_folds(
        tiles, folds=folds, seeds=(settings.optimiser.seed,) if seeds is None else seeds
    )
    _check_folds(planned, tiles, settings)
    return Work(settings, tiles, planned)


def _check_folds(folds: Sequence[Fold], tiles: list[LabelledTile], settings: TrainSettings) -> None:
    """Refuse settings with which the training of some fold could not begin."""
    if settings.optimiser.devices > 1:
        raise ConfigError("optimiser.devices: folds are trained on one device; set it to 1")
    for fold in folds:
        wanted = settings_of(fold, settings)
        try:
            check_validation(split_tiles(tiles, wanted.split).validation, wanted)
            find_start(wanted)
        except (DataError, ModelError) as error:
            raise type(error)(f"fold {fold.name}: {error}") from None


def settings_of(fold: Fold, settings: TrainSettings) -> TrainSettings:
    """Return the settings of a fold's training; its test runs are no validation runs."""
    validation = [run for run in settings.split.validation_runs if run not in fold.test_runs]
    split = SplitSettings(test_runs=fold.test_runs, validation_runs=tuple(validation))
    optimiser = settings.optimiser.model_copy(update={"seed": fold.seed})
    return settings.model_copy(update={"split": split, "optimiser": optimiser})
