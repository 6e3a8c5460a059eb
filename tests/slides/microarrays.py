"""Masks and pictures of tissue microarrays with a known grid."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import cv2
import numpy as np
import tifffile

from wsi_suite.geometry import Scale
from wsi_suite.slides.tissue import TissueMask

MPP = 8.0
Node = tuple[int, int]


def places(
    rows: int,
    columns: int,
    *,
    spacing: tuple[float, float] = (180.0, 170.0),
    start: tuple[float, float] = (150.0, 140.0),
    degrees: float = 0.0,
) -> dict[Node, tuple[float, float]]:
    """Centres of the cores of a grid, turned about its first core; pixels."""
    angle = np.radians(degrees)
    along, down = (np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))
    return {
        (row, column): (
            start[0] + column * spacing[0] * along[0] + row * spacing[1] * down[0],
            start[1] + column * spacing[0] * along[1] + row * spacing[1] * down[1],
        )
        for row in range(rows)
        for column in range(columns)
    }


def microarray(
    centres: dict[Node, tuple[float, float]],
    *,
    size: tuple[int, int] = (1500, 1000),
    radius: float = 62.0,
    missing: Collection[Node] = (),
) -> np.ndarray:
    """Return a mask ``(H, W)``, true in the discs about the centres that are there."""
    mask = np.zeros(size[::-1], bool)
    for node, centre in centres.items():
        if node not in missing:
            mask |= disc(mask.shape, centre, radius)
    return mask


def disc(shape: tuple[int, ...], centre: tuple[float, float], radius: float) -> np.ndarray:
    """Return ``(H, W)``, true where a pixel's centre lies in a circle."""
    x, y = np.arange(shape[1]) + 0.5 - centre[0], np.arange(shape[0])[:, None] + 0.5 - centre[1]
    return np.asarray(x * x + y * y <= radius * radius)


def tissue(mask: np.ndarray, *, downsample: float = 16.0) -> TissueMask:
    """Return a mask as that of a slide of 0.5 um per pixel."""
    return TissueMask(mask, Scale(downsample, downsample))


def dusty(mask: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Return a mask with specks of up to 100 um anywhere, and a hair."""
    rng = np.random.default_rng(seed)
    drawn = mask.astype(np.uint8)
    for x, y in rng.integers((0, 0), mask.shape[::-1], (60, 2)).tolist():
        cv2.circle(drawn, (x, y), int(rng.integers(2, 7)), 1, -1)
    cv2.line(drawn, (10, 900), (700, 960), 1, 3)
    return drawn > 0


def resection(size: tuple[int, int] = (1500, 1000), *, seed: int = 0) -> np.ndarray:
    """Return a mask of one large piece of tissue with a rough border, and some small ones."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.normal(size=size[::-1]).astype(np.float32), (0, 0), 25)
    y, x = np.indices(size[::-1])
    hill = np.exp(-(((x - 700) / 400) ** 2) - ((y - 500) / 280) ** 2)
    return hill + 4 * noise > 0.5


def write_tma(path: Path, mask: np.ndarray) -> Path:
    """Write a slide of 4 um per pixel with brown and blue tissue where a mask of 8 um has it."""
    rng = np.random.default_rng(1)
    large = np.kron(mask, np.ones((2, 2), bool))
    texture = cv2.GaussianBlur(rng.random(large.shape).astype(np.float32), (0, 0), 2)[..., None]
    brown, blue = np.array((150, 105, 70)), np.array((130, 120, 190))
    tissue_rgb = np.where(texture > 0.5, brown, blue) + rng.integers(-8, 9, (*large.shape, 3))
    glass = 240 + rng.integers(-1, 2, (*large.shape, 3))
    rgb = np.where(large[..., None], tissue_rgb, glass).astype(np.uint8)
    tifffile.imwrite(
        path,
        rgb,
        tile=(256, 256),
        photometric="rgb",
        compression="deflate",
        resolution=(1e4 / 4, 1e4 / 4),
        resolutionunit="CENTIMETER",
    )
    return path


def names(nodes: Collection[Node]) -> Iterator[str]:
    """Yield QuPath's names of cores, row by row."""
    for row, column in sorted(nodes):
        yield f"{'ABCDEFGHIJ'[row]}-{column + 1}"
