"""JPEG 2000 tiles through OpenSlide, which shows damaged ones without an error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from wsi_suite.errors import DamageError
from wsi_suite.geometry import Box
from wsi_suite.slides.jpeg2000 import refuse_damaged_jpeg_2000
from wsi_suite.slides.openslide_reader import OpenSlideReader
from wsi_suite.slides.reader import Pixels
from wsi_suite.slides.tiff_index import TiffPage
from wsi_suite.slides.tiff_tiles import PositionedFile

JPEG_2000 = "JPEG 2000"


class CheckedTiffReader:
    """A TIFF through OpenSlide; the data of each JPEG 2000 tile are looked at before its first use.

    Parameters
    ----------
    path
        The file.
    slide
        OpenSlide's reader of it, which is closed with this one.
    pages
        The levels whose tiles are JPEG 2000.
    """

    def __init__(
        self, path: Path, slide: OpenSlideReader, *, pages: Mapping[int, TiffPage]
    ) -> None:
        self.name = slide.name
        self.facts = slide.facts
        self._path = path
        self._slide = slide
        self._pages = pages
        self._file = PositionedFile(path)
        self._faults: dict[tuple[int, int], str | None] = {}

    def read(self, level: int, box: Box) -> Pixels:
        """Return the ``(H, W, 3)`` pixels of `box`, which lies inside the level.

        Raises
        ------
        DamageError
            A tile of the box is damaged.
        """
        page = self._pages.get(level)
        if page is not None:
            for index in page.tiles_under(box):
                self._refuse_damaged(level, page, index)
        return self._slide.read(level, box)

    def close(self) -> None:
        """Release the file."""
        self._file.close()
        self._slide.close()

    def _refuse_damaged(self, level: int, page: TiffPage, index: int) -> None:
        # Two threads may look at one tile at once, and find the same.
        key = (level, index)
        if key not in self._faults:
            self._faults[key] = self._fault(page, index)
        fault = self._faults[key]
        if fault is not None:
            raise DamageError(
                f"{self._path}: tile {index} of the level of {page.width} x {page.height} px cannot"
                f" be decoded as {page.compression} ({fault}); the file is damaged, copy it again"
            )

    def _fault(self, page: TiffPage, index: int) -> str | None:
        if page.counts[index] == 0:
            return None  # not stored: OpenSlide shows what it does in its place
        try:
            refuse_damaged_jpeg_2000(self._file.read(page.offsets[index], page.counts[index]))
        except (ValueError, EOFError) as error:
            return str(error)
        except OSError as error:
            self._file.refuse_gone(error)
            return error.strerror or str(error)
        return None
