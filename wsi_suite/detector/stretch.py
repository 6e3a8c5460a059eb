"""The contrast that QuPath's InstanSeg extension gives a region before a model sees it.

The extension stretches each channel between the region's percentiles of 0.1 and 99.9. What the
darkest and brightest pixels were is lost to the model, but pixels of one stain and scanner differ
little in that: put back between the values that are usual in training tiles, they look to the
network nearly as they did.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

PERCENTILES = (0.1, 99.9)
"""What becomes black and white, per channel, over the region of interest."""

FloatArray = npt.NDArray[np.float64]
RgbLevels = tuple[float, float, float]


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
    """Stretch each channel so that `low` becomes 0 and `high` 255, and clip beyond."""
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    values: FloatArray = (rgb - low) / np.maximum(high - low, 1.0) * 255
    return np.rint(values).clip(0, 255).astype(np.uint8)


def restore(
    stretched: npt.NDArray[np.uint8], *, darkest: RgbLevels, brightest: RgbLevels
) -> npt.NDArray[np.uint8]:
    """Put stretched pixels between usual levels: 0 becomes `darkest`, 255 `brightest`."""
    low, high = np.array(darkest), np.array(brightest)
    values: FloatArray = low + stretched * ((high - low) / 255)
    return np.rint(values).astype(np.uint8)


def usual_levels(pictures: Iterable[npt.NDArray[np.uint8]]) -> tuple[RgbLevels, RgbLevels]:
    """Return the median over pictures of their limits: darkest, brightest."""
    limits = np.median([stretch_limits(rgb) for rgb in pictures], axis=0)
    darkest, brightest = np.rint(limits).tolist()
    return tuple(darkest), tuple(brightest)
