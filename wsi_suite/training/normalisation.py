"""Stain normalisation by TIAToolbox, to compare a model with and without it.

The suite itself never normalises: stain is measured on original pixels, and the detector learns
from stains that vary. Whether normalisation would help a model on the tiles at hand is a question
that ``wsi-suite evaluate --normalise`` answers.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from wsi_suite.errors import ConfigError, DataError, did_you_mean

Rgb = npt.NDArray[np.uint8]

METHODS = ("macenko", "reinhard", "vahadane")
"""Methods of TIAToolbox: Macenko 2009, Reinhard 2001, Vahadane 2016. Not its Ruifrok, which has
fixed vectors of hematoxylin and eosin."""


def stain_normaliser(method: str, target: Rgb) -> Callable[[Rgb], Rgb]:
    """Return a function that gives pictures the stain of a target picture.

    Parameters
    ----------
    method
        One of :data:`METHODS`.
    target
        ``(H, W, 3)`` uint8 with stained tissue.

    Raises
    ------
    ConfigError
        The method is unknown.
    DataError
        The target shows no tissue.
    """
    if method not in METHODS:
        hint = did_you_mean(method, METHODS) or f"; there is: {', '.join(METHODS)}"
        raise ConfigError(f"--normalise {method}: unknown{hint}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of optional parts of its dependencies
        from tiatoolbox.tools.stainnorm import get_normalizer  # takes seconds

    normaliser = get_normalizer(method)
    try:
        normaliser.fit(target)
    except (ValueError, np.linalg.LinAlgError) as error:
        raise DataError(
            f"--normalise-to: no stain can be estimated from it ({error}); give a picture of tissue"
        ) from None

    def normalise(rgb: Rgb) -> Rgb:
        try:
            return np.asarray(normaliser.transform(rgb.copy()), np.uint8)
        except (ValueError, np.linalg.LinAlgError):
            return rgb  # a picture of glass alone has no stain

    return normalise
