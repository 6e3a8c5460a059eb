"""The weights that a training starts from: random ones, a model's, or those of a backbone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wsi_suite.detector.backbone import build_backbone
from wsi_suite.detector.model_folder import ModelFolder, find_model, load_network, trained_runs
from wsi_suite.detector.network import NucleusNet
from wsi_suite.errors import DataError, ModelError
from wsi_suite.training.initial_weights import InitialWeights, load_backbone
from wsi_suite.training.settings import SplitSettings, TrainSettings


@dataclass(frozen=True)
class Start:
    """The start of a training.

    Attributes
    ----------
    give
        Gives a new network its weights; ``None`` if they stay random.
    model
        The model of ``start_from``.
    weights
        Its weights by name.
    init
        What the backbone takes from the file of ``init``.
    """

    give: Callable[[NucleusNet], object] | None = None
    model: ModelFolder | None = None
    weights: Mapping[str, Tensor] | None = None
    init: InitialWeights | None = None

    @property
    def provenance(self) -> dict[str, Any]:
        """Entry of the start in ``model.yaml``."""
        origin = None
        if self.model is not None:
            spec = self.model.spec
            origin = {"name": spec.name, "hash": self.model.hash, **spec.provenance}
        return {"start_from": origin, "init": self.init and self.init.as_json()}

    def remarks(self, split: SplitSettings) -> list[str]:
        """Return remarks for the user about the start."""
        remarks = [] if self.init is None else [f"init {self.init}"]
        if self.model is not None:
            seen = trained_runs(self.model.spec.provenance) & set(split.validation_runs)
            remarks += [
                f"start_from {self.model.spec.name}: has learned from the validation run '{run}', "
                "which will calibrate confidences too high"
                for run in sorted(seen)
            ]
        return remarks


def average_with_start(network: NucleusNet, weights: Mapping[str, Tensor], *, share: float) -> None:
    """Average a fine-tuned network, weight by weight, with its initial weights.

    The average often keeps what the start knew and gains most of what was learned since. Source:
    Wortsman et al., *Robust fine-tuning of zero-shot models*, CVPR 2022.

    Parameters
    ----------
    network
        The end of a training; changed in place.
    weights
        Those of the start, by the same names.
    share
        Share of the start in the average, in [0, 1).
    """
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                value.lerp_(weights[name].to(value), share)


def find_start(settings: TrainSettings) -> Start:
    """Find the weights to start from.

    Raises
    ------
    ModelError
        The model of ``start_from`` has other parts or classes; the file of ``init`` does not fit.
    DataError
        The model has learned from a test run.
    """
    if settings.init is not None:
        path = Path(settings.init)
        init = load_backbone(build_backbone(settings.network), path)
        return Start(lambda network: load_backbone(network.backbone, path), init=init)
    if settings.start_from is None:
        return Start()
    start = find_model(settings.start_from)
    wanted = settings.network.model_copy(update={"pretrained": False})
    if start.spec.network != wanted or start.spec.classes != settings.labels.names:
        raise ModelError(
            f"start_from {settings.start_from}: its network or classes differ "
            f"({start.spec.network}; {', '.join(start.spec.classes)}); set network and labels "
            "to the same"
        )
    seen = trained_runs(start.spec.provenance) & set(settings.split.test_runs)
    if seen:
        raise DataError(
            f"start_from {settings.start_from}: has learned from the test run "
            f"'{sorted(seen)[0]}'; name other test runs"
        )
    weights = load_network(start).state_dict()
    return Start(lambda network: network.load_state_dict(weights), model=start, weights=weights)
