"""Colour space and damage of a JPEG 2000 picture (ITU-T T.800, annexes A and I)."""

from __future__ import annotations

import numpy as np

_START = b"\xff\x4f\xff\x51"  # SOC, then SIZ
_CODING_STYLE, _FIRST_OF_TILE = 0x52, 0x90
_BOX_OF_COLOURS = b"colr\x01"  # followed by precedence, approximation and a number
_SYCC = 18
_TILE_PART, _DATA, _END = b"\xff\x90", b"\xff\x93", b"\xff\xd9"
_IN_DATA = (0x91, 0x92)  # SOP and EPH, which may stand between packets
_LARGEST_IN_DATA = 0x8F  # of a byte after FF
_ZEROS = bytes(256)
"""More in a row than empty packets make, a byte each; a disk's unread sector has 512."""


def has_own_colours(head: bytes) -> bool:
    """Return whether a decoder returns RGB because the picture itself says how.

    Its three components were transformed together (RCT or ICT), its box of colours says sYCC, or
    the second one has fewer columns than the first: imagecodecs converts these, as OpenJPEG's own
    programs do.

    Parameters
    ----------
    head
        Start of a JP2 file or of a bare codestream.
    """
    start = head.find(_START)
    if start < 0:
        return False
    box = head.find(_BOX_OF_COLOURS, 0, start)
    if box >= 0 and int.from_bytes(head[box + 7 : box + 11], "big") == _SYCC:
        return True
    number, components = head[start + 40 : start + 42], head[start + 42 : start + 51]
    if number == b"\0\3" and len(components) == 9:  # of each: depth, subsampling in x and in y
        _, across, down, _, across_second, *_ = components
        if across == down and across_second != 1:
            return True
    at = start + 2
    while at + 9 <= len(head) and head[at] == 0xFF and head[at + 1] != _FIRST_OF_TILE:
        if head[at + 1] == _CODING_STYLE:
            return head[at + 8] == 1
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return False


def refuse_damaged_jpeg_2000(data: bytes) -> None:
    """Raise ValueError for a picture whose codestream breaks the rules of its format.

    Decoders make something of any data. Told is what cannot be in a whole codestream: parts of
    another length than stated, no end, codes that its data never hold, long runs of zeros. What
    remains, such as a few changed bytes, is not told.

    Parameters
    ----------
    data
        A JP2 file or a bare codestream.
    """
    start = data.find(_START)
    at = data.find(_TILE_PART, max(0, start))
    if start < 0 or at < 0:
        raise ValueError("not a JPEG 2000 codestream")
    while data[at : at + 2] == _TILE_PART:
        stated = int.from_bytes(data[at + 6 : at + 10], "big")  # 0: up to the end
        end = at + stated if stated else max(at, data.rfind(_END))
        first = data.find(_DATA, at, end)
        if first < 0 or end + 2 > len(data):
            raise ValueError("its codestream ends early")
        _refuse_impossible(data[first + 2 : end])
        at = end
    if data[at : at + 2] != _END:
        raise ValueError("a part of its codestream has another length than stated")


def _refuse_impossible(packets: bytes) -> None:
    """Raise ValueError for bytes that are no packets."""
    values = np.frombuffer(packets, np.uint8)
    after = values[1:][values[:-1] == 0xFF]
    if np.any((after > _LARGEST_IN_DATA) & ~np.isin(after, _IN_DATA)):
        raise ValueError("its codestream holds codes that cannot be in it")
    if _ZEROS in packets:
        raise ValueError("its codestream holds a long run of zeros")
