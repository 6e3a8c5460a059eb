"""Reading TIFF levels by decoding their tiles or strips directly, past OpenSlide's compositing."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from wsi_suite.errors import DamageError, SlideError
from wsi_suite.files import long_path
from wsi_suite.geometry import Box
from wsi_suite.slides.mosaic import Mosaic, TileCache
from wsi_suite.slides.reader import Facts, Pixels, Reader
from wsi_suite.slides.tiff_index import TiffPage


class TiffTilesReader:
    """Levels of a TIFF file, tile by tile.

    Parameters
    ----------
    path
        The file.
    name
        What the reader is called.
    facts
        Facts about the slide.
    pages
        The levels to decode here.
    other
        Reads the levels that are not in `pages`; it is closed with this reader.
    """

    def __init__(
        self,
        path: Path,
        *,
        name: str,
        facts: Facts,
        pages: Mapping[int, TiffPage],
        other: Reader | None = None,
    ) -> None:
        self.name = name
        self.facts = facts
        self._path = path
        self._other = other
        self._file = PositionedFile(path)
        cache = TileCache()
        self._mosaics = {
            level: Mosaic(level, page.tile, partial(self._tile, page), cache)
            for level, page in pages.items()
        }

    def read(self, level: int, box: Box) -> Pixels:
        """Return the ``(H, W, 3)`` pixels of `box`, which lies inside the level."""
        mosaic = self._mosaics.get(level)
        if mosaic is not None:
            return mosaic.read(box)
        assert self._other is not None, f"no reader for level {level}"
        return self._other.read(level, box)

    def close(self) -> None:
        """Release the file."""
        self._file.close()
        if self._other is not None:
            self._other.close()

    def _tile(self, page: TiffPage, column: int, row: int) -> Pixels:
        width, height = page.tile
        index = row * page.columns + column
        parts = range(index, len(page.counts), len(page.counts) // page.per_tile)
        if any(page.counts[part] == 0 for part in parts):
            return self._blank(page)
        try:
            data = [self._file.read(page.offsets[part], page.counts[part]) for part in parts]
            tile = page.decode(data, index)
            if tile.shape == (height, width, 3):
                return tile
            _require_size(tile, page, column=column, row=row)
        except Exception as error:  # each codec has an error of its own
            if isinstance(error, OSError):
                self._file.refuse_gone(error)
            kind = "tile" if page.is_tiled else "strip"
            raise DamageError(
                f"{self._path}: {kind} {index} of the level of {page.width} x {page.height} px"
                f" cannot be decoded as {page.compression} ({error}); the file is damaged or"
                " unusual, copy it again or convert it"
            ) from None
        whole = self._blank(page)
        whole[: tile.shape[0], : tile.shape[1]] = tile
        return whole

    def _blank(self, page: TiffPage) -> Pixels:
        width, height = page.tile
        return np.full((height, width, 3), self.facts.background, np.uint8)


def _require_size(pixels: Pixels, page: TiffPage, *, column: int, row: int) -> None:
    """Raise ValueError for a tile that is larger than stated, or does not cover the level.

    Some writers cut the tiles at the right and lower edge instead of padding them.
    """
    height, width, samples = pixels.shape
    if samples != 3:
        raise ValueError(f"it holds {samples} samples")
    most = page.tile
    least = min(most[0], page.width - column * most[0]), min(most[1], page.height - row * most[1])
    if not (least[0] <= width <= most[0] and least[1] <= height <= most[1]):
        raise ValueError(f"it holds {width} x {height} px, not {most[0]} x {most[1]}")


class PositionedFile:
    """A file that several threads read at positions of their own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = long_path(path).open("rb", buffering=0)
        self._lock = threading.Lock()

    def read(self, offset: int, count: int) -> bytes:
        """Return bytes of the file; EOFError if it ends before."""
        if hasattr(os, "pread"):
            data = os.pread(self._file.fileno(), count, offset)
        else:
            with self._lock:
                self._file.seek(offset)
                data = self._file.read(count)
        if len(data) < count:
            raise EOFError(f"the file ends {count - len(data):,} bytes early")
        return data

    def refuse_gone(self, error: OSError) -> None:
        """Raise SlideError unless an error is that of a bad place on a disk."""
        if error.errno != errno.EIO:
            raise SlideError(
                f"{self._path}: cannot be read any more ({error.strerror or error}); check that it"
                " is still there, and its rights"
            ) from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()
