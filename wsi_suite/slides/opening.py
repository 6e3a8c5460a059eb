"""Choosing the reader of a slide file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from wsi_suite.errors import SlideError
from wsi_suite.geometry import Box
from wsi_suite.slides.fallback import TiaToolboxReader, image_reader, open_image
from wsi_suite.slides.openslide_reader import OpenSlideReader, openslide_vendor
from wsi_suite.slides.reader import Facts, Level, Pixels, Reader, level_scale, system_path
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
    if path.suffix.lower() == ".dcm":
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
    if index.vendor == "OME-TIFF":
        # OpenSlide takes it for a plain TIFF: it misses the levels in sub-files and the pixel size.
        return _open_other_tiff(path, index)
    try:
        slide = OpenSlideReader(path)
    except SlideError:
        # OpenSlide knows the file but not how its pixels are compressed, as with WebP.
        return _open_other_tiff(path, index)
    slide.facts = _with_compressions(slide.facts, index)
    pages = _direct_pages(slide.facts, index)
    if not pages:
        return slide
    try:
        differing = _differing_level(
            path, pages, theirs=slide.read_directly, exact=slide.is_exact, facts=slide.facts
        )
    except SlideError:
        slide.close()
        raise
    if differing is not None:
        note = f"direct decode of level {differing} differs: read through OpenSlide"
        slide.facts = replace(slide.facts, notes=(*slide.facts.notes, note))
        return slide
    left = [str(level) for level in range(len(slide.facts.levels)) if level not in pages]
    notes = (f"level {', '.join(left)} read through OpenSlide",) if left else ()
    facts = replace(slide.facts, notes=slide.facts.notes + notes)
    return TiffTilesReader(path, name=JPEG_TILES, facts=facts, pages=pages, other=slide)


def _differing_level(
    path: Path,
    pages: Mapping[int, TiledPage],
    *,
    theirs: Callable[[int, Box], Pixels],
    exact: Callable[[int], bool],
    facts: Facts,
) -> int | None:
    """Return the first level whose direct decode differs from what `theirs` reads."""
    with closing(TiffTilesReader(path, name=JPEG_TILES, facts=facts, pages=pages)) as ours:
        for level, page in pages.items():
            read = partial(ours.read, level)
            if not is_same(page, ours=read, theirs=partial(theirs, level), exact=exact(level)):
                return level
    return None


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
    facts = Facts(
        vendor=index.vendor,
        levels=tuple(_level(page, index.size) for page in index.pages),
        mpp=index.mpp,
        notes=index.notes,
    )
    pages = dict(enumerate(index.pages))
    references = {level: replace(page, decode=page.reference) for level, page in pages.items()}
    tifffile = TiffTilesReader(path, name="tifffile", facts=facts, pages=references)
    with closing(tifffile):
        differing = _differing_level(
            path, pages, theirs=tifffile.read, exact=lambda level: True, facts=facts
        )
    if differing is not None:
        note = f"direct decode of level {differing} differs: decoded by tifffile"
        facts, pages = replace(facts, notes=(*facts.notes, note)), references
    direct = all(page.decode is not page.reference for page in pages.values())
    name = JPEG_TILES if direct else "tifffile"
    return TiffTilesReader(path, name=name, facts=facts, pages=pages)


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
