"""Cross-validation over runs: each fold trains without some runs and is tested on them.

Tiles of a run may share a slide, so that runs are kept together. What is reported is the mean over
folds and seeds with its range, on the held-out tiles as they are and under simulated shifts of
stain, focus, compression and resolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from wsi_suite.detector.detector import load_detector
from wsi_suite.documents import Document, Part, write_document
from wsi_suite.files import file_names
from wsi_suite.progress import Progress, Step, no_progress
from wsi_suite.training.evaluation import Evaluation
from wsi_suite.training.folds import Fold, Work, plan_work, settings_of
from wsi_suite.training.settings import TrainSettings
from wsi_suite.training.shifts import SHIFTS
from wsi_suite.training.train import train_model
from wsi_suite.training.trial import Trial, try_model

REPORT_FILE = "crossvalidation.json"
UNCHANGED = "as they are"


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


def cross_validate(
    settings: TrainSettings,
    *,
    data: Path,
    out: Path,
    folds: int | None = None,
    seeds: Sequence[int] | None = None,
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
        Of each training; its test runs and its seed are those of the fold.
    data, h_and_e, mpp, device
        As in :func:`~wsi_suite.training.train.train_model`.
    out
        Folder of the folds and the report.
    folds
        As in :func:`~wsi_suite.training.folds.plan_folds`.
    seeds
        Each fold is trained once with each; by default with ``optimiser.seed`` alone.
    progress
        Receives the steps of each training, under the name of its fold.

    Raises
    ------
    DataError, ModelError, OutputConflictError
        As :func:`~wsi_suite.training.folds.plan_work` and
        :func:`~wsi_suite.training.train.train_model` raise them.
    """
    tried = run_folds(
        plan_work(settings, data=data, folds=folds, seeds=seeds, mpp=mpp),
        data=data,
        out=out,
        h_and_e=h_and_e,
        mpp=mpp,
        device=device,
        progress=progress,
    )
    return CrossValidation(folds=tuple(result for result, _ in tried))


def run_folds(
    work: Work,
    *,
    data: Path,
    out: Path,
    h_and_e: Path | None,
    mpp: float | None,
    device: str,
    progress: Progress,
) -> list[tuple[FoldResult, Trial]]:
    """Do the work of :func:`cross_validate`; return also each model on its held-out tiles."""
    tried: list[tuple[FoldResult, Trial]] = []
    folders = file_names(fold.name for fold in work.folds)
    for fold, folder in zip(work.folds, folders, strict=True):
        model = train_model(
            settings_of(fold, work.settings),
            data=data,
            out=out / folder,
            h_and_e=h_and_e,
            mpp=mpp,
            device=device,
            progress=partial(_of_fold, progress, fold),
        )
        held_out = [tile for tile in work.tiles if tile.run in fold.test_runs]
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


def _of_fold(progress: Progress, fold: Fold, step: Step) -> None:
    progress(replace(step, name=fold.name))


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
