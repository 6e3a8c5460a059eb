"""Largest values between a model's layers, by which it is computed in int8."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from wsi_suite.detector.checksums import file_sum
from wsi_suite.detector.companions import write_companion
from wsi_suite.detector.int8_ranges import PYRAMID, RANGES_FILE, Int8Ranges
from wsi_suite.detector.model_folder import WEIGHTS_FILE, ModelFolder, load_network
from wsi_suite.detector.network import NucleusNet
from wsi_suite.detector.resnet import PlainResNet
from wsi_suite.training.labelled import LabelledTile

_BEYOND = 1e-4
"""Share of the values of a tile that may lie beyond its largest; they are cut to it. Taking the
very largest makes all steps wider: 99.72 % of nuclei in place of 99.75 % were those of float32."""


def learn_ranges(model: ModelFolder, tiles: Sequence[LabelledTile]) -> Int8Ranges | None:
    """Measure the largest values between a model's layers, and write them beside it.

    Parameters
    ----------
    model
        The model; its weights are read from its folder.
    tiles
        Tiles that it was trained on.

    Returns
    -------
    Int8Ranges or None
        ``None`` if there is no tile, or if the backbone is no plain ResNet and so cannot be
        computed in int8; nothing is written then.
    """
    network = load_network(model)
    if not isinstance(network.backbone, PlainResNet) or not tiles:
        return None
    largest: dict[str, float] = {}

    def look(name: str, values: Tensor) -> None:
        flat = values.abs().flatten()
        kept = len(flat) - int(len(flat) * _BEYOND)
        largest[name] = max(largest.get(name, 0.0), float(flat.kthvalue(kept).values))

    _watch(network, look)
    align = model.spec.network.align_px
    for tile in tiles:
        rgb = tile.read(model.spec.read_mpp).rgb
        bottom, right = (-side % align for side in rgb.shape[:2])
        whole = np.pad(rgb, ((0, bottom), (0, right), (0, 0)), mode="symmetric")
        with torch.inference_mode():
            network(torch.from_numpy(whole[None]).movedim(-1, 1))
    weights = file_sum(model.path / WEIGHTS_FILE)
    ranges = Int8Ranges(weights_sha256=weights, tiles=len(tiles), largest=largest)
    write_companion(model, RANGES_FILE, ranges)
    return ranges


def _watch(network: NucleusNet, look: Callable[[str, Tensor], None]) -> None:
    """Have the values between a network's layers looked at in each pass."""

    def leaving(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        return lambda _module, _inputs, values: look(name, values)

    for name, module in network.named_modules():
        if isinstance(module, nn.ReLU) and name.startswith(("backbone.", "smooth.")):
            module.register_forward_hook(leaving(name))
    network.smooth.register_forward_pre_hook(lambda _module, inputs: look(PYRAMID, inputs[0]))
