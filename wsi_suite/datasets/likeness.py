"""Pictures that look alike: copies, other compressions, and fields that nearly coincide.

The difference hash of a picture says for each of 8 x 8 places whether it is brighter than its right
neighbour (Krawetz, "Kind of like that", 2013). Copies of one picture differ in a few of the 64
bits; pictures of other fields in about 32.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

MOST_BITS = 3
"""Bits in which copies of a picture differ at most: JPEG at quality 50 changes fewer."""

_LEAST_CONTRAST = 4.0
"""Standard deviation of grey levels, in the picture of 9 x 8 places, below which a picture is too
even to be told from others."""

_BANDS = 4  # of 16 bits: pictures that differ in three bits agree in at least one band
_BITS = np.unpackbits(np.arange(65_536, dtype=">u2").view(np.uint8)).reshape(65_536, 16).sum(axis=1)


def difference_hash(rgb: npt.NDArray[np.uint8]) -> int | None:
    """Return the 64 bits of a picture; ``None`` if it is too even to be told from others.

    Parameters
    ----------
    rgb
        ``(H, W, 3)``.
    """
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    if float(small.std()) < _LEAST_CONTRAST:
        return None
    bits = (small[:, :-1] > small[:, 1:]).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def alike_pairs(hashes: Sequence[int | None]) -> list[tuple[int, int]]:
    """Return the pairs of pictures whose hashes differ in at most three bits.

    Parameters
    ----------
    hashes
        N hashes; pictures without one are like no other.

    Returns
    -------
    list of tuple
        Pairs of indices, the smaller first, sorted. Of many that are alike all, each is paired
        with the first of them only.
    """
    known = np.array([row for row, one in enumerate(hashes) if one is not None], int)
    values = np.array([hashes[row] for row in known], np.uint64)
    pairs: set[tuple[int, int]] = set()
    for band in range(_BANDS):
        key = (values >> np.uint64(16 * band)) & np.uint64(0xFFFF)
        order = np.argsort(key, kind="stable")
        starts = np.flatnonzero(np.diff(key[order], prepend=np.uint64(0x10000)))
        for rows in np.split(order, starts[1:]):
            pairs |= _alike_in(rows, values, known)
    return sorted(pairs)


def _alike_in(
    rows: npt.NDArray[np.int_], values: npt.NDArray[np.uint64], known: npt.NDArray[np.int_]
) -> set[tuple[int, int]]:
    """Return the pairs among pictures that agree in one band, each taken with its first like."""
    pairs: set[tuple[int, int]] = set()
    left = np.sort(rows)
    while len(left) > 1:
        first, rest = left[0], left[1:]
        near = _count_bits(values[rest] ^ values[first]) <= MOST_BITS
        pairs |= {(int(known[first]), int(known[row])) for row in rest[near]}
        left = rest[~near]
    return pairs


def _count_bits(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.int_]:
    parts = values[:, None] >> np.array([0, 16, 32, 48], np.uint64)
    counts: npt.NDArray[np.int_] = _BITS[(parts & np.uint64(0xFFFF)).astype(int)].sum(axis=1)
    return counts
