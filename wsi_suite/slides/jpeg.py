"""JPEG pictures, decoded with libjpeg's warnings of damage as errors.

libjpeg mends damage with grey or wrong colours and a mere warning. OpenSlide refuses the same
pictures.
"""

from __future__ import annotations

from functools import lru_cache

import imagecodecs
import numpy as np
import simplejpeg

from wsi_suite.slides.reader import Pixels

_SAYS_DAMAGED = ("corrupt", "premature end")
_START, _END, _SCAN = b"\xff\xd8", b"\xff\xd9", b"\xff\xda"
_APP0, _APP14 = 0xE0, 0xEE
_JFIF_BYTES = 14  # a shorter segment is none
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ADOBE = {
    colours: b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([transform])
    for colours, transform in {"RGB": 0, "YCBCR": 1}.items()
}


def decode_jpeg(data: bytes, *, tables: bytes | None, colours: str) -> Pixels:
    """Return the ``(H, W, 3)`` RGB pixels of a picture of three colours.

    TurboJPEG tells damage while it decodes, but has the colours from the picture's own markers. So
    a marker of what the file says goes first, and where the picture's contradict it, or it
    is of a kind that TurboJPEG does not know, it is looked at for damage and decoded apart.

    Parameters
    ----------
    data
        A picture, or a TIFF's tile without its tables.
    tables
        The tables, as a TIFF keeps them for all tiles.
    colours
        ``RGB`` or ``YCBCR``: how the picture is coded, whatever it says itself.

    Raises
    ------
    ValueError
        Its data are damaged.
    """
    shared = tables[len(_START) : tables.rfind(_END)] if tables else b""
    head = data[len(_START) : data.find(_SCAN)]
    if _is_read_as(head, shared=shared, colours=colours):
        whole = b"".join((_START, _ADOBE[colours], shared, data[len(_START) :]))
        try:
            return np.asarray(simplejpeg.decode_jpeg(whole, colorspace="RGB"))
        except ValueError as error:
            _refuse_damage(error)
    refuse_damaged_jpeg(data, tables=tables)
    return np.asarray(
        imagecodecs.jpeg8_decode(data, tables=tables, colorspace=colours, outcolorspace="RGB")
    )


def refuse_damaged_jpeg(data: bytes, *, tables: bytes | None = None) -> None:
    """Raise ValueError for a picture that libjpeg decodes with a warning that data are damaged.

    It is decoded at an eighth of its size, which reads all codes and makes few pixels: about half
    the time of decoding it.

    Parameters
    ----------
    data
        A picture, or a TIFF's tile without its tables.
    tables
        The tables, as a TIFF keeps them for all tiles.
    """
    whole = data if not tables else tables[:-2] + data[2:]
    try:
        simplejpeg.decode_jpeg(
            whole, colorspace="GRAY", fastdct=True, min_height=1, min_width=1, min_factor=8
        )
    except ValueError as error:
        _refuse_damage(error)


def _refuse_damage(error: ValueError) -> None:
    """Raise ValueError for an error of damage; what TurboJPEG only does not know is none."""
    said = " ".join(str(error).split())
    if any(word in said.lower() for word in _SAYS_DAMAGED):
        raise ValueError(said) from None


@lru_cache(maxsize=64)  # the tiles of a level have one head
def _is_read_as(head: bytes, *, shared: bytes, colours: str) -> bool:
    """Return whether libjpeg decodes a picture of three components from the colours as told.

    An Adobe marker that says so stands before it. A JFIF marker, which means YCbCr, overrules
    Adobe's, and of these the last one counts (libjpeg's `default_decompress_parms`).

    Parameters
    ----------
    head, shared
        The picture's segments up to its first scan, and the tables that are put before them.
    colours
        ``RGB`` or ``YCBCR``.
    """
    segments = _segments(shared + head)
    if segments is None:
        return False
    if [payload[5:6] for code, payload in segments if code in _FRAMES] != [b"\3"]:
        return False
    marks = [payload for code, payload in segments if code == _APP0]
    if any(mark.startswith(b"JFIF\0") and len(mark) >= _JFIF_BYTES for mark in marks):
        return colours == "YCBCR"
    marks = [payload for code, payload in segments if code == _APP14]
    return all(_ADOBE[colours].endswith(mark[11:12]) for mark in marks)


def _segments(data: bytes) -> list[tuple[int, bytes]] | None:
    """Return the codes and contents of a picture's segments; ``None`` if they are no chain."""
    segments, at = [], 0
    while at + 4 <= len(data) and data[at] == 0xFF and 0xC0 <= data[at + 1] < 0xFF:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        segments.append((data[at + 1], data[at + 4 : end]))
        at = end
    return segments if at == len(data) else None
