"""Assembling boxes from tiles on a fixed grid."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wsi_suite.geometry import Box
from wsi_suite.slides.reader import Pixels

_CACHE_BYTES = 64 * 2**20


class TileCache:
    """The tiles used last, up to a number of bytes; safe to share between threads."""

    def __init__(self, limit: int = _CACHE_BYTES) -> None:
        self._limit = limit
        self._bytes = 0
        self._tiles: OrderedDict[tuple[int, int, int], Pixels] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[int, int, int]) -> Pixels | None:
        """Return the tile of a ``(level, column, row)``, or ``None``."""
        with self._lock:
            tile = self._tiles.get(key)
            if tile is not None:
                self._tiles.move_to_end(key)
            return tile

    def put(self, key: tuple[int, int, int], tile: Pixels) -> None:
        """Keep a tile; its pixels become read-only."""
        with self._lock:
            if key in self._tiles:
                return
            self._tiles[key] = tile
            self._bytes += tile.nbytes
            while self._bytes > self._limit:
                _, oldest = self._tiles.popitem(last=False)
                self._bytes -= oldest.nbytes


@dataclass(frozen=True)
class Mosaic:
    """A level as a grid of tiles.

    Tiles that lie wholly inside a box are fetched and forgotten. Those at its rim, which the next
    box is likely to need again, are kept in the cache.

    Attributes
    ----------
    level
        Index of the level, for the cache.
    tile
        ``(width, height)`` of a tile; the grid starts at the level's corner.
    fetch
        Returns tile ``(column, row)``, at full size even where the level ends inside it.
    cache
        Shared by the levels of a slide.
    """

    level: int
    tile: tuple[int, int]
    fetch: Callable[[int, int], Pixels]
    cache: TileCache

    def read(self, box: Box) -> Pixels:
        """Return the ``(H, W, 3)`` pixels of `box`, which lies inside the level."""
        width, height = self.tile
        columns = range(box.x // width, -(-box.right // width))
        rows = range(box.y // height, -(-box.bottom // height))
        if len(columns) == len(rows) == 1 and (box.width, box.height) == self.tile:
            return self.fetch(columns[0], rows[0])
        out = np.empty((box.height, box.width, 3), np.uint8)
        for row in rows:
            for column in columns:
                x, y = column * width - box.x, row * height - box.y
                if 0 <= x <= box.width - width and 0 <= y <= box.height - height:
                    out[y : y + height, x : x + width] = self.fetch(column, row)
                    continue
                tile_box = Box(column * width, row * height, width, height)
                shared = tile_box.intersect(box)
                out[shared.within(box)] = self._cached(column, row)[shared.within(tile_box)]
        return out

    def _cached(self, column: int, row: int) -> Pixels:
        key = (self.level, column, row)
        tile = self.cache.get(key)
        if tile is None:
            tile = self.fetch(column, row)
            self.cache.put(key, tile)
        return tile
