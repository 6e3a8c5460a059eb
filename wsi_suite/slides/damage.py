"""Reading around damaged places of a slide file.

A tile that cannot be decoded spoils every box that needs it. So a box that cannot be read is cut
into cells of one fixed grid, and only those of them are lost that cannot be read by themselves:
which ones does not depend on the boxes that are asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np

from wsi_suite.errors import DamageError, SlideError
from wsi_suite.geometry import Box
from wsi_suite.slides.reader import Facts, Pixels, Reader
from wsi_suite.slides.resample import average_areas, source_box

CELL_PX = 64
"""Side of the cells in which damage is told apart, in pixels of what is read."""

_RING_PX = 32
_DARKER_PERCENT = 25  # where a quarter of what surrounds a place is tissue, it counts as tissue
_MOST_LOST = 0.5  # of a level: beyond, what is left shows no slide

ReadBox = Callable[[Box], Pixels]


def read_around_damage(read: ReadBox, box: Box) -> tuple[Pixels, tuple[Box, ...]]:
    """Read a box as far as the file allows.

    Parameters
    ----------
    read
        Returns the ``(H, W, 3)`` pixels of a box, or raises DamageError.
    box
        The box.

    Returns
    -------
    pixels, lost
        ``(H, W, 3)`` pixels, white where they are lost, and the lost boxes, row by row.
    """
    try:
        return read(box), ()
    except DamageError:
        pass
    pixels = np.full((box.height, box.width, 3), 255, np.uint8)
    lost = []
    for cell in _cells(box):
        try:
            pixels[cell.within(box)] = read(cell)
        except DamageError:
            lost.append(cell)
    return pixels, tuple(lost)


def _cells(box: Box) -> Iterator[Box]:
    """Yield the part of each cell of the grid that lies in a box, row by row."""
    for y in range(box.y // CELL_PX * CELL_PX, box.bottom, CELL_PX):
        for x in range(box.x // CELL_PX * CELL_PX, box.right, CELL_PX):
            yield Box(x, y, CELL_PX, CELL_PX).intersect(box)


class MendingReader:
    """A reader for pictures and surveys, which shows something where a file is damaged.

    A lost cell of a level is made from the finer levels, if these can be read there. Else it gets
    the colour of what surrounds it, so that a hole in tissue is taken for tissue and one in glass
    for glass. Nuclei are never looked for in such pixels: blocks are read without this.

    Attributes
    ----------
    lost
        Cells that no level shows, as ``(level, box)``.
    """

    def __init__(self, reader: Reader) -> None:
        self.lost: set[tuple[int, Box]] = set()
        self._reader = reader
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """Name of the reader."""
        return self._reader.name

    @property
    def facts(self) -> Facts:
        """Metadata stated by the file."""
        return self._reader.facts

    @property
    def lost_px0(self) -> float:
        """Area that no level shows, level-0 pixels."""
        by_level: dict[int, float] = {}
        with self._lock:
            for level, cell in self.lost:
                scale = self.facts.levels[level].scale
                area = cell.area * scale.x * scale.y
                by_level[level] = by_level.get(level, 0.0) + area
        return max(by_level.values(), default=0.0)

    def read(self, level: int, box: Box) -> Pixels:
        """Return the ``(H, W, 3)`` pixels of `box`, which lies inside the level.

        Raises
        ------
        SlideError
            More than half of the level is lost.
        """
        pixels, lost = read_around_damage(lambda part: self._reader.read(level, part), box)
        for cell in lost:
            finer = self._from_finer(level, cell)
            if finer is None:
                self._note(level, cell)
                finer = self._surroundings(level, cell)
            pixels[cell.within(box)] = finer
        return pixels

    def close(self) -> None:
        """Release the file."""
        self._reader.close()

    def _note(self, level: int, cell: Box) -> None:
        whole = self.facts.levels[level].box
        with self._lock:
            self.lost.add((level, cell))
            lost_px = sum(box.area for of, box in self.lost if of == level)
        if lost_px > _MOST_LOST * whole.area:
            # The reason of one cell stands for all.
            try:
                self._reader.read(level, cell)
            except DamageError as error:
                raise SlideError(f"{error}; most of the slide cannot be read") from None

    def _from_finer(self, level: int, cell: Box) -> Pixels | None:
        scale = self.facts.levels[level].scale
        for finer in range(level - 1, -1, -1):
            other = self.facts.levels[finer]
            factor = (scale.x / other.scale.x, scale.y / other.scale.y)
            source = source_box(cell, factor=factor)
            inside = source.intersect(other.box)
            if not inside.area:
                continue
            try:
                pixels = self._reader.read(finer, inside)
            except DamageError:
                continue
            missing = ((0, source.bottom - inside.bottom), (0, source.right - inside.right), (0, 0))
            pixels = np.pad(pixels, missing, mode="edge")  # sizes of levels are rounded
            return average_areas(pixels, cell, source_at=source, factor=factor)
        return None

    def _surroundings(self, level: int, cell: Box) -> Pixels:
        """Return the colour about a cell, of the darker parts; the background's if none is seen."""
        whole = self.facts.levels[level].box
        around = cell.expand(_RING_PX).intersect(whole)
        rings = (
            Box(around.x, around.y, around.width, cell.y - around.y),
            Box(around.x, cell.bottom, around.width, around.bottom - cell.bottom),
            Box(around.x, cell.y, cell.x - around.x, cell.height),
            Box(cell.right, cell.y, around.right - cell.right, cell.height),
        )
        seen = []
        for ring in (ring for ring in rings if ring.area):
            try:
                seen.append(self._reader.read(level, ring).reshape(-1, 3))
            except DamageError:
                continue
        if not seen:
            return np.array(self.facts.background, np.uint8)
        return np.asarray(np.percentile(np.concatenate(seen), _DARKER_PERCENT, axis=0), np.uint8)
