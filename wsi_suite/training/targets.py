"""Targets of the network for given nuclei, and the loss.

Source: Zhou, Wang, Kraehenbuehl, *Objects as Points*, 2019, equations 1 and 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

HEAT_SIGMA = 1.0
"""Standard deviation of a nucleus in the heatmap, cells."""

_REACH = 3  # cells; the Gaussian is below 0.02 beyond


@dataclass(frozen=True)
class Targets:
    """Target maps of one window, in cells.

    Attributes
    ----------
    heat
        ``(classes, h, w)`` float32 in [0, 1], exactly 1 at the cell of a nucleus.
    offset
        ``(2, h, w)`` float32, x and y from the cell's centre to the nucleus, in cells.
    centre
        ``(h, w)`` bool, the cells that hold a nucleus.
    size
        ``(1, h, w)`` float32 radius in cells, NaN where it is not known.
    """

    heat: npt.NDArray[np.float32]
    offset: npt.NDArray[np.float32]
    centre: npt.NDArray[np.bool_]
    size: npt.NDArray[np.float32]


def encode_targets(
    points: npt.NDArray[np.float64],
    label: npt.NDArray[np.uint8],
    *,
    shape: tuple[int, int],
    classes: int,
    cell_px: float,
    radius: npt.NDArray[np.float64] | None = None,
) -> Targets:
    """Draw nuclei into target maps.

    Parameters
    ----------
    points
        ``(N, 2)`` centres in read pixels from the window's corner; those outside are left out.
    label
        ``(N,)`` class indices.
    shape
        ``(h, w)`` of the maps, in cells.
    classes, cell_px
        Number of classes; read pixels per cell.
    radius
        ``(N,)`` in read pixels, where known.
    """
    height, width = shape
    heat = np.zeros((classes, height, width), np.float32)
    offset = np.zeros((2, height, width), np.float32)
    size = np.full((1, height, width), np.nan, np.float32)
    centre = np.zeros((height, width), bool)
    steps = np.arange(-_REACH, _REACH + 1)
    bump = np.exp(-(steps[:, None] ** 2 + steps[None] ** 2) / (2 * HEAT_SIGMA**2)).astype("f4")
    cells = points / cell_px
    for i, (x, y) in enumerate(cells):
        col, row = int(np.floor(x)), int(np.floor(y))
        if not (0 <= col < width and 0 <= row < height):
            continue
        top, left = max(0, row - _REACH), max(0, col - _REACH)
        bottom, right = min(height, row + _REACH + 1), min(width, col + _REACH + 1)
        part = heat[label[i], top:bottom, left:right]
        shift_y, shift_x = _REACH - row, _REACH - col
        np.maximum(
            part, bump[top + shift_y : bottom + shift_y, left + shift_x : right + shift_x], out=part
        )
        offset[:, row, col] = x - col - 0.5, y - row - 0.5
        centre[row, col] = True
        if radius is not None:
            size[0, row, col] = radius[i] / cell_px
    return Targets(heat, offset, centre, size)


def focal_loss(logits: Tensor, heat: Tensor) -> Tensor:
    """Return the penalty-reduced focal loss per nucleus (alpha 2, beta 4).

    Parameters
    ----------
    logits, heat
        ``(N, classes, h, w)``: the answer before the sigmoid, and the target.
    """
    logits = logits.float()
    probability = torch.sigmoid(logits)
    centre = (heat == 1).float()
    hit = centre * (1 - probability) ** 2 * F.logsigmoid(logits)
    miss = (1 - centre) * (1 - heat) ** 4 * probability**2 * F.logsigmoid(-logits)
    return -(hit + miss).sum() / centre.sum().clamp(min=1)


def detection_loss(maps: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the parts of the loss and their sum under ``loss``.

    Parameters
    ----------
    maps
        As the network returns them.
    targets
        Batches of the fields of :class:`Targets`, ``(N, ...)`` each.
    """
    centre = targets["centre"]
    parts = {"heat": focal_loss(maps["heat"], targets["heat"])}
    parts["offset"] = _l1(maps["offset"], targets["offset"], centre)
    if "size" in maps:
        known = centre & ~torch.isnan(targets["size"][:, 0])
        parts["size"] = 0.1 * _l1(maps["size"], targets["size"], known)
    return parts | {"loss": torch.stack(list(parts.values())).sum()}


def _l1(answer: Tensor, target: Tensor, where: Tensor) -> Tensor:
    answer, target = answer.float().movedim(1, -1)[where], target.movedim(1, -1)[where]
    return (answer - target).abs().sum() / max(1, len(answer))
