"""Which of a TIFF file's pictures is the slide, and which are its smaller levels."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import tifffile

from wsi_suite.slides.reader import is_smaller_copy, overview_named
from wsi_suite.slides.tiff_decode import why_not_rgb

_TOO_LONG = 1000
"""A longer description speaks of the whole file, as OME-XML does."""


@dataclass(frozen=True)
class Picture:
    """One picture of a file.

    Attributes
    ----------
    page
        Its directory; of a stack the one of the first plane.
    overview
        What it is called where it is no scan: ``macro``, ``label``, ...; empty for a scan.
    planes
        Planes of its stack.
    """

    page: tifffile.TiffPage
    overview: str = ""
    planes: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """``(width, height)`` in pixels."""
        return self.page.imagewidth, self.page.imagelength


@dataclass(frozen=True)
class Pictures:
    """Pictures of a file: levels of the slide, and others.

    Attributes
    ----------
    slide
        The largest picture that is no overview.
    levels
        Tiled pictures whose shape is the slide's, smaller; largest first.
    others
        The rest.
    """

    slide: Picture
    levels: tuple[Picture, ...]
    others: tuple[Picture, ...]


def sort_pictures(tif: tifffile.TiffFile) -> Pictures:
    """Tell the slide, its levels and the other pictures of a file apart."""
    found = list(_pictures(tif))
    scans = [picture for picture in found if not picture.overview] or found
    slide = max(scans, key=lambda picture: math.prod(picture.size))
    levels: dict[tuple[int, int], Picture] = {}
    others = []
    for picture in found:
        if picture is slide:
            continue
        is_level = not picture.overview and _is_level(picture, slide, padded=tif.is_philips)
        if is_level and picture.size not in levels:
            levels[picture.size] = picture
        else:
            others.append(picture)
    ordered = tuple(levels[size] for size in sorted(levels, reverse=True))
    return Pictures(slide, ordered, tuple(others))


def in_words(pictures: Iterable[Picture]) -> str:
    """Return a description of pictures for the user."""
    names = Counter(
        f"{picture.overview or 'picture'} of {picture.size[0]} x {picture.size[1]} px"
        for picture in pictures
    )
    return ", ".join(f"{count} x {name}" if count > 1 else name for name, count in names.items())


def _pictures(tif: tifffile.TiffFile) -> Iterator[Picture]:
    """Yield the pictures of a file, each stack once, masks left out."""
    seen: set[int] = set()
    if tif.is_ome:
        for series in _ome_series(tif):
            planes = [page for page in series.pages if page is not None and page.parent is tif]
            if planes:
                seen.update(page.offset for page in planes)
                page = planes[0].aspage()
                stacked = math.prod(series.shape) // math.prod(page.shape)
                yield Picture(page, overview_named(series.name), stacked)
                levels = list(_sub_pages(page))
                seen.update(level.offset for level in levels)
                yield from map(Picture, levels)
    for page in _pages(tif.pages):
        if page.offset not in seen and not page.is_mask:
            yield Picture(page, overview_named(_names(page)))


def _ome_series(tif: tifffile.TiffFile) -> list[tifffile.TiffPageSeries]:
    """Return the images that OME-XML describes; none if it cannot be understood."""
    try:
        return list(tif.series)
    except Exception:  # sizes or orders that are missing or make no sense
        return []


def _pages(pages: Iterable[tifffile.TiffPage | tifffile.TiffFrame]) -> Iterator[tifffile.TiffPage]:
    """Yield pages, each followed by those in its sub-files."""
    for page in map(_whole_page, pages):
        yield page
        yield from _sub_pages(page)


def _whole_page(page: tifffile.TiffPage | tifffile.TiffFrame) -> tifffile.TiffPage:
    return page.aspage()


def _sub_pages(page: tifffile.TiffPage) -> Iterator[tifffile.TiffPage]:
    return _pages(page.pages or ())


def _names(page: tifffile.TiffPage) -> str:
    """Return the names in a page's own description."""
    name = page.tags.valueof("PageName", "")
    description = page.description if len(page.description) <= _TOO_LONG else ""
    return f"{name}\n{description}"


def _is_level(picture: Picture, slide: Picture, *, padded: bool) -> bool:
    """Return whether a picture may be the slide seen smaller.

    Philips pads the levels to whole tiles, so that the shape of its levels says nothing.
    """
    page = picture.page
    return (
        page.is_tiled
        and page.samplesperpixel == slide.page.samplesperpixel
        and why_not_rgb(page) is None
        and (padded or is_smaller_copy(slide.size, picture.size))
    )
