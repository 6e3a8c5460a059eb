"""Choosing the reader of a slide file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from wsi_suite.errors import SlideError
from wsi_suite.files import long_path
from wsi_suite.geometry import Box
from wsi_suite.slides.checked_tiff import JPEG_2000, CheckedTiffReader
from wsi_suite.slides.damage import read_around_damage
from wsi_suite.slides.dicom import read_instance, refuse_without_positions, slide_file
from wsi_suite.slides.dicom_colours import refuse_other_colours
from wsi_suite.slides.fallback import ImageReader, open_image
from wsi_suite.slides.listing import is_zarr
from wsi_suite.slides.openslide_reader import OpenSlideReader, openslide_vendor
from wsi_suite.slides.reader import Facts, Pixels, Reader, is_smaller_copy
from wsi_suite.slides.tiff_index import TiffIndex, TiffPage, index_tiff, is_tiff
from wsi_suite.slides.tiff_tiles import TiffTilesReader
from wsi_suite.slides.verify import is_same, lacks_tiles, shows_the_same

_PLAIN_VENDORS = ("aperio", "generic-tiff", "philips")
"""OpenSlide's vendors whose TIFF levels are grids of tiles without overlap."""

_UNTILED_MAX_PX = 200_000_000

JPEG_TILES = "jpeg tiles"
JPEG_2000_TILES = "jpeg 2000 tiles"


def open_reader(path: Path) -> Reader:
    """Open a slide file with the reader that is right and fastest for it.

    Raises
    ------
    SlideError
        The file is missing, damaged, no slide, or not brightfield 8-bit RGB.
    """
    _refuse_unreadable(path)
    if is_zarr(path):
        from wsi_suite.slides.ome_zarr import OmeZarrReader  # Zarr takes half a second to import

        return OmeZarrReader(path)
    if path.is_dir() or read_instance(path) is not None:
        return _open_dicom(slide_file(path))
    vendor = openslide_vendor(path)
    if vendor in _PLAIN_VENDORS:
        return _open_plain_tiff(path, vendor)
    if vendor is not None:
        return OpenSlideReader(path)
    if is_tiff(path):
        return _open_other_tiff(path, _without_other_pictures(path, index_tiff(path)))
    image = open_image(path)
    if image is not None:
        return image
    if path.suffix.lower() in (".zip", ".ozx"):
        raise SlideError(f"{path}: a zipped folder; unzip it and give the OME-Zarr folder in it")
    raise SlideError(
        f"{path}: not a slide; expected a format of OpenSlide's, a TIFF, DICOM, OME-Zarr, PNG or"
        " JPEG (a damaged header looks the same: copy the file again)"
    )


def read_picture(path: Path) -> Pixels:
    """Return all ``(H, W, 3)`` pixels of a slide file that fits into memory, as stored.

    Raises
    ------
    SlideError
        As in :func:`open_reader`.
    """
    with closing(open_reader(path)) as reader:
        return reader.read(0, reader.facts.levels[0].box)


def _refuse_unreadable(path: Path) -> None:
    """Raise SlideError for a file that is missing, empty or only a part of a slide."""
    file = long_path(path)
    if file.is_dir():
        return
    try:
        with file.open("rb") as opened:
            empty = not opened.read(1)
    except FileNotFoundError:
        raise SlideError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise SlideError(f"{path}: cannot be read ({error.strerror}); check its rights") from None
    if empty:
        raise SlideError(f"{path}: the file is empty; copy it again")
    if path.suffix.lower() == ".mrxs" and not file.with_suffix("").is_dir():
        raise SlideError(
            f"{path}: its folder '{path.stem}' is missing beside it; copy the folder too"
        )


def _open_dicom(path: Path) -> Reader:
    """Open a DICOM slide without the instances of another shape."""
    refuse_without_positions(path)
    refuse_other_colours(path)
    slide = OpenSlideReader(path)
    first, *others = slide.sizes
    left = [size for size in others if not is_smaller_copy(first, size)]
    if not left:
        return slide
    slide.close()
    slide = OpenSlideReader(path, sizes=set(slide.sizes) - set(left))
    pictures = ", ".join(f"picture of {width} x {height} px" for width, height in left)
    slide.facts = replace(slide.facts, notes=(*slide.facts.notes, f"left out: {pictures}"))
    return slide


