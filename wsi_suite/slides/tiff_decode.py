"""From the bytes of a TIFF's tile or strip to RGB, as libtiff's RGBA interface makes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC, PLANARCONFIG, PREDICTOR

from wsi_suite.slides.jpeg import decode_jpeg
from wsi_suite.slides.jpeg2000 import has_own_colours, refuse_damaged_jpeg_2000
from wsi_suite.slides.reader import Pixels, flatten
from wsi_suite.slides.ycbcr import YCbCr, ycbcr_of

Decode = Callable[[Sequence[bytes], int], Pixels]
"""Makes ``(H, W, 3)`` pixels from the bytes of a tile or strip and its index.

There is one item of bytes, or one for each sample of a picture whose samples lie apart.
"""

_JPEG_2000 = (
    COMPRESSION.JPEG2000,
    COMPRESSION.JPEG_2000_LOSSY,
    COMPRESSION.APERIO_JP2000_YCBC,
    COMPRESSION.APERIO_JP2000_RGB,
)
_GIVES_RGB = (COMPRESSION.JPEG, COMPRESSION.WEBP)
"""Codecs that return RGB if the samples lie together, in any form of storage."""
_PREDICTED = (
    COMPRESSION.LZW,
    COMPRESSION.DEFLATE,
    COMPRESSION.ADOBE_DEFLATE,
    COMPRESSION.LZMA,
    COMPRESSION.ZSTD,
)
"""Compressions that know a predictor. Of others libtiff ignores the tag, and so do we."""
_SEGMENT_MAX_PX = 500_000_000  # decoded at once: 1.5 GB
_HEAD_BYTES = 2**16
_APP0, _APP14, _START_OF_SCAN = 0xE0, 0xEE, 0xDA
_ALPHA = (EXTRASAMPLE.ASSOCALPHA, EXTRASAMPLE.UNASSALPHA)


def why_not_rgb(page: tifffile.TiffPage) -> str | None:
    """Return why a page cannot be read as 8-bit RGB, or ``None`` if it can."""
    misshapen = _why_misshapen(page)
    if misshapen is not None:
        return misshapen
    if page.dtype != np.uint8 or page.bitspersample != 8:
        return (
            f"{page.bitspersample} bits per channel ({page.dtype}); expected an 8-bit RGB slide,"
            " convert it first"
        )
    photometric, samples = photometric_of(page), page.samplesperpixel
    known = photometric in tuple(PHOTOMETRIC)
    name = PHOTOMETRIC(photometric).name if known else str(photometric)
    if photometric in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE):
        return (
            f"{samples} channel(s), {name}: greyscale or fluorescence; expected a brightfield RGB"
            " slide"
        )
    if photometric not in (PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR):
        return f"photometric interpretation {name}; expected RGB or YCbCr, convert it first"
    if samples - len(page.extrasamples) < 3:
        return (
            f"{name} with {samples} channels, {len(page.extrasamples)} of them no colours;"
            " expected three colours, convert it first"
        )
    return _why_not_decoded(page, is_ycbcr=photometric == PHOTOMETRIC.YCBCR)


def _why_misshapen(page: tifffile.TiffPage) -> str | None:
    """Return the reason that a page's sizes contradict its list of tiles or strips, if they do."""
    sides = [page.imagewidth, page.imagelength]
    sides += [page.tilewidth, page.tilelength] if page.is_tiled else [page.rowsperstrip]
    if not all(isinstance(side, int) and side > 0 for side in sides):
        return f"sizes of {', '.join(map(str, sides))} px; the file is damaged, copy it again"
    if page.planarconfig not in tuple(PLANARCONFIG):
        return f"planar configuration {page.planarconfig}; expected 1 or 2, convert it first"
    width, height = segment_size(page)
    if width * height > _SEGMENT_MAX_PX:
        return (
            f"tiles or strips of {width} x {height} px, each of which would have to be in memory"
            " at once; convert it to smaller tiles, of 512 px for example"
        )
    expected = -(-page.imagewidth // width) * -(-page.imagelength // height)
    expected *= segments_per_tile(page)
    found = min(len(page.dataoffsets), len(page.databytecounts))
    if found < expected:
        return f"{found} of {expected} tiles or strips listed; the file is damaged, copy it again"
    return None


def _why_not_decoded(page: tifffile.TiffPage, *, is_ycbcr: bool) -> str | None:
    compression = getattr(page.compression, "name", page.compression)
    known = page.compression == COMPRESSION.NONE or page.compression in tifffile.TIFF.DECOMPRESSORS
    if not known or page.compression == COMPRESSION.OJPEG:
        return f"compression {compression}; expected one that can be read, convert it first"
    if _predictor(page) not in (PREDICTOR.NONE, PREDICTOR.HORIZONTAL):
        name = getattr(page.predictor, "name", page.predictor)
        return f"predictor {name}; expected none or horizontal, convert it first"
    if not is_ycbcr:
        return None
    lacking = ""
    if page.samplesperpixel > 3:
        lacking = f"with {page.samplesperpixel} channels"
    elif not _is_ycbcr_coded(page):
        return None
    elif ycbcr_of(page) is None:
        lacking = "with coefficients that cannot be read"
    elif _subsampling(page) != (1, 1) and not _is_interleaved(page):
        lacking = "with subsampled channels that lie apart"
    elif _subsampling(page) != (1, 1) and _predictor(page) != PREDICTOR.NONE:
        lacking = f"with subsampled channels and predictor {page.predictor}"
    elif page.compression in tifffile.TIFF.IMAGE_COMPRESSIONS and not (
        page.compression in _JPEG_2000 or page.compression == COMPRESSION.JPEG
    ):
        lacking = f"in compression {compression}"
    return f"YCbCr {lacking}; expected what can be converted to RGB" if lacking else None


def photometric_of(page: tifffile.TiffPage) -> int:
    """Return the page's photometric interpretation; without the tag three samples are RGB."""
    if "PhotometricInterpretation" not in page.tags and page.samplesperpixel >= 3:
        return PHOTOMETRIC.RGB
    return int(page.photometric)


def alpha_of(page: tifffile.TiffPage) -> int | None:
    """Return which sample is the transparency, ``None`` if there is none."""
    kinds = list(page.extrasamples)
    first = page.samplesperpixel - len(kinds)
    return next((first + n for n, kind in enumerate(kinds) if kind in _ALPHA), None)


def segments_per_tile(page: tifffile.TiffPage) -> int:
    """Return how many segments of the file make one tile: one for each sample that lies apart."""
    return 1 if _is_interleaved(page) else int(page.samplesperpixel)


def is_misread_by_libtiff(page: tifffile.TiffPage) -> bool:
    """Return whether libtiff confuses chroma of 4 x 4 blocks, in tiles that an edge cuts."""
    return _is_ycbcr_coded(page) and _subsampling(page) == (4, 4)


def contradicting_colours(page: tifffile.TiffPage) -> str | None:
    """Return the colour space in a page's JPEG data if it contradicts the tag (RGB, YCbCr).

    The tag is believed, as libtiff and OpenSlide do; in an OME-TIFF a mark of YCbCr is, because
    Bio-Formats has written RGB over YCbCr.
    """
    if not _is_colour_jpeg(page):
        return None
    marked = _marked_colours(page)
    return None if marked in (None, PHOTOMETRIC(photometric_of(page)).name) else marked


def _marked_colours(page: tifffile.TiffPage) -> str | None:
    """Return ``YCBCR`` or ``RGB`` as a JFIF or an Adobe marker of the first segment says."""
    data, at = _first_segment(page), 2
    while data[at : at + 1] == b"\xff" and len(data) > at + 15 and data[at + 1] != _START_OF_SCAN:
        if data[at + 1] == _APP0 and data[at + 4 : at + 9] == b"JFIF\0":
            return "YCBCR"
        if data[at + 1] == _APP14 and data[at + 4 : at + 9] == b"Adobe":
            return "YCBCR" if data[at + 15] == 1 else "RGB"
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _first_segment(page: tifffile.TiffPage) -> bytes:
    """Return the start of the first tile or strip that is stored."""
    stored = zip(page.dataoffsets, page.databytecounts, strict=True)
    offset = next((offset for offset, count in stored if count), 0)
    page.parent.filehandle.seek(offset)
    head: bytes = page.parent.filehandle.read(_HEAD_BYTES)
    return head


def decoder_of(page: tifffile.TiffPage) -> Decode:
    """Return the decoder of the tiles or strips of a page that can be read as RGB."""
    if _is_colour_jpeg(page):
        is_ycbcr = photometric_of(page) == PHOTOMETRIC.YCBCR or (
            page.parent.is_ome and contradicting_colours(page) == "YCBCR"
        )
        return partial(_decode_jpeg, tables=page.jpegtables, colours="YCBCR" if is_ycbcr else "RGB")
    ycbcr = ycbcr_of(page) if _is_ycbcr_coded(page) else None
    read = _samples_reader(page)
    return partial(_decode, read=read, ycbcr=ycbcr, page=page, alpha=alpha_of(page))


def is_jpeg_decoder(decode: Decode) -> bool:
    """Return whether a decoder takes JPEG pictures of three colours."""
    return isinstance(decode, partial) and decode.func is _decode_jpeg


def is_rgb_jpeg_2000_decoder(decode: Decode) -> bool:
    """Return whether a decoder takes Aperio's JPEG 2000 pictures that hold RGB."""
    if not isinstance(decode, partial) or decode.func is not _decode:
        return False
    compression: int = decode.keywords["page"].compression
    return compression == COMPRESSION.APERIO_JP2000_RGB and decode.keywords["alpha"] is None


def _decode_jpeg(
    data: Sequence[bytes], _index: int, *, tables: bytes | None, colours: str
) -> Pixels:
    return decode_jpeg(data[0], tables=tables, colours=colours)


def _decode(
    data: Sequence[bytes],
    index: int,
    *,
    read: Callable[[bytes, int], Pixels],
    ycbcr: YCbCr | None,
    page: tifffile.TiffPage,
    alpha: int | None,
) -> Pixels:
    samples = np.concatenate([read(part, index) for part in data], axis=-1)
    if ycbcr is not None:
        return ycbcr.to_rgb(samples)
    if alpha is None or samples.shape[-1] == 3:  # WebP leaves out an alpha that is 255 throughout
        return np.ascontiguousarray(samples[..., :3])
    is_premultiplied = EXTRASAMPLE.ASSOCALPHA in page.extrasamples
    return flatten(samples[..., [0, 1, 2, alpha]], premultiplied=is_premultiplied)


def _samples_reader(page: tifffile.TiffPage) -> Callable[[bytes, int], Pixels]:
    """Return the decoder of one segment to ``(H, W, samples)``, without a change of colours."""
    page.predictor = _predictor(page)
    if page.compression in _JPEG_2000:
        return _read_jpeg_2000
    if _is_ycbcr_coded(page) and _subsampling(page) != (1, 1):
        return partial(_read_subsampled, page=page)
    return partial(_read_plain, page=page, decode=page.decode)


def _read_jpeg_2000(data: bytes, _index: int) -> Pixels:
    refuse_damaged_jpeg_2000(data)
    return np.atleast_3d(imagecodecs.jpeg2k_decode(data))


def _read_plain(
    data: bytes, index: int, *, page: tifffile.TiffPage, decode: Callable[..., Any]
) -> Pixels:
    tables = {} if page.jpegtables is None else {"jpegtables": page.jpegtables}
    segment, _, _ = decode(data, index, **tables)
    pixels: Pixels = segment[0]
    return pixels


def _read_subsampled(data: bytes, index: int, *, page: tifffile.TiffPage) -> Pixels:
    """Return the samples of YCbCr data units, chroma repeated over its block as libtiff does.

    A unit has the luma of a block of h x v pixels, then one Cb and one Cr (TIFF 6.0, section 21).
    """
    raw: Any = imagecodecs.bitorder_decode(data) if page.fillorder == 2 else data
    if page.compression != COMPRESSION.NONE:
        raw = tifffile.TIFF.DECOMPRESSORS[page.compression](raw)
    across, down = _subsampling(page)
    width, height = segment_size(page)
    if not page.is_tiled:
        height = min(height, page.imagelength - index * height)
    columns, rows = -(-width // across), -(-height // down)
    unit = across * down + 2
    units = np.frombuffer(raw, np.uint8, rows * columns * unit).reshape(rows, columns, unit)
    blocks = units[..., :-2].reshape(rows, columns, down, across).swapaxes(1, 2)
    luma = blocks.reshape(rows * down, columns * across, 1)
    chroma = units[..., -2:].repeat(down, axis=0).repeat(across, axis=1)
    return np.concatenate([luma, chroma], axis=-1)[:height, :width]


def segment_size(page: tifffile.TiffPage) -> tuple[int, int]:
    """Return ``(width, height)`` of a page's tiles, or of its strips."""
    if page.is_tiled:
        return int(page.tilewidth), int(page.tilelength)
    return int(page.imagewidth), int(min(page.rowsperstrip, page.imagelength))


def _is_interleaved(page: tifffile.TiffPage) -> bool:
    return page.planarconfig == PLANARCONFIG.CONTIG or page.samplesperpixel == 1


def _is_colour_jpeg(page: tifffile.TiffPage) -> bool:
    is_jpeg = page.compression == COMPRESSION.JPEG
    return is_jpeg and page.samplesperpixel == 3 and _is_interleaved(page)


def _predictor(page: tifffile.TiffPage) -> int:
    return page.predictor if page.compression in _PREDICTED else PREDICTOR.NONE


def _is_ycbcr_coded(page: tifffile.TiffPage) -> bool:
    """Return whether the codec's output is YCbCr."""
    if page.compression in _JPEG_2000:
        return _is_ycbcr_jpeg_2000(page)
    if page.compression in _GIVES_RGB and _is_interleaved(page):
        return False
    return photometric_of(page) == PHOTOMETRIC.YCBCR


def _is_ycbcr_jpeg_2000(page: tifffile.TiffPage) -> bool:
    """Return whether JPEG 2000 tiles decode to YCbCr.

    Code 33003 means YCbCr in files of Aperio's, whatever their photometric tag says. Bio-Formats
    writes RGB with it. A picture that transforms its colours itself decodes to RGB.
    """
    if page.compression == COMPRESSION.APERIO_JP2000_RGB or has_own_colours(_first_segment(page)):
        return False
    is_aperio = page.parent.is_svs and page.compression == COMPRESSION.APERIO_JP2000_YCBC
    return is_aperio or photometric_of(page) == PHOTOMETRIC.YCBCR


def _subsampling(page: tifffile.TiffPage) -> tuple[int, int]:
    """Return the pixels that share a chroma sample along x and y; 2 x 2 if no tag says it."""
    if page.compression in _JPEG_2000:
        return 1, 1  # the codec says it itself
    across, down = page.subsampling or (2, 2)
    return int(across), int(down)
