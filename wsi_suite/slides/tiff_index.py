"""Where a TIFF file keeps the pixels of its slide, through tifffile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tifffile
from tifffile import COMPRESSION, ORIENTATION

from wsi_suite.errors import SlideError
from wsi_suite.files import long_path
from wsi_suite.geometry import Box
from wsi_suite.slides.reader import ORIENTATION_NOTE, Level, level_scale
from wsi_suite.slides.stated_size import tiff_mpp
from wsi_suite.slides.tiff_decode import (
    Decode,
    alpha_of,
    contradicting_colours,
    decoder_of,
    is_jpeg_decoder,
    is_misread_by_libtiff,
    is_rgb_jpeg_2000_decoder,
    segment_size,
    segments_per_tile,
    why_not_rgb,
)
from wsi_suite.slides.tiff_pictures import Pictures, in_words, sort_pictures

_COMPRESSIONS = {
    COMPRESSION.NONE: "none",
    COMPRESSION.APERIO_JP2000_RGB: "JPEG 2000",
    COMPRESSION.APERIO_JP2000_YCBC: "JPEG 2000",
    COMPRESSION.JPEG2000: "JPEG 2000",
    COMPRESSION.ADOBE_DEFLATE: "deflate",
    COMPRESSION.DEFLATE: "deflate",
}
_ICC_TAG = 34675


@dataclass(frozen=True)
class TiffPage:
    """One level: where its tiles or strips lie in the file and how one of them is decoded.

    Attributes
    ----------
    width, height
        Size in pixels.
    tile
        ``(width, height)`` of its tiles; of strips, as wide as the page.
    is_tiled
        Whether these are tiles.
    compression
        Its name for the user.
    offsets, counts
        First byte and number of bytes of each segment, row by row; if the samples lie apart
        all segments of the first sample come first. A count of 0: not stored.
    per_tile
        Segments of a tile: 1, or the number of samples if they lie apart.
    decode
        Makes the pixels of a tile from the bytes of its segments and its index.
    """

    width: int
    height: int
    tile: tuple[int, int]
    is_tiled: bool
    compression: str
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    per_tile: int
    decode: Decode

    @property
    def columns(self) -> int:
        """Tiles in a row."""
        return -(-self.width // self.tile[0])

    @property
    def rows(self) -> int:
        """Tiles in a column."""
        return -(-self.height // self.tile[1])

    @property
    def size(self) -> tuple[int, int]:
        """``(width, height)`` in pixels."""
        return self.width, self.height

    @property
    def is_plain_jpeg(self) -> bool:
        """Whether each tile is a JPEG picture of three colours."""
        return is_jpeg_decoder(self.decode)

    @property
    def is_rgb_jpeg_2000(self) -> bool:
        """Whether each tile is a JPEG 2000 picture that holds RGB, as some of Aperio's do."""
        return is_rgb_jpeg_2000_decoder(self.decode)

    def is_stored(self, box: Box) -> bool:
        """Return whether the file has all tiles that a box of the page touches."""
        return all(self.counts[index] for index in self.tiles_under(box))

    def tiles_under(self, box: Box) -> list[int]:
        """Return the indices of the tiles that a box of the page touches."""
        width, height = self.tile
        rows = range(box.y // height, -(-box.bottom // height))
        columns = range(box.x // width, -(-box.right // width))
        return [row * self.columns + column for row in rows for column in columns]

    def level(self, size0: tuple[int, int]) -> Level:
        """Return this page as a level of a slide whose level 0 has `size0` pixels."""
        tile = self.tile if self.is_tiled else None
        scale = level_scale(size0, self.size)
        return Level(*self.size, scale, tile=tile, compression=self.compression)


@dataclass(frozen=True)
class TiffIndex:
    """Pages and metadata of the slide in a TIFF file.

    Attributes
    ----------
    pages
        The slide and, where it is tiled, its smaller levels; finest first.
    vendor
        Kind of file: ``OME-TIFF``, ``Aperio`` or ``TIFF``.
    mpp
        um per level-0 pixel as the file states it, or ``None``.
    notes
        What of the file is left out or changed.
    twins
        Number of other pictures that have the slide's size.
    as_libtiff
        Whether libtiff, and OpenSlide with it, makes the same RGB of the pixels: it takes an extra
        sample of unknown meaning for transparency, turns the tiles by the orientation tag, confuses
        chroma of 4 x 4 blocks, and reads a tile without a place from the start of the file.
    """

    pages: tuple[TiffPage, ...]
    vendor: str
    mpp: tuple[float, float] | None
    notes: tuple[str, ...]
    twins: int
    as_libtiff: bool

    @property
    def size(self) -> tuple[int, int]:
        """``(width, height)`` of the slide."""
        return self.pages[0].size


def is_tiff(path: Path) -> bool:
    """Return whether the file starts as TIFF and BigTIFF files do."""
    with long_path(path).open("rb") as file:
        return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def index_tiff(path: Path) -> TiffIndex:
    """Read where a TIFF file keeps its largest picture that is no overview, and its levels.

    Raises
    ------
    SlideError
        The index is damaged, tiles lie beyond the end of the file, or the picture is not 8-bit RGB.
    """
    with _opened(path) as tif:
        pictures = sort_pictures(tif)
        slide = pictures.slide.page
        reason = why_not_rgb(slide)
        if reason is not None:
            raise SlideError(f"{path}: {reason}")
        levels = pictures.levels if slide.is_tiled else ()
        pages = [slide, *(level.page for level in levels)]
        _refuse_unwritten(slide, path)
        for page in pages:
            _refuse_truncated(page, path)
        return TiffIndex(
            pages=tuple(map(_page, pages)),
            vendor=_vendor(tif),
            mpp=tiff_mpp(tif, slide),
            notes=_notes(tif, pictures),
            twins=sum(other.size == pictures.slide.size for other in pictures.others),
            as_libtiff=all(map(_is_read_alike, pages)),
        )


@contextmanager
def _opened(path: Path) -> Iterator[tifffile.TiffFile]:
    try:
        with tifffile.TiffFile(str(long_path(path))) as tif:
            yield tif
    except SlideError:
        raise
    except Exception as error:  # damaged files make tifffile and its codecs fail in many ways
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SlideError(
            f"{path}: not a TIFF that can be read ({reason}); the file is damaged or truncated,"
            " copy it again"
        ) from None


def _refuse_unwritten(page: tifffile.TiffPage, path: Path) -> None:
    """Refuse a page whose pixels were never written.

    A scanner may leave out tiles of glass, so that some may miss. No writer leaves out strips.
    """
    counts = _counts(page)
    missing = counts.count(0)
    if missing == len(counts) or (missing and not page.is_tiled):
        kind = "tiles" if page.is_tiled else "strips"
        raise SlideError(
            f"{path}: {missing} of {len(counts)} {kind} were never written; write or copy it again"
        )


def _refuse_truncated(page: tifffile.TiffPage, path: Path) -> None:
    size = page.parent.filehandle.size
    spans = zip(page.dataoffsets, page.databytecounts, strict=True)
    end = max((offset + count for offset, count in spans if count), default=0)
    if end > size:
        raise SlideError(f"{path}: truncated, {size:,} of at least {end:,} bytes; copy it again")


def _page(page: tifffile.TiffPage) -> TiffPage:
    compression = COMPRESSION(page.compression)
    return TiffPage(
        width=page.imagewidth,
        height=page.imagelength,
        tile=segment_size(page),
        is_tiled=page.is_tiled,
        compression=_COMPRESSIONS.get(compression, compression.name),
        offsets=tuple(page.dataoffsets),
        counts=_counts(page),
        per_tile=segments_per_tile(page),
        decode=decoder_of(page),
    )


def _counts(page: tifffile.TiffPage) -> tuple[int, ...]:
    """Return the bytes of each tile or strip; 0 for one that has none, or no place in the file."""
    stored = zip(page.dataoffsets, page.databytecounts, strict=True)
    return tuple(count if offset else 0 for offset, count in stored)


def _vendor(tif: tifffile.TiffFile) -> str:
    return "OME-TIFF" if tif.is_ome else "Aperio" if tif.is_svs else "TIFF"


def _notes(tif: tifffile.TiffFile, pictures: Pictures) -> tuple[str, ...]:
    slide = pictures.slide
    notes = []
    if slide.overview:
        notes.append(f"the file calls its only picture {slide.overview}")
    others = pictures.others
    if tif.is_svs or tif.is_philips:  # their thumbnail, label and macro are known to all
        others = tuple(picture for picture in others if picture.page.is_tiled)
    if others:
        notes.append(f"left out: {in_words(others)}")
    if slide.planes > 1:
        notes.append(f"first of {slide.planes} planes of the image")
    if alpha_of(slide.page) is not None:
        notes.append("transparency laid on white")
    if _has_unknown(slide.page):
        notes.append("channels beyond red, green and blue left out")
    marked = contradicting_colours(slide.page)
    if marked is not None and not (marked == "YCBCR" and tif.is_ome):
        said, marked = ("RGB", "YCbCr") if marked == "YCBCR" else ("YCbCr", "RGB")
        notes.append(f"the file says {said}, its JPEG data {marked}: read as {said}")
    if _orientation(slide.page) != ORIENTATION.TOPLEFT:
        notes.append(ORIENTATION_NOTE)
    if _ICC_TAG in slide.page.tags:
        notes.append("ICC profile not applied")
    return tuple(notes)


def _is_read_alike(page: tifffile.TiffPage) -> bool:
    """Return whether libtiff makes the same RGB of a page as :mod:`tiff_decode`."""
    return (
        _orientation(page) == ORIENTATION.TOPLEFT
        and not _has_unknown(page)
        and not is_misread_by_libtiff(page)
        and _counts(page) == tuple(page.databytecounts)
    )


def _orientation(page: tifffile.TiffPage) -> int:
    """Return the orientation of a page; an invalid one counts as not turned."""
    stored = page.tags.valueof("Orientation")
    return stored if stored in tuple(ORIENTATION) else ORIENTATION.TOPLEFT


def _has_unknown(page: tifffile.TiffPage) -> bool:
    """Return whether there are samples that are neither colour nor transparency."""
    known = 3 if alpha_of(page) is None else 4
    return bool(page.samplesperpixel > known)
