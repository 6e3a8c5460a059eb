"""The contrast that QuPath's InstanSeg extension gives a region before a model sees it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

PERCENTILES = (0.1, 99.9)
"""What becomes black and white, per channel, over the region of interest."""

FloatArray = npt.NDArray[np.float64]


def stretch_limits(rgb: npt.NDArray[np.uint8]) -> tuple[FloatArray, FloatArray]:
    """Return the darkest and the brightest value of each channel, ``(3,)`` in 0 - 255.

    Parameters
    ----------
    rgb
        ``(..., 3)`` pixels of the whole region.
    """
    low, high = np.percentile(rgb.reshape(-1, 3), PERCENTILES, axis=0)
    return low, high


def stretch(
    rgb: npt.NDArray[np.uint8], low: npt.ArrayLike, high: npt.ArrayLike
) -> npt.NDArray[np.uint8]:
    """Stretch each channel so that `low` becomes 0 and `high` 255; what lies beyond is clipped."""
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    values: FloatArray = (rgb - low) / np.maximum(high - low, 1.0) * 255
    return np.rint(values).clip(0, 255).astype(np.uint8)
