"""The loop that fits a network to crops, on lightning."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L  # noqa: N812
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from wsi_suite.detector.detector import Compute
from wsi_suite.detector.model_folder import ModelSpec
from wsi_suite.detector.network import NucleusNet
from wsi_suite.progress import Progress, Step, no_progress
from wsi_suite.training.crops import TrainingTiles, training_loader
from wsi_suite.training.evaluation import evaluate_detections
from wsi_suite.training.labelled import LabelledTile
from wsi_suite.training.settings import TrainSettings
from wsi_suite.training.targets import detection_loss
from wsi_suite.training.tiles import detect_tiles

LIGHTNING_LOGGERS = "lightning.pytorch", "lightning.fabric"

# Warnings of lightning that are no use to the user: what they advise is done on purpose.
_ADVICE = (
    "Checkpoint directory .* exists and is not empty",
    "The dirpath has changed",
    "The '.*' does not have many workers",
    "(GPU|MPS) available but not used",
    "`isinstance\\(treespec, LeafSpec\\)` is deprecated",
)


def fit_network(
    settings: TrainSettings,
    *,
    train: TrainingTiles,
    validation: list[LabelledTile],
    work: Path,
    compute: Compute,
    start: NucleusNet | None = None,
    progress: Progress = no_progress,
) -> NucleusNet:
    """Fit a network to tiles and return it with the running mean of its weights.

    Parameters
    ----------
    settings
        What to train.
    train, validation
        Tiles to learn from, and tiles to look at from time to time.
    work
        Folder of checkpoints and TensorBoard logs. A training whose checkpoint is there goes on
        from it, to the same weights as if it had never stopped.
    compute
        Device and precision.
    start
        A network of the same parts whose weights are the start; else they are random.
    progress
        Receives epochs done and in all after each, with the latest ``train/loss`` and its parts,
        ``validation/map`` and ``validation/f1``.
    """
    callbacks: list[Callback] = [
        _ValidationLooks(settings, validation),
        _EpochReport(settings.name, progress),
    ]
    last = work / "last.ckpt"
    with _quiet_lightning():
        L.seed_everything(settings.optimiser.seed, verbose=False)
        module = _Fitting(settings)
        if start is not None:
            module.start_from(start)
        trainer = _make_trainer(settings, compute=compute, work=work, callbacks=callbacks)
        trainer.fit(
            module,
            training_loader(train, settings),
            ckpt_path=last if last.exists() else None,
            weights_only=True,  # a checkpoint of somebody else must not run code
        )
    return module.averaged


class _Fitting(L.LightningModule):
    """The network, the running mean of its weights, its loss and its optimiser."""

    def __init__(self, settings: TrainSettings) -> None:
        super().__init__()
        self.settings = settings
        network = NucleusNet(settings.network, classes=len(settings.labels.names))
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = AveragedModel(
            self.network,
            avg_fn=partial(_running_mean, settings.optimiser.average),
            use_buffers=True,
        )

    @property
    def averaged(self) -> NucleusNet:
        """The network with the running mean of its weights."""
        network = self.average.module
        assert isinstance(network, NucleusNet)
        return network

    def start_from(self, network: NucleusNet) -> None:
        """Take over the weights of another network."""
        for part in (self.network, self.averaged):
            part.load_state_dict(network.state_dict())

    def on_train_batch_end(self, *_: object) -> None:
        """Bring the running mean up to date."""
        self.average.update_parameters(self.network)

    def training_step(self, batch: dict[str, Tensor], _index: int) -> Tensor:
        """Return the loss of one batch."""
        parts = detection_loss(
            self.network(batch["rgb"].float()),
            batch,
            label_smoothing=self.settings.optimiser.label_smoothing,
        )
        self.log_dict(
            {f"train/{name}": value.detach() for name, value in parts.items()},
            on_step=False,
            on_epoch=True,
            batch_size=len(batch["rgb"]),
        )
        return parts["loss"]

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - lightning's own union is untyped
        """Return AdamW with a one-cycle rate per step."""
        settings = self.settings.optimiser
        optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser,
            max_lr=settings.learning_rate,
            total_steps=int(self.trainer.estimated_stepping_batches),
            pct_start=0.2,
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _running_mean(decay: float, mean: Tensor, new: Tensor, count: Tensor | int) -> Tensor:
    """Return a running mean; the first steps weigh more, so that the random start is forgotten."""
    decay = min(decay, (1 + float(count)) / (10 + float(count)))
    return decay * mean + (1 - decay) * new


class _ValidationLooks(Callback):
    """Log mAP and F1 of the validation runs every few epochs."""

    def __init__(self, settings: TrainSettings, tiles: list[LabelledTile]) -> None:
        self._settings = settings
        self._tiles = tiles

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look, where it is time to."""
        epoch = trainer.current_epoch + 1
        if not self._tiles or epoch % self._settings.optimiser.validate_every:
            return
        assert isinstance(pl_module, _Fitting)
        network = pl_module.averaged
        spec = ModelSpec(name=self._settings.name, read_mpp=self._settings.read_mpp)
        network.eval()
        truth, found = detect_tiles(network, self._tiles, spec=spec)
        network.train()
        result = evaluate_detections(
            truth, found, classes=self._settings.labels.names, min_confidence=spec.min_confidence
        )
        pl_module.log_dict({"validation/map": result.map, "validation/f1": result.f1})


class _EpochReport(Callback):
    """Report the progress of a training."""

    def __init__(self, name: str, progress: Progress) -> None:
        self._name, self._progress = name, progress

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report the epoch."""
        assert trainer.max_epochs is not None
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        done = trainer.current_epoch + 1
        self._progress(Step(self._name, done, trainer.max_epochs, figures=figures))


def _make_trainer(
    settings: TrainSettings, *, compute: Compute, work: Path, callbacks: Sequence[Callback]
) -> L.Trainer:
    device, _, number = compute.device.partition(":")
    last = ModelCheckpoint(
        work, filename="last", save_top_k=1, every_n_epochs=1, enable_version_counter=False
    )
    return L.Trainer(
        accelerator={"cpu": "cpu", "cuda": "gpu", "mps": "mps"}[device],
        devices=[int(number)] if number else 1,
        precision="32-true" if compute.precision == "fp32" else "bf16-mixed",
        max_epochs=settings.optimiser.epochs,
        logger=TensorBoardLogger(work, name="", version=""),
        callbacks=[*callbacks, last],
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        gradient_clip_val=5.0,
    )


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep lightning's banners and advice from the user: progress has its own way."""
    loggers = [logging.getLogger(name) for name in LIGHTNING_LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for message in _ADVICE:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
