"""Colour space in the header of a JPEG 2000 picture (ITU-T T.800, annexes A and I)."""

from __future__ import annotations

_START = b"\xff\x4f\xff\x51"  # SOC, then SIZ
_CODING_STYLE, _FIRST_OF_TILE = 0x52, 0x90
_BOX_OF_COLOURS = b"colr\x01"  # followed by precedence, approximation and a number
_SYCC = 18


def has_own_colours(head: bytes) -> bool:
    """Return whether a decoder returns RGB because the picture itself says how.

    Its three components were transformed together (RCT or ICT), or its box of colours says sYCC,
    which imagecodecs converts.

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
    at = start + 2
    while at + 9 <= len(head) and head[at] == 0xFF and head[at + 1] != _FIRST_OF_TILE:
        if head[at + 1] == _CODING_STYLE:
            return head[at + 8] == 1
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return False
