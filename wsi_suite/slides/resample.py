"""Shrinking pixels by area averages on a grid that starts at the slide's corner.

A working pixel ``j`` covers the source interval ``[j * factor, (j + 1) * factor)``. Which source
pixels it averages, and with what weights, follows from `j` alone, so a box read at once and the
same box read in parts have the same bytes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from wsi_suite.geometry import Box
from wsi_suite.slides.reader import Pixels

if TYPE_CHECKING:
    from scipy import sparse

_BAND_PX = 64  # rows averaged at once: what stays in the processor's cache
_BAND_SOURCE_PX = 2**20  # source pixels averaged at once, as floats


def block_size(factor: tuple[float, float]) -> int | None:
    """Return the whole number of source pixels that `factor` is along both axes, or ``None``."""
    block = max(1, round(factor[0]))
    return block if all(math.isclose(value, block, rel_tol=1e-9) for value in factor) else None


def source_box(box: Box, *, factor: tuple[float, float]) -> Box:
    """Return the source pixels that the working pixels of `box` cover, in part or whole."""
    x, y = math.floor(box.x * factor[0]), math.floor(box.y * factor[1])
    right, bottom = math.ceil(box.right * factor[0]), math.ceil(box.bottom * factor[1])
    return Box(x, y, right - x, bottom - y)


def average_blocks(source: Pixels, *, block: int) -> Pixels:
    """Return the rounded means of whole ``block x block`` squares of ``(H, W, 3)`` pixels."""
    if block == 1:
        return source
    height, width = source.shape[0] // block, source.shape[1] // block
    # With whole factors OpenCV's INTER_AREA is the plain mean over each square.
    means = cv2.resize(source, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(means, np.uint8)


def average_areas(
    source: Pixels, box: Box, *, source_at: Box, factor: tuple[float, float]
) -> Pixels:
    """Return the working pixels of `box` as means weighted by the area they cover.

    Parameters
    ----------
    source
        ``(H, W, 3)`` source pixels of `source_at`.
    box
        Working pixels wanted.
    source_at
        :func:`source_box` of `box`.
    factor
        Source pixels per working pixel along x and y, at least 1.
    """
    across = _weights(box.x, box.right, source=(source_at.x, source_at.right), factor=factor[0])
    out = np.empty((box.height, box.width, 3), np.uint8)
    # A mean is the same in any band.
    fitting = int(_BAND_SOURCE_PX / (factor[1] * source_at.width))
    band_px = max(1, min(_BAND_PX, fitting))
    for top in range(box.y, box.bottom, band_px):
        band = Box(box.x, top, box.width, min(band_px, box.bottom - top))
        at = source_box(band, factor=factor)
        down = _weights(band.y, band.bottom, source=(at.y, at.bottom), factor=factor[1])
        pixels = source[at.within(source_at)].reshape(at.height, -1).astype(np.float32)
        columns = cv2.transpose((down @ pixels).reshape(band.height, at.width, 3))
        means = (across @ columns.reshape(at.width, -1)).reshape(band.width, band.height, 3)
        out[band.within(box)] = cv2.transpose((means + np.float32(0.5)).astype(np.uint8))
    return out


def _weights(
    start: int, stop: int, *, source: tuple[int, int], factor: float
) -> sparse.csr_array[np.float32]:
    """Return the ``(stop - start, source[1] - source[0])`` matrix of area weights of one axis."""
    from scipy import sparse

    low = np.arange(start, stop) * factor
    high = np.arange(start + 1, stop + 1) * factor
    taps = np.floor(low).astype(np.int64)[:, None] + np.arange(math.ceil(factor) + 1)
    overlap = np.minimum(taps + 1, high[:, None]) - np.maximum(taps, low[:, None])
    row, tap = np.nonzero(overlap > 0)
    weights = (overlap[row, tap] / factor).astype(np.float32)
    column = taps[row, tap] - source[0]
    shape = (stop - start, source[1] - source[0])
    return sparse.csr_array((weights, (row, column)), shape=shape)
