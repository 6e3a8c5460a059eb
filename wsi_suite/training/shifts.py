"""Simulated differences between laboratories and scanners, for evaluation.

Each shift changes the look of a picture and leaves its nuclei where they are. The same picture
gives the same result every time. Stain vectors are plausible ones, not those of a named
laboratory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt

from wsi_suite.staining.deconvolution import StainVectors, combine_stains, separate_stains

Rgb = npt.NDArray[np.uint8]

_BLUER = StainVectors((0.74, 0.62, 0.25), (0.22, 0.53, 0.82))
_REDDER = StainVectors((0.56, 0.76, 0.33), (0.33, 0.61, 0.72))
_YELLOW_GLASS = StainVectors(background=(248, 243, 226))


def restained(
    rgb: Rgb,
    *,
    stains: StainVectors = StainVectors(),  # noqa: B008 - a frozen value
    hematoxylin: float = 1.0,
    dab: float = 1.0,
) -> Rgb:
    """Return a picture with other stain vectors, glass and amounts of stain."""
    amounts = separate_stains(rgb) * np.array([hematoxylin, dab, 1.0], np.float32)
    return combine_stains(amounts, stains)


def coarser(rgb: Rgb, *, factor: float) -> Rgb:
    """Return a picture with the detail of pixels that are `factor` times as large."""
    height, width = rgb.shape[:2]
    size = round(width / factor), round(height / factor)
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def blurred(rgb: Rgb, *, sigma_px: float) -> Rgb:
    """Return a picture out of focus."""
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), sigma_px), np.uint8)


def compressed(rgb: Rgb, *, quality: int) -> Rgb:
    """Return a picture after JPEG compression."""
    _, data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(
        np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1]
    )


SHIFTS: Mapping[str, Callable[[Rgb], Rgb]] = {
    "bluer stains": partial(restained, stains=_BLUER),
    "redder stains": partial(restained, stains=_REDDER),
    "yellow glass": partial(restained, stains=_YELLOW_GLASS),
    "DAB halved": partial(restained, dab=0.5),
    "DAB x 1.5": partial(restained, dab=1.5),
    "hematoxylin x 0.6": partial(restained, hematoxylin=0.6),
    "1.3 times coarser": partial(coarser, factor=1.3),
    "blur 0.8 px": partial(blurred, sigma_px=0.8),
    "JPEG quality 40": partial(compressed, quality=40),
}
"""Shifts by the name that reports show."""
