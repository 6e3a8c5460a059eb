"""Damage in JPEG pictures, which libjpeg mends with grey or wrong colours and a mere warning."""

from __future__ import annotations

import simplejpeg

_SAYS_DAMAGED = ("corrupt", "premature end")


def refuse_damaged_jpeg(data: bytes, *, tables: bytes | None = None) -> None:
    """Raise ValueError for a picture that libjpeg decodes with a warning that data are damaged.

    It is decoded at an eighth of its size, which reads all codes and makes few pixels: about half
    the time of decoding it. OpenSlide refuses the same pictures.

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
        said = " ".join(str(error).split())
        # What TurboJPEG only does not know, as odd subsampling, is left to the decoder.
        if any(word in said.lower() for word in _SAYS_DAMAGED):
            raise ValueError(said) from None
