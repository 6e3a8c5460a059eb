"""The loop that fits a network to crops, on lightning."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L  # noqa: N812
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from wsi_suite.detector.detector import Compute
from wsi_suite.detector.network import NucleusNet
from wsi_suite.errors import ModelError, OutputConflictError
from wsi_suite.progress import Progress, no_progress
from wsi_suite.training.callbacks import CURVES_FILE, Curves, EpochReport, ValidationLooks
from wsi_suite.training.crops import TrainingTiles, training_loader
from wsi_suite.training.labelled import LabelledTile
from wsi_suite.training.settings import TrainSettings
from wsi_suite.training.targets import detection_loss

LIGHTNING_LOGGERS = "lightning.pytorch", "lightning.fabric"

# Warnings of lightning that are no use to the user: what they advise is done on purpose.
_ADVICE = (
    "Checkpoint directory .* exists and is not empty",
    "The dirpath has changed",
    "The '.*' does not have many workers",
    "Found .* module\\(s\\) in eval mode",
    "(GPU|MPS) available but not used",
    "`isinstance\\(treespec, LeafSpec\\)` is deprecated",
)


@dataclass(frozen=True)
class Fitted:
    """A network that was fitted.

    Attributes
    ----------
    network
        With the running mean of its weights.
    epochs
        Number of epochs that were trained.
    kept_epoch
        The epoch whose weights it has: the last, or with patience that of the best look.
    kept_map
        Validation mAP of that epoch with patience, else ``None``.
    """

    network: NucleusNet
    epochs: int
    kept_epoch: int
    kept_map: float | None = None


def fit_network(
    settings: TrainSettings,
    *,
    train: TrainingTiles,
    validation: list[LabelledTile],
    work: Path,
    compute: Compute,
    start: Callable[[NucleusNet], object] | None = None,
    progress: Progress = no_progress,
) -> Fitted:
    """Fit a network to tiles.

    With ``optimiser.devices`` there is a process for each device. Lightning starts the others with
    the command line of this one; they end here (`SystemExit`) when the training does.

    Kept is the running mean of the weights: that of the end, or with ``optimiser.patience`` that of
    the look with the highest validation mAP.

    Parameters
    ----------
    settings
        What to train.
    train, validation
        Tiles to learn from, and tiles to look at from time to time.
    work
        Folder of checkpoints, ``metrics.csv`` and TensorBoard logs. A training whose checkpoint is
        there goes on from it, to the same weights as if it had never stopped.
    compute
        Device and precision.
    start
        Gives a new network of random weights those it starts from; ``None`` leaves them.
    progress
        Receives epochs done and in all after each, with the latest ``train/loss`` and its parts,
        ``validation/map``, ``validation/f1`` and the other figures of a look.

    Raises
    ------
    OutputConflictError
        The checkpoint is damaged, or not of such a training.
    """
    looks = ValidationLooks(settings, validation)
    callbacks = [looks, Curves(work / CURVES_FILE, looks), EpochReport(settings.name, progress)]
    last = work / "last.ckpt"
    with _quiet_lightning():
        L.seed_everything(settings.optimiser.seed, verbose=False)
        module = _Fitting(settings)
        if start is not None:
            start(module.network)
            module.averaged.load_state_dict(module.network.state_dict())
        if last.exists():
            _check_checkpoint(last, module)
        trainer = _make_trainer(settings, compute=compute, work=work, callbacks=callbacks)
        trainer.fit(
            module,
            training_loader(train, settings, rank=trainer.global_rank),
            ckpt_path=last if last.exists() else None,
            weights_only=True,  # a checkpoint of somebody else must not run code
        )
    if not trainer.is_global_zero:
        raise SystemExit(0)
    network = module.averaged
    epochs = kept = trainer.current_epoch
    if looks.best_weights is not None:
        network.load_state_dict(looks.best_weights)
        kept = looks.best.epoch
    if settings.optimiser.freeze:  # the mean of what stays the same differs from it by rounding
        network.backbone.load_state_dict(module.network.backbone.state_dict())
    kept_map = None if looks.best_weights is None else looks.best.value
    return Fitted(network, epochs, kept, kept_map)


def _check_checkpoint(path: Path, module: nn.Module) -> None:
    """Refuse a checkpoint that is damaged, or has other weights than a training."""
    remedy = "remove it to train from the beginning, or give another --out"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged archive raises nearly anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise OutputConflictError(f"{path}: damaged ({reason[:120]}); {remedy}") from None
    parts = content if isinstance(content, dict) else {}
    shapes = {name: value.shape for name, value in parts.get("state_dict", {}).items()}
    if shapes != {name: value.shape for name, value in module.state_dict().items()}:
        raise OutputConflictError(f"{path}: not a checkpoint of this training; {remedy}")


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
        ).requires_grad_(requires_grad=False)
        if settings.optimiser.freeze:
            self.network.backbone.requires_grad_(requires_grad=False)
        self.train()

    def train(self, mode: bool = True) -> _Fitting:
        """Set the mode; frozen layers stay in evaluation mode, which keeps their statistics."""
        super().train(mode)
        if self.settings.optimiser.freeze:
            self.network.backbone.eval()
        return self

    @property
    def averaged(self) -> NucleusNet:
        """The network with the running mean of its weights."""
        network = self.average.module
        assert isinstance(network, NucleusNet)
        return network

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
            sync_dist=True,
        )
        self.log("train/rate", self.trainer.optimizers[0].param_groups[0]["lr"], on_step=True)
        return parts["loss"]

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - lightning's own union is untyped
        """Return AdamW with a one-cycle rate per step."""
        settings = self.settings.optimiser
        optimiser = torch.optim.AdamW(
            [weight for weight in self.network.parameters() if weight.requires_grad],
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
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


def check_devices(settings: TrainSettings, compute: Compute) -> None:
    """Refuse more devices than there are, or more than the one that is named."""
    wanted = settings.optimiser.devices
    if wanted == 1:
        return
    if compute.device not in ("cpu", "cuda"):
        raise ModelError(
            f"optimiser.devices {wanted}: '{compute.device}' is one device; set --device cuda"
        )
    there = torch.cuda.device_count()
    if compute.device == "cuda" and wanted > there:
        raise ModelError(f"optimiser.devices {wanted}: there are {there} GPUs; set it to that")


def is_first_process() -> bool:
    """Return whether this process is the one that tells and writes, if there are several.

    Lightning sets the first variable in the processes that it starts, SLURM the second.
    """
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "SLURM_PROCID"))


def _make_trainer(
    settings: TrainSettings, *, compute: Compute, work: Path, callbacks: Sequence[Callback]
) -> L.Trainer:
    device, _, number = compute.device.partition(":")
    last = ModelCheckpoint(
        work, filename="last", save_top_k=1, every_n_epochs=1, enable_version_counter=False
    )
    return L.Trainer(
        accelerator={"cpu": "cpu", "cuda": "gpu", "mps": "mps"}[device],
        devices=[int(number)] if number else settings.optimiser.devices,
        strategy="ddp" if settings.optimiser.devices > 1 else "auto",
        use_distributed_sampler=False,  # ours knows its part
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
