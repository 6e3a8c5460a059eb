"""Tiles stained with hematoxylin and eosin, drawn again as hematoxylin and DAB.

Labelled nuclei of tumours are rare in IHC and common in H&E. The stains of an H&E tile are
separated, eosin fades to a haze, and a random share of the nuclei of each class is given DAB.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from wsi_suite.staining.deconvolution import FloatArray, StainVectors, separate_stains
from wsi_suite.training.labelled import TilePixels

H_AND_E = StainVectors((0.65, 0.70, 0.29), (0.07, 0.99, 0.11))
"""Hematoxylin and, in the place of DAB, eosin (Ruifrok and Johnston 2001)."""

_FULL_DAB = 0.3  # OD from which on hematoxylin under it is halved
_HEMATOXYLIN = (0.25, 1.1)
"""Share of a tile's hematoxylin that is kept, at least and at most; H&E is stained darker."""
_DAB = (0.3, 1.8)
"""Usual DAB OD of a class' positive nuclei, at least and at most."""


def redraw_as_hdab(tile: TilePixels, *, rng: np.random.Generator) -> FloatArray:
    """Return the amounts of hematoxylin, DAB and residual of an H&E tile drawn as H-DAB.

    Parameters
    ----------
    tile
        Pixels stained with H&E, and the nuclei in them with their radii.

    Returns
    -------
    FloatArray
        ``(H, W, 3)`` OD, as ``separate_stains`` returns them.
    """
    amounts = separate_stains(tile.rgb, H_AND_E)
    hematoxylin: npt.NDArray[np.float32] = amounts[..., 0].clip(0) * np.float32(
        np.exp(rng.uniform(*np.log(_HEMATOXYLIN)))
    )
    eosin = amounts[..., 1].clip(0)
    dab = _draw_dab(hematoxylin, tile, rng=rng)
    hematoxylin *= 1 - 0.5 * np.minimum(dab / _FULL_DAB, 1)
    hematoxylin += eosin * np.float32(rng.uniform(0, 0.15))
    dab += eosin * np.float32(rng.uniform(0, 0.15))
    drawn = np.stack([hematoxylin, dab, np.zeros_like(dab)], axis=-1)
    return np.asarray(drawn, np.float32)


def _draw_dab(
    hematoxylin: npt.NDArray[np.float32], tile: TilePixels, *, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Return the DAB of a random share of each class, in the shape of their hematoxylin."""
    strength = np.zeros(len(tile.points))
    for label in np.unique(tile.label):
        rows = np.flatnonzero(tile.label == label)
        share = (0.0, rng.uniform(), 1.0)[rng.integers(3)]
        positive = rows[rng.random(len(rows)) < share]
        level = rng.uniform(*_DAB)
        strength[positive] = level * np.exp(rng.normal(0, 0.25, len(positive)))
    dab = np.zeros_like(hematoxylin)
    if not strength.any():
        return dab
    height, width = dab.shape
    cols, rows = np.floor(tile.points).astype(int).clip(0, [width - 1, height - 1]).T
    smooth = cv2.GaussianBlur(hematoxylin, (0, 0), 1.0)
    usual = max(0.05, float(np.percentile(smooth[rows, cols], 75)))
    for (x, y), amount, radius in zip(tile.points, strength, tile.radius, strict=True):
        if amount:
            _draw_disc(dab, (x, y), radius=1.15 * radius, amount=amount)
    dab *= np.minimum(hematoxylin / usual, 1.3)
    return dab


def _draw_disc(
    dab: npt.NDArray[np.float32], centre: tuple[float, float], *, radius: float, amount: float
) -> None:
    """Draw a disc whose border fades over two pixels; where discs meet, the darker one counts."""
    height, width = dab.shape
    left, top = (max(0, int(value - radius - 2)) for value in centre)
    right, bottom = (
        min(side, int(value + radius + 3))
        for value, side in zip(centre, (width, height), strict=True)
    )
    if left >= right or top >= bottom:
        return
    rows, cols = np.mgrid[top:bottom, left:right] + 0.5
    inside = np.clip((radius + 1 - np.hypot(cols - centre[0], rows - centre[1])) / 2, 0, 1)
    part = dab[top:bottom, left:right]
    np.maximum(part, (amount * inside).astype(np.float32), out=part)
