"""Optical density of an overview of a slide, strip by strip."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from wsi_suite.slides.strips import Mask, Pixels

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class OverviewDensity:
    """Optical densities of an overview, relative to its glass; of a strip when it is asked for.

    Made by :func:`density_of`.

    Attributes
    ----------
    rgb
        ``(H, W, 3)`` pixels.
    table
        ``(256, 3)``, optical density of each level of R, G and B.
    left_out
        ``(H, W)``, true where the density is 0 whatever the pixels.
    """

    rgb: Pixels
    table: FloatArray
    left_out: Mask

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        height, width = self.left_out.shape
        return height, width

    def rows(self, rows: slice) -> FloatArray:
        """Return the ``(h, W, 3)`` optical densities of some rows."""
        pixels = self.rgb[rows]
        density = np.empty(pixels.shape, np.float32)
        for channel in range(3):
            density[..., channel] = self.table[:, channel][pixels[..., channel]]
        density[self.left_out[rows]] = 0
        return density

    def without(self, mask: Mask) -> OverviewDensity:
        """Return the densities with 0 in a mask, too."""
        return replace(self, left_out=self.left_out | mask)


def density_of(rgb: Pixels, *, glass: FloatArray, left_out: Mask) -> OverviewDensity:
    """Return the optical densities of an overview.

    Parameters
    ----------
    rgb
        ``(H, W, 3)`` pixels.
    glass
        R, G, B of empty glass.
    left_out
        ``(H, W)``, true where the density is to be 0.
    """
    levels = np.maximum(np.arange(256, dtype=np.uint8), 1)[:, None]
    return OverviewDensity(rgb, -np.log10(levels / glass).astype(np.float32), left_out)
