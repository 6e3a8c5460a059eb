"""Description of fields of tissue by pixels and by a network, to tell known from unknown ones."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from wsi_suite.detector.model_folder import ModelSpec
from wsi_suite.detector.network import NucleusNet, find_maxima
from wsi_suite.nuclei.familiarity import FEATURES, SHARPNESS, SIZE, STAIN
from wsi_suite.staining.deconvolution import separate_stains

Rgb = npt.NDArray[np.uint8]
Vectors = npt.NDArray[np.float64]

_STAGE = 2  # of the ResNet; docs/scoring.md compares stages
_STAINED_OD = 0.3  # sum over red, green and blue
_LEAST_STAINED = 0.05  # share of the pixels: below it a field is glass
_BLACK = 5  # of 255, in every channel: no tissue is as dark, but what lies beyond a slide
_MOST_BLACK = 0.05
_FEWEST_NUCLEI = 5  # that have a median size


def describe_fields(
    network: NucleusNet, fields: Iterable[Rgb], *, spec: ModelSpec
) -> dict[str, Vectors]:
    """Return ``(N, P)`` descriptions of fields by aspect.

    Fields of glass, and those that reach beyond the slide, are left out.

    Each field is shown to the network alone, without surroundings, so that fields of training
    tiles and of slides are alike.

    Parameters
    ----------
    network
        In evaluation mode, in float32 on the CPU.
    fields
        ``(S, S, 3)`` RGB at ``spec.read_mpp``, S a multiple of ``spec.network.align_px``.
    spec
        Of the model.

    Returns
    -------
    dict
        By aspect (:data:`~wsi_suite.nuclei.familiarity.ASPECTS`): amounts of hematoxylin, DAB and
        residual in stained pixels, their means and standard deviations; log of the median radius,
        um; log ratios of detail; mean features where nuclei are. NaN where nothing is to be seen.
    """
    rows: dict[str, list[Vectors]] = {STAIN: [], SIZE: [], SHARPNESS: [], FEATURES: []}
    for rgb in fields:
        stain = _stain(rgb)
        if stain is None:
            continue
        features, size = _look(network, rgb, spec=spec)
        rows[STAIN].append(stain)
        rows[SHARPNESS].append(_sharpness(rgb))
        rows[SIZE].append(size)
        rows[FEATURES].append(features)
    return {name: np.array(values, np.float64) for name, values in rows.items() if values}


def central_fields(rgb: Rgb, field_px: int) -> list[Rgb]:
    """Return the fields that fit side by side into a picture, about its middle."""
    rows, columns = (size // field_px for size in rgb.shape[:2])
    top, left = ((size % field_px) // 2 for size in rgb.shape[:2])
    return [
        rgb[y : y + field_px, x : x + field_px]
        for y in range(top, top + rows * field_px, field_px)
        for x in range(left, left + columns * field_px, field_px)
    ]


def _stain(rgb: Rgb) -> Vectors | None:
    pixels = rgb.reshape(-1, 3)
    if np.mean(pixels.max(axis=1) <= _BLACK) > _MOST_BLACK:
        return None
    density = -np.log10(np.maximum(pixels, 1) / 255.0).sum(axis=1)
    stained = density > _STAINED_OD
    if np.count_nonzero(stained) < _LEAST_STAINED * len(stained):
        return None
    amounts = separate_stains(rgb).reshape(-1, 3)[stained].astype(np.float64)
    return np.concatenate([amounts.mean(axis=0), amounts.std(axis=0)])


def _sharpness(rgb: Rgb) -> Vectors:
    """Return the logs of how much more detail there is below 1 px than to 2 px, and 2 than 4."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    blurs = [grey, *(cv2.GaussianBlur(grey, (0, 0), sigma) for sigma in (1.0, 2.0, 4.0))]
    energy = [
        max(float(np.mean((fine - coarse) ** 2, dtype=np.float64)), 1e-6)
        for fine, coarse in pairwise(blurs)
    ]
    return np.asarray(np.log(np.array(energy[:2]) / np.array(energy[1:])))


def _look(network: NucleusNet, rgb: Rgb, *, spec: ModelSpec) -> tuple[Vectors, Vectors]:
    """Return the features where nuclei are, and the log of their median radius, by one pass."""
    stages: list[Tensor] = []
    hook = network.backbone.register_forward_hook(lambda _module, _in, out: stages.extend(out))
    try:
        with torch.inference_mode():
            maps = network(torch.from_numpy(np.ascontiguousarray(rgb)).movedim(-1, 0)[None])
    finally:
        hook.remove()
    stage = stages[min(_STAGE, len(stages)) - 1].double()
    nuclei, confidence, _ = find_maxima(maps["heat"], spec.min_confidence, kind=maps.get("kind"))
    height, width = stage.shape[-2:]
    weight = F.adaptive_avg_pool2d(confidence[:, None].double(), (height, width))
    features = (stage * weight).sum(dim=(2, 3)) / weight.sum(dim=(2, 3))
    size = np.nan
    if "size" in maps and int(nuclei.sum()) >= _FEWEST_NUCLEI:
        radius = float(maps["size"][:, 0][nuclei].median()) * spec.network.cell_px * spec.read_mpp
        size = np.log(max(radius, 0.1))
    return features[0].numpy(), np.array([size])
