"""Reading through OpenSlide."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import openslide

from wsi_suite.errors import DamageError, SlideError
from wsi_suite.files import long_path
from wsi_suite.geometry import Box
from wsi_suite.slides.mosaic import Mosaic, TileCache
from wsi_suite.slides.pixel_size import number_in, stated_size
from wsi_suite.slides.reader import WHITE, Facts, Level, Pixels, flatten, level_scale

_BLOCK_PX = 512


def openslide_vendor(path: Path) -> str | None:
    """Return OpenSlide's name for the kind of file, or ``None`` if it does not know it."""
    try:
        vendor: str | None = openslide.OpenSlide.detect_format(str(long_path(path)))
    except openslide.OpenSlideError:
        return None
    return vendor


class OpenSlideReader:
    """A slide through OpenSlide, in the frame of its bounds.

    A handle that failed once fails ever after, in all threads. So a read that fails is tried once
    more on a handle of its own, which replaces the old one if it succeeds: one damaged place
    does not spoil the rest of the slide.

    Parameters
    ----------
    path
        The file.
    sizes
        ``(width, height)`` of the levels to offer; ``None``: of all. OpenSlide takes any tiled
        picture that calls itself reduced for a level of a plain TIFF.

    Raises
    ------
    SlideError
        OpenSlide cannot open the file, or it is a fluorescence slide.
    """

    name = "openslide"

    def __init__(self, path: Path, *, sizes: Collection[tuple[int, int]] | None = None) -> None:
        self._path = path
        self._handle = _open(path)
        properties = self._handle.properties
        if any(
            key.startswith("mirax.") and "FLUORESCENCE" in value.upper()
            for key, value in properties.items()
        ):
            raise SlideError(f"{path}: a fluorescence slide; expected a brightfield RGB one")
        self._corner, size = _bounds(properties, self._handle.dimensions)
        self.sizes: tuple[tuple[int, int], ...] = self._handle.level_dimensions
        self._numbers = [n for n, of in enumerate(self.sizes) if sizes is None or of in sizes]
        levels = _levels(self._handle, size)
        self.facts = _facts(self._handle, tuple(levels[n] for n in self._numbers))
        self._downsamples = [self._handle.level_downsamples[n] for n in self._numbers]
        cache = TileCache()
        self._mosaics = [
            Mosaic(level, (_BLOCK_PX, _BLOCK_PX), partial(self._block, level), cache)
            for level in range(len(self.facts.levels))
        ]

    def is_exact(self, level: int) -> bool:
        """Return whether each pixel of the level starts at a whole level-0 pixel.

        Where it does not (sizes were rounded, so OpenSlide says 4.0002), OpenSlide interpolates
        between pixels by an amount that depends on where a read starts.
        """
        return self._downsamples[level].is_integer()

    def read(self, level: int, box: Box) -> Pixels:
        """Return the ``(H, W, 3)`` pixels of `box`, which lies inside the level."""
        if self.is_exact(level):
            return self.read_directly(level, box)
        # Always the same reads, whatever the box: parts are then equal to the whole.
        return self._mosaics[level].read(box)

    def read_directly(self, level: int, box: Box) -> Pixels:
        """Return the pixels of `box` in one read of OpenSlide's.

        Raises
        ------
        DamageError
            OpenSlide cannot decode them.
        SlideError
            The file cannot be opened any more.
        """
        downsample = self._downsamples[level]
        x = self._corner[0] + round(box.x * downsample)
        y = self._corner[1] + round(box.y * downsample)
        region = ((x, y), self._numbers[level], (box.width, box.height))
        try:
            image = self._handle.read_region(*region)
        except openslide.OpenSlideError:
            fresh = _open(self._path)
            try:
                image = fresh.read_region(*region)
            except openslide.OpenSlideError as error:
                fresh.close()
                raise DamageError(
                    f"{self._path}: cannot be read at level {level}, x {box.x}, y {box.y}"
                    f" ({error}); the file is damaged or truncated, copy it again"
                ) from None
            self._handle = fresh  # the old one closes itself when no thread uses it any more
        return self._opaque(np.asarray(image))

    def close(self) -> None:
        """Release the file."""
        self._handle.close()

    def _block(self, level: int, column: int, row: int) -> Pixels:
        return self.read_directly(
            level, Box(column * _BLOCK_PX, row * _BLOCK_PX, _BLOCK_PX, _BLOCK_PX)
        )

    def _opaque(self, rgba: Pixels) -> Pixels:
        if rgba[..., 3].min() == 255:
            return np.asarray(cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB), np.uint8)
        return flatten(rgba, background=self.facts.background)


def _open(path: Path) -> openslide.OpenSlide:
    try:
        return openslide.OpenSlide(str(long_path(path)))
    except (openslide.OpenSlideError, OSError) as error:
        raise SlideError(
            f"{path}: OpenSlide cannot open it ({error}); the file is damaged, of a kind that"
            " OpenSlide does not read, or misses files beside it"
        ) from None


def _bounds(
    properties: Mapping[str, str], size: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return corner and size of the scanned area, level-0 pixels."""
    names = ("bounds-x", "bounds-y", "bounds-width", "bounds-height")
    values = [properties.get(f"openslide.{name}") for name in names]
    if None in values:
        return (0, 0), size
    x, y, width, height = (int(value) for value in values if value is not None)
    return (x, y), (width, height)


def _facts(handle: openslide.OpenSlide, levels: tuple[Level, ...]) -> Facts:
    properties = handle.properties
    vendor = properties.get("openslide.vendor", "unknown")
    mpp = [number_in(properties.get(f"openslide.mpp-{axis}")) for axis in "xy"]
    colour = properties.get("openslide.background-color")
    return Facts(
        vendor=vendor,
        levels=levels,
        mpp=stated_size(*mpp),
        objective_power=number_in(properties.get("openslide.objective-power")),
        background=_rgb(colour) if colour else WHITE,
        notes=("ICC profile not applied",) if "openslide.icc-size" in properties else (),
    )


def _levels(handle: openslide.OpenSlide, size: tuple[int, int]) -> tuple[Level, ...]:
    properties = handle.properties
    sides = ("width", "height")
    levels = []
    for index, stored in enumerate(handle.level_dimensions):
        scale = level_scale(handle.dimensions, stored)
        inside = (int(size[0] / scale.x), int(size[1] / scale.y))
        width, height = stored if size == handle.dimensions else inside
        tile = [properties.get(f"openslide.level[{index}].tile-{side}") for side in sides]
        levels.append(
            Level(
                width=max(1, width),
                height=max(1, height),
                scale=scale,
                tile=(int(tile[0]), int(tile[1])) if tile[0] and tile[1] else None,
            )
        )
    return tuple(levels)


def _rgb(colour: str) -> tuple[int, int, int]:
    """Return the colour written as ``FFFFFF``; white if it cannot be read."""
    try:
        red, green, blue = bytes.fromhex(colour)
    except ValueError:
        return WHITE
    return red, green, blue
