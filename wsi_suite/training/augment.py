"""Random changes of a training tile: another place, size, orientation, stain and focus."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, Field

from wsi_suite.config import Positive, Section
from wsi_suite.staining.deconvolution import StainVectors, combine_stains, separate_stains
from wsi_suite.training.labelled import TilePixels


def _rising(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError("expected [lowest, highest]")
    return limits


Factor = Annotated[tuple[Positive, Positive], AfterValidator(_rising)]


class AugmentSettings(Section):
    """How far a tile may be changed."""

    scale: Factor = Field((0.8, 1.3), description="range of the enlargement")
    hematoxylin: Factor = Field((0.6, 1.5), description="factor on hematoxylin OD")
    dab: Factor = Field((0.2, 1.3), description="factor on DAB OD")
    residual: float = Field(0.05, ge=0, description="largest shift of any stain's OD")
    stain_probability: float = Field(0.8, ge=0, le=1, description="share of tiles restained")
    blur_probability: float = Field(0.2, ge=0, le=1, description="share of tiles out of focus")


def augment(
    tile: TilePixels, *, crop_px: int, settings: AugmentSettings, rng: np.random.Generator
) -> TilePixels:
    """Return a random crop of `crop_px` pixels a side; some of its points may lie outside."""
    crop = _place(tile, crop_px=crop_px, scale=settings.scale, rng=rng)
    rgb = crop.rgb
    if rng.random() < settings.stain_probability:
        rgb = _restain(rgb, settings, rng)
    if rng.random() < settings.blur_probability:
        rgb = cv2.GaussianBlur(rgb, (0, 0), float(rng.uniform(0.3, 1.0))).astype(np.uint8)
    return replace(crop, rgb=rgb)


def _place(
    tile: TilePixels, *, crop_px: int, scale: tuple[float, float], rng: np.random.Generator
) -> TilePixels:
    """Turn, mirror and enlarge a tile, and cut a crop out of it; white where it does not reach."""
    height, width = tile.rgb.shape[:2]
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
    rgb = cv2.warpAffine(
        tile.rgb,
        matrix,
        (crop_px, crop_px),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(255, 255, 255),
    )
    return TilePixels(
        rgb=rgb.astype(np.uint8),
        mpp=(tile.mpp[0] / factor, tile.mpp[1] / factor),
        points=tile.points @ turn.T + shift,
        radius=tile.radius * factor,
    )


def _restain(
    rgb: npt.NDArray[np.uint8], settings: AugmentSettings, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    stains = StainVectors()
    amounts = separate_stains(rgb, stains)
    factors = np.array(
        [
            np.exp(rng.uniform(*np.log(settings.hematoxylin))),
            np.exp(rng.uniform(*np.log(settings.dab))),
            1.0,
        ]
    )
    shift = rng.uniform(-settings.residual, settings.residual, 3)
    return combine_stains((amounts * factors + shift).astype(np.float32), stains)
