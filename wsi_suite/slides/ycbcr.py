"""Conversion of YCbCr to RGB as a TIFF file describes it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tifffile

from wsi_suite.slides.reader import Pixels


@dataclass(frozen=True)
class YCbCr:
    """How a file codes its colours (TIFF 6.0, sections 20 and 21; the defaults are libtiff's).

    Attributes
    ----------
    coefficients
        Shares of red, green and blue in the luma: ``YCbCrCoefficients``.
    reference
        Codes of no and of full luma, Cb and Cr: ``ReferenceBlackWhite``.
    """

    coefficients: tuple[float, ...] = (0.299, 0.587, 0.114)
    reference: tuple[float, ...] = (0, 255, 128, 255, 128, 255)

    def to_rgb(self, samples: Pixels) -> Pixels:
        """Return ``(H, W, 3)`` RGB of ``(H, W, 3)`` Y, Cb and Cr."""
        red, green, blue = self.coefficients
        luma, cb, cr = (
            self._values(channel)[samples[..., channel]].astype(np.float32) for channel in range(3)
        )
        more_red, more_blue = (2 - 2 * red) * cr, (2 - 2 * blue) * cb
        less_green = (red * more_red + blue * more_blue) / green
        rgb = np.stack([luma + more_red, luma - less_green, luma + more_blue], axis=-1)
        return np.asarray(np.clip(np.rint(rgb), 0, 255), np.uint8)

    def _values(self, channel: int) -> npt.NDArray[np.float64]:
        """Return the value of each of the 256 codes of a channel."""
        black, white = self.reference[2 * channel : 2 * channel + 2]
        span = 127 if channel else 255
        values = (np.arange(256) - black) * span / ((white - black) or 1)
        return np.asarray(np.trunc(values), np.float64)  # libtiff counts in whole steps


def ycbcr_of(page: tifffile.TiffPage) -> YCbCr | None:
    """Return how a page codes its colours, ``None`` if its tags make no sense."""
    plain = YCbCr()
    coefficients = _rationals(page, "YCbCrCoefficients", plain.coefficients)
    reference = _rationals(page, "ReferenceBlackWhite", plain.reference)
    if coefficients is None or reference is None or coefficients[1] <= 0:
        return None
    return YCbCr(coefficients, reference)


def _rationals(
    page: tifffile.TiffPage, name: str, default: tuple[float, ...]
) -> tuple[float, ...] | None:
    """Return the numbers of a tag that holds as many as `default` has; ``None`` for others."""
    stored = page.tags.valueof(name)
    if stored is None:
        return default
    flat = np.ravel(stored).astype(float)
    tag = page.tags[name]
    if tag.dtype in (tifffile.DATATYPE.RATIONAL, tifffile.DATATYPE.SRATIONAL):
        if flat.size % 2 or not flat[1::2].all():
            return None
        flat = flat[::2] / flat[1::2]
    numbers = tuple(float(number) for number in flat)
    return numbers if len(numbers) == len(default) and all(map(math.isfinite, numbers)) else None
