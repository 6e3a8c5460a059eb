"""Pairs of points of two labellers that mean the same nucleus."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from wsi_suite.geometry import Points

MATCH_UM = 3.5
"""Largest distance of two points of one nucleus, um: that of EndoNuke (Data 2022, 7, 75)."""


def match_points(first: Points, second: Points, *, within: float) -> npt.NDArray[np.int_]:
    """Return pairs of points, the nearest pairs first, each point in one pair at most.

    Parameters
    ----------
    first, second
        ``(N, 2)`` and ``(M, 2)``, in one frame and unit.
    within
        Largest distance of a pair, in the same unit.

    Returns
    -------
    ndarray
        ``(P, 2)`` indices into `first` and `second`, sorted by the first.
    """
    if not len(first) or not len(second):
        return np.zeros((0, 2), int)
    sparse = cKDTree(first).sparse_distance_matrix(cKDTree(second), within, output_type="ndarray")
    pairs = np.column_stack([sparse["i"], sparse["j"]]).astype(int)
    distance = np.linalg.norm(first[pairs[:, 0]] - second[pairs[:, 1]], axis=1)
    free = np.ones(len(first), bool), np.ones(len(second), bool)
    matched = []
    for one, other in pairs[np.lexsort([pairs[:, 1], pairs[:, 0], distance])].tolist():
        if free[0][one] and free[1][other]:
            free[0][one] = free[1][other] = False
            matched.append((one, other))
    return np.array(sorted(matched), int).reshape(-1, 2)
