"""Reading OME-Zarr images through zarr."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from wsi_suite.errors import DamageError, SlideError
from wsi_suite.geometry import Box
from wsi_suite.slides.mosaic import Mosaic, TileCache
from wsi_suite.slides.ngff import ImageGroup, channel_order, image_groups
from wsi_suite.slides.ngff_pyramid import Pyramid, read_pyramid
from wsi_suite.slides.reader import WHITE, Facts, Level, Pixels, level_scale, overview_named
from wsi_suite.slides.zarr_chunks import has_no_chunks

_BLOCK_PX = 1024
_CHUNK_MAX_PX = 200_000_000
_CACHE_BYTES = 64 * 2**20


class OmeZarrReader:
    """The slide in an OME-Zarr folder: its largest image that is no label or overview.

    Raises
    ------
    SlideError
        The folder holds no such image, or it is not 8-bit RGB.
    """

    name = "zarr"

    def __init__(self, path: Path) -> None:
        self._path = path
        image, pyramid, notes, twins = _choose(path, image_groups(path))
        _refuse_unless_rgb8(path, pyramid)
        self._pyramid = pyramid
        self._order = channel_order(path, image.group)
        if self._order != (0, 1, 2):
            notes += ("channels taken in the order of their colours in 'omero'",)
        self.facts = Facts(
            vendor="OME-Zarr",
            levels=tuple(_level(pyramid, number) for number in range(len(pyramid.levels))),
            mpp=pyramid.mpp or image.mpp_in_xml,
            notes=notes + pyramid.notes,
            twins=twins,
        )
        blocks = [_block(path, level) for level in self.facts.levels]
        largest = 3 * max(width * height for width, height in blocks)
        cache = TileCache(max(_CACHE_BYTES, 2 * largest))
        self._mosaics = [
            Mosaic(level, block, partial(self._fetch, level, block), cache)
            for level, block in enumerate(blocks)
        ]

    def read(self, level: int, box: Box) -> Pixels:
        """Return the ``(H, W, 3)`` pixels of `box`, which lies inside the level."""
        return self._mosaics[level].read(box)

    def close(self) -> None:
        """Release nothing: zarr opens a file for each read."""

    def _fetch(self, level: int, block: tuple[int, int], column: int, row: int) -> Pixels:
        """Return one block, white where the level ends inside it."""
        whole = Box(column * block[0], row * block[1], *block)
        inside = whole.intersect(self.facts.levels[level].box)
        places: dict[str, Any] = {
            "y": slice(inside.y, inside.bottom),
            "x": slice(inside.x, inside.right),
            "c": slice(None),
        }
        axes = self._pyramid.axes
        place = tuple(places.get(axis, 0) for axis in axes)
        try:
            stored = np.asarray(self._pyramid.levels[level].array[place])
        except Exception as error:  # a different one for each store and codec
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DamageError(
                f"{self._path}: cannot be read at level {level}, x {inside.x}, y {inside.y}"
                f" ({reason}); the file is damaged there, copy the folder again"
            ) from None
        kept = [axis for axis in axes if axis in places]
        pixels = stored.transpose([kept.index(axis) for axis in "yxc"])[..., list(self._order)]
        if inside == whole:
            return np.ascontiguousarray(pixels)
        out = np.full((whole.height, whole.width, 3), WHITE, np.uint8)
        out[inside.within(whole)] = pixels
        return out


def _choose(
    path: Path, images: list[ImageGroup]
) -> tuple[ImageGroup, Pyramid, tuple[str, ...], int]:
    """Return the largest image that is no label or overview, notes, and how many are as large."""
    scans = [image for image in images if not overview_named(image.title)] or images
    pyramids = [read_pyramid(path, image.group) for image in scans]
    number = max(range(len(scans)), key=lambda one: pyramids[one].pixels)
    chosen = scans[number]
    others = ", ".join(f"'{image.title}'" for image in images if image is not chosen)
    notes = (f"image '{chosen.title}' is read, others are left out: {others}",) if others else ()
    twins = sum(other.size(0) == pyramids[number].size(0) for other in pyramids) - 1
    return chosen, pyramids[number], notes, twins


def _refuse_unless_rgb8(path: Path, pyramid: Pyramid) -> None:
    array = pyramid.levels[0].array
    if array.dtype != np.uint8:
        raise SlideError(
            f"{path}: pixels of {array.dtype}; expected a brightfield slide of 8-bit RGB"
        )
    for axis, length in zip(pyramid.axes, array.shape, strict=True):
        if axis not in "yxc" and length != 1:
            raise SlideError(
                f"{path}: {length} planes along axis {axis}; expected one plane, save it alone"
            )
    channels = array.shape[pyramid.axes.index("c")] if "c" in pyramid.axes else 1
    if channels != 3:
        raise SlideError(
            f"{path}: {channels} channel(s): greyscale or fluorescence; expected a brightfield"
            " slide of 8-bit RGB"
        )
    if has_no_chunks(array):
        raise SlideError(
            f"{path}: the chunks of its largest level were never written, or lie elsewhere than its"
            " metadata say (dimension_separator); write or copy it again"
        )


def _level(pyramid: Pyramid, number: int) -> Level:
    size = pyramid.size(number)
    array = pyramid.levels[number].array
    chunk = (array.chunks[pyramid.axes.index("x")], array.chunks[pyramid.axes.index("y")])
    return Level(*size, level_scale(pyramid.size(0), size), tile=chunk)


def _block(path: Path, level: Level) -> tuple[int, int]:
    """Return the shape that is read at once: whole chunks, about a megapixel."""
    assert level.tile is not None
    width, height = (side * max(1, _BLOCK_PX // side) for side in level.tile)
    inside = min(width, level.width) * min(height, level.height)
    if inside > _CHUNK_MAX_PX:
        raise SlideError(
            f"{path}: stored in chunks of {width} x {height} px, too large for memory; store it"
            " again in chunks of 1024 x 1024"
        )
    return width, height
