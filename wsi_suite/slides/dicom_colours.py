"""Whether the JPEG tiles of a DICOM slide have the colours that its header says.

OpenSlide believes the header, and reads YCbCr as RGB if the header is wrong.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from wsi_suite.errors import SlideError
from wsi_suite.files import long_path

_JPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
"""Transfer syntaxes of baseline and extended JPEG, DICOM PS3.5 A.4.1."""

_HEADER_BYTES = 2**16
_APP0, _APP14, _SCAN = 0xE0, 0xEE, 0xDA


def refuse_other_colours(path: Path) -> None:
    """Refuse a DICOM slide whose first tile states other colours than the header.

    Raises
    ------
    SlideError
        Naming both.
    """
    import pydicom

    with long_path(path).open("rb") as file:
        try:
            tags = ["PhotometricInterpretation"]
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=tags)
            said = str(header.get("PhotometricInterpretation", ""))
            coded = _jpeg_colours(_first_tile(file)) if _is_jpeg(header) else None
        except Exception:  # what cannot be read here is refused by OpenSlide, which says why
            return
    if coded is not None and said and said.startswith("RGB") != (coded == "RGB"):
        raise SlideError(
            f"{path}: its JPEG tiles are {coded}, but its header says {said}; correct"
            " PhotometricInterpretation"
        )


def _is_jpeg(header: object) -> bool:
    meta = getattr(header, "file_meta", None)
    return str(getattr(meta, "TransferSyntaxUID", "")) in _JPEG


def _first_tile(file: BinaryIO) -> bytes:
    """Return the start of the first frame; the file stands at its pixel data (DICOM PS3.5 A.4)."""
    file.seek(12, 1)  # tag, OB and length of the element
    for _ in range(2):  # the table of offsets, then the first frame
        _, _, length = struct.unpack("<HHI", file.read(8))
        start = file.tell()
        file.seek(length, 1)
    file.seek(start)
    return file.read(min(length, _HEADER_BYTES))


def _jpeg_colours(data: bytes) -> str | None:
    """Return ``RGB`` or ``YCbCr`` if markers of a JPEG stream say so, as libjpeg reads them."""
    at, found = 2, None
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != _SCAN:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        content = data[at + 4 : at + 2 + length]
        if marker == _APP0 and content.startswith(b"JFIF\0"):
            return "YCbCr"
        if marker == _APP14 and content.startswith(b"Adobe") and len(content) >= 12:
            found = "YCbCr" if content[11] == 1 else "RGB"
        at += 2 + length
    return found
