"""Reading plain images, which neither OpenSlide nor tifffile opens."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from wsi_suite.errors import DamageError, SlideError
from wsi_suite.files import long_path
from wsi_suite.geometry import Box
from wsi_suite.slides.reader import (
    ORIENTATION_NOTE,
    Facts,
    Level,
    Pixels,
    flatten,
    level_scale,
)

_IMAGE_FORMATS = ("PNG", "JPEG", "BMP")
_MODES = ("RGB", "RGBA", "P")


class ImageReader:
    """An image small enough for memory: a field of view.

    Parameters
    ----------
    pixels
        ``(H, W, 3)``.
    name
        What the reader is called.
    facts
        Facts about it.
    lost
        Boxes that could not be read.
    """

    def __init__(
        self, pixels: Pixels, *, name: str, facts: Facts, lost: Sequence[Box] = ()
    ) -> None:
        self.name = name
        self.facts = facts
        self._pixels = pixels
        self._lost = lost

    def read(self, level: int, box: Box) -> Pixels:
        """Return the ``(H, W, 3)`` pixels of `box`, which lies inside the image."""
        assert level == 0, "an image has one level"
        for cell in self._lost:
            if cell.intersect(box).area:
                raise DamageError(f"cannot be read at x {cell.x}, y {cell.y}; the file is damaged")
        return np.array(self._pixels[box.within(self.facts.levels[0].box)])  # of a memmap too

    def close(self) -> None:
        """Forget nothing: the pixels go with the reader."""


def open_image(path: Path) -> ImageReader | None:
    """Open a PNG, JPEG or BMP file; ``None`` if it is not one.

    Its resolution in dots per inch is a printer's, so it states no pixel size.

    Raises
    ------
    SlideError
        It is damaged, too large for memory, or not 8-bit RGB.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(str(long_path(path)), formats=_IMAGE_FORMATS)
    except UnidentifiedImageError:
        return None
    except (OSError, Image.DecompressionBombError) as error:
        raise SlideError(
            f"{path}: cannot be opened as an image ({error}); convert large ones to a pyramidal"
            " TIFF"
        ) from None
    with image:
        return reader_of_image(image, path=path)


def reader_of_image(image: Image.Image, *, path: Path) -> ImageReader:
    """Return a reader of an opened image.

    Parameters
    ----------
    image
        As Pillow holds it.
    path
        What it is called in errors.

    Raises
    ------
    SlideError
        It is damaged, or not 8-bit RGB.
    """
    kind = image.format or "image"
    # Pillow makes 8 bits of 16 without a word; only the raw mode of a PNG tells.
    is_deep = ";16B" in str([part.args for part in getattr(image, "tile", ())])
    if image.mode not in _MODES or is_deep:
        stored = "16 bits per channel" if is_deep else f"mode {image.mode}"
        raise SlideError(
            f"{path}: {kind} of {stored}; expected a brightfield image of 8-bit RGB, convert"
            " it first"
        )
    try:
        pixels = np.array(image.convert("RGBA" if _has_alpha(image) else "RGB"), np.uint8)
        notes = _image_notes(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise SlideError(
            f"{path}: cannot be decoded ({error}); the file is damaged or truncated, copy it again"
        ) from None
    rgb = flatten(pixels) if pixels.shape[2] == 4 else pixels
    return image_reader(rgb, name="pillow", vendor=kind, notes=notes)


def _has_alpha(image: Image.Image) -> bool:
    return image.mode == "RGBA" or "transparency" in image.info


def _image_notes(image: Image.Image) -> tuple[str, ...]:
    notes = []
    if _has_alpha(image):
        notes.append("transparency laid on white")
    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        notes.append(ORIENTATION_NOTE)
    if "icc_profile" in image.info:
        notes.append("ICC profile not applied")
    return tuple(notes)


def image_reader(
    pixels: Pixels,
    *,
    name: str,
    vendor: str,
    mpp: tuple[float, float] | None = None,
    notes: tuple[str, ...] = (),
) -> ImageReader:
    """Return a reader of ``(H, W, 3)`` pixels in memory."""
    height, width = pixels.shape[:2]
    level = Level(width, height, level_scale((width, height), (width, height)))
    facts = Facts(vendor=vendor, levels=(level,), mpp=mpp, notes=notes)
    return ImageReader(pixels, name=name, facts=facts)