def _open_plain_tiff(path: Path, vendor: str) -> Reader:
    """Open a TIFF that OpenSlide knows: JPEG and RGB JPEG 2000 directly where both agree."""
    index = index_tiff(path)
    if vendor != "philips":  # whose levels are padded, and known to OpenSlide
        index = _without_other_pictures(path, index)
    is_generic = vendor == "generic-tiff"
    if index.vendor == "OME-TIFF" or not (index.as_libtiff or not is_generic):
        return _open_other_tiff(path, index)
    sizes = None if vendor == "philips" else {page.size for page in index.pages}
    try:
        slide = OpenSlideReader(path, sizes=sizes)
    except SlideError:
        # OpenSlide knows the file but not how its pixels are compressed, as with WebP.
        return _open_other_tiff(path, index)
    if sizes and not (_holds_once(slide, sizes, index.size) and _can_be_read(slide)):
        slide.close()
        return _open_other_tiff(path, index)
    slide.facts = _completed(slide.facts, index)
    pages = _direct_pages(slide.facts, index)
    if not pages:
        return _checked(path, slide, index)
    try:
        differing = _differing_level(path, pages, slide)
    except SlideError:
        slide.close()
        raise
    if differing is not None:
        note = f"direct decode of level {differing} differs: read through OpenSlide"
        slide.facts = replace(slide.facts, notes=(*slide.facts.notes, note))
        return _checked(path, slide, index)
    left = [str(level) for level in range(len(slide.facts.levels)) if level not in pages]
    notes = (f"level {', '.join(left)} read through OpenSlide",) if left else ()
    facts = replace(slide.facts, notes=slide.facts.notes + notes)
    are_jpeg = all(page.is_plain_jpeg for page in pages.values())
    name = JPEG_TILES if are_jpeg else JPEG_2000_TILES
    other = _checked(path, slide, index) if left else slide
    return TiffTilesReader(path, name=name, facts=facts, pages=pages, other=other)


def _holds_once(
    slide: OpenSlideReader, sizes: set[tuple[int, int]], largest: tuple[int, int]
) -> bool:
    """Return whether OpenSlide starts with the slide and has each of its levels once.

    If not, the first picture is no scan, levels lie in sub-files, or planes of a stack are taken
    for levels.
    """
    found = slide.sizes
    return found[0] == largest and all(found.count(size) == 1 for size in sizes)


def _can_be_read(slide: OpenSlideReader) -> bool:
    """Return whether OpenSlide reads a pixel: it opens files that libtiff cannot convert to RGB."""
    return _why_unreadable(slide, read=partial(slide.read_directly, 0)) is None


def _why_unreadable(reader: Reader, *, read: Callable[[Box], Pixels]) -> SlideError | None:
    """Return the first error if no pixel of some can be read: single tiles may be damaged."""
    width, height = reader.facts.levels[0].width, reader.facts.levels[0].height
    first = None
    for x, y in ((0, 0), (0.5, 0.5), (0.75, 0.25), (0.25, 0.75), (0.999, 0.999)):
        try:
            read(Box(int(x * width), int(y * height), 1, 1))
        except SlideError as error:
            first = first or error
        else:
            return None
    return first


def _checked(path: Path, slide: OpenSlideReader, index: TiffIndex) -> Reader:
    """Return a reader through OpenSlide that tells damaged tiles of JPEG 2000."""
    by_size = {page.size: page for page in index.pages if page.compression == JPEG_2000}
    pages = {
        number: by_size[level.width, level.height]
        for number, level in enumerate(slide.facts.levels)
        if (level.width, level.height) in by_size
    }
    return CheckedTiffReader(path, slide, pages=pages) if pages else slide


def _differing_level(
    path: Path, pages: Mapping[int, TiffPage], slide: OpenSlideReader
) -> int | None:
    """Return the first level whose direct decode differs from OpenSlide's pixels."""
    direct = TiffTilesReader(path, name=JPEG_TILES, facts=slide.facts, pages=pages)
    with closing(direct):
        for level, page in pages.items():
            ours, theirs = partial(direct.read, level), partial(slide.read_directly, level)
            if not is_same(page, ours=ours, theirs=theirs, exact=slide.is_exact(level)):
                return level
    return None


