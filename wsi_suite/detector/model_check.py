"""Whether a model on disk is whole: its checksums, its weights, its answers."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from wsi_suite.detector.checksums import check_sum
from wsi_suite.detector.int8_ranges import RANGES_FILE, read_ranges
from wsi_suite.detector.known_fields import read_known_fields
from wsi_suite.detector.model_folder import SPEC_FILE, WEIGHTS_FILE, ModelFolder, load_network
from wsi_suite.errors import ModelError


@dataclass(frozen=True)
class Verified:
    """A model that is whole.

    Attributes
    ----------
    stated
        Whether the folder states checksums of both files, with which they were compared.
    tensors, weights
        Number of tensors, and of values in them.
    """

    stated: bool
    tensors: int
    weights: int


def verify_model(model: ModelFolder) -> Verified:
    """Compare a model with its checksums, load it and try it on a picture, on the CPU.

    Weights are read as safetensors only, which holds no code. A folder without ``SHA256SUMS``, as
    of earlier versions, is checked as far as possible without.

    Raises
    ------
    ModelError
        A file is not what the folder states; a tensor is missing, unknown, of another shape or
        not finite; the network gives other maps the second time; or what it says of its training
        fields cannot be read.
    """
    stated = [check_sum(model.path / name) for name in (SPEC_FILE, WEIGHTS_FILE)]
    read_known_fields(model)
    if (model.path / RANGES_FILE).exists():
        read_ranges(model)
    network = load_network(model)
    side = 4 * model.spec.network.align_px
    noise = torch.Generator().manual_seed(0)
    rgb = torch.randint(256, (1, 3, side, side), generator=noise).float()
    with torch.inference_mode():
        first, second = network(rgb), network(rgb)
    for name, values in first.items():
        if not torch.isfinite(values).all():
            raise ModelError(f"{model.path}: its {name} is not a number for a picture of noise")
        if not torch.equal(values, second[name]):
            raise ModelError(f"{model.path}: its {name} differs between two runs on one picture")
    state = network.state_dict().values()
    return Verified(all(stated), len(state), sum(value.numel() for value in state))
