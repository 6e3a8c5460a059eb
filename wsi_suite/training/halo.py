"""How many real pixels a window needs around it, measured on the network itself."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt
import torch

from wsi_suite.detector.network import NucleusNet
from wsi_suite.errors import ModelError
from wsi_suite.training.labelled import LabelledTile

CONFIDENCE_TOLERANCE = 1e-3
"""Largest difference of a confidence between tile and whole."""

POSITION_TOLERANCE_PX = 0.05
"""Largest difference of a position between tile and whole, read pixels."""

_LOWEST_CONFIDENCE = 0.1  # positions of weaker cells are of no consequence


def measure_halo(
    network: NucleusNet,
    tiles: Sequence[LabelledTile],
    *,
    mpp: float,
    core_px: int = 256,
    reaches_px: Sequence[int] = (64, 128, 256, 512),
) -> int:
    """Return the smallest halo, in read pixels, with which tile and whole agree.

    Cores of a mosaic of tiles are run with less and less around them and compared with the same
    cores run with at least twice as much. Half of either tolerance must be kept.

    Parameters
    ----------
    network
        In evaluation mode, on the CPU.
    tiles
        Real pixels to measure on.
    mpp
        um per read pixel.
    core_px
        Side of the cores that are compared, in read pixels.
    reaches_px
        Pixels around the cores of the whole, ascending. The first with which a halo of half of it
        or less is enough ends the search.

    Raises
    ------
    ModelError
        The network sees farther than can be measured.
    """
    for reach in reaches_px:
        mosaics = [_mosaic(tiles, core_px + 2 * reach, mpp=mpp, first=i) for i in (0, 20, 40)]
        wholes = [_core_maps(network, mosaic, halo=reach, core_px=core_px) for mosaic in mosaics]
        enough = None
        for halo in range(reach // 2, -1, -network.spec.align_px):
            cut = slice(reach - halo, core_px + reach + halo)
            parts = (
                _core_maps(network, mosaic[cut, cut], halo=halo, core_px=core_px)
                for mosaic in mosaics
            )
            if not all(map(partial(_agree, cell_px=network.spec.cell_px), wholes, parts)):
                break
            enough = halo
        if enough is not None:
            return enough
    raise ModelError(
        f"backbone '{network.spec.backbone}' with {network.spec.stages} stages sees farther than "
        f"{reaches_px[-1] // 2} px; take fewer stages"
    )


def _core_maps(
    network: NucleusNet, rgb: npt.NDArray[np.uint8], *, halo: int, core_px: int
) -> tuple[torch.Tensor, ...]:
    """Return confidence, class probabilities and offset of the core of a window with a halo."""
    with torch.inference_mode():
        maps = network(torch.from_numpy(rgb.copy()).movedim(-1, 0)[None].float())
    first = round(halo / network.spec.cell_px)
    core = slice(first, first + round(core_px / network.spec.cell_px))
    heat = torch.sigmoid(maps["heat"])
    classes = torch.softmax(maps["kind"], dim=1) if "kind" in maps else heat
    return tuple(values[..., core, core] for values in (heat, classes, maps["offset"]))


def _agree(a: tuple[torch.Tensor, ...], b: tuple[torch.Tensor, ...], *, cell_px: float) -> bool:
    """Return whether confidences, classes and positions agree within half of their tolerances."""
    likely = a[0].amax(dim=1, keepdim=True) >= _LOWEST_CONFIDENCE
    confidence = float((a[0] - b[0]).abs().max())
    confidence = max(confidence, _largest((a[1] - b[1]).abs(), where=likely))
    shift = _largest((a[2] - b[2]).abs(), where=likely) * cell_px
    return confidence <= CONFIDENCE_TOLERANCE / 2 and shift <= POSITION_TOLERANCE_PX / 2


def _largest(values: torch.Tensor, *, where: torch.Tensor) -> float:
    """Return the largest of some values, 0 if there are none."""
    chosen = values[where.expand_as(values)]
    return float(chosen.max()) if chosen.numel() else 0.0


def _mosaic(
    tiles: Sequence[LabelledTile], size: int, *, mpp: float, first: int
) -> npt.NDArray[np.uint8]:
    """Lay tiles side by side into a ``(size, size, 3)`` image."""
    mosaic = np.empty((size, size, 3), np.uint8)
    side, index = 192, first
    for top in range(0, size, side):
        for left in range(0, size, side):
            rgb = tiles[index % len(tiles)].read(mpp).rgb
            part = mosaic[top : top + side, left : left + side]
            part[...] = cv2.resize(rgb, (side, side))[: part.shape[0], : part.shape[1]]
            index += 1
    return mosaic
