"""Grad-CAM maps of the class of one cell of the network's output."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from wsi_suite.errors import ConfigError

Method = Literal["Grad-CAM", "HiResCAM"]


def check_captum() -> None:
    """Raise ConfigError if Captum is not installed."""
    if find_spec("captum") is None:
        raise ConfigError("explain needs captum: pip install 'wsi-suite[explain]'")


def class_map(
    network: nn.Module,
    rgb: Tensor,
    *,
    method: Method,
    layer: str,
    cell: tuple[int, int],
    label: int,
) -> npt.NDArray[np.float32]:
    """Return where features speak for (> 0) or against (< 0) the class of a cell.

    Both methods multiply the features of a layer by the gradient of the class and add the channels
    up. Grad-CAM (Selvaraju et al., *Grad-CAM*, 2017, equations 1 and 2) takes the mean of each
    channel's gradient and so tells where the features lie that matter to the class of the cell,
    anywhere in the window; what the paper cuts off with a ReLU stays as the negative part.
    HiResCAM (Draelos and Carin, *Use HiResCAM instead of Grad-CAM*, 2020, equation 4) takes the
    gradient of each place and so tells which places moved the class of this very cell.

    The gradient is that of the log-odds of the class: its logit less the logarithm of the summed
    exponentials of all others'. Adding the same to all logits changes no probability, and so no
    map.

    Parameters
    ----------
    network
        A :class:`~wsi_suite.detector.network.NucleusNet`, in evaluation mode, in float32.
    rgb
        ``(1, 3, H, W)`` in 0 - 255 at read resolution.
    method
        How gradients are taken.
    layer
        Name of the layer in the network.
    cell
        Row and column of the nucleus in the network's maps.
    label
        Index of the class.

    Returns
    -------
    ndarray
        ``(h, w)`` in cells of the layer; without a unit.

    Raises
    ------
    ConfigError
        Captum is not installed.
    """
    check_captum()
    from captum.attr import LayerGradCam, LayerGradientXActivation

    target = _log_odds(network, cell=cell, label=label)
    module = network.get_submodule(layer)
    if method == "Grad-CAM":
        values = LayerGradCam(target, module).attribute(rgb, relu_attributions=False)
    else:
        values = LayerGradientXActivation(target, module).attribute(rgb)
    return np.asarray(values.detach().sum(dim=1)[0].cpu().numpy(), np.float32)


def _log_odds(
    network: nn.Module, *, cell: tuple[int, int], label: int
) -> Callable[[Tensor], Tensor]:
    row, col = cell

    def log_odds(rgb: Tensor) -> Tensor:
        maps = network(rgb)
        logits: Tensor = (maps["kind"] if "kind" in maps else maps["heat"])[:, :, row, col]
        others = [index for index in range(logits.shape[1]) if index != label]
        odds = logits[:, label]
        return odds - logits[:, others].logsumexp(dim=1) if others else odds

    return log_odds
