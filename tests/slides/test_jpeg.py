"""JPEG tiles: the pixels of a plain decode, however colours are marked, and damage told."""

from __future__ import annotations

import cv2
import imagecodecs
import numpy as np
import pytest

from wsi_suite.slides import jpeg
from wsi_suite.slides.jpeg import decode_jpeg, refuse_damaged_jpeg

NOISE = np.random.default_rng(1).integers(0, 256, (77, 90, 3), dtype=np.uint8)
PICTURE = cv2.GaussianBlur(NOISE, (0, 0), 2)
JFIF = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
ADOBE = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0"
MARKS = {
    "none": b"",
    "JFIF": JFIF,
    "Adobe RGB": ADOBE + b"\0",
    "Adobe YCbCr": ADOBE + b"\1",
    "Adobe unknown": ADOBE + b"\2",
    "JFIF and Adobe RGB": JFIF + ADOBE + b"\0",
    "short JFIF": b"\xff\xe0\0\x07JFIF\0",
    "short APP14": b"\xff\xee\0\x03A",
}


def encoded(*, stored: str = "YCBCR", subsampling: str | None = None) -> bytes:
    whole: bytes = imagecodecs.jpeg8_encode(
        PICTURE, level=90, colorspace="RGB", outcolorspace=stored, subsampling=subsampling
    )
    return whole


def cut(whole: bytes) -> tuple[bytes, bytes]:
    """Return a picture without marks and tables, and its tables, as a TIFF keeps them."""
    kept, tables, at = b"\xff\xd8", b"\xff\xd8", 2
    while whole[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(whole[at + 2 : at + 4], "big")
        if whole[at + 1] in (0xDB, 0xC4):
            tables += whole[at:end]
        elif not 0xE0 <= whole[at + 1] <= 0xEF:
            kept += whole[at:end]
        at = end
    return kept + whole[at:], tables + b"\xff\xd9"


@pytest.mark.parametrize("colours", ["RGB", "YCBCR"])
@pytest.mark.parametrize("mark", MARKS.values(), ids=MARKS)
@pytest.mark.parametrize("marked", ["tile", "tables"])
def test_colours_are_those_of_the_file_whatever_the_picture_says(
    colours: str, mark: bytes, marked: str
) -> None:
    data, tables = cut(encoded(stored=colours, subsampling="444" if colours == "RGB" else "420"))
    if marked == "tile":
        data = data[:2] + mark + data[2:]
    else:
        tables = tables[:2] + mark + tables[2:]
    expected = imagecodecs.jpeg8_decode(
        data, tables=tables, colorspace=colours, outcolorspace="RGB"
    )
    found = decode_jpeg(data, tables=tables, colours=colours)
    np.testing.assert_array_equal(found, expected)
    assert np.abs(found.astype(int) - PICTURE).mean() < 8


@pytest.mark.parametrize("subsampling", ["444", "422", "420", "411", "440"])
def test_pixels_are_those_of_a_plain_decode(
    subsampling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = encoded(subsampling=subsampling)
    expected = imagecodecs.jpeg8_decode(whole)
    monkeypatch.setattr(jpeg.imagecodecs, "jpeg8_decode", None)  # one decode has to do
    np.testing.assert_array_equal(decode_jpeg(whole, tables=None, colours="YCBCR"), expected)
    data, tables = cut(whole)
    np.testing.assert_array_equal(decode_jpeg(data, tables=tables, colours="YCBCR"), expected)


def test_a_picture_of_another_number_of_colours_is_refused() -> None:
    grey = imagecodecs.jpeg8_encode(np.ascontiguousarray(PICTURE[..., 0]), level=90)
    with pytest.raises(imagecodecs.Jpeg8Error):
        decode_jpeg(grey, tables=None, colours="YCBCR")


@pytest.mark.parametrize("colours", ["RGB", "YCBCR"])  # RGB contradicts the picture's JFIF mark
def test_a_picture_whose_codes_are_wrong_is_refused(colours: str) -> None:
    whole = encoded()
    refuse_damaged_jpeg(whole)
    middle = len(whole) // 2
    for damaged in (whole[:-200], whole[:-200] + b"\xff\xd9", whole[:middle] + bytes(64)):
        with pytest.raises(ValueError, match=r"(?i)premature|corrupt"):
            refuse_damaged_jpeg(damaged)
        with pytest.raises(ValueError, match=r"(?i)premature|corrupt"):
            decode_jpeg(damaged, tables=None, colours=colours)
