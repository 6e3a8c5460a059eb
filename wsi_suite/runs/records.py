"""Records of the blocks that are done, kept until the run is finished.

``<row>-<col>.parquet``
    the block's nuclei;
``<row>-<col>.tiles``
    a mark, empty: the block's tiles are stored;
``<row>-<col>.unreadable``
    boxes of the slide that the block could not read, so that it is done again at the next start.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np

from wsi_suite.documents import Document, read_document, write_document
from wsi_suite.errors import DataError, OutputError
from wsi_suite.files import whole_file
from wsi_suite.geometry import Box
from wsi_suite.nuclei.parquet import read_nuclei, write_nuclei
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.slides.grid import Block

_NUCLEI, _TILES, _UNREADABLE = ".parquet", ".tiles", ".unreadable"


class BlockResult(NamedTuple):
    """Result of a block, as a worker returns it.

    Attributes
    ----------
    nuclei
        Its nuclei, if they were wanted.
    lost
        Boxes of the slide that could not be read, working pixels.
    """

    nuclei: Nuclei | None
    lost: tuple[Box, ...] = ()


class _Unreadable(Document):
    boxes: tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True)
class Records:
    """The records of a run; each is there whole or not at all.

    Attributes
    ----------
    folder
        Where they are.
    staging
        Where they are written before they get their names: the folder of the run's lease.
    """

    folder: Path
    staging: Path | None = None

    def has_nuclei(self, block: Block) -> bool:
        """Return whether the block's nuclei are known."""
        return self._path(block, _NUCLEI).exists()

    def has_tiles(self, block: Block) -> bool:
        """Return whether the block's tiles are stored."""
        return self._path(block, _TILES).exists()

    def times(self, blocks: Iterable[Block], *, nuclei: bool) -> dict[Block, float]:
        """Return when the blocks that are done were recorded, seconds since 1970.

        Parameters
        ----------
        blocks
            The blocks to look for.
        nuclei
            Whether nuclei are looked for, else tiles are stored only.
        """
        times = {}
        for block in blocks:
            with suppress(OSError):  # not done, or another process ends the run at this moment
                times[block] = self._path(block, _NUCLEI if nuclei else _TILES).stat().st_mtime
        return times

    def keep_nuclei(self, block: Block, nuclei: Nuclei) -> None:
        """Remember the nuclei of a block; grades come last, with the thresholds."""
        none = np.zeros(len(nuclei), np.uint8)
        path = self._path(block, _NUCLEI)
        write_nuclei(nuclei, path, intensity=none, metadata={}, staging=self.staging)

    def mark_tiles(self, block: Block) -> None:
        """Remember that the tiles of a block are stored."""
        with whole_file(self._path(block, _TILES), staging=self.staging) as partial:
            partial.touch()

    def keep_lost(self, block: Block, lost: Sequence[Box]) -> None:
        """Record the unreadable area of a block, empty if it has read everything."""
        path = self._path(block, _UNREADABLE)
        if lost:
            boxes = tuple((box.x, box.y, box.width, box.height) for box in lost)
            write_document(path, _Unreadable(boxes=boxes), staging=self.staging)
        else:
            path.unlink(missing_ok=True)

    def lost(self, block: Block) -> tuple[Box, ...]:
        """Return the boxes that a block could not read, working pixels.

        Raises
        ------
        OutputError
            The record is damaged.
        """
        record = read_document(
            _Unreadable, self._path(block, _UNREADABLE), fault="damaged", remedy="give --overwrite"
        )
        return () if record is None else tuple(Box(*box) for box in record.boxes)

    def forget_nuclei(self, block: Block) -> None:
        """Forget the nuclei of a block, whose pixels have changed."""
        self._path(block, _NUCLEI).unlink(missing_ok=True)

    def forget_tiles(self) -> None:
        """Forget which tiles were stored, as the store is gone."""
        for mark in self.folder.glob(f"*{_TILES}"):
            mark.unlink()

    def read_nuclei(self, block: Block) -> Nuclei:
        """Return the nuclei of a block.

        Raises
        ------
        OutputError
            A crash of the machine has damaged the record; it is removed, so that it is made again.
        """
        path = self._path(block, _NUCLEI)
        try:
            return read_nuclei(path)[0]
        except DataError as error:
            path.unlink(missing_ok=True)
            raise OutputError(
                f"{error}; give the same command again, which computes that part again"
            ) from None

    def remove(self) -> None:
        """Remove all records, as far as the system allows; other files stay."""
        for suffix in (_NUCLEI, _TILES, _UNREADABLE):
            for record in self.folder.glob(f"*{suffix}"):
                with suppress(OSError):
                    record.unlink()

    def _path(self, block: Block, suffix: str) -> Path:
        return self.folder / f"{block.row:04d}-{block.col:04d}{suffix}"


@dataclass(frozen=True)
class RecordedNuclei(Sequence[Nuclei]):
    """Nuclei of the blocks of a run, each read when it is asked for and not kept."""

    records: Records
    blocks: tuple[Block, ...]

    def __len__(self) -> int:
        return len(self.blocks)

    @overload
    def __getitem__(self, place: int) -> Nuclei: ...
    @overload
    def __getitem__(self, place: slice) -> RecordedNuclei: ...
    def __getitem__(self, place: int | slice) -> Nuclei | RecordedNuclei:
        if isinstance(place, slice):
            return RecordedNuclei(self.records, self.blocks[place])
        return self.records.read_nuclei(self.blocks[place])
