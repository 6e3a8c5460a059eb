"""Choosing the reader of a slide file."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from wsi_suite.errors import SlideError
from wsi_suite.slides.fallback import TiaToolboxReader, image_reader, open_image
from wsi_suite.slides.openslide_reader import OpenSlideReader, openslide_vendor
from wsi_suite.slides.reader import Facts, Level, Reader, level_scale, system_path
from wsi_suite.slides.tiff_index import TiffIndex, TiledPage, index_tiff, is_tiff, read_untiled
from wsi_suite.slides.tiff_tiles import TiffTilesReader
from wsi_suite.slides.verify import is_same

_PLAIN_VENDORS = ("aperio", "generic-tiff", "philips")
"""OpenSlide's vendors whose TIFF levels are grids of tiles without overlap."""

_UNTILED_MAX_PX = 200_000_000

JPEG_TILES = "jpeg tiles"


def open_reader(path: Path) -> Reader:
    """Open a slide file with the reader that is right and fastest for it.

    Raises
    ------
    SlideError
        The file is missing, damaged, no slide, or not brightfield 8-bit RGB.
    """
    _refuse_unreadable(path)
    if path.is_dir():
        return TiaToolboxReader(path)
    vendor = openslide_vendor(path)
    if vendor in _PLAIN_VENDORS:
        return _open_plain_tiff(path)
    if vendor is not None:
        return OpenSlideReader(path)
    if is_tiff(path):
        return _open_other_tiff(path, index_tiff(path))
    image = open_image(path)
    if image is not None:
        return image
    if path.suffix.lower() in (".dcm", ".jp2"):
        return TiaToolboxReader(path)
    raise SlideError(
        f"{path}: not a slide; expected a format of OpenSlide's, a TIFF, DICOM, OME-Zarr, PNG or"
        " JPEG (a damaged header looks the same: copy the file anew)"
    )


def _refuse_unreadable(path: Path) -> None:
    """Raise SlideError for what is missing, empty, a plain folder or only half of a slide."""
    file = Path(system_path(path))
    if file.is_dir():
        marks = (".zattrs", ".zgroup", "zarr.json", "*.dcm")
        if not any(next(file.glob(mark), None) for mark in marks):
            raise SlideError(f"{path}: a folder; expected a slide file, DICOM or OME-Zarr")
        return
    try:
        with file.open("rb") as opened:
            empty = not opened.read(1)
    except FileNotFoundError:
        raise SlideError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise SlideError(f"{path}: cannot be read ({error.strerror}); check its rights") from None
    if empty:
        raise SlideError(f"{path}: the file is empty; copy it anew")
    if path.suffix.lower() == ".mrxs" and not file.with_suffix("").is_dir():
        raise SlideError(
            f"{path}: its folder '{path.stem}' is missing beside it; copy the folder too"
        )


def _open_plain_tiff(path: Path) -> Reader:
    """Open a TIFF that OpenSlide knows: JPEG levels directly where both agree."""
    index = index_tiff(path)
    try:
        slide = OpenSlideReader(path)
    except SlideError:
        # OpenSlide knows the file but not how its pixels are compressed, as with WebP.
        return _open_other_tiff(path, index)
    slide.facts = _with_compressions(slide.facts, index)
    pages = _direct_pages(slide.facts, index)
    if not pages:
        return slide
    left = [str(level) for level in range(len(slide.facts.levels)) if level not in pages]
    notes = slide.facts.notes
    if left:
        notes += (f"level {', '.join(left)} read through OpenSlide",)
    direct = TiffTilesReader(
        path,
        name=JPEG_TILES,
        facts=replace(slide.facts, notes=notes),
        pages=pages,
        other=slide,
    )
    for level, page in pages.items():
        theirs = partial(slide.read_directly, level)
        ours = partial(direct.read, level)
        if not is_same(page, ours=ours, theirs=theirs, exact=slide.is_exact(level)):
            note = f"direct decode of level {level} differs: read through OpenSlide"
            slide.facts = replace(slide.facts, notes=(*slide.facts.notes, note))
            return slide
    return direct


def _with_compressions(facts: Facts, index: TiffIndex) -> Facts:
    """Complete what OpenSlide tells of the levels and of what it leaves out."""
    pages = {(page.width, page.height): page for page in index.pages}
    levels = [
        replace(level, compression=pages[size].compression)
        if (size := (level.width, level.height)) in pages
        else level
        for level in facts.levels
    ]
    return replace(
        facts, levels=tuple(levels), notes=tuple(dict.fromkeys(facts.notes + index.notes))
    )


def _direct_pages(facts: Facts, index: TiffIndex) -> dict[int, TiledPage]:
    """Return the pages, by level, whose tiles can stand for what OpenSlide reads."""
    by_size = {(page.width, page.height): page for page in index.pages}
    pages = {}
    for number, level in enumerate(facts.levels):
        page = by_size.get((level.width, level.height))
        if page is None or page.compression != "JPEG" or page.decode is page.reference:
            continue
        # Where a smaller level of Aperio's lacks a tile, OpenSlide makes it from the larger ones.
        if number > 0 and facts.vendor == "aperio" and min(page.counts) == 0:
            continue
        pages[number] = page
    return pages


def _open_other_tiff(path: Path, index: TiffIndex) -> Reader:
    """Open a TIFF that OpenSlide refuses."""
    if not index.pages:
        return _open_untiled(path, index)
    all_jpeg = all(page.decode is not page.reference for page in index.pages)
    facts = Facts(
        vendor=index.vendor,
        levels=tuple(_level(page, index.size) for page in index.pages),
        mpp=index.mpp,
        notes=index.notes,
    )
    ours = TiffTilesReader(
        path,
        name=JPEG_TILES if all_jpeg else "tifffile",
        facts=facts,
        pages=dict(enumerate(index.pages)),
    )
    theirs = TiffTilesReader(
        path,
        name="tifffile",
        facts=facts,
        pages={n: replace(page, decode=page.reference) for n, page in enumerate(index.pages)},
    )
    for level, page in enumerate(index.pages):
        read = partial(theirs.read, level)
        if not is_same(page, ours=partial(ours.read, level), theirs=read, exact=True):
            ours.close()
            note = f"direct decode of level {level} differs: decoded by tifffile"
            theirs.facts = replace(facts, notes=(*facts.notes, note))
            return theirs
    theirs.close()
    return ours


def _open_untiled(path: Path, index: TiffIndex) -> Reader:
    width, height = index.size
    if width * height > _UNTILED_MAX_PX:
        raise SlideError(
            f"{path}: {width} x {height} px without interleaved tiles, too large for memory;"
            " convert it to a tiled, pyramidal TIFF"
        )
    return image_reader(
        read_untiled(path), name="tifffile", vendor=index.vendor, mpp=index.mpp, notes=index.notes
    )


def _level(page: TiledPage, size0: tuple[int, int]) -> Level:
    size = (page.width, page.height)
    return Level(*size, level_scale(size0, size), tile=page.tile, compression=page.compression)
