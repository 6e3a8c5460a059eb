"""Weights of a ResNet that was trained elsewhere, as the start of a backbone.

The file is read as data only, never as code. timm and torchvision name the parts of a ResNet alike;
what a file has before these names, such as ``module.``, is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wsi_suite.documents import Part
from wsi_suite.errors import ModelError
from wsi_suite.files import hash_file

LEAST_SHARE = 0.7
"""Share of a backbone's weights that must fit; with less the file is of another network."""

_LANDMARK = "layer1.0.conv1.weight"  # every ResNet has it
_WRAPPERS = ("state_dict", "model_state_dict", "model")


class InitialWeights(Part):
    """Weights that a backbone took from a file.

    Attributes
    ----------
    file, sha256
        Name and SHA-256 of the file.
    share
        Share of the backbone's weights that were taken.
    not_taken
        Parts of the backbone that keep random weights, and why.
    unused
        Parts of the file, in the stages that are used, that the backbone does not have.
    """

    file: str
    sha256: str
    share: float
    not_taken: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        text = f"{self.file}: {100 * self.share:.1f} % of the backbone's weights are taken"
        if self.not_taken:
            text += f"; random are {_some(self.not_taken)}"
        if self.unused:
            text += f"; the backbone lacks {_some(self.unused)}"
        return text


def load_backbone(backbone: nn.Module, path: Path) -> InitialWeights:
    """Give a backbone the weights of a file, as far as they fit.

    Parameters
    ----------
    backbone
        A timm ResNet; changed in place.
    path
        ``.safetensors``, or a state dict that PyTorch saved.

    Raises
    ------
    ModelError
        The file cannot be read, is not of a ResNet, holds values that are not numbers, or less than
        :data:`LEAST_SHARE` of the backbone fits.
    """
    given = _without_prefix(_read(path), path)
    wanted = {
        name: value
        for name, value in backbone.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    taken, not_taken = [], []
    for name, value in wanted.items():
        there = given.get(name)
        if there is None:
            not_taken.append(f"{name} (not in the file)")
        elif there.shape != value.shape:
            not_taken.append(f"{name} ({_shape(there)} in the file, {_shape(value)} here)")
        else:
            taken.append(name)
    share = sum(wanted[name].numel() for name in taken) / sum(v.numel() for v in wanted.values())
    if share < LEAST_SHARE:
        raise ModelError(
            f"init {path}: fits {100 * share:.0f} % of the backbone's weights, at least "
            f"{100 * LEAST_SHARE:.0f} % are needed; random would be {_some(not_taken)}; set "
            "network.backbone to the network of the file"
        )
    _check_finite({name: given[name] for name in taken}, path)
    with torch.no_grad():
        for name in taken:
            wanted[name].copy_(given[name])
    stages = {name.partition(".")[0] for name in wanted}
    unused = [
        name
        for name in given
        if name not in wanted
        and name.partition(".")[0] in stages
        and not name.endswith("num_batches_tracked")
    ]
    return InitialWeights(
        file=path.name,
        sha256=hash_file(path),
        share=share,
        not_taken=tuple(not_taken),
        unused=tuple(unused),
    )


def _read(path: Path) -> Mapping[str, Tensor]:
    """Return the tensors of a file by name."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise ModelError(f"init {path}: no such file; expected a .safetensors or .pth file")
    try:
        if path.suffix.lower() == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"init {path}: not readable as safetensors ({error})") from None
    except Exception as error:  # a damaged pickle raises nearly anything
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            f"init {path}: not weights that PyTorch reads as data alone ({reason[0][:120]}); "
            "expected a state dict"
        ) from None
    for name in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    return _tensors(content)


def _tensors(content: Any) -> dict[str, Tensor]:  # noqa: ANN401 - whatever the file held
    parts = content.items() if isinstance(content, Mapping) else ()
    return {str(name): value for name, value in parts if isinstance(value, Tensor)}


def _without_prefix(weights: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return weights by timm's names: without the prefix before the stages' names."""
    landmark = min((name for name in weights if name.endswith(_LANDMARK)), key=len, default=None)
    if landmark is None:
        found = f"found {_some(list(weights))}" if weights else "found no weights"
        raise ModelError(f"init {path}: not of a ResNet, no {_LANDMARK} in it; {found}")
    prefix = landmark.removesuffix(_LANDMARK)
    return {
        name.removeprefix(prefix): value
        for name, value in weights.items()
        if name.startswith(prefix)
    }


def _check_finite(weights: Mapping[str, Tensor], path: Path) -> None:
    for name, value in weights.items():
        if not torch.isfinite(value).all():
            raise ModelError(
                f"init {path}: {name} holds values that are not numbers; take another file"
            )


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape))


def _some(names: list[str] | tuple[str, ...]) -> str:
    """Return the first names and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
