"""Training of a detector on labelled tiles, from settings to a model folder.

The split is by run. Test runs are never seen; validation runs choose the score threshold and are
watched during training, but never choose weights: the last ones are kept.
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L  # noqa: N812
import torch
import yaml
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

import wsi_suite
from wsi_suite.errors import DataError, OutputConflictError
from wsi_suite.nuclei.crops import training_loader
from wsi_suite.nuclei.detector import Compute, choose_compute
from wsi_suite.nuclei.evaluation import best_threshold, evaluate_detections
from wsi_suite.nuclei.halo import measure_halo
from wsi_suite.nuclei.labelled import LabelledTile, load_tiles, tiles_of_runs
from wsi_suite.nuclei.network import NucleusNet
from wsi_suite.nuclei.targets import detection_loss
from wsi_suite.nuclei.tiles import detect_tiles
from wsi_suite.nuclei.training_settings import SplitSettings, TrainSettings
from wsi_suite.nuclei.weights import ModelFolder, ModelSpec, round_to_half, save_model

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """Tiles by their use."""

    train: list[LabelledTile]
    validation: list[LabelledTile]
    test: list[LabelledTile]


def split_tiles(tiles: list[LabelledTile], settings: SplitSettings) -> Split:
    """Part tiles by their runs.

    Raises
    ------
    DataError
        A run is not there, is in two parts, or nothing is left to train on.
    """
    twice = set(settings.test_runs) & set(settings.validation_runs)
    if twice:
        raise DataError(f"split: run {sorted(twice)[0]} is both test and validation; keep one")
    test = tiles_of_runs(tiles, settings.test_runs)
    validation = tiles_of_runs(tiles, settings.validation_runs)
    kept = set(settings.test_runs) | set(settings.validation_runs)
    train = [tile for tile in tiles if tile.run not in kept]
    if not train:
        raise DataError("split: no run is left to train on; name fewer test or validation runs")
    return Split(train, validation, test)


def train_model(
    settings: TrainSettings,
    *,
    data: Path,
    out: Path,
    mpp: float | None = None,
    device: str = "auto",
    callbacks: Sequence[Callback] = (),
) -> ModelFolder:
    """Train, choose the threshold, measure the halo and write the model folder `out`.

    A training that was stopped goes on from its last epoch when called again with the same `out`.

    Parameters
    ----------
    settings
        What to train.
    data
        Folder of labelled tiles.
    out
        Becomes the model folder; ``out/training`` holds checkpoints and TensorBoard logs.
    mpp
        um per pixel of the tiles, where ``tiles.csv`` does not say.
    device
        As in :func:`~wsi_suite.nuclei.detector.choose_compute`.
    callbacks
        Lightning's, for progress.

    Raises
    ------
    DataError, ModelError, OutputConflictError
        The data, the backbone or the device cannot be used; `out` belongs to other settings.
    """
    split = split_tiles(load_tiles(data, settings.labels, mpp=mpp), settings.split)
    compute = choose_compute(device)
    optimiser = settings.optimiser
    L.seed_everything(optimiser.seed, verbose=False)
    _claim(out, settings)
    module = DetectorTraining(settings, validation=split.validation)
    work = out / "training"
    trainer = L.Trainer(
        accelerator={"cpu": "cpu", "cuda": "gpu", "mps": "mps"}[compute.device.split(":")[0]],
        devices=[int(compute.device.partition(":")[2])] if ":" in compute.device else 1,
        precision="bf16-mixed" if compute.precision != "fp32" else "32-true",
        max_epochs=optimiser.epochs,
        logger=TensorBoardLogger(work, name="", version=""),
        callbacks=[ModelCheckpoint(work, filename="last", save_top_k=1, every_n_epochs=1,
                                   enable_version_counter=False), *callbacks],
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        gradient_clip_val=5.0,
    )
    last = work / "last.ckpt"
    log.info("%d tiles to train on, %d to validate, %d to test", len(split.train),
             len(split.validation), len(split.test))
    trainer.fit(module, training_loader(split.train, settings),
                ckpt_path=last if last.exists() else None, weights_only=False)
    return _finish(module.network, settings, split=split, out=out, compute=compute)


class DetectorTraining(L.LightningModule):
    """Loss, optimiser and a look at the validation tiles."""

    def __init__(self, settings: TrainSettings, *, validation: list[LabelledTile]) -> None:
        super().__init__()
        self.settings = settings
        self.network = NucleusNet(settings.network, classes=len(settings.labels.names))
        self._validation = validation

    def training_step(self, batch: dict[str, Tensor], _index: int) -> Tensor:
        """Return the loss of one batch."""
        parts = detection_loss(self.network(batch["rgb"].float()), batch)
        self.log_dict({f"train/{name}": value.detach() for name, value in parts.items()},
                      on_step=False, on_epoch=True, batch_size=len(batch["rgb"]))
        return parts["loss"]

    def on_train_epoch_end(self) -> None:
        """Log mAP and F1 of the validation runs every few epochs."""
        epoch = self.current_epoch + 1
        if not self._validation or epoch % self.settings.optimiser.validate_every:
            return
        self.network.eval()
        spec = ModelSpec(name=self.settings.name, read_mpp=self.settings.read_mpp)
        truth, found = detect_tiles(self.network, self._validation, spec=spec)
        self.network.train()
        result = evaluate_detections(
            truth, found, classes=self.settings.labels.names, min_score=spec.min_score
        )
        self.log_dict({"validation/map": result.map, "validation/f1": result.f1})

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - lightning's own union is untyped
        """Return AdamW with a one-cycle rate per step."""
        settings = self.settings.optimiser
        optimiser = torch.optim.AdamW(
            self.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser,
            max_lr=settings.learning_rate,
            total_steps=int(self.trainer.estimated_stepping_batches),
            pct_start=0.2,
        )
        return {"optimizer": optimiser,
                "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _claim(out: Path, settings: TrainSettings) -> None:
    """Make `out` this training's folder, or refuse a folder of another one."""
    path = out / "training" / "settings.yaml"
    text = yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False)
    if path.exists():
        if path.read_text(encoding="utf-8") != text:
            raise OutputConflictError(
                f"{out}: holds a training with other settings; give another --out or remove it"
            )
    elif out.exists() and any(out.iterdir()):
        raise OutputConflictError(f"{out}: is not empty and holds no training; give another --out")
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _finish(
    network: NucleusNet, settings: TrainSettings, *, split: Split, out: Path, compute: Compute
) -> ModelFolder:
    """Choose the threshold, measure the halo and save."""
    network = network.to("cpu").eval()
    round_to_half(network)
    spec = ModelSpec(
        name=settings.name,
        read_mpp=settings.read_mpp,
        labels=settings.labels,
        network=settings.network.model_copy(update={"pretrained": False}),
        headline_class=settings.headline_class,
        provenance=_provenance(settings, split=split, compute=compute),
    )
    truth, found = detect_tiles(network, split.validation or split.train, spec=spec)
    spec = spec.model_copy(update={
        "min_score": best_threshold(truth, found),
        "halo_px": measure_halo(network, split.train, mpp=settings.read_mpp),
    })
    log.info("threshold %.2f, halo %d px", spec.min_score, spec.halo_px)
    return save_model(out, spec, network)


def _provenance(settings: TrainSettings, *, split: Split, compute: Compute) -> dict[str, Any]:
    """Return how the model came to be, as plain values."""
    parts = vars(split)
    return {
        "wsi_suite": wsi_suite.__version__,
        "torch": str(torch.__version__),
        "device": f"{compute.device}, {platform.machine()}",
        "runs": {part: sorted({tile.run for tile in tiles}) for part, tiles in parts.items()},
        "tiles": {part: len(tiles) for part, tiles in parts.items()},
        "nuclei": {part: sum(len(t.label) for t in tiles) for part, tiles in parts.items()},
        "optimiser": settings.optimiser.model_dump(mode="json"),
        "augment": settings.augment.model_dump(mode="json"),
    }
