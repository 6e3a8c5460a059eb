"""Optical density and colour deconvolution, exactly as QuPath computes them.

Light that passes a stain is absorbed exponentially, so amounts of stain add up in optical density
(Beer-Lambert). Ruifrok and Johnston (Anal. Quant. Cytol. Histol. 2001, 23, 291) invert that sum
with one vector a stain; QuPath's choices of vectors, residual and clipping are followed here, so
that a threshold found in QuPath means the same in this package.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import cv2
import numpy as np
import numpy.typing as npt

from wsi_suite.config import DAB_OD, HEMATOXYLIN_OD, WHITE_RGB, StainSettings
from wsi_suite.errors import ConfigError

Vector = tuple[float, float, float]
FloatArray = npt.NDArray[np.float32]


def _unit(vector: npt.ArrayLike) -> npt.NDArray[np.float64]:
    values = np.asarray(vector, np.float64)
    return values / np.linalg.norm(values)


@dataclass(frozen=True)
class StainVectors:
    """The colours of hematoxylin and DAB.

    Attributes
    ----------
    hematoxylin, dab
        Optical densities in R, G, B, of any length; the defaults are QuPath's "H-DAB default".
    background
        R, G, B of empty glass, 8 bit.

    Raises
    ------
    ConfigError
        The vectors are zero or point the same way, or the background is not within 1 - 255.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> stains = ws.StainVectors(dab=(0.27, 0.57, 0.78), background=(243, 243, 241))
    >>> stains.matrix.round(2).tolist()
    [[0.65, 0.7, 0.29], [0.27, 0.57, 0.78], [0.63, -0.71, 0.3]]
    """

    hematoxylin: Vector = HEMATOXYLIN_OD
    dab: Vector = DAB_OD
    background: Vector = WHITE_RGB

    def __post_init__(self) -> None:
        for name, vector in (("hematoxylin", self.hematoxylin), ("dab", self.dab)):
            if not 0 < math.hypot(*vector) < math.inf:
                raise ConfigError(
                    f"stain.{name} = {vector}: expected the optical density in R, G, B, not zero"
                )
        if np.linalg.norm(np.cross(_unit(self.hematoxylin), _unit(self.dab))) < 0.01:
            raise ConfigError(
                f"stain.hematoxylin = {self.hematoxylin} and stain.dab = {self.dab} point the same "
                "way and cannot be told apart; give vectors that differ, such as the defaults"
            )
        if not all(1 <= value <= 255 for value in self.background):
            raise ConfigError(
                f"stain.background = {self.background}: expected values from 1 to 255, "
                "the colour of empty glass"
            )

    @classmethod
    def of(cls, settings: StainSettings) -> Self:
        """Return the vectors that settings give."""
        return cls(settings.hematoxylin, settings.dab, settings.background)

    @property
    def matrix(self) -> npt.NDArray[np.float64]:
        """``(3, 3)`` unit rows: hematoxylin, DAB and the residual at right angles to both."""
        hematoxylin, dab = _unit(self.hematoxylin), _unit(self.dab)
        return np.stack([hematoxylin, dab, _unit(np.cross(hematoxylin, dab))])

    def to_qupath(self, name: str = "H-DAB default") -> str:
        """Return the argument of QuPath's ``setColorDeconvolutionStains``."""
        hematoxylin, dab, _ = (" ".join(f"{value:.5f}" for value in row) for row in self.matrix)
        background = " ".join(f"{value:g}" for value in self.background)
        return (
            f'{{"Name":"{name}","Stain 1":"Hematoxylin","Values 1":"{hematoxylin}",'
            f'"Stain 2":"DAB","Values 2":"{dab}","Background":"{background}"}}'
        )


H_DAB = StainVectors()
"""QuPath's default vectors for hematoxylin and DAB."""


