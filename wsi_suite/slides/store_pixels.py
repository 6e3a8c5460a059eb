"""Pixels on their way into a tile store: halved, cut into chunks, compressed, joined to shards.

zarr-python writes a shard at a fifth to a third of its compressor's speed: it compares every
chunk with the fill value and copies it several times on its way. Which chunks are blank is known
here, so chunks are encoded and joined directly; zarr-python makes the arrays and reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import google_crc32c
import imagecodecs
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]
ChunkIndex = tuple[int, int]

ZSTD_LEVEL = 1
"""Within 2 % as small as level 3 at up to three times its speed; lz4 is faster, but takes 6 - 60 %
more room."""

ZLIB_LEVEL = 1
"""Of the codecs of Zarr v2, the one that Java readers have without a native library."""

COMPRESSOR: dict[int, dict[str, Any]] = {
    2: {"id": "zlib", "level": ZLIB_LEVEL},
    3: {"name": "zstd", "configuration": {"level": ZSTD_LEVEL, "checksum": False}},
}
"""By Zarr format: what an array's metadata call the compressor of :func:`encode_chunk`."""

_ABSENT = np.iinfo(np.uint64).max


def halve(pixels: Pixels) -> Pixels:
    """Return an ``(H, W, 3)`` image at half size: means of 2 x 2 pixels, halves rounded up.

    If a side is odd, its last row or column is averaged alone: what lies outside the image has
    no part in a mean.
    """
    import cv2

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


def encode_chunk(pixels: Pixels, index: ChunkIndex, *, chunk_px: int, zarr_format: int) -> bytes:
    """Compress one chunk of an image, padded with 255 where the image ends.

    Parameters
    ----------
    pixels
        ``(H, W, 3)`` image; the chunk is ``(3, chunk_px, chunk_px)``.
    index
        Row and column of the chunk in it.
    """
    top, left = index[0] * chunk_px, index[1] * chunk_px
    chunk = pixels[top : top + chunk_px, left : left + chunk_px]
    missing = [(0, chunk_px - side) for side in chunk.shape[:2]]
    if any(after for _, after in missing):
        chunk = np.pad(chunk, [*missing, (0, 0)], constant_values=255)
    data = chunk.transpose(2, 0, 1).tobytes()
    if zarr_format == 2:
        # libdeflate makes the same format at twice the speed of zlib.
        return bytes(imagecodecs.deflate_encode(data, level=ZLIB_LEVEL))
    return bytes(imagecodecs.zstd_encode(data, level=ZSTD_LEVEL))


def shard_parts(chunks: Mapping[ChunkIndex, bytes], *, per_side: int) -> list[bytes]:
    """Return the byte strings that make up a shard of the Zarr v3 codec ``sharding_indexed``.

    The encoded chunks, then for each place of the shard the offset and length of its chunk (uint64,
    little-endian; all bits set if there is none), then the CRC-32C of that table.
    https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/
    """
    table = np.full((per_side, per_side, 2), _ABSENT, dtype="<u8")
    offset = 0
    for index, data in chunks.items():
        table[index] = offset, len(data)
        offset += len(data)
    footer = table.tobytes()
    return [*chunks.values(), footer, google_crc32c.value(footer).to_bytes(4, "little")]
