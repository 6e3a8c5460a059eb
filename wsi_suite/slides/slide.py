"""Whole-slide images: opening them and reading their pixels at any resolution."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from wsi_suite.errors import PixelSizeError, SlideError
from wsi_suite.geometry import Box, Scale
from wsi_suite.patience import alive
from wsi_suite.slides.damage import MendingReader
from wsi_suite.slides.opening import open_reader
from wsi_suite.slides.pixel_size import settle_pixel_size, size_in_words
from wsi_suite.slides.reader import Level, Pixels, Reader
from wsi_suite.slides.resample import average_areas, average_blocks, block_size, source_box

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Level", "Raster", "Slide", "open_slide"]

_TOLERANCE = 0.05


class Slide:
    """A slide file, open for reading by several threads at once.

    Coordinates are QuPath's: level-0 pixels from the corner of the slide's bounds. Another process
    opens the file for itself, by its path. Made by :func:`open_slide`.

    Attributes
    ----------
    path
        The file.
    mpp
        um per level-0 pixel along x and y.
    notes
        What the user should know of how the file is read.
    mpp_given
        The pixel size that was given in place of what the file states, if one was.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> with ws.open_slide("slides/B12_ER.svs") as slide:
    ...     print(slide)
    ...     field = slide.read_level(0, ws.Box(200, 100, 256, 256))
    ...     raster = slide.raster(mpp=1.0)
    ...     whole = raster.read(raster.box)
    <Slide: B12_ER.svs, 800 x 640 px, 0.25 um/px, 3 levels, open>
    >>> field.shape, whole.shape
    ((256, 256, 3), (160, 200, 3))
    """

    def __init__(
        self,
        path: Path,
        reader: Reader,
        *,
        mpp: tuple[float, float],
        notes: tuple[str, ...],
        mpp_given: float | None = None,
    ) -> None:
        self.path = path
        self.mpp = mpp
        self.notes = notes
        self.mpp_given = mpp_given
        self._reader = reader
        self._closed = False
        self._picture: Image.Image | None = None

    def __repr__(self) -> str:
        from wsi_suite.slides.card import in_words

        return in_words(self)

    def _repr_html_(self) -> str:
        from wsi_suite.slides.card import as_card, picture_of

        why_none = None
        if self._picture is None:
            self._picture, why_none = picture_of(self)
        return as_card(self, picture=self._picture, why_none=why_none)

    @property
    def closed(self) -> bool:
        """Whether the file was released."""
        return self._closed

    @property
    def width(self) -> int:
        """Level-0 pixels inside the bounds, along x."""
        return self.levels[0].width

    @property
    def height(self) -> int:
        """Level-0 pixels inside the bounds, along y."""
        return self.levels[0].height

    @property
    def levels(self) -> tuple[Level, ...]:
        """The stored resolutions, finest first."""
        return self._reader.facts.levels

    @property
    def vendor(self) -> str:
        """Maker or kind of the file."""
        return self._reader.facts.vendor

    @property
    def twins(self) -> int:
        """Number of other pictures in the file that have the size of this one."""
        return self._reader.facts.twins

    @property
    def reader(self) -> str:
        """Name of the reader: ``jpeg tiles``, ``openslide``, ``tifffile``, ..."""
        return self._reader.name

    @property
    def background(self) -> tuple[int, int, int]:
        """Colour of areas that were not scanned or lie outside the slide."""
        return self._reader.facts.background

    @property
    def lost_px0(self) -> float:
        """Area of shown tiles that could not be read, level-0 pixels; see `open_slide`."""
        if not isinstance(self._reader, MendingReader):
            return 0.0
        return self._reader.lost_px0

    def read_level(self, level: int, box: Box) -> Pixels:
        """Return the ``(H, W, 3)`` pixels of `box`, in pixels of a level.

        What lies outside the level has the background colour.

        Raises
        ------
        SlideError
            The file is damaged there, or the slide is closed.
        """
        if self._closed:
            raise SlideError(f"{self.path}: the slide is closed; open it again")
        alive()
        inside = box.intersect(self.levels[level].box)
        if inside == box and box.area:
            return self._reader.read(level, box)
        out = np.full((box.height, box.width, 3), self.background, np.uint8)
        if inside.area:
            out[inside.within(box)] = self._reader.read(level, inside)
        return out

    def raster(self, mpp: float) -> Raster:
        """Return the slide at `mpp` um per pixel, or as near as is right.

        The coarsest level that is not coarser than `mpp` is taken as it is if it is within 5 %;
        else whole blocks of its pixels are averaged if that is; else areas, exactly at `mpp`.
        Nothing is ever enlarged: a slide coarser than `mpp` is read as it is. So ask the raster
        for its own `mpp`.
        """
        sizes = [sqrt(level.scale.x * level.scale.y) for level in self.levels]
        finest = sqrt(self.mpp[0] * self.mpp[1])
        usable = [n for n, size in enumerate(sizes) if size * finest <= mpp * (1 + _TOLERANCE)]
        number = max(usable, key=sizes.__getitem__, default=0)
        level = self.levels[number]
        ratio = mpp / (sizes[number] * finest)
        block = max(1, round(ratio))
        if abs(block / ratio - 1) <= _TOLERANCE or ratio < 1:
            scale = Scale(level.scale.x * block, level.scale.y * block)
        else:
            scale = Scale(mpp / self.mpp[0], mpp / self.mpp[1])
        return Raster(self, number, scale)

    def thumbnail(self, max_px: int) -> tuple[Pixels, Scale]:
        """Return the whole slide with no side longer than `max_px`, and its scale.

        It is area-averaged from the nearest larger level, never enlarged.
        """
        raster = self.thumbnail_raster(max_px)
        return raster.read(raster.box), raster.scale

    def thumbnail_raster(self, max_px: int, *, box: Box | None = None) -> Raster:
        """Return what :meth:`thumbnail` reads; of a level-0 box, the raster that suits it."""
        longest = max(self.width, self.height) if box is None else max(box.width, box.height)
        factor = max(1.0, longest / max_px)
        fitting = [n for n, level in enumerate(self.levels) if max(_axes(level.scale)) <= factor]
        return Raster(self, fitting[-1], Scale(factor, factor))

    def describe(self) -> dict[str, Any]:
        """Return the properties of the slide, ready for JSON and without patient data."""
        return {
            "path": str(self.path),
            "width": self.width,
            "height": self.height,
            "mpp": list(self.mpp),
            "vendor": self.vendor,
            "objective_power": self._reader.facts.objective_power,
            "reader": self.reader,
            "levels": [
                {
                    "width": level.width,
                    "height": level.height,
                    "downsample": list(_axes(level.scale)),
                    "tile": None if level.tile is None else list(level.tile),
                    "compression": level.compression,
                }
                for level in self.levels
            ],
            "notes": list(self.notes),
        }

    def close(self) -> None:
        """Release the file; what was read of it stays."""
        self._closed = True
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Raster:
    """A slide at one working resolution.

    Attributes
    ----------
    slide
        The slide.
    level
        Index of the level that pixels are made from.
    scale
        Level-0 pixels per working pixel.
    """

    slide: Slide
    level: int
    scale: Scale

    @property
    def factor(self) -> tuple[float, float]:
        """Pixels of the level per working pixel, along x and y."""
        stored = self.slide.levels[self.level].scale
        factor = (self.scale.x / stored.x, self.scale.y / stored.y)
        block = block_size(factor)
        return factor if block is None else (float(block), float(block))

    @property
    def mpp(self) -> tuple[float, float]:
        """Um per working pixel, along x and y."""
        return self.slide.mpp[0] * self.scale.x, self.slide.mpp[1] * self.scale.y

    @property
    def width(self) -> int:
        """Working pixels along x that lie wholly on the slide (at least 1)."""
        return _whole(self.slide.levels[self.level].width / self.factor[0])

    @property
    def height(self) -> int:
        """Working pixels along y that lie wholly on the slide (at least 1)."""
        return _whole(self.slide.levels[self.level].height / self.factor[1])

    @property
    def box(self) -> Box:
        """All working pixels."""
        return Box(0, 0, self.width, self.height)

    def read(self, box: Box, *, part_px: int = 2**23) -> Pixels:
        """Return the ``(H, W, 3)`` working pixels of `box`, white outside the slide.

        Boxes read apart have the same bytes as one that covers them.

        Parameters
        ----------
        box
            In working pixels.
        part_px
            Source pixels that are averaged at once; they bound the memory of a read.

        Raises
        ------
        SlideError
            The file is damaged there.
        """
        source = source_box(box, factor=self.factor)
        if source == box or source.area <= part_px or box.area == 1:
            return self.shrink(self.slide.read_level(self.level, source), box)
        out = np.empty((box.height, box.width, 3), np.uint8)
        for half in _halves(box):
            out[half.within(box)] = self.read(half, part_px=part_px)
        return out

    def shrink(self, pixels: Pixels, box: Box) -> Pixels:
        """Return the working pixels of `box` from the level's pixels that they cover.

        Parameters
        ----------
        pixels
            ``(H, W, 3)`` pixels of the level, those of :func:`source_box` of `box`.
        box
            In working pixels.
        """
        block = block_size(self.factor)
        if block is not None:
            return average_blocks(pixels, block=block)
        source = source_box(box, factor=self.factor)
        return average_areas(pixels, box, source_at=source, factor=self.factor)


def open_slide(path: str | Path, *, mpp: float | None = None, mend: bool = False) -> Slide:
    """Open a slide file.

    Parameters
    ----------
    path
        The file; a folder for OME-Zarr.
    mpp
        um per level-0 pixel, in place of what the file states.
    mend
        Show something in damaged places, too, instead of raising an error: for pictures and
        surveys, see :class:`~wsi_suite.slides.damage.MendingReader`.

    Raises
    ------
    SlideError
        The file is missing, damaged, no slide, or not brightfield 8-bit RGB.
    PixelSizeError
        The pixel size is missing, outside 0.05 - 10 um, or differs by over 2 % between x and y.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> with ws.open_slide("slides/B12_ER.svs") as slide:
    ...     thumbnail, scale = slide.thumbnail(200)
    >>> thumbnail.shape, scale
    ((160, 200, 3), Scale(x=4.0, y=4.0))
    >>> slide
    <Slide: B12_ER.svs, 800 x 640 px, 0.25 um/px, 3 levels, closed>
    """
    path = Path(path)
    return slide_of(path, open_reader(path), mpp=mpp, mend=mend)


def slide_of(path: Path, reader: Reader, *, mpp: float | None, mend: bool = False) -> Slide:
    """Return the slide that a reader reads; the other parameters are those of :func:`open_slide`.

    Raises
    ------
    PixelSizeError
        As for :func:`open_slide`; the reader is closed then.
    """
    try:
        size = settle_pixel_size(path, stated=reader.facts.mpp, given=mpp)
    except PixelSizeError:
        reader.close()
        raise
    notes = reader.facts.notes
    if mpp is not None:
        stated = "no pixel size" if reader.facts.mpp is None else size_in_words(reader.facts.mpp)
        notes += (f"pixel size of {mpp:g} um given by the user; the file states {stated}",)
    reader = MendingReader(reader) if mend else reader
    return Slide(path, reader, mpp=size, notes=notes, mpp_given=mpp)


def _axes(scale: Scale) -> tuple[float, float]:
    return scale.x, scale.y


def _whole(length: float) -> int:
    return max(1, int(length + 1e-6))  # 1e-6: a rounding error takes no pixel away


def _halves(box: Box) -> tuple[Box, Box]:
    """Cut a box across its longer side."""
    if box.width > box.height:
        first = Box(box.x, box.y, box.width // 2, box.height)
        return first, Box(first.right, box.y, box.width - first.width, box.height)
    first = Box(box.x, box.y, box.width, box.height // 2)
    return first, Box(box.x, first.bottom, box.width, box.height - first.height)
