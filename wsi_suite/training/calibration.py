"""Calibration: a confidence of 0.8 is right four times in five.

A network that learned to tell nuclei apart well is rarely right as often as it says, above all on
slides that it did not learn from. Two small fits on held-out tiles mend this: slope and offset of
the confidence's logit, and one temperature of the class logits. They change neither the order of
nuclei nor their classes, and go into the weights of the last layers, so that nothing that runs a
model needs to know of them.

Source: Platt, *Probabilistic Outputs for Support Vector Machines*, 1999 (slope, offset); Guo et
al., *On Calibration of Modern Neural Networks*, 2017 (temperature, expected calibration error).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize
from scipy.special import logit, logsumexp
from torch import nn

from wsi_suite.detector.network import NucleusNet
from wsi_suite.training.matches import Labelled, TileMatches, match_tile

log = logging.getLogger(__name__)

FEWEST_NUCLEI = 100
"""Fewer detections of one outcome than this calibrate nothing."""

_STRENGTH = 1e-3
"""Weight of the squared distance from doing nothing, so that separable data have a finite fit."""


@dataclass(frozen=True)
class Calibration:
    """Calibration of logits to probabilities; the defaults change nothing.

    Attributes
    ----------
    slope, offset
        Of the logit of the confidence: ``slope * logit + offset``.
    temperature
        Divides the logits of the classes.
    """

    slope: float = 1.0
    offset: float = 0.0
    temperature: float = 1.0


def fit_calibration(truth: Sequence[Labelled], found: Sequence[Labelled]) -> Calibration:
    """Fit a calibration to detections on held-out tiles.

    Confidences are fitted to whether a detection matches a labelled nucleus, whatever its class;
    class probabilities to the class of the nucleus that it matches. Where there are too few of
    either, nothing is changed.

    Parameters
    ----------
    truth, found
        One entry per tile, in the same order; `found` down to low confidences.
    """
    classes = 1 + max((int(nuclei.label.max(initial=0)) for nuclei in (*truth, *found)), default=0)
    tiles = [
        match_tile(there, here, classes=classes) for there, here in zip(truth, found, strict=True)
    ]
    slope, offset = _fit_confidence(tiles)
    return Calibration(slope, offset, _fit_temperature(tiles, found))


def _fit_confidence(tiles: Sequence[TileMatches]) -> tuple[float, float]:
    """Return slope and offset of the confidence's logit with the highest likelihood."""
    if not tiles:
        return 1.0, 0.0
    hit = np.concatenate([tile.agnostic.hit for tile in tiles])
    values = _logit(np.concatenate([tile.agnostic.confidence for tile in tiles]))
    if min(hit.sum(), (~hit).sum()) < FEWEST_NUCLEI:
        return 1.0, 0.0

    def loss(x: npt.NDArray[np.float64]) -> float:
        z = x[0] * values + x[1]
        likelihood = np.logaddexp(0, np.where(hit, -z, z)).mean()
        return float(likelihood + _STRENGTH * ((x[0] - 1) ** 2 + x[1] ** 2))

    slope, offset = minimize(loss, np.array([1.0, 0.0]), method="L-BFGS-B").x
    if slope <= 0:
        log.warning("confidences do not rise with what is found; they are left as they are")
        return 1.0, 0.0
    return float(slope), float(offset)


def _fit_temperature(tiles: Sequence[TileMatches], found: Sequence[Labelled]) -> float:
    """Return the temperature of the classes with the highest likelihood."""
    rows, right = [], []
    for tile, nuclei in zip(tiles, found, strict=True):
        if nuclei.class_probability is None:
            return 1.0
        matched = tile.truth >= 0
        rows.append(nuclei.class_probability[matched])
        right.append(tile.truth[matched])
    if sum(map(len, right)) < FEWEST_NUCLEI:
        return 1.0
    logits = np.log(np.concatenate(rows).astype(np.float64).clip(1e-7))
    label = np.concatenate(right)

    def loss(x: npt.NDArray[np.float64]) -> float:
        z = logits * np.exp(-x[0])
        likelihood = logsumexp(z, axis=1) - z[np.arange(len(label)), label]
        return float(likelihood.mean() + _STRENGTH * x[0] ** 2)

    return float(np.exp(minimize(loss, np.array([0.0]), method="L-BFGS-B").x[0]))


def calibrate_network(network: NucleusNet, calibration: Calibration) -> None:
    """Put a calibration into the weights of a network's last layers, in place."""
    with torch.no_grad():
        final = _final(network.heat)
        final.weight.mul_(calibration.slope)
        assert final.bias is not None
        final.bias.mul_(calibration.slope).add_(calibration.offset)
        if network.kind is not None:
            for values in _final(network.kind).parameters():
                values.div_(calibration.temperature)


def _final(head: nn.Sequential) -> nn.Conv2d:
    final = head[-1]
    assert isinstance(final, nn.Conv2d)
    return final


def _logit(probability: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    return np.asarray(logit(probability.astype(np.float64).clip(1e-7, 1 - 1e-7)), np.float64)