def _without_other_pictures(path: Path, index: TiffIndex) -> TiffIndex:
    """Leave out the levels of a TIFF that show something else, or were not written whole.

    An overview may have the slide's shape. Of Aperio's levels OpenSlide makes the tiles that are
    missing from the larger levels.
    """
    facts = _facts(index)
    kept: list[int] = [0]
    left: list[str] = []
    with closing(_tiles_reader(path, index, facts)) as reader:
        for number, page in enumerate(index.pages[1:], start=1):
            fine = kept[-1]
            reason = ""
            if index.vendor != "Aperio" and lacks_tiles(page, index.pages[fine]):
                reason = "tiles of it were never written"
            elif not shows_the_same(
                page,
                index.pages[fine],
                read_coarse=partial(reader.read, number),
                read_fine=partial(reader.read, fine),
            ):
                reason = "the slide's shape, but not what it shows"
            if reason:
                left.append(f"picture of {page.width} x {page.height} px ({reason})")
            else:
                kept.append(number)
    notes = (f"left out: {', '.join(left)}",) if left else ()
    pages = tuple(index.pages[number] for number in kept)
    return replace(index, pages=pages, notes=index.notes + notes)


def _completed(facts: Facts, index: TiffIndex) -> Facts:
    """Complete OpenSlide's levels and pixel size, and note the pictures that it leaves out."""
    pages = {page.size: page for page in index.pages}
    levels = [
        replace(level, compression=pages[size].compression)
        if (size := (level.width, level.height)) in pages
        else level
        for level in facts.levels
    ]
    return replace(
        facts,
        levels=tuple(levels),
        mpp=index.mpp if facts.vendor == "generic-tiff" else facts.mpp,
        notes=tuple(dict.fromkeys(facts.notes + index.notes)),
        twins=index.twins,
    )


def _direct_pages(facts: Facts, index: TiffIndex) -> dict[int, TiffPage]:
    """Return the pages, by level, whose tiles can be decoded in place of OpenSlide."""
    by_size = {page.size: page for page in index.pages}
    pages = {}
    for number, level in enumerate(facts.levels):
        page = by_size.get((level.width, level.height))
        if page is None or not (page.is_plain_jpeg or page.is_rgb_jpeg_2000):
            continue
        # If a smaller level of Aperio's lacks a tile, OpenSlide makes it from the larger ones.
        if number > 0 and facts.vendor == "aperio" and min(page.counts) == 0:
            continue
        pages[number] = page
    return pages


def _open_other_tiff(path: Path, index: TiffIndex) -> Reader:
    """Open a TIFF that OpenSlide refuses, or reads in another way than its tags say."""
    facts = _facts(index)
    if not index.pages[0].is_tiled:
        return _open_untiled(path, index, facts)
    reader = _tiles_reader(path, index, facts)
    error = _why_unreadable(reader, read=partial(reader.read, 0))
    if error is not None:  # what cannot be decoded is refused here
        reader.close()
        raise error
    return reader


def _open_untiled(path: Path, index: TiffIndex, facts: Facts) -> Reader:
    width, height = index.size
    if width * height > _UNTILED_MAX_PX:
        raise SlideError(
            f"{path}: {width} x {height} px without tiles, too large for memory; convert it to a"
            " tiled, pyramidal TIFF"
        )
    with closing(_tiles_reader(path, index, facts)) as reader:
        pixels, lost = read_around_damage(partial(reader.read, 0), facts.levels[0].box)
        if sum(cell.area for cell in lost) > width * height / 2:
            reader.read(0, lost[0])  # which raises the reason
    return ImageReader(pixels, name=reader.name, facts=facts, lost=lost)


def _facts(index: TiffIndex) -> Facts:
    return Facts(
        vendor=index.vendor,
        levels=tuple(page.level(index.size) for page in index.pages),
        mpp=index.mpp,
        notes=index.notes,
        twins=index.twins,
    )


def _tiles_reader(path: Path, index: TiffIndex, facts: Facts) -> TiffTilesReader:
    are_jpeg = all(page.is_tiled and page.is_plain_jpeg for page in index.pages)
    name = JPEG_TILES if are_jpeg else "tifffile"
    return TiffTilesReader(path, name=name, facts=facts, pages=dict(enumerate(index.pages)))
