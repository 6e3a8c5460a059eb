"""Slide files written for the tests, each with one trait that readers get wrong."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import cv2
import imagecodecs
import numpy as np
import tifffile


def picture(width, height, *, seed=0):
    """A smooth, colourful picture with structure in every tile."""
    rng = np.random.default_rng(seed)
    blobs = cv2.GaussianBlur(rng.normal(size=(height, width, 3)).astype(np.float32), (0, 0), 5)
    return np.clip(180 + 700 * blobs, 0, 255).astype(np.uint8)


def jpeg_tiles(pixels, tile, *, colours="YCBCR", missing=()):
    """The JPEG tiles of a picture as (tables, abbreviated streams), empty for the missing."""
    height, width = pixels.shape[:2]
    tables, streams = b"", []
    for y in range(0, height, tile):
        for x in range(0, width, tile):
            part = pixels[y : y + tile, x : x + tile]
            pad = ((0, tile - part.shape[0]), (0, tile - part.shape[1]), (0, 0))
            whole = np.ascontiguousarray(np.pad(part, pad, mode="edge"))
            data = imagecodecs.jpeg8_encode(
                whole, level=90, colorspace="RGB", outcolorspace=colours, subsampling="444"
            )
            tables, stream = _split(data)
            streams.append(b"" if len(streams) in missing else stream)
    return tables, streams


def write_slide(
    path,
    pixels,
    *,
    tile=128,
    factors=(1,),
    mpp=0.25,
    colours="YCBCR",
    missing=(),
    bigtiff=False,
    description=None,
):
    """Write a pyramid of JPEG tiles with shared tables and without colour markers."""
    rate = () if mpp is None else (1e4 / mpp, 1e4 / mpp)
    with tifffile.TiffWriter(path, bigtiff=bigtiff) as tif:
        for factor in factors:
            level = shrunk(pixels, factor)
            lacking = missing if factor == factors[-1] else ()
            tables, streams = jpeg_tiles(level, tile, colours=colours, missing=lacking)
            tif.write(
                iter(streams),
                shape=level.shape,
                dtype=np.uint8,
                tile=(tile, tile),
                compression="jpeg",
                compressionargs={"outcolorspace": colours},
                jpegtables=tables,
                photometric="ycbcr" if colours == "YCBCR" else "rgb",
                subsampling=(1, 1) if colours == "YCBCR" else None,
                subfiletype=int(factor > 1),
                resolution=rate or None,
                resolutionunit="CENTIMETER" if rate else None,
                description=description,
                metadata=None,
            )
    return path


def shrunk(pixels, factor):
    """Means over whole blocks, what is left at the edges dropped."""
    height, width = pixels.shape[0] // factor, pixels.shape[1] // factor
    blocks = pixels[: height * factor, : width * factor]
    means = blocks.reshape(height, factor, width, factor, 3).mean(axis=(1, 3))
    return np.floor(means + 0.5).astype(np.uint8)


def _split(jpeg):
    """Tables-only and abbreviated streams of a JPEG, application markers dropped (ITU T.81 B)."""
    tables, stream = b"\xff\xd8", b"\xff\xd8"
    for marker, segment in _segments(jpeg):
        if marker in (0xDB, 0xC4):
            tables += segment
        elif not 0xE0 <= marker <= 0xEF:
            stream += segment
    return tables + b"\xff\xd9", stream


def _segments(jpeg) -> Iterator[tuple[int, bytes]]:
    at = 2
    while jpeg[at + 1] != 0xDA:
        length = 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        yield jpeg[at + 1], jpeg[at : at + length]
        at += length
    yield 0xDA, jpeg[at:]


def read_first_pixels(path):
    """What a worker process does: open by path, read."""
    from wsi_suite.geometry import Box
    from wsi_suite.slides.slide import open_slide

    with open_slide(path) as slide:
        return slide.read_level(0, Box(0, 0, 300, 200))


_TYPES = {"B": 1, "s": 2, "H": 3, "I": 4, "R": 5}


def write_tiff(path, *directories, order="<"):
    """Write a classic TIFF of directories as they are given, sensible or not.

    Each is ``(tags, segments)``: tags by number as a type and its values (``R``: rationals, two
    values each), and the bytes of the strips, or of the tiles if there is a tile width (322).
    """
    data = bytearray((b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 0))
    link = 4
    for tags, segments in directories:
        offsets = []
        for segment in segments:
            offsets.append(len(data))
            data += segment + bytes(len(segment) % 2)
        where, counts = (324, 325) if 322 in tags else (273, 279)
        sizes = [len(segment) for segment in segments]
        entered = {**tags, where: ("I", offsets), counts: ("I", sizes)}
        entries = b""
        for number, (kind, given) in sorted(entered.items()):
            values = given if isinstance(given, bytes | list | tuple) else [given]
            form = f"{len(values)}{'I' if kind == 'R' else kind}"
            packed = struct.pack(order + form, *([values] if kind == "s" else values))
            count = len(values) // 2 if kind == "R" else len(values)
            if len(packed) > 4:
                data += bytes(len(data) % 2)
                at = struct.pack(order + "I", len(data))
                data += packed + bytes(len(packed) % 2)
            else:
                at = packed.ljust(4, b"\0")
            entries += struct.pack(order + "HHI", number, _TYPES[kind], count) + at
        struct.pack_into(order + "I", data, link, len(data))
        data += struct.pack(order + "H", len(entries) // 12) + entries
        link = len(data)
        data += bytes(4)
    path.write_bytes(data)
    return path


def ycbcr(rgb):
    """The ``(H, W, 3)`` Y, Cb and Cr of a picture (ITU-R BT.601, full range)."""
    red, green, blue = np.moveaxis(rgb.astype(float), -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    samples = np.stack([luma, 128 + (blue - luma) / 1.772, 128 + (red - luma) / 1.402], -1)
    return np.clip(np.rint(samples), 0, 255).astype(np.uint8)


def subsampled(samples, across, down):
    """The data units of YCbCr samples whose chroma is shared by blocks (TIFF 6.0, section 21)."""
    height, width = samples.shape[:2]
    pad = ((0, -height % down), (0, -width % across), (0, 0))
    padded = np.pad(samples, pad, mode="edge")
    rows, columns = padded.shape[0] // down, padded.shape[1] // across
    blocks = padded.reshape(rows, down, columns, across, 3).swapaxes(1, 2)
    luma = blocks[..., 0].reshape(rows, columns, down * across)
    chroma = np.rint(blocks[..., 1:].mean(axis=(2, 3))).astype(np.uint8)
    return np.concatenate([luma, chroma], axis=-1).tobytes()
