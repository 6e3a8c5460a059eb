"""Vahadane's stain vectors: a sparse, non-negative factorisation of optical densities.

Vahadane et al. (IEEE Trans. Med. Imaging 2016, 35, 1962) look for two unit vectors and
non-negative amounts, few of them, that add up to the densities. TIAToolbox has the method, but
since scikit-learn 0.23 its answer is the two main axes (its issue 382), of which one has negative
densities. So the factorisation is done here, by block coordinate descent (Mairal et al., J. Mach.
Learn. Res. 2010, 11, 19, algorithm 2).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_SPARSITY = 0.1  # Vahadane's lambda, for natural logarithms
_STEPS = 200
_SWEEPS = 10  # of two amounts; each is exact given the other
_SETTLED = 1e-7


def sparse_vectors(density: FloatArray, *, start: FloatArray) -> FloatArray:
    """Return the vectors of two stains.

    Parameters
    ----------
    density
        ``(N, 3)`` optical densities of pixels with stain, to base 10.
    start
        ``(2, 3)`` unit vectors to start from.

    Returns
    -------
    FloatArray
        ``(2, 3)`` non-negative unit vectors, in the order of `start`.
    """
    natural = density * np.log(10)
    vectors = np.maximum(start, 0)
    amounts = np.zeros((len(natural), 2))
    for _ in range(_STEPS):
        _find_amounts(amounts, natural, vectors)
        before, vectors = vectors, _find_vectors(amounts, natural, vectors)
        if np.abs(vectors - before).max() < _SETTLED:
            break
    return vectors


def _find_amounts(amounts: FloatArray, density: FloatArray, vectors: FloatArray) -> None:
    """Minimise ``|density - amounts vectors|^2 / 2 + sparsity sum(amounts)`` over the amounts."""
    along = density @ vectors.T - _SPARSITY
    overlap = float(vectors[0] @ vectors[1])
    for _ in range(_SWEEPS):
        for stain in (0, 1):
            amounts[:, stain] = np.maximum(along[:, stain] - overlap * amounts[:, 1 - stain], 0)


def _find_vectors(amounts: FloatArray, density: FloatArray, vectors: FloatArray) -> FloatArray:
    """Minimise the same over each vector; one of which there is nothing stays as it is."""
    gram, mixed, found = amounts.T @ amounts, amounts.T @ density, vectors.copy()
    for stain in (0, 1):
        moved = mixed[stain] - gram[stain, 1 - stain] * found[1 - stain]
        moved = np.maximum(moved, 0)
        length = np.linalg.norm(moved)
        if length > 0:
            found[stain] = moved / length
    return found
