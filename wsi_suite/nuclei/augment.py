"""Random changes of a training tile: another place, size, orientation, stain and focus."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from wsi_suite.config import Section
from wsi_suite.staining.deconvolution import StainVectors, combine_stains, separate_stains


class AugmentSettings(Section):
    """How far a tile may be changed."""

    scale: tuple[float, float] = Field((0.8, 1.3), description="range of the enlargement")
    hematoxylin: tuple[float, float] = Field((0.6, 1.5), description="factor on hematoxylin OD")
    dab: tuple[float, float] = Field((0.2, 1.3), description="factor on DAB OD")
    residual: float = Field(0.05, ge=0, description="largest shift of any stain's OD")
    stain_probability: float = Field(0.8, ge=0, le=1, description="share of tiles restained")
    blur_probability: float = Field(0.2, ge=0, le=1, description="share of tiles out of focus")


def augment(
    rgb: npt.NDArray[np.uint8],
    points: npt.NDArray[np.float64],
    *,
    crop_px: int,
    settings: AugmentSettings,
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """Return a random crop of `crop_px` and the points in it (some may lie outside).

    Parameters
    ----------
    rgb
        ``(H, W, 3)`` image.
    points
        ``(N, 2)`` in its pixels.
    """
    rgb, points = _place(rgb, points, crop_px=crop_px, scale=settings.scale, rng=rng)
    if rng.random() < settings.stain_probability:
        rgb = _restain(rgb, settings, rng)
    if rng.random() < settings.blur_probability:
        rgb = cv2.GaussianBlur(rgb, (0, 0), float(rng.uniform(0.3, 1.0))).astype(np.uint8)
    return rgb, points


def _place(
    rgb: npt.NDArray[np.uint8],
    points: npt.NDArray[np.float64],
    *,
    crop_px: int,
    scale: tuple[float, float],
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    height, width = rgb.shape[:2]
    factor = float(np.exp(rng.uniform(*np.log(scale))))
    turn = np.array([[1.0, 0.0], [0.0, 1.0]])
    if rng.random() < 0.5:
        turn = turn[::-1]
    turn = turn * rng.choice([-1.0, 1.0], size=(2, 1)) * factor
    # The crop's centre: anywhere in the tile as long as the tile fills the crop, else the middle.
    room = np.maximum(0, np.array([width, height]) - crop_px / factor) / 2
    middle = np.array([width, height]) / 2 + rng.uniform(-room, room)
    shift = crop_px / 2 - turn @ middle
    # cv2 counts from the centre of the first pixel, points from its corner.
    matrix = np.column_stack([turn, shift + turn @ [0.5, 0.5] - 0.5])
    moved = cv2.warpAffine(
        rgb,
        matrix,
        (crop_px, crop_px),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(255, 255, 255),
    )
    return moved.astype(np.uint8), points @ turn.T + shift


def _restain(
    rgb: npt.NDArray[np.uint8], settings: AugmentSettings, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    stains = StainVectors()
    amounts = separate_stains(rgb, stains)
    factors = [
        np.exp(rng.uniform(*np.log(settings.hematoxylin))),
        np.exp(rng.uniform(*np.log(settings.dab))),
        1.0,
    ]
    shift = rng.uniform(-settings.residual, settings.residual, 3)
    return combine_stains(
        (amounts * np.float32(factors) + np.float32(shift)).astype(np.float32), stains
    )
