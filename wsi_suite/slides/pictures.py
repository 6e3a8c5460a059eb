"""Pictures in memory, taken as slides: arrays and images of Pillow."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from wsi_suite.errors import PixelSizeError, SlideError
from wsi_suite.geometry import Box
from wsi_suite.slides.fallback import image_reader, reader_of_image
from wsi_suite.slides.identity import SlideIdentity
from wsi_suite.slides.slide import Slide, open_slide, slide_of

Picture: TypeAlias = npt.NDArray[np.uint8] | Image.Image
"""``(H, W, 3)`` uint8 RGB, or an image of Pillow."""

_NAME = Path("picture")
_MEGABYTE = 2**20


def slide_of_picture(picture: Picture, *, mpp: float | None) -> Slide:
    """Return a picture in memory as a slide.

    An array is not copied, so that one that is mapped into memory (`numpy.memmap`) may be larger
    than that.

    Raises
    ------
    SlideError
        It is no RGB of 8 bits.
    PixelSizeError
        The pixel size is missing, or outside 0.05 - 10 um.
    """
    if mpp is None:
        raise PixelSizeError(
            "a picture in memory has no pixel size; give it in um per pixel, as in mpp=0.25"
        )
    if isinstance(picture, Image.Image):
        path = Path(Path(getattr(picture, "filename", "") or _NAME).name)
        return slide_of(path, reader_of_image(picture, path=path), mpp=mpp)
    _check_array(picture)
    return slide_of(_NAME, image_reader(picture, name="numpy", vendor="array"), mpp=mpp)


def as_slide(image: str | Path | Slide | Picture, *, mpp: float | None = None) -> Slide:
    """Return an image as a slide; one that is open already is returned as it is.

    Raises
    ------
    SlideError, PixelSizeError
        As for :func:`slide_of_picture` and :func:`~wsi_suite.slides.slide.open_slide`.
    """
    if isinstance(image, Slide):
        return image
    if isinstance(image, str | Path):
        return open_slide(image, mpp=mpp)
    return slide_of_picture(image, mpp=mpp)


def identity_of_picture(slide: Slide) -> SlideIdentity:
    """Return the identity of a picture in memory, by its size and its first and last rows."""
    whole = slide.levels[0].box
    rows = min(whole.height, max(1, _MEGABYTE // (3 * whole.width)))
    digest = hashlib.sha256(f"{whole.width} x {whole.height}".encode())
    for top in (0, whole.height - rows):
        digest.update(slide.read_level(0, Box(0, top, whole.width, rows)).tobytes())
    return SlideIdentity(slide.path.name, 3 * whole.area, 0, digest.hexdigest())


def _check_array(array: object) -> None:
    if not isinstance(array, np.ndarray):
        raise SlideError(
            f"a {type(array).__name__}: expected a path, a Slide, an image of Pillow or an array "
            "of shape (height, width, 3)"
        )
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or not array.size:
        raise SlideError(
            f"an array of shape {array.shape} and type {array.dtype}: expected (height, width, 3) "
            "of uint8, red, green and blue; convert it first"
        )
