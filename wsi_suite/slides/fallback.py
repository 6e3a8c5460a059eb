"""Readers for what neither OpenSlide nor tifffile opens: plain images, DICOM, OME-Zarr."""

from __future__ import annotations

import threading
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from wsi_suite.errors import SlideError
from wsi_suite.geometry import Box
from wsi_suite.slides.mosaic import Mosaic, TileCache
from wsi_suite.slides.reader import (
    ORIENTATION_NOTE,
    Facts,
    Level,
    Pixels,
    flatten,
    level_scale,
    system_path,
)

_BLOCK_PX = 1024
_IMAGE_FORMATS = ("PNG", "JPEG", "BMP")
_VENDORS = {"DICOMWSIReader": "DICOM", "NGFFWSIReader": "OME-Zarr"}
_MODES = ("RGB", "RGBA", "P")


class ImageReader:
    """An image small enough for memory: a field of view."""

    def __init__(self, pixels: Pixels, *, name: str, facts: Facts) -> None:
        self.name = name
        self.facts = facts
        self._pixels = pixels

    def read(self, level: int, box: Box) -> Pixels:
        """Return the ``(H, W, 3)`` pixels of `box`, which lies inside the image."""
        assert level == 0, "an image has one level"
        return self._pixels[box.within(self.facts.levels[0].box)].copy()

    def close(self) -> None:
        """Forget nothing: the pixels go with the reader."""


def open_image(path: Path) -> ImageReader | None:
    """Open a PNG, JPEG or BMP file; ``None`` where it is not one.

    Its resolution in dots per inch is a printer's, so it states no pixel size.

    Raises
    ------
    SlideError
        It is damaged, too large for memory, or not 8-bit RGB.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(system_path(path), formats=_IMAGE_FORMATS)
    except UnidentifiedImageError:
        return None
    except (OSError, Image.DecompressionBombError) as error:
        raise SlideError(
            f"{path}: cannot be opened as an image ({error}); convert large ones to a pyramidal"
            " TIFF"
        ) from None
    with image:
        kind = image.format or "image"
        # Pillow makes 8 bits of 16 without a word; only the raw mode of a PNG tells.
        is_deep = ";16B" in str([part.args for part in image.tile])
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
                f"{path}: cannot be decoded ({error}); the file is damaged or truncated, copy it"
                " anew"
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


class TiaToolboxReader:
    """A slide through one of TIAToolbox's readers: DICOM or OME-Zarr 0.4.

    Raises
    ------
    SlideError
        TIAToolbox cannot open it, or it is not 8-bit RGB.
    """

    name = "tiatoolbox"

    def __init__(self, path: Path) -> None:
        from tiatoolbox.wsicore.wsireader import WSIReader

        self._path = path
        self._lock = threading.Lock()  # its readers make no promise to threads
        try:
            self._reader = WSIReader.open(Path(system_path(path)))
            info = self._reader.info
            # Of OME-Zarr it lists more levels than it can read.
            listed = info.level_dimensions[: len(info.level_downsamples)]
        except Exception as error:  # a different one for each format
            raise _refusal(path, error) from None
        sizes = [(int(width), int(height)) for width, height in listed]
        # The objective power that it gives may be its own guess from the pixel size: left out.
        self.facts = Facts(
            vendor=_VENDORS.get(type(self._reader).__name__, "unknown"),
            levels=tuple(Level(*size, level_scale(sizes[0], size)) for size in sizes),
            mpp=None if info.mpp is None else (float(info.mpp[0]), float(info.mpp[1])),
        )
        cache = TileCache()
        self._mosaics = [
            Mosaic(level, (_BLOCK_PX, _BLOCK_PX), partial(self._block, level), cache)
            for level in range(len(sizes))
        ]
        self.read(0, Box(0, 0, 1, 1))  # what is not 8-bit RGB is refused here

    def read(self, level: int, box: Box) -> Pixels:
        """Return the ``(H, W, 3)`` pixels of `box`, which lies inside the level."""
        return self._mosaics[level].read(box)

    def close(self) -> None:
        """Let TIAToolbox close its files when nobody uses them any more."""

    def _block(self, level: int, column: int, row: int) -> Pixels:
        """Return one block; the same reads whatever the box, so that parts equal the whole."""
        scale = self.facts.levels[level].scale
        x, y = column * _BLOCK_PX, row * _BLOCK_PX
        try:
            with self._lock:
                pixels: Any = self._reader.read_rect(
                    location=(round(x * scale.x), round(y * scale.y)),
                    size=(_BLOCK_PX, _BLOCK_PX),
                    resolution=level,
                    units="level",
                    pad_mode="constant",
                    pad_constant_values=255,
                )
        except Exception as error:
            raise _refusal(self._path, error) from None
        if pixels.dtype != np.uint8 or pixels.shape[-1] != 3:
            kind = f"pixels of {pixels.dtype} in {pixels.shape[-1]} channel(s)"
            raise _refusal(self._path, ValueError(kind))
        return np.ascontiguousarray(pixels)


def _refusal(path: Path, error: Exception) -> SlideError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return SlideError(
        f"{path}: cannot be read as a slide ({reason}); expected 8-bit RGB in a format of"
        " OpenSlide's, OME-TIFF, DICOM, OME-Zarr 0.4, PNG or JPEG"
    )
