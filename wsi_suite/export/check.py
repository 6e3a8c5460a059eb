"""Whether an exported model answers as the detector does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from wsi_suite.detector.network import Peaks

CONFIDENCE_TOLERANCE = 1e-4
"""Largest difference of a confidence: what results are rounded to."""

POSITION_TOLERANCE_PX = 0.01
"""Largest difference of a position: what results are rounded to."""

_SIDE_PX = 128


@dataclass(frozen=True)
class ExportDifference:
    """The largest differences on a picture; infinite where nuclei or classes are others.

    Attributes
    ----------
    confidence, position_px
        Of the confidences; of the positions, in read pixels.
    """

    confidence: float
    position_px: float

    @property
    def tolerable(self) -> bool:
        """Whether results would be the same."""
        return self.confidence <= CONFIDENCE_TOLERANCE and self.position_px <= POSITION_TOLERANCE_PX


def sample_picture(align_px: int) -> npt.NDArray[np.uint8]:
    """Return ``(H, W, 3)`` coloured clouds, the same every time; sides are multiples."""
    height = align_px * math.ceil(_SIDE_PX / align_px)
    noise = np.random.default_rng(0).normal(size=(height, height + align_px, 3))
    clouds = np.asarray(cv2.GaussianBlur(noise, (0, 0), 2.5), np.float64)
    picture = np.empty(clouds.shape, np.uint8)
    picture[...] = (128 + 60 * clouds / clouds.std()).clip(0, 255)
    return picture


def compare_peaks(
    peaks: Peaks,
    points: npt.NDArray[Any],
    *,
    confidence: npt.NDArray[Any],
    label: npt.NDArray[Any],
) -> ExportDifference:
    """Compare the detector's nuclei with those of an export, in the same order."""
    if len(points) != len(peaks.points) or (label != peaks.label).any():
        return ExportDifference(math.inf, math.inf)
    return ExportDifference(
        float(np.abs(confidence - peaks.confidence).max(initial=0)),
        float(np.abs(points - peaks.points).max(initial=0)),
    )
