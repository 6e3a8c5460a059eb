"""Training of a detector on labelled tiles, from settings to a model folder.

The split is by run. Test runs are never seen. Validation runs calibrate the probabilities, set the
threshold of confidence and are watched during training; they choose weights only if
``optimiser.patience`` is set.
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

import wsi_suite
from wsi_suite.detector.detector import Compute, bf16_is_fast, choose_compute, resolve_device
from wsi_suite.detector.int8_ranges import RANGES_FILE
from wsi_suite.detector.known_fields import FIELDS_FILE
from wsi_suite.detector.model_folder import (
    ModelFolder,
    ModelSpec,
    round_to_half,
    save_model,
)
from wsi_suite.detector.network import NucleusNet
from wsi_suite.detector.stretch import usual_levels
from wsi_suite.errors import DataError
from wsi_suite.progress import Progress, Step, no_progress
from wsi_suite.training.calibration import calibrate_network, fit_calibration
from wsi_suite.training.crops import TrainingTiles
from wsi_suite.training.evaluation import best_threshold
from wsi_suite.training.familiarity import learn_familiarity
from wsi_suite.training.fitting import check_devices, fit_network, is_first_process
from wsi_suite.training.halo import measure_halo
from wsi_suite.training.int8_ranges import learn_ranges
from wsi_suite.training.labelled import LabelledTile, load_tiles, tiles_of_runs
from wsi_suite.training.settings import SplitSettings, TrainSettings
from wsi_suite.training.start import average_with_start, find_start
from wsi_suite.training.tiles import detect_tiles, fields_of_tiles
from wsi_suite.training.training_folder import WORK_FOLDER, at_work, claim
from wsi_suite.training.training_record import (
    TrainingRecord,
    find_environment,
    keep_record,
    record_tiles,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """Tiles by their use."""

    train: list[LabelledTile]
    validation: list[LabelledTile]
    test: list[LabelledTile]


def split_tiles(tiles: list[LabelledTile], settings: SplitSettings) -> Split:
    """Part tiles by their runs; without runs in the settings by the split of their dataset.

    The parts of a dataset are then ``train``, ``val`` and ``test``; a tile of no part is refused.

    Raises
    ------
    DataError
        A run is not there, is in two parts, a part has another name, or nothing is left to train
        on.
    """
    named = (settings.train_runs, settings.validation_runs, settings.test_runs)
    if not any(named) and any(t.part for t in tiles):
        return _split_by_part(tiles)
    _refuse_twice(settings)
    test = tiles_of_runs(tiles, settings.test_runs)
    validation = tiles_of_runs(tiles, settings.validation_runs)
    kept = set(settings.test_runs) | set(settings.validation_runs)
    train = [tile for tile in tiles if tile.run not in kept]
    if settings.train_runs:
        train = tiles_of_runs(tiles, settings.train_runs)
    if not train:
        raise DataError("split: no run is left to train on; name fewer test or validation runs")
    return Split(train, validation, test)


def _refuse_twice(settings: SplitSettings) -> None:
    """Refuse a run that is in two parts."""
    parts = {
        "test": settings.test_runs,
        "validation": settings.validation_runs,
        "train": settings.train_runs,
    }
    for (one, runs), (other, others) in combinations(parts.items(), 2):
        twice = set(runs) & set(others)
        if twice:
            raise DataError(f"split: run {sorted(twice)[0]} is both {one} and {other}; keep one")


def _split_by_part(tiles: list[LabelledTile]) -> Split:
    parts: dict[str, list[LabelledTile]] = {"train": [], "val": [], "test": []}
    for tile in tiles:
        if tile.part is not None and tile.part not in parts:
            raise DataError(
                f"split: the dataset has a part '{tile.part}', expected train, val and test; split"
                " it again, or name runs in split.test_runs and split.validation_runs"
            )
        if tile.part is None:
            raise DataError(
                f"split: picture '{tile.id}' belongs to no part, as it came after the split; split"
                " the dataset again with 'wsi-suite dataset split'"
            )
        parts[tile.part].append(tile)
    if not parts["train"]:
        raise DataError("split: no picture of the dataset is in the part train")
    return Split(parts["train"], parts["val"], parts["test"])


def train_model(
    settings: TrainSettings,
    *,
    data: Path,
    out: Path,
    h_and_e: Path | None = None,
    mpp: float | None = None,
    device: str = "auto",
    progress: Progress = no_progress,
    tell: Callable[[str], None] = log.info,
) -> ModelFolder:
    """Train, calibrate, choose the threshold, measure the halo and write the model folder `out`.

    A training that was stopped goes on from its last epoch when called again with the same `out`;
    one that had ended is written again.

    Parameters
    ----------
    settings
        What to train.
    data
        Folder of labelled tiles.
    out
        Becomes the model folder; ``out/training`` holds ``settings.yaml``, the record of code,
        environment and data (``training.json``), ``metrics.csv``, checkpoints and TensorBoard logs.
    h_and_e
        Folder of tiles stained with H&E, which are drawn again as H-DAB.
    mpp
        um per pixel of the tiles, where ``tiles.csv`` does not say.
    device
        As in :func:`~wsi_suite.detector.detector.choose_compute`.
    progress
        As in :func:`~wsi_suite.training.fitting.fit_network`.
    tell
        Receives remarks for the user: what was taken from ``init``, an early end.

    Raises
    ------
    DataError, ModelError, OutputConflictError
        The data, the backbone or the device cannot be used; `out` belongs to other settings or to
        other data, or another training is at work in it.
    """
    split = split_tiles(load_tiles(data, settings.labels, mpp=mpp), settings.split)
    tiles = TrainingTiles(split.train, _load_h_and_e(h_and_e, settings, mpp=mpp))
    compute = choose_compute(device, _training_precision(settings, device=device))
    check_devices(settings, compute)
    start = find_start(settings)
    check_validation(split.validation, settings)
    record = TrainingRecord(
        environments=(find_environment(compute.device),),
        start=start.model and start.model.hash,
        init=start.init,
        tiles=record_tiles([*split.train, *split.validation]),
        h_and_e=record_tiles(tiles.h_and_e),
    )
    with at_work(out, settings) as check:
        claim(out, settings)
        record = keep_record(out / WORK_FOLDER, record)
        log.info(
            "%d tiles to train on, %d to validate, %d to test",
            len(split.train),
            len(split.validation),
            len(split.test),
        )
        if is_first_process():
            for remark in start.remarks(settings.split):
                tell(remark)

        def checked(step: Step) -> None:
            check()
            progress(step)

        fitted = fit_network(
            settings,
            train=tiles,
            validation=split.validation,
            work=out / WORK_FOLDER,
            compute=compute,
            start=start.give,
            progress=checked,
        )
        if start.weights is not None:
            share = settings.optimiser.keep_start
            average_with_start(fitted.network, start.weights, share=share)
        if fitted.epochs < settings.optimiser.epochs:
            tell(
                f"ended after epoch {fitted.epochs} of {settings.optimiser.epochs}: no look at the "
                f"validation runs was better than that of epoch {fitted.kept_epoch}"
            )
        provenance = {
            **start.provenance,
            **_provenance(settings, split=split, h_and_e=tiles.h_and_e, compute=compute),
            "commit": record.environments[0].commit,
            "data_sha256": record.data_sha256,
            "kept": {"epoch": fitted.kept_epoch, "of": fitted.epochs, "map": fitted.kept_map},
        }
        return _finish(fitted.network, settings, split=split, out=out, provenance=provenance)


def check_validation(tiles: Sequence[LabelledTile], settings: TrainSettings) -> None:
    """Refuse patience without nuclei in validation runs, which it follows."""
    if settings.optimiser.patience is not None and not any(len(tile.label) for tile in tiles):
        raise DataError(
            "optimiser.patience: watches the validation runs, and there are none with nuclei; "
            "name some in split.validation_runs, or set it to null"
        )


def _load_h_and_e(
    folder: Path | None, settings: TrainSettings, *, mpp: float | None
) -> list[LabelledTile]:
    """Load the tiles stained with H&E, and refuse classes that the model does not have."""
    if folder is None:
        return []
    labels, names = settings.h_and_e.labels, settings.labels.names
    for name in labels.names:
        if name not in names:
            raise DataError(
                f"h_and_e.labels: class '{name}' is not among the model's ({', '.join(names)})"
            )
    tiles = load_tiles(folder, labels, mpp=mpp)
    index = np.array([names.index(name) for name in labels.names], np.uint8)
    return [replace(tile, label=index[tile.label]) for tile in tiles]


def _training_precision(settings: TrainSettings, *, device: str) -> str:
    """Return the precision: bf16 if the device multiplies it in hardware, else fp32."""
    if settings.optimiser.precision != "auto":
        return settings.optimiser.precision
    kind = resolve_device(device).partition(":")[0]
    if kind == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(False) else "fp32"
    return "bf16" if kind == "cpu" and bf16_is_fast() else "fp32"


def _finish(
    network: NucleusNet,
    settings: TrainSettings,
    *,
    split: Split,
    out: Path,
    provenance: dict[str, Any],
) -> ModelFolder:
    """Calibrate, choose the threshold, measure the halo and save."""
    network = network.to("cpu").eval()
    darkest, brightest = usual_levels(tile.read(settings.read_mpp).rgb for tile in split.train)
    spec = ModelSpec(
        name=settings.name,
        read_mpp=settings.read_mpp,
        labels=settings.labels,
        network=settings.network.model_copy(update={"pretrained": False}),
        darkest=darkest,
        brightest=brightest,
        separation=1.0 if settings.network.sizes else 0.0,  # one nucleus has one centre
        headline_class=settings.headline_class,
        provenance=provenance,
    )
    if split.validation:
        truth, found = detect_tiles(network, split.validation, spec=spec)
        calibration = fit_calibration(truth, found)
        calibrate_network(network, calibration)
        provenance = {**provenance, "calibration": vars(calibration)}
        spec = spec.model_copy(update={"provenance": provenance})
    round_to_half(network)
    truth, found = detect_tiles(network, split.validation or split.train, spec=spec)
    spec = spec.model_copy(
        update={
            "min_confidence": best_threshold(truth, found),
            "halo_px": measure_halo(network, split.train, mpp=settings.read_mpp),
        }
    )
    spec = spec.model_copy(update={"seen": fields_of_tiles(network, split.train, spec=spec)})
    log.info("threshold %.2f, halo %d px", spec.min_confidence, spec.halo_px)
    for name in (FIELDS_FILE, RANGES_FILE):
        (out / name).unlink(missing_ok=True)  # of a training before
    model = save_model(out, spec, network)
    learn_ranges(model, split.train)
    learn_familiarity(model, train=split.train, held_out=split.validation)
    return model


def _provenance(
    settings: TrainSettings,
    *,
    split: Split,
    h_and_e: list[LabelledTile],
    compute: Compute,
) -> dict[str, Any]:
    """Return how the model came to be, as plain values."""
    parts = vars(split)
    return {
        "wsi_suite": wsi_suite.__version__,
        "torch": str(torch.__version__),
        "device": f"{compute.device}, {platform.machine()}",
        "precision": compute.precision,
        "runs": {part: sorted({tile.run for tile in tiles}) for part, tiles in parts.items()},
        "tiles": {part: len(tiles) for part, tiles in parts.items()},
        "nuclei": {part: sum(len(t.label) for t in tiles) for part, tiles in parts.items()},
        "h_and_e": {"tiles": len(h_and_e), "nuclei": sum(len(tile.label) for tile in h_and_e)},
        "threshold_from": "validation" if split.validation else "train",
        "optimiser": settings.optimiser.model_dump(mode="json"),
        "augment": settings.augment.model_dump(mode="json"),
    }
