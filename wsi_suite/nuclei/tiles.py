"""A network on labelled tiles: what is there beside what was found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from wsi_suite.nuclei.detector import separate_peaks
from wsi_suite.nuclei.evaluation import Labelled
from wsi_suite.nuclei.labelled import LabelledTile
from wsi_suite.nuclei.network import NucleusNet, decode_peaks
from wsi_suite.nuclei.weights import ModelSpec

LOWEST_SCORE = 0.05
"""Detections below this are left out of precision-recall curves."""


def detect_tiles(
    network: NucleusNet, tiles: Sequence[LabelledTile], *, spec: ModelSpec
) -> tuple[list[Labelled], list[Labelled]]:
    """Return the labelled and the found nuclei of tiles, in um, found ones down to a low score."""
    like = next(network.parameters())
    mpp = spec.read_mpp
    truth, found = [], []
    for tile in tiles:
        rgb, points = tile.read(mpp)
        height, width = rgb.shape[:2]
        padded = torch.from_numpy(pad_white(rgb, network.spec.align_px)).to(like.device)
        with torch.inference_mode():
            maps = network(padded.movedim(-1, 0)[None].to(like.dtype))
        peaks = separate_peaks(
            decode_peaks(maps, min_score=LOWEST_SCORE, cell_px=network.spec.cell_px)[0],
            spec.min_distance_um / mpp,
        )
        inside = (peaks.points < (width, height)).all(axis=1)
        truth.append(Labelled(points * mpp, tile.label, np.ones(len(points), np.float32)))
        found.append(
            Labelled(peaks.points[inside] * mpp, peaks.label[inside], peaks.score[inside])
        )
    return truth, found


def pad_white(rgb: npt.NDArray[np.uint8], multiple: int) -> npt.NDArray[np.uint8]:
    """Return ``(H, W, 3)`` pixels padded with white, right and below, to multiples."""
    height, width = rgb.shape[:2]
    pad = ((0, -height % multiple), (0, -width % multiple), (0, 0))
    return np.pad(rgb, pad, constant_values=255)
