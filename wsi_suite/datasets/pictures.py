"""Picture files of a dataset."""

from __future__ import annotations

import unicodedata
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wsi_suite.errors import DataError, SlideError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


def tile_id(name: str) -> str:
    """Return the id of a tile, from its id or the name of its image file."""
    name = unicodedata.normalize("NFC", name.strip())  # macOS splits umlauts in file names
    stem, dot, ending = name.rpartition(".")
    return stem if f"{dot}{ending}".lower() in IMAGE_SUFFIXES else name


def list_pictures(folder: Path) -> list[Path]:
    """Return the picture files in a folder by name; of one id there may be one only."""
    images = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    )
    if not images:
        raise DataError(f"{folder}: holds no images ({', '.join(IMAGE_SUFFIXES)})")
    for one, other in pairwise(sorted(images, key=lambda path: tile_id(path.name))):
        if tile_id(one.name) == tile_id(other.name):
            raise DataError(f"{other}: {one.name} has the same id; keep one of them")
    return images


def picture_size(path: Path) -> tuple[int, int]:
    """Return width and height of an image file, from its header."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.size
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or 'not an image that can be read'}") from None


def read_rgb(path: Path) -> npt.NDArray[np.uint8]:
    """Return the ``(H, W, 3)`` RGB of an image file, the very pixels that a run on it reads.

    Raises
    ------
    DataError
        It is missing, damaged, or not 8-bit RGB.
    """
    from wsi_suite.slides.opening import read_picture

    try:
        return read_picture(path)
    except SlideError as error:
        raise DataError(str(error)) from None
