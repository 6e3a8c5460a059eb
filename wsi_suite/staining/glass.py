"""The colour of empty glass, and the check that it reads as empty."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from wsi_suite.staining.deconvolution import StainVectors, Vector, density_table


def glass_colour(rgb: npt.NDArray[np.uint8], glass: npt.NDArray[np.bool_]) -> Vector | None:
    """Return the median colour of empty glass.

    Parameters
    ----------
    rgb
        ``(H, W, 3)`` thumbnail of the slide.
    glass
        ``(h, w)`` mask of the same field, of any size: no tissue, and nothing that was never
        scanned.

    Returns
    -------
    Vector or None
        R, G, B; ``None`` if there is no glass.
    """
    height, width = rgb.shape[:2]
    shown = cv2.resize(glass.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    seen = rgb[shown > 0]
    if not len(seen):
        return None
    red, green, blue = (float(value) for value in np.median(seen, axis=0))
    return red, green, blue


def glass_dab_od(colour: Vector, stains: StainVectors) -> float:
    """Return the DAB optical density that glass of a colour seems to hold.

    It should be about 0. Where a scanner's white is yellowish or grey, all nuclei seem to hold DAB
    that is not there, and the background colour in the stain settings has to be set.

    Parameters
    ----------
    colour
        R, G, B of empty glass.
    stains
        The vectors and the background.
    """
    table = density_table(stains.background)
    levels = np.arange(len(table))
    density = [float(np.interp(value, levels, table[:, k])) for k, value in enumerate(colour)]
    return float(density @ np.linalg.inv(stains.matrix)[:, 1])