def optical_density(rgb: npt.NDArray[np.uint8], *, background: Vector) -> FloatArray:
    """Return the optical density of each channel, ``max(0, -log10(max(v, 1) / background))``.

    Parameters
    ----------
    rgb
        ``(..., 3)`` pixels.
    background
        R, G, B of empty glass.

    Returns
    -------
    FloatArray
        The shape of `rgb`, never negative.

    Examples
    --------
    >>> import numpy as np
    >>> import wsi_suite as ws
    >>> rgb = np.array([[200, 24, 120]], np.uint8)
    >>> ws.optical_density(rgb, background=(243, 243, 243)).round(2)
    array([[0.08, 1.01, 0.31]], dtype=float32)
    """
    table = density_table(background).astype(np.float32)
    return np.asarray(cv2.LUT(_as_image(rgb), table[None]), np.float32).reshape(rgb.shape)


def separate_stains(rgb: npt.NDArray[np.uint8], stains: StainVectors = H_DAB) -> FloatArray:
    """Return the amounts of hematoxylin, DAB and residual in each pixel.

    Amounts are optical densities along the unit vectors. They are not clipped: noise and other
    colours make them negative, as in QuPath.

    Parameters
    ----------
    rgb
        ``(..., 3)`` pixels.
    stains
        The vectors and the background.

    Returns
    -------
    FloatArray
        The shape of `rgb`; the last axis holds hematoxylin, DAB, residual.

    Examples
    --------
    >>> import numpy as np
    >>> import wsi_suite as ws
    >>> brown = np.array([[120, 80, 60]], np.uint8)
    >>> ws.separate_stains(brown).round(2)
    array([[0.16, 0.73, 0.04]], dtype=float32)
    """
    amounts = _amounts(_as_image(rgb), stains, count=3)
    return np.asarray(cv2.merge(amounts), np.float32).reshape(rgb.shape)


def hematoxylin_and_dab(
    rgb: npt.NDArray[np.uint8], stains: StainVectors
) -> tuple[FloatArray, FloatArray]:
    """Return the first two amounts of :func:`separate_stains`, ``(H, W)`` each."""
    hematoxylin, dab = _amounts(rgb, stains, count=2)
    return hematoxylin, dab


def _amounts(rgb: npt.NDArray[np.uint8], stains: StainVectors, *, count: int) -> list[FloatArray]:
    """Return the amounts of the first `count` of hematoxylin, DAB and residual."""
    # Each amount is a sum of one term a channel, and a channel has 256 values: look the terms up.
    # (A matrix product would round differently from one position in the array to another.)
    density, inverse = density_table(stains.background), np.linalg.inv(stains.matrix)
    channels = cv2.split(rgb)
    amounts = []
    for weights in inverse.T[:count]:
        red, green, blue = (density * weights).T.astype(np.float32)
        amount = np.asarray(cv2.LUT(channels[0], red), np.float32)
        amount += np.asarray(cv2.LUT(channels[1], green), np.float32)
        amount += np.asarray(cv2.LUT(channels[2], blue), np.float32)
        amounts.append(amount)
    return amounts


def combine_stains(amounts: npt.ArrayLike, stains: StainVectors = H_DAB) -> npt.NDArray[np.uint8]:
    """Return the colour of given amounts of stain: the inverse of :func:`separate_stains`.

    Parameters
    ----------
    amounts
        ``(..., 3)`` optical densities of hematoxylin, DAB and residual.
    stains
        The vectors and the background.

    Returns
    -------
    ndarray of uint8
        ``(..., 3)`` pixels, rounded, and clipped to what 8 bits hold.
    """
    density = np.asarray(amounts, np.float32) @ stains.matrix.astype(np.float32)
    rgb = np.exp(-np.float32(math.log(10)) * density) * np.asarray(stains.background, np.float32)
    return np.asarray(np.clip(np.rint(rgb), 0, 255), np.uint8)


def density_table(background: Vector) -> npt.NDArray[np.float64]:
    """Return ``(256, 3)``, the optical density of every value of every channel."""
    transmission = np.maximum(np.arange(256.0), 1)[:, None] / np.asarray(background)
    return np.asarray(np.maximum(0, -np.log10(transmission)), np.float64)


def _as_image(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    # OpenCV wants two dimensions and channels; one long column is as good as any shape.
    return values if values.ndim == 3 else values.reshape(-1, 1, 3)
