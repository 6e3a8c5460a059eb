"""Pictures that look alike: copies, other compressions, and fields that nearly coincide.

The difference hash of a picture says for each of 8 x 8 places whether it is brighter than its right
neighbour (Krawetz, "Kind of like that", 2013). Copies of one picture differ in a few of the 64
bits; pictures of other fields in about 32.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int_]

MOST_BITS = 3
"""Bits in which copies of a picture differ at most: JPEG at quality 50 changes fewer."""

_LEAST_CONTRAST = 4.0
"""Standard deviation of grey levels, in the picture of 9 x 8 places, below which a picture is too
even to be told from others."""

_PARTS = MOST_BITS + 1  # hashes that differ in three bits agree in at least one of four parts
_FEW = 2048  # hashes that are compared each with each


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
    """Return pairs of pictures whose hashes differ in at most three bits.

    Parameters
    ----------
    hashes
        N hashes; pictures without one are like no other.

    Returns
    -------
    list of tuple
        Pairs of indices, the smaller first, sorted. Not each pair is returned, but of each at least
        one picture is the second of another, and a chain of pairs leads from one to the other. So
        of many that are alike all, each is paired with the first of them, and pictures that are
        alike through others (A and B, B and C) are connected.
    """
    known = np.array([row for row, one in enumerate(hashes) if one is not None], int)
    values = np.array([hashes[row] for row in known], np.uint64)
    unique, first, which = np.unique(values, return_index=True, return_inverse=True)
    copies = np.flatnonzero(first[which] != np.arange(len(values)))
    order = np.argsort(first)  # the smallest index leads
    pairs = _pairs(unique[order], first[order])
    pairs |= set(zip(first[which[copies]].tolist(), copies.tolist(), strict=True))
    return sorted({(int(known[min(pair)]), int(known[max(pair)])) for pair in pairs})


def _pairs(values: Hashes, rows: Rows) -> set[tuple[int, int]]:
    """Return pairs of hashes that are all different.

    Many hashes are first grouped by parts of the bits in which they differ at all: who differs in
    three bits agrees in one part. Bits of little information make parts of little use; but then
    most hashes are alike, and each comparison settles many of them.
    """
    if len(values) <= _FEW:
        return _compare(values, rows)
    pairs: set[tuple[int, int]] = set()
    for part in _parts_of(values):
        key = values & part
        order = np.argsort(key, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(key[order])) + 1)
        for group in groups:
            if len(group) > len(values) // 2:
                pairs |= _compare(values[group], rows[group])
            elif len(group) > 1:
                pairs |= _pairs(values[group], rows[group])
    return pairs


def _parts_of(values: Hashes) -> list[np.uint64]:
    """Return four masks that share out the bits in which hashes differ, the most telling first."""
    shares = {bit: float(((values >> np.uint64(bit)) & np.uint64(1)).mean()) for bit in range(64)}
    telling = sorted(
        (bit for bit in shares if 0 < shares[bit] < 1), key=lambda b: abs(shares[b] - 0.5)
    )
    return [np.uint64(sum(1 << bit for bit in telling[part::_PARTS])) for part in range(_PARTS)]


def _compare(values: Hashes, rows: Rows) -> set[tuple[int, int]]:
    """Return pairs of hashes: each with the first of those alike, and along chains."""
    pairs: set[tuple[int, int]] = set()
    for along_chains in (False, True):
        left = np.arange(len(values))
        ahead: deque[int] = deque()
        while len(left):
            if not ahead:
                ahead.append(int(left[0]))
                left = left[1:]
            one = ahead.popleft()
            near = np.bitwise_count(values[left] ^ values[one]) <= MOST_BITS
            found = left[near]
            if len(found):
                pairs |= {(int(rows[one]), int(rows[other])) for other in found.tolist()}
                left = left[~near]
                ahead.extend(found.tolist() if along_chains else ())
    return pairs
