"""Intensity classes: from an optical density to Negative, 1+, 2+ or 3+."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from wsi_suite.errors import InputError
from wsi_suite.measurements import DISC_DAB, NUCLEUS_DAB
from wsi_suite.nuclei.table import NOT_MEASURABLE, Nuclei

Grades = npt.NDArray[np.uint8]
"""``(N,)``: 0 for Negative, 1, 2, 3, or ``NOT_MEASURABLE``."""

_MEASUREMENTS = (NUCLEUS_DAB, DISC_DAB)


def intensity_grades(dab_od: npt.ArrayLike, thresholds_od: tuple[float, float, float]) -> Grades:
    """Return the grade of each value: how many of the three thresholds it reaches (``>=``).

    Parameters
    ----------
    dab_od
        ``(N,)`` optical densities; NaN gives ``NOT_MEASURABLE``, never a grade.
    thresholds_od
        Where 1+, 2+ and 3+ begin, rising.
    """
    values = np.asarray(dab_od)
    # Thresholds take the values' precision: 0.7 stored in single precision still reaches 0.7.
    limits = np.asarray(thresholds_od, values.dtype if values.dtype.kind == "f" else np.float64)
    grades = sum((values >= limit).astype(np.uint8) for limit in limits)
    return np.asarray(np.where(np.isnan(values), NOT_MEASURABLE, grades), np.uint8)


def grade_nuclei(nuclei: Nuclei, thresholds_od: tuple[float, float, float]) -> Grades:
    """Return the grade of each nucleus, ``(N,)``.

    Raises
    ------
    InputError
        The table lacks a measurement of DAB.
    """
    if len(nuclei) == 0:
        return np.zeros(0, np.uint8)
    name = intensity_measurement(nuclei.measurements)
    return intensity_grades(nuclei.measurements[name], thresholds_od)


def intensity_measurement(names: Iterable[str]) -> str:
    """Return which of the measurements the thresholds are held against.

    Raises
    ------
    InputError
        None of them is a mean of DAB.
    """
    present = set(names)
    for name in _MEASUREMENTS:
        if name in present:
            return name
    raise InputError(
        f"measurements {sorted(present)}: expected '{_MEASUREMENTS[0]}' or '{_MEASUREMENTS[1]}'; "
        "measure the nuclei again with 'wsi-suite run'"
    )
