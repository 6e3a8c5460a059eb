"""Random changes of a training tile: place, orientation, size, stain, focus and compression."""

from __future__ import annotations

from typing import Annotated

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, Field

from wsi_suite.config import Positive, Section
from wsi_suite.staining.deconvolution import H_DAB, FloatArray
from wsi_suite.training.labelled import TilePixels


def _rising(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError("expected [lowest, highest]")
    return limits


Range = Annotated[tuple[Positive, Positive], AfterValidator(_rising)]
Quality = Annotated[
    tuple[Annotated[int, Field(ge=1, le=100)], Annotated[int, Field(ge=1, le=100)]],
    AfterValidator(_rising),
]
Share = Annotated[float, Field(ge=0, le=1)]

SMALLEST_PART_PX = 3
"""A nucleus nearer to the tile's border than this many pixels is one with its mirror image."""


class AugmentSettings(Section):
    """How far a tile may be changed."""

    scale: Range = Field((0.6, 1.8), description="range of the enlargement")
    hematoxylin: Range = Field((0.6, 1.6), description="factor on hematoxylin OD")
    dab: Range = Field((0.45, 1.9), description="factor on DAB OD")
    faint_dab: Share = Field(0.15, description="share of crops whose DAB is halved or less")
    gain: float = Field(0.3, ge=0, description="std dev of the log of a factor on each stain")
    shift: float = Field(0.015, ge=0, description="std dev of a shift of each stain's OD")
    hue: float = Field(0.036, ge=0, description="std dev of each entry of the stain vectors")
    white: Range = Field((0.92, 1.04), description="factor on the brightness of empty glass")
    blur_um: Range = Field((0.15, 0.6), description="std dev of the blur")
    blurred: Share = Field(0.3, description="share of crops out of focus")
    jpeg: Quality = Field((40, 90), description="range of the JPEG quality")
    compressed: Share = Field(0.3, description="share of crops compressed as JPEG")


def place(
    tile: TilePixels, *, crop_px: int, scale: tuple[float, float], rng: np.random.Generator
) -> TilePixels:
    """Turn, mirror and enlarge a tile, and cut a crop out of it.

    Beyond the tile's border its mirror image goes on, nuclei included.
    """
    height, width = tile.rgb.shape[:2]
    factor = float(np.exp(rng.uniform(*np.log(scale))))
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn = turn * np.array([1.0, rng.choice([-1.0, 1.0])]) * factor
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
        borderMode=cv2.BORDER_REFLECT,
    )
    points, row = _with_mirror_images(tile.points, size=(width, height))
    points = points @ turn.T + shift
    inside = ((points >= 0) & (points < crop_px)).all(axis=1)
    row = row[inside]
    return TilePixels(
        rgb=rgb.astype(np.uint8),
        mpp=(tile.mpp[0] / factor, tile.mpp[1] / factor),
        points=points[inside],
        radius=tile.radius[row] * factor,
        label=tile.label[row],
    )


def _with_mirror_images(
    points: npt.NDArray[np.float64], *, size: tuple[int, int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int_]]:
    """Return points and their mirror images at the tile's borders, and the row of each."""
    all_points, rows = [], []
    for across in (0, -1, 1):
        for down in (0, -1, 1):
            image, keep = points.copy(), np.ones(len(points), bool)
            for axis, (side, step) in enumerate(zip(size, (across, down), strict=True)):
                border = side if step > 0 else 0
                if step:
                    image[:, axis] = 2 * border - image[:, axis]
                    keep &= np.abs(points[:, axis] - border) >= SMALLEST_PART_PX
            all_points.append(image[keep])
            rows.append(np.flatnonzero(keep))
    return np.concatenate(all_points), np.concatenate(rows)


def restain(
    amounts: FloatArray, *, settings: AugmentSettings, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Return the colours of stains after random changes of amount, hue and glass.

    Parameters
    ----------
    amounts
        ``(H, W, 3)`` OD of hematoxylin, DAB and residual.
    """
    factor = np.exp(rng.normal(0, settings.gain, 3))
    factor[0] *= np.exp(rng.uniform(*np.log(settings.hematoxylin)))
    factor[1] *= np.exp(rng.uniform(*np.log(settings.dab)))
    if rng.random() < settings.faint_dab:
        factor[1] *= rng.uniform(0, 0.5)
    vectors = H_DAB.matrix + rng.normal(0, settings.hue, (3, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    mixing = (factor[:, None] * vectors).astype(np.float32)
    offset = (rng.normal(0, settings.shift, 3) @ vectors).astype(np.float32)
    density = amounts.reshape(-1, 3) @ mixing + offset
    white = (255 * rng.uniform(*settings.white, 3)).astype(np.float32)
    rgb = cv2.exp(density * np.float32(-np.log(10))) * white
    return np.asarray(np.clip(np.rint(rgb), 0, 255), np.uint8).reshape(amounts.shape)


def degrade(
    rgb: npt.NDArray[np.uint8],
    *,
    mpp: float,
    settings: AugmentSettings,
    rng: np.random.Generator,
) -> npt.NDArray[np.uint8]:
    """Blur and compress a picture at random."""
    if rng.random() < settings.blurred:
        sigma = float(rng.uniform(*settings.blur_um)) / mpp
        rgb = cv2.GaussianBlur(rgb, (0, 0), sigma).astype(np.uint8)
    if rng.random() < settings.compressed:
        quality = int(rng.integers(settings.jpeg[0], settings.jpeg[1] + 1))
        _, data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        rgb = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1]
    return np.ascontiguousarray(rgb)
