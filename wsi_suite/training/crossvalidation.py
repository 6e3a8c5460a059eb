"""Cross-validation over runs: each fold trains without some runs and is tested on them.

Tiles of a run may share a slide, so that runs are kept together. What is reported is the mean over
folds and seeds with its range, on the held-out tiles as they are and under simulated shifts of
stain, focus, compression and resolution.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from wsi_suite.detector.detector import load_detector
from wsi_suite.documents import Document, Part, write_document
from wsi_suite.errors import ConfigError, DataError
from wsi_suite.progress import Progress, Step, no_progress
from wsi_suite.training.evaluation import Evaluation
from wsi_suite.training.labelled import LabelledTile, load_tiles
from wsi_suite.training.settings import SplitSettings, TrainSettings
from wsi_suite.training.shifts import SHIFTS
from wsi_suite.training.train import check_validation, split_tiles, train_model
from wsi_suite.training.trial import Trial, try_model

REPORT_FILE = "crossvalidation.json"
UNCHANGED = "as they are"


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
        """Name of the fold's folder."""
        runs = "+".join(re.sub(r"[^\w.-]", "_", run) for run in self.test_runs)
        return f"{runs[:80]}-seed{self.seed}"


class Figures(Part):
    """Figures of one model on one set of tiles; ``None`` if there are no nuclei to measure."""

    map: float | None
    ap: dict[str, float | None]
    f1: float | None
    f1_without_classes: float | None
    tiles: int
    nuclei: int

    @classmethod
    def of(cls, evaluation: Evaluation) -> Figures:
        """Return the figures of an evaluation."""
        return cls(
            map=_known(evaluation.map),
            ap={name: _known(value) for name, value in evaluation.ap.items()},
            f1=_known(evaluation.f1),
            f1_without_classes=_known(evaluation.agnostic.f1),
            tiles=evaluation.tiles,
            nuclei=evaluation.nuclei,
        )


class FoldResult(Part):
    """Figures of one fold, on its tiles as they are and under each shift."""

    test_runs: tuple[str, ...]
    seed: int
    model_hash: str
    figures: dict[str, Figures]


class CrossValidation(Document):
    """Content of ``crossvalidation.json``."""

    folds: tuple[FoldResult, ...]

    def spread(self, shift: str, figure: Callable[[Figures], float | None]) -> Spread:
        """Return mean and range of a figure over the folds that have it."""
        values = [figure(fold.figures[shift]) for fold in self.folds]
        return Spread.of([value for value in values if value is not None])


@dataclass(frozen=True)
class Spread:
    """Mean, lowest and highest of some values; NaN of none."""

    mean: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of values."""
        if not values:
            return cls(math.nan, math.nan, math.nan)
        return cls(sum(values) / len(values), min(values), max(values))


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


def cross_validate(
    settings: TrainSettings,
    *,
    data: Path,
    out: Path,
    folds: int | None = None,
    seeds: Sequence[int] = (0,),
    h_and_e: Path | None = None,
    mpp: float | None = None,
    device: str = "auto",
    progress: Progress = no_progress,
) -> CrossValidation:
    """Train and test a model for each fold, and write ``crossvalidation.json``.

    Each fold has a folder in `out` with its model. A cross-validation that was stopped continues
    when it is called again: folds that have a model are not trained again.

    Parameters
    ----------
    settings
        Of each training; the test runs and the seed are those of the fold.
    data, h_and_e, mpp, device
        As in :func:`~wsi_suite.training.train.train_model`.
    out
        Folder of the folds and the report.
    folds, seeds
        As in :func:`plan_folds`.
    progress
        Receives the steps of each training, under the name of its fold.

    Raises
    ------
    DataError, ModelError, OutputConflictError
        As :func:`plan_folds` and :func:`~wsi_suite.training.train.train_model` raise them.
    """
    tried = run_folds(
        settings,
        data=data,
        out=out,
        folds=folds,
        seeds=seeds,
        h_and_e=h_and_e,
        mpp=mpp,
        device=device,
        progress=progress,
    )
    return CrossValidation(folds=tuple(result for result, _ in tried))


def run_folds(
    settings: TrainSettings,
    *,
    data: Path,
    out: Path,
    folds: int | None,
    seeds: Sequence[int],
    h_and_e: Path | None,
    mpp: float | None,
    device: str,
    progress: Progress,
) -> list[tuple[FoldResult, Trial]]:
    """Do the work of :func:`cross_validate`; return also each model on its held-out tiles."""
    tiles = load_tiles(data, settings.labels, mpp=mpp)
    planned = plan_folds(tiles, folds=folds, seeds=seeds)
    _check_folds(planned, tiles, settings)
    tried: list[tuple[FoldResult, Trial]] = []
    for fold in planned:
        model = train_model(
            settings_of(fold, settings),
            data=data,
            out=out / fold.name,
            h_and_e=h_and_e,
            mpp=mpp,
            device=device,
            progress=partial(_of_fold, progress, fold),
        )
        held_out = [tile for tile in tiles if tile.run in fold.test_runs]
        detector = load_detector(model.path, device=device)
        trials = {
            name: try_model(detector, held_out, change=change)
            for name, change in {UNCHANGED: None, **SHIFTS}.items()
        }
        result = FoldResult(
            test_runs=fold.test_runs,
            seed=fold.seed,
            model_hash=model.hash,
            figures={name: Figures.of(trial.evaluate()) for name, trial in trials.items()},
        )
        tried.append((result, trials[UNCHANGED]))
        report = CrossValidation(folds=tuple(result for result, _ in tried))
        write_document(out / REPORT_FILE, report)
    return tried


def _check_folds(folds: Sequence[Fold], tiles: list[LabelledTile], settings: TrainSettings) -> None:
    """Refuse settings with which the training of some fold could not begin."""
    if settings.optimiser.devices > 1:
        raise ConfigError("optimiser.devices: folds are trained on one device; set it to 1")
    for fold in folds:
        wanted = settings_of(fold, settings)
        try:
            check_validation(split_tiles(tiles, wanted.split).validation, wanted)
        except DataError as error:
            raise DataError(f"fold {fold.name}: {error}") from None


def _of_fold(progress: Progress, fold: Fold, step: Step) -> None:
    progress(replace(step, name=fold.name))


def settings_of(fold: Fold, settings: TrainSettings) -> TrainSettings:
    """Return the settings of a fold's training; its test runs are no validation runs."""
    validation = [run for run in settings.split.validation_runs if run not in fold.test_runs]
    split = SplitSettings(test_runs=fold.test_runs, validation_runs=tuple(validation))
    optimiser = settings.optimiser.model_copy(update={"seed": fold.seed})
    return settings.model_copy(update={"split": split, "optimiser": optimiser})


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
