"""Where a TIFF file keeps its tiles, and how they are coded, through tifffile."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import imagecodecs
import numpy as np
import tifffile

from wsi_suite.errors import SlideError
from wsi_suite.slides.reader import Pixels, flatten, system_path

_COMPRESSIONS = {
    "NONE": "none",
    "APERIO_JP2000_RGB": "JPEG 2000",
    "APERIO_JP2000_YCBC": "JPEG 2000",
    "JPEG2000": "JPEG 2000",
    "ADOBE_DEFLATE": "deflate",
    "DEFLATE": "deflate",
}
_YCBCR = tifffile.PHOTOMETRIC.YCBCR
_RGB = (tifffile.PHOTOMETRIC.RGB, _YCBCR)
_ASSOCIATED = tifffile.EXTRASAMPLE.ASSOCALPHA
_ICC_TAG = 34675
_MICROMETRES = {"µm": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "pm": 1e-6}


@dataclass(frozen=True)
class TiledPage:
    """One level: where its tiles lie in the file and how one of them is decoded.

    Attributes
    ----------
    width, height
        Size in pixels.
    tile
        ``(width, height)`` of its tiles.
    compression
        Its name for the user.
    offsets, counts
        First byte and number of bytes of each tile, row by row. A count of 0: not stored.
    decode
        Returns the pixels of a tile from its bytes and its index.
    reference
        The same by tifffile's own decoder, to compare with.
    """

    width: int
    height: int
    tile: tuple[int, int]
    compression: str
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    decode: Callable[[bytes, int], Pixels]
    reference: Callable[[bytes, int], Pixels]

    @property
    def columns(self) -> int:
        """Tiles in a row."""
        return -(-self.width // self.tile[0])


@dataclass(frozen=True)
class TiffIndex:
    """What a TIFF file holds of the slide.

    Attributes
    ----------
    size
        ``(width, height)`` of the first image.
    pages
        Its tiled levels, finest first; empty where the image has no tiles, or its colours lie
        apart.
    vendor
        Kind of file: ``OME-TIFF``, ``Aperio`` or ``TIFF``.
    mpp
        um per level-0 pixel as the file states it, or ``None``.
    notes
        What of the file is left out or changed.
    """

    size: tuple[int, int]
    pages: tuple[TiledPage, ...]
    vendor: str
    mpp: tuple[float, float] | None
    notes: tuple[str, ...]


def is_tiff(path: Path) -> bool:
    """Return whether the file starts as TIFF and BigTIFF files do."""
    with Path(system_path(path)).open("rb") as file:
        return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def index_tiff(path: Path) -> TiffIndex:
    """Read the index of a TIFF file's first image and its smaller levels.

    Raises
    ------
    SlideError
        The index is damaged, tiles lie beyond the end of the file, or the image is not 8-bit RGB.
    """
    with _opened(path) as tif:
        series = tif.series[0]
        first = series.keyframe
        _refuse_unless_rgb8(first, path)
        interleaved = first.planarconfig == tifffile.PLANARCONFIG.CONTIG
        pages = [first, *_smaller_pages(tif)] if first.is_tiled and interleaved else []
        for page in pages or [first]:
            _refuse_truncated(page, path)
        return TiffIndex(
            size=(first.imagewidth, first.imagelength),
            pages=tuple(_tiled_page(page) for page in pages),
            vendor=_vendor(tif),
            mpp=_stated_mpp(tif),
            notes=_notes(tif),
        )


def read_untiled(path: Path) -> Pixels:
    """Return all ``(H, W, 3)`` pixels of the first image of a TIFF file.

    Raises
    ------
    SlideError
        The pixels cannot be decoded.
    """
    with _opened(path) as tif:
        page = tif.series[0].keyframe
        pixels = np.asarray(page.asarray(), np.uint8)
        if page.planarconfig != tifffile.PLANARCONFIG.CONTIG:
            pixels = np.moveaxis(pixels, 0, -1)
        return _opaque(pixels, page)


@contextmanager
def _opened(path: Path) -> Iterator[tifffile.TiffFile]:
    try:
        with tifffile.TiffFile(system_path(path)) as tif:
            yield tif
    except SlideError:
        raise
    except Exception as error:  # damaged files make tifffile and its codecs fail in many ways
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SlideError(
            f"{path}: not a TIFF that can be read ({reason}); the file is damaged or truncated,"
            " copy it anew"
        ) from None


def _refuse_unless_rgb8(page: tifffile.TiffPage, path: Path) -> None:
    if page.dtype != np.uint8:
        raise SlideError(
            f"{path}: {page.bitspersample} bits per channel ({page.dtype}); expected an 8-bit RGB"
            " slide, convert it first"
        )
    if page.samplesperpixel < 3 or page.photometric not in _RGB:
        name = getattr(page.photometric, "name", page.photometric)
        raise SlideError(
            f"{path}: {page.samplesperpixel} channel(s), {name}: greyscale or fluorescence;"
            " expected a brightfield RGB slide"
        )


def _refuse_truncated(page: tifffile.TiffPage, path: Path) -> None:
    size = page.parent.filehandle.size
    spans = zip(page.dataoffsets, page.databytecounts, strict=True)
    end = max((offset + count for offset, count in spans if count), default=0)
    if end > size:
        raise SlideError(f"{path}: truncated, {size:,} of at least {end:,} bytes; copy it anew")


def _smaller_pages(tif: tifffile.TiffFile) -> list[tifffile.TiffPage]:
    """Return the tiled pages that show the first image smaller, whichever way the file says so."""
    first = tif.series[0].keyframe
    found = [level.keyframe for level in tif.series[0].levels[1:]]
    found += [page for page in map(_whole_page, tif.pages[1:]) if page.is_reduced]
    levels: dict[tuple[int, int], tifffile.TiffPage] = {}
    for page in found:
        size = (page.imagewidth, page.imagelength)
        alike = page.is_tiled and page.samplesperpixel == first.samplesperpixel
        if alike and page.dtype == first.dtype and size < (first.imagewidth, first.imagelength):
            levels.setdefault(size, page)
    return [levels[size] for size in sorted(levels, reverse=True)]


def _whole_page(page: tifffile.TiffPage | tifffile.TiffFrame) -> tifffile.TiffPage:
    return page.aspage()


def _tiled_page(page: tifffile.TiffPage) -> TiledPage:
    name = getattr(page.compression, "name", str(page.compression))
    reference = partial(_decode, page=page, decoder=page.decode)
    coded = "YCBCR" if page.photometric == _YCBCR else None if page.is_jfif else "RGB"
    jpeg = partial(_decode_jpeg, tables=page.jpegtables, colorspace=coded)
    return TiledPage(
        width=page.imagewidth,
        height=page.imagelength,
        tile=(page.tilewidth, page.tilelength),
        compression=_COMPRESSIONS.get(name, name),
        offsets=tuple(page.dataoffsets),
        counts=tuple(page.databytecounts),
        decode=jpeg if name == "JPEG" and page.samplesperpixel == 3 else reference,
        reference=reference,
    )


def _decode_jpeg(
    data: bytes, index: int, *, tables: bytes | None, colorspace: str | None
) -> Pixels:
    # libjpeg fills up what is missing with grey and only warns: look for the end marker.
    if data.rfind(b"\xff\xd9") < 0:
        raise ValueError(f"JPEG tile {index} ends early")
    pixels: Pixels = imagecodecs.jpeg8_decode(
        data, tables=tables, colorspace=colorspace, outcolorspace="RGB"
    )
    return pixels


def _decode(
    data: bytes, index: int, *, page: tifffile.TiffPage, decoder: Callable[..., Any]
) -> Pixels:
    tables = {} if page.jpegtables is None else {"jpegtables": page.jpegtables}
    segment, _, _ = decoder(data, index, **tables)
    return _opaque(segment[0], page)


def _opaque(pixels: Pixels, page: tifffile.TiffPage) -> Pixels:
    if page.samplesperpixel == 3:
        return np.ascontiguousarray(pixels)
    return flatten(
        np.ascontiguousarray(pixels[..., :4]), premultiplied=page.extrasamples[0] == _ASSOCIATED
    )


def _vendor(tif: tifffile.TiffFile) -> str:
    return "OME-TIFF" if tif.is_ome else "Aperio" if tif.is_svs else "TIFF"


def _notes(tif: tifffile.TiffFile) -> tuple[str, ...]:
    series = tif.series[0]
    first = series.keyframe
    images, planes = len(tif.series), math.prod(series.shape) // math.prod(first.shape)
    notes = []
    if tif.is_ome and images > 1:
        notes.append(f"first of {images} images in the file")
    if planes > 1:
        notes.append(f"first of {planes} planes of the image")
    if first.samplesperpixel > 3:
        notes.append("transparency laid on white")
    if _ICC_TAG in first.tags:
        notes.append("ICC profile not applied")
    return tuple(notes)


def _stated_mpp(tif: tifffile.TiffFile) -> tuple[float, float] | None:
    if tif.is_ome:
        return _ome_mpp(tif.ome_metadata or "")
    page = tif.series[0].keyframe
    if tif.is_svs:
        stated = tifffile.tifffile.svs_description_metadata(page.description).get("MPP")
        return (float(stated), float(stated)) if stated else None
    if page.resolutionunit <= tifffile.RESUNIT.NONE:
        return None
    per_um = page.get_resolution(tifffile.RESUNIT.MICROMETER)
    return (1 / per_um[0], 1 / per_um[1]) if min(per_um) > 0 else None


def _ome_mpp(xml: str) -> tuple[float, float] | None:
    """Return the first image's PhysicalSizeX and Y in um, the unit where none stands (OME 2016)."""
    pixels = ElementTree.fromstring(xml).find(".//{*}Pixels")
    if pixels is None:
        return None
    sizes = []
    for axis in "XY":
        size = pixels.get(f"PhysicalSize{axis}")
        unit = _MICROMETRES.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        if size is None or unit is None:
            return None
        sizes.append(float(size) * unit)
    return sizes[0], sizes[1]
