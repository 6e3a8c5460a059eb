"""The check that empty glass reads as empty."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from wsi_suite.staining.deconvolution import StainVectors, separate_stains


def glass_dab_od(
    rgb: npt.NDArray[np.uint8], glass: npt.NDArray[np.bool_], *, stains: StainVectors
) -> float | None:
    """Return the median DAB optical density of empty glass.

    It should be about 0. Where a scanner's white is yellowish or grey, all nuclei seem to hold DAB
    that is not there, and the background colour in the stain settings has to be set.

    Parameters
    ----------
    rgb
        ``(H, W, 3)`` thumbnail of the slide.
    glass
        ``(h, w)`` mask of the same field, of any size: no tissue, and nothing that was never
        scanned.
    stains
        The vectors and the background.

    Returns
    -------
    float or None
        ``None`` if there is no glass.
    """
    height, width = rgb.shape[:2]
    shown = cv2.resize(glass.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    seen = rgb[shown > 0]
    return float(np.median(separate_stains(seen, stains)[:, 1])) if len(seen) else None
