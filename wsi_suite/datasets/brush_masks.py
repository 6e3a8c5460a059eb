"""Masks that Label Studio's brush draws, in its own run lengths.

A mask is a text of bits: the number of values (32 bits), the bits of a value less one (5), and four
numbers of bits less one (4 each); then runs: a bit that tells whether one value is repeated, the
choice of a number of bits (2), the length of the run less one in that many bits, and the value or
the values. The values are red, green, blue and opacity of each pixel, row by row. Source: the
package rle-pack of thi.ng/umbrella, https://github.com/thi-ng/umbrella.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_CHANNELS, _OPAQUE = 4, 128
_VALUE_BITS = 8


def read_brush(rle: Sequence[int], *, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return the ``(H, W)`` mask of a brush: pixels that are opaque by half at least.

    Parameters
    ----------
    rle
        Bytes, as numbers.
    size
        Width and height of the picture.

    Raises
    ------
    ValueError
        They are not those of a mask of this size.
    """
    width, height = size
    bits = _Bits(rle)
    count, value_bits = bits.number(32), bits.number(5) + 1
    lengths = [bits.number(4) + 1 for _ in range(4)]
    if count != width * height * _CHANNELS or value_bits != _VALUE_BITS:
        raise ValueError(
            f"a brush mask of {count} values of {value_bits} bits; expected"
            f" {width} x {height} x {_CHANNELS} of {_VALUE_BITS}"
        )
    values = np.zeros(count, np.uint8)
    at = 0
    while at < count:
        is_repeated = bits.number(1)
        length = bits.number(lengths[bits.number(2)]) + 1
        if at + length > count:
            raise ValueError("a brush mask with longer runs than the picture has pixels")
        values[at : at + length] = bits.values(1 if is_repeated else length)
        at += length
    mask: npt.NDArray[np.bool_] = (
        values[_CHANNELS - 1 :: _CHANNELS].reshape(height, width) >= _OPAQUE
    )
    return mask


class _Bits:
    """Numbers in a row of bits, the highest bit first."""

    def __init__(self, content: Sequence[int]) -> None:
        self._bits = np.unpackbits(np.array(content, np.uint8))
        self._at = 0

    def number(self, bits: int) -> int:
        return int("".join(map(str, self._take(bits).tolist())), 2)

    def values(self, count: int) -> npt.NDArray[np.uint8]:
        return np.packbits(self._take(count * _VALUE_BITS))

    def _take(self, bits: int) -> npt.NDArray[np.uint8]:
        taken = self._bits[self._at : self._at + bits]
        if len(taken) < bits:
            raise ValueError("a brush mask that breaks off")
        self._at += bits
        return taken
