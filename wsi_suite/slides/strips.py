"""Work on large pictures and masks strip by strip, so that memory does not grow with a slide.

A picture of a slide at 8 um per pixel has tens of millions of pixels. Kept whole are its pixels and
its masks, a byte each; whatever takes more, as floats do, is there for one strip of rows at a time.
A filter sees as many rows beyond a strip as it looks far, so that the result is that of the whole.
Medians and percentiles are read off counts of values, and are those of numpy to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]

_STRIP_PX = 2**19


@dataclass(frozen=True)
class Strip:
    """Some rows of a picture.

    Attributes
    ----------
    rows
        The rows.
    around
        The rows with those beyond them that a filter sees.
    inner
        `rows` within `around`.
    """

    rows: slice
    around: slice
    inner: slice


def strips(shape: tuple[int, ...], *, halo_px: int = 0) -> Iterator[Strip]:
    """Cut a picture of ``(H, W, ...)`` pixels into strips, from top to bottom."""
    height, width = shape[:2]
    step = max(1, _STRIP_PX // max(1, width))
    for top in range(0, height, step):
        bottom, first = min(top + step, height), max(0, top - halo_px)
        yield Strip(
            rows=slice(top, bottom),
            around=slice(first, min(bottom + halo_px, height)),
            inner=slice(top - first, bottom - first),
        )


def in_strips(
    condition: Callable[..., npt.NDArray[Any]], *pictures: npt.NDArray[Any], halo_px: int = 0
) -> Mask:
    """Return where a condition holds, ``(H, W)``.

    Parameters
    ----------
    condition
        Receives a strip of each picture and returns its ``(h, W)`` bool.
    pictures
        ``(H, W, ...)`` each.
    halo_px
        Rows beyond a strip that the condition sees.
    """
    shape = pictures[0].shape
    mask = np.empty(shape[:2], np.bool_)
    for strip in strips(shape, halo_px=halo_px):
        mask[strip.rows] = condition(*(each[strip.around] for each in pictures))[strip.inner]
    return mask


def highest(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the highest of three channels, ``(H, W)``; several times as fast as numpy's own."""
    return np.asarray(np.maximum(np.maximum(pixels[..., 0], pixels[..., 1]), pixels[..., 2]))


def lowest(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the lowest of three channels, ``(H, W)``."""
    return np.asarray(np.minimum(np.minimum(pixels[..., 0], pixels[..., 1]), pixels[..., 2]))


def median_colour(rgb: Pixels, mask: Mask) -> npt.NDArray[np.float64]:
    """Return the median R, G, B of the pixels in a mask, of which there is at least one."""
    counts = np.zeros((3, 256), np.int64)
    for strip in strips(mask.shape):
        chosen = rgb[strip.rows][mask[strip.rows]]
        for channel in range(3):
            counts[channel] += np.bincount(chosen[:, channel], minlength=256)
    return np.array([median_of_counts(np.arange(256.0), each) for each in counts])


def median_of_counts(values: npt.NDArray[Any], counts: Counts) -> float:
    """Return the median of values that ascend, each as often as it was counted."""
    total = int(counts.sum())
    middle = [ordered(values, counts, rank) for rank in {(total - 1) // 2, total // 2}]
    return float(np.mean(np.array(middle, values.dtype)))


def percentile_of_counts(values: npt.NDArray[Any], counts: Counts, percent: float) -> float:
    """Return a percentile of values that ascend, each as often as it was counted.

    Between two ranks it is interpolated, as numpy does by default.
    """
    last = int(counts.sum()) - 1
    at = last * (percent / 100)
    rank = math.floor(at)
    share = at - rank
    low, high = (ordered(values, counts, min(each, last)) for each in (rank, rank + 1))
    step = high - low
    return float(high - step * (1 - share) if share >= 0.5 else low + step * share)


def ordered(values: npt.NDArray[Any], counts: Counts, rank: int) -> Any:  # noqa: ANN401
    """Return the value at a rank, from 0, of values that ascend; a scalar of their type."""
    return values[np.searchsorted(np.cumsum(counts), rank, side="right")]
