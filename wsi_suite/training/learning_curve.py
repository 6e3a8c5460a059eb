"""Learning curve: trainings on growing shares of the cases, and the gain of more cases.

In each repeat some cases are held out, the same for all shares, and each share holds those before.
All trainings have equally many steps, so that what differs is the annotation.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from wsi_suite.detector.detector import load_detector
from wsi_suite.documents import write_document
from wsi_suite.errors import ConfigError, DataError, DiskError, ModelError, OutputConflictError
from wsi_suite.files import file_names
from wsi_suite.progress import Progress, Step, no_progress
from wsi_suite.training.crossvalidation import Figures
from wsi_suite.training.labelled import LabelledTile, load_tiles
from wsi_suite.training.learning_curve_document import (
    CURVE_FILE,
    FIGURES,
    TABLE_FILE,
    CurvePoint,
    LearningCurve,
    VariantCurve,
    outlook_of,
    warnings_of,
    write_table,
)
from wsi_suite.training.nested import NestedRuns, plan_nested, settings_of
from wsi_suite.training.settings import TrainSettings
from wsi_suite.training.start import find_start
from wsi_suite.training.train import split_tiles, train_model
from wsi_suite.training.trial import try_model
from wsi_suite.training.variants import changed_settings, check_alike

log = logging.getLogger(__name__)

SHARES = (0.25, 0.5, 1.0)
TEST_SHARE = 0.25


@dataclass(frozen=True)
class _Work:
    """Data and settings that all trainings share."""

    tiles: list[LabelledTile]
    data: Path
    h_and_e: Path | None
    mpp: float | None
    device: str
    progress: Progress


def learn_curve(
    variants: Mapping[str, TrainSettings],
    *,
    data: Path,
    out: Path,
    shares: Sequence[float] = SHARES,
    repeats: int = 3,
    test_share: float = TEST_SHARE,
    h_and_e: Path | None = None,
    mpp: float | None = None,
    device: str = "auto",
    progress: Progress = no_progress,
) -> LearningCurve:
    """Train on growing shares of the cases and estimate the gain of more of them.

    Each training has a folder in `out`. A curve that was stopped continues when it is called
    again; so does one with more repeats or other shares. A training that fails is recorded, and
    tried again by the next call.

    Parameters
    ----------
    variants
        Settings by name; one or more.
    data, h_and_e, mpp, device
        As in :func:`~wsi_suite.training.train.train_model`.
    out
        Folder of the trainings, of ``learning_curve.json`` and ``learning_curve.csv``.
    shares, repeats, test_share
        As in :func:`~wsi_suite.training.nested.plan_nested`.
    progress
        Receives the steps of each training, under its name.

    Raises
    ------
    ConfigError, DataError, ModelError
        A training could not begin: told before the first.
    OutputConflictError, DiskError
        `out` holds other trainings, or cannot be written.
    """
    check_alike(variants)
    first = next(iter(variants.values()))
    tiles = load_tiles(data, first.labels, mpp=mpp)
    planned = {
        name: _plan(name, settings, tiles, shares=shares, repeats=repeats, test_share=test_share)
        for name, settings in variants.items()
    }
    work = _Work(tiles, data, h_and_e, mpp, device, progress)
    done: dict[str, list[CurvePoint]] = {}
    for (name, settings), folder in zip(variants.items(), file_names(variants), strict=True):
        inside = out / folder if len(variants) > 1 else out
        done[name] = []
        for part in planned[name]:
            title = part.name if len(variants) == 1 else f"{name}, {part.name}"
            done[name].append(_point(part, settings, out=inside / part.name, work=work, name=title))
            curve = _curve(variants, done, planned=planned, data=data)
            write_document(out / CURVE_FILE, curve)
            write_table(out / TABLE_FILE, curve)
    return curve


def _plan(
    name: str,
    settings: TrainSettings,
    tiles: list[LabelledTile],
    *,
    shares: Sequence[float],
    repeats: int,
    test_share: float,
) -> list[NestedRuns]:
    """Plan the trainings of a variant; refuse settings with which some could not begin."""
    if settings.optimiser.patience is not None:
        raise ConfigError(
            f"variant {name}: optimiser.patience ends trainings after different numbers of steps, "
            "and shares could not be compared; set it to null"
        )
    if settings.optimiser.devices > 1:
        raise ConfigError("optimiser.devices: a curve is trained on one device; set it to 1")
    runs = {tile.run for tile in tiles} - set(settings.split.validation_runs)
    seed = settings.optimiser.seed
    planned = plan_nested(
        sorted(runs), shares=shares, repeats=repeats, test_share=test_share, seed=seed
    )
    for part in planned:
        wanted = settings_of(part, settings)
        try:
            split = split_tiles(tiles, wanted.split)
            find_start(wanted)
        except (DataError, ModelError) as error:
            raise type(error)(f"variant {name}, {part.name}: {error}") from None
        for what, there in (("test", split.test), ("train", split.train)):
            if not any(len(tile.label) for tile in there):
                log.info("%s, %s: no nuclei in the %s cases", name, part.name, what)
    return planned


def _point(
    part: NestedRuns, settings: TrainSettings, *, out: Path, work: _Work, name: str
) -> CurvePoint:
    """Train and test on one share; a failure is recorded."""
    wanted = settings_of(part, settings)
    chosen = [tile for tile in work.tiles if tile.run in part.train_runs]
    point = CurvePoint(
        repeat=part.repeat,
        share=part.share,
        seed=wanted.optimiser.seed,
        train_runs=part.train_runs,
        test_runs=part.test_runs,
        tiles=len(chosen),
        nuclei=sum(len(tile.label) for tile in chosen),
    )
    try:
        model = train_model(
            wanted,
            data=work.data,
            out=out,
            h_and_e=work.h_and_e,
            mpp=work.mpp,
            device=work.device,
            progress=partial(_named, work.progress, name),
        )
        detector = load_detector(model.path, device=work.device)
        trial = try_model(detector, [tile for tile in work.tiles if tile.run in part.test_runs])
    except (OutputConflictError, DiskError):  # it would be that of all others
        raise
    except Exception as error:  # memory, a damaged picture: hours of others are not lost by it
        log.info("%s failed", name, exc_info=True)
        words = " ".join(str(error).split()) or type(error).__name__
        return point.model_copy(update={"error": words[:300]})
    figures = Figures.of(trial.evaluate())
    return point.model_copy(update={"model_hash": model.hash, "figures": figures})


def _named(progress: Progress, name: str, step: Step) -> None:
    progress(replace(step, name=name))


def _curve(
    variants: Mapping[str, TrainSettings],
    done: Mapping[str, Sequence[CurvePoint]],
    *,
    planned: Mapping[str, Sequence[NestedRuns]],
    data: Path,
) -> LearningCurve:
    """Return the document of the trainings so far."""
    first = next(iter(variants.values()))
    curves = tuple(
        VariantCurve(
            name=name,
            changes=changed_settings(first, variants[name]),
            points=tuple(points),
            outlooks={key: outlook_of(key, points) for key in FIGURES},
        )
        for name, points in done.items()
    )
    optimiser = first.optimiser
    return LearningCurve(
        data=str(data),
        steps=optimiser.epochs * math.ceil(optimiser.epoch_crops / optimiser.step_crops),
        validation_runs=first.split.validation_runs,
        settings=first.model_dump(mode="json"),
        variants=curves,
        planned=sum(len(parts) for parts in planned.values()),
        warnings=tuple(warnings_of(curves, variants)),
    )
