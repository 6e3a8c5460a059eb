"""Pixels on their way into a tile store: halved, cut into chunks, compressed, joined to shards.

zarr-python writes a shard at a fifth to a third of its compressor's speed: it compares every
chunk with the fill value and copies it several times on its way. Which chunks are blank is known
here, so chunks are encoded and joined directly; zarr-python makes the arrays and reads them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import google_crc32c
import imagecodecs
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]
ChunkIndex = tuple[int, int]
Buffer = bytes | memoryview

ZSTD_LEVEL = 1
"""Within 2 % as small as level 3 at up to three times its speed; lz4 is faster, but takes 6 - 60 %
more room."""

ZLIB_LEVEL = 1
"""Of the codecs of Zarr v2, the one that Java readers have without a native library."""

COMPRESSOR: dict[int, dict[str, Any]] = {
    2: {"id": "zlib", "level": ZLIB_LEVEL},
    3: {"name": "zstd", "configuration": {"level": ZSTD_LEVEL, "checksum": False}},
}
"""By Zarr format: what an array's metadata call the compressor of :func:`encode_chunks`."""

_ABSENT = np.iinfo(np.uint64).max


def halve(pixels: Pixels) -> Pixels:
    """Return an ``(H, W, 3)`` image at half size: means of 2 x 2 pixels, halves rounded up.

    If a side is odd, its last row or column is averaged alone: what lies outside the image has
    no part in a mean.
    """
    height, width = pixels.shape[:2]
    if height % 2 or width % 2:
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    size = (pixels.shape[1] // 2, pixels.shape[0] // 2)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def halve_chunks(chunks: BoolArray) -> BoolArray:
    """Return which chunks of the next level hold something of the chunks of this one."""
    rows, cols = chunks.shape
    even = np.pad(chunks, ((0, rows % 2), (0, cols % 2)))
    return even[::2, ::2] | even[1::2, ::2] | even[::2, 1::2] | even[1::2, 1::2]


def not_blank(pixels: Pixels, *, chunk_px: int) -> BoolArray:
    """Return for each chunk of an ``(H, W, 3)`` image whether any pixel differs from 255."""
    tops, lefts = (range(0, side, chunk_px) for side in pixels.shape[:2])
    return np.array(
        [[(pixels[y : y + chunk_px, x : x + chunk_px] != 255).any() for x in lefts] for y in tops]
    )


def encode_chunks(
    pixels: Pixels, indices: Iterable[ChunkIndex], *, chunk_px: int, zarr_format: int
) -> Iterator[memoryview]:
    """Compress chunks of an image one after another, padded with 255 where the image ends.

    Parameters
    ----------
    pixels
        ``(H, W, 3)`` image; a chunk is ``(3, chunk_px, chunk_px)``.
    indices
        Row and column of each chunk.

    Yields
    ------
    memoryview
        One encoded chunk, valid until the next is asked for: all share one memory, because the
        system takes longer to hand out new memory for each chunk than it takes to fill it.
    """
    planes = _aligned((3, chunk_px, chunk_px))
    room = bytearray(planes.nbytes + planes.nbytes // 64 + 1024)  # for what cannot be compressed
    for row, col in indices:
        top, left = row * chunk_px, col * chunk_px
        chunk = pixels[top : top + chunk_px, left : left + chunk_px]
        missing = [(0, chunk_px - side) for side in chunk.shape[:2]]
        if any(after for _, after in missing):
            chunk = np.pad(chunk, [*missing, (0, 0)], constant_values=255)
        cv2.split(chunk, list(planes))
        data: Any = planes.data  # any buffer will do, whatever its stubs say
        if zarr_format == 2:
            # libdeflate makes the same format at twice the speed of zlib.
            yield memoryview(imagecodecs.deflate_encode(data, level=ZLIB_LEVEL, out=room))
        else:
            yield memoryview(imagecodecs.zstd_encode(data, level=ZSTD_LEVEL, out=room))


def _aligned(shape: tuple[int, ...]) -> Pixels:
    """Return an array at a multiple of 64 bytes, which OpenCV fills in a third of the time."""
    count = math.prod(shape)
    room = np.empty(count + 63, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + count].reshape(shape)


def shard_parts(
    indices: Iterable[ChunkIndex], chunks: Iterable[memoryview], *, per_side: int
) -> Iterator[Buffer]:
    """Yield the bytes that make up a shard of the Zarr v3 codec ``sharding_indexed``.

    The encoded chunks, then for each place of the shard the offset and length of its chunk (uint64,
    little-endian; all bits set if there is none), then the CRC-32C of that table.
    https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/

    Parameters
    ----------
    indices, chunks
        Place of each chunk in the shard, and what :func:`encode_chunks` made of it.
    """
    table = np.full((per_side, per_side, 2), _ABSENT, dtype="<u8")
    offset = 0
    for index, data in zip(indices, chunks, strict=True):
        table[index] = offset, len(data)
        offset += len(data)
        yield data
    footer = table.tobytes()
    yield footer
    yield google_crc32c.value(footer).to_bytes(4, "little")
