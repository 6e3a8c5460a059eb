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
        ``(heatmaps, h, w)`` float32 in [0, 1], exactly 1 at the cell of a nucleus.
    kind
        ``(h, w)`` int64 class of the nearest nucleus in the 3 x 3 cells about each nucleus, else
        -1.
    offset
        ``(2, h, w)`` float32, x and y from the cell's centre to the nucleus, in cells.
    centre
        ``(h, w)`` bool, the cells that hold a nucleus.
    size
        ``(1, h, w)`` float32 radius in cells, NaN if it is not known.
    """

    heat: npt.NDArray[np.float32]
    kind: npt.NDArray[np.int64]
    offset: npt.NDArray[np.float32]
    centre: npt.NDArray[np.bool_]
    size: npt.NDArray[np.float32]


def encode_targets(
    points: npt.NDArray[np.float64],
    label: npt.NDArray[np.uint8],
    *,
    shape: tuple[int, int],
    heatmaps: int,
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
    heatmaps, cell_px
        Number of heatmaps, 1 or one per class; read pixels per cell.
    radius
        ``(N,)`` in read pixels, where known.
    """
    height, width = shape
    heat = np.zeros((heatmaps, height, width), np.float32)
    kind = np.full(shape, -1, np.int64)
    offset = np.zeros((2, height, width), np.float32)
    size = np.full((1, height, width), np.nan, np.float32)
    centre = np.zeros(shape, bool)
    cells = points / cell_px
    corners = np.floor(cells).astype(int)
    inside = ((corners >= 0) & (corners < (width, height))).all(axis=1)
    cells, corners, label = cells[inside], corners[inside], label[inside].astype(int)
    cols, rows = corners.T
    reach = np.arange(-_REACH, _REACH + 1)
    at, x, y = _around(corners, reach, shape=shape)
    apart = (x - cols[at]) ** 2 + (y - rows[at]) ** 2
    bump = np.exp(-apart / (2 * HEAT_SIGMA**2)).astype("f4")
    np.maximum.at(heat, (label[at] if heatmaps > 1 else np.zeros_like(at), y, x), bump)
    at, x, y = _around(corners, np.arange(-1, 2), shape=shape)
    far_first = np.argsort(-np.hypot(x + 0.5 - cells[at, 0], y + 0.5 - cells[at, 1]), kind="stable")
    kind[y[far_first], x[far_first]] = label[at[far_first]]
    offset[:, rows, cols] = (cells - corners - 0.5).T
    centre[rows, cols] = True
    if radius is not None:
        size[0, rows, cols] = radius[inside] / cell_px
    return Targets(heat, kind, offset, centre, size)


def _around(
    corners: npt.NDArray[np.int_], reach: npt.NDArray[np.int_], *, shape: tuple[int, int]
) -> tuple[npt.NDArray[np.int_], npt.NDArray[np.int_], npt.NDArray[np.int_]]:
    """Return the cells of a square about each nucleus: its row, and column and row of the cell."""
    dx, dy = (steps.ravel() for steps in np.meshgrid(reach, reach))
    x, y = corners[:, :1] + dx, corners[:, 1:] + dy
    at, place = np.nonzero((x >= 0) & (x < shape[1]) & (y >= 0) & (y < shape[0]))
    return at, x[at, place], y[at, place]


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


def detection_loss(
    maps: Mapping[str, Tensor], targets: Mapping[str, Tensor], *, label_smoothing: float = 0.0
) -> dict[str, Tensor]:
    """Return the parts of the loss and their sum under ``loss``.

    Parameters
    ----------
    maps
        As the network returns them.
    targets
        Batches of the fields of :class:`Targets`, ``(N, ...)`` each.
    label_smoothing
        Share of each class label that is spread over all classes, in [0, 1).
    """
    centre = targets["centre"]
    parts = {"heat": focal_loss(maps["heat"], targets["heat"])}
    parts["offset"] = _l1(maps["offset"], targets["offset"], centre)
    if "kind" in maps:
        parts["kind"] = _class_loss(maps["kind"], targets["kind"], smoothing=label_smoothing)
    if "size" in maps:
        known = centre & ~torch.isnan(targets["size"][:, 0])
        parts["size"] = 0.1 * _l1(maps["size"], targets["size"], known)
    return parts | {"loss": torch.stack(list(parts.values())).sum()}


def _class_loss(logits: Tensor, kind: Tensor, *, smoothing: float) -> Tensor:
    """Return the mean cross entropy over the cells that have a class."""
    total = F.cross_entropy(
        logits.float(), kind, ignore_index=-1, reduction="sum", label_smoothing=smoothing
    )
    return total / (kind >= 0).sum().clamp(min=1)


def _l1(answer: Tensor, target: Tensor, where: Tensor) -> Tensor:
    answer, target = answer.float().movedim(1, -1)[where], target.movedim(1, -1)[where]
    return (answer - target).abs().sum() / max(1, len(answer))
