"""Callbacks after each epoch of a training: looks, early stopping, curves, progress.

The checkpoint holds the state of all of it: a resumed training ends as an uninterrupted one.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L  # noqa: N812
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn

from wsi_suite.detector.network import NucleusNet
from wsi_suite.files import whole_file
from wsi_suite.progress import Progress, Step
from wsi_suite.training.labelled import LabelledTile
from wsi_suite.training.looks import BestLook, Look, look_at
from wsi_suite.training.settings import TrainSettings

CURVES_FILE = "metrics.csv"
"""The figures of each epoch, in the folder of a training."""


class ValidationLooks(Callback):
    """Look at the validation runs every few epochs and at the last; end where patience is out.

    Parameters
    ----------
    settings
        Of the training.
    tiles
        Of the validation runs.
    """

    def __init__(self, settings: TrainSettings, tiles: list[LabelledTile]) -> None:
        self._settings, self._tiles = settings, tiles
        self.best = BestLook()
        self.best_weights: dict[str, Tensor] | None = None
        self.figures: Mapping[str, float] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """End a training at once that had ended early."""
        trainer.should_stop = self._is_over()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look, if it is time to."""
        self.figures = {}
        epoch, last = trainer.current_epoch + 1, trainer.current_epoch + 1 == trainer.max_epochs
        if not self._tiles or (epoch % self._settings.optimiser.validate_every and not last):
            return
        network = _averaged(pl_module)
        look = look_at(network, self._tiles, self._settings)
        self.figures = look.figures
        pl_module.log_dict(look.figures, rank_zero_only=True)
        _show(look, trainer)
        if self._settings.optimiser.patience is None:
            return
        self.best = self.best.after(look.figures["validation/map"], epoch=epoch)
        if self.best.since == 0:
            self.best_weights = {
                name: value.detach().cpu().clone() for name, value in network.state_dict().items()
            }
        trainer.should_stop = trainer.strategy.broadcast(self._is_over())  # one decides for all

    def _is_over(self) -> bool:
        patience = self._settings.optimiser.patience
        return patience is not None and self.best.since >= patience

    def state_dict(self) -> dict[str, Any]:
        """Return the best look and its weights."""
        return {"best": vars(self.best), "weights": self.best_weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the best look and its weights."""
        self.best, self.best_weights = BestLook(**state_dict["best"]), state_dict["weights"]


def _averaged(module: nn.Module) -> NucleusNet:
    network = module.averaged
    assert isinstance(network, NucleusNet)
    return network


def _show(look: Look, trainer: L.Trainer) -> None:
    """Add the pictures of a look to TensorBoard."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            for name, picture in look.pictures.items():
                logger.experiment.add_image(
                    f"validation/{name}", picture, trainer.global_step, dataformats="HWC"
                )


class Curves(Callback):
    """Write the figures of all epochs to a file, whole after each epoch.

    Parameters
    ----------
    path
        The file.
    looks
        Whose figures belong to the epoch.
    """

    def __init__(self, path: Path, looks: ValidationLooks) -> None:
        self._path, self._looks = path, looks
        self._rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add the row of the epoch."""
        train = {
            name: float(value)
            for name, value in sorted(trainer.callback_metrics.items())
            if name.startswith("train/")
        }
        place = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}
        self._rows.append({**place, **train, **self._looks.figures})
        if trainer.is_global_zero:
            self._write()

    def _write(self) -> None:
        columns = list(dict.fromkeys(name for row in self._rows for name in row))
        with (
            whole_file(self._path) as partial,
            partial.open("w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(
                {name: _cell(value) for name, value in row.items()} for row in self._rows
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the rows."""
        return {"rows": self._rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the rows."""
        self._rows = list(state_dict["rows"])


def _cell(value: float) -> float | str:
    """Return a number of six digits as it stands in a table; a figure without value is empty."""
    if isinstance(value, int):
        return value
    return "" if math.isnan(value) else f"{value:.6g}"


class EpochReport(Callback):
    """Report the progress of a training."""

    def __init__(self, name: str, progress: Progress) -> None:
        self._name, self._progress = name, progress

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report the epoch."""
        if not trainer.is_global_zero:
            return
        assert trainer.max_epochs is not None
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        done = trainer.current_epoch + 1
        self._progress(Step(self._name, done, trainer.max_epochs, figures=figures))
