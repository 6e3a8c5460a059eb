"""Kind of stain on a slide: told by the hues of its pixels before anything is scored.

The hue of a pixel is the share of each channel in its optical density, which does not depend on
how much stain there is (van der Laak et al., Cytometry 2000, 39, 275). Hematoxylin absorbs red and
green alike, DAB blue most, eosin green nearly alone; mixtures lie between.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from wsi_suite.staining.deconvolution import Vector, density_table

Kind = Literal["H-DAB", "hematoxylin", "DAB", "H&E", "empty"]

# Limits between what was measured at 0.5 um per pixel on 201 tiles of H-DAB (EndoNuke), 120 of H&E
# (BRCA-M2C) and whole slides of both. Pixels like eosin: at most 0.01 % and, but for one tile, at
# least 1.1 %; like DAB: at least 18 % (0.4 % where few membranes are brown) and at most 0.01 %.
# Usual hematoxylins have green less red below 0.11.
_STAINED_OD = 0.3  # sum of the channels
_BLACK = 30
_EOSIN_GREEN, _EOSIN_GREEN_LESS_RED, _EOSIN_BLUE = 0.43, 0.14, 0.34  # blue: at most
_DAB_BLUE, _DAB_GREEN = 0.38, 0.42
_COUNTERSTAIN_RED = 0.25  # DAB alone has 0.17; of the tiles each had 3 % of pixels above
_EOSIN_SHARE = 0.008
_DAB_SHARE = 0.002
_COUNTERSTAIN_SHARE = 0.005
_FEWEST_SHARE = 1e-3
_FEWEST = 200


def stain_kind(pixels: npt.NDArray[np.uint8], *, glass: Vector) -> Kind:
    """Return the kind of stain that pixels show.

    Parameters
    ----------
    pixels
        ``(N, 3)`` pixels of tissue, about 0.5 um each, smoothed.
    glass
        R, G, B of empty glass.

    Returns
    -------
    Kind
        ``H-DAB``; ``hematoxylin`` without DAB, as where a marker is negative; ``DAB`` without
        counterstain; ``H&E``; ``empty`` if hardly a pixel holds stain.
    """
    table = density_table(glass).astype(np.float32)
    red, green, blue = (table[pixels[:, channel], channel] for channel in range(3))
    total = red + green + blue
    stained = (total > _STAINED_OD) & (pixels.max(axis=1, initial=0) > _BLACK)
    count = int(np.count_nonzero(stained))
    if count < max(_FEWEST, _FEWEST_SHARE * len(pixels)):
        return "empty"
    red, green, blue = (channel[stained] / total[stained] for channel in (red, green, blue))
    eosin = _share(
        (green > _EOSIN_GREEN) & (green - red > _EOSIN_GREEN_LESS_RED) & (blue < _EOSIN_BLUE)
    )
    dab = _share((blue > _DAB_BLUE) & (green < _DAB_GREEN))
    if eosin > _EOSIN_SHARE and eosin > dab:
        return "H&E"
    if dab < _DAB_SHARE:
        return "hematoxylin"
    return "H-DAB" if _share(red > _COUNTERSTAIN_RED) > _COUNTERSTAIN_SHARE else "DAB"


def _share(mask: npt.NDArray[np.bool_]) -> float:
    return float(np.count_nonzero(mask)) / len(mask)
