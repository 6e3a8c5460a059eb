"""The tissue of a slide at working resolution, as a pyramid in one OME-Zarr folder.

Stored is what a detector is shown: tissue, and what lies as near to it as the detector sees. All
other pixels are 255. While it is being written the folder is called
``<name>.partial``; a partial store is continued by whoever opens it.

A block's task writes the block at every level where it still is whole chunks: 4096, 2048, 1024
and 512 pixels, one shard each. So a shard has one writer, and no two tasks touch the same file.
The coarser levels follow in a last, small pass.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wsi_suite.errors import OutputConflictError, OutputError
from wsi_suite.files import whole_file
from wsi_suite.geometry import Box
from wsi_suite.slides.chunks import CHUNK_PX, whiten_unwanted
from wsi_suite.slides.grid import BLOCK_PX, Block
from wsi_suite.slides.ome_metadata import OmeZarrVersion
from wsi_suite.slides.store_layout import (
    Layout,
    begin_store,
    is_like,
    layout_of,
    partial_folder,
    read_attributes,
    shut_out_writers,
    staging_folder,
    store_folder,
    writing,
)
from wsi_suite.slides.store_pixels import (
    BoolArray,
    Buffer,
    Pixels,
    encode_chunks,
    halve,
    halve_chunks,
    not_blank,
    shard_parts,
)
from wsi_suite.slides.zarr_codecs import unknown_codec

if TYPE_CHECKING:
    import zarr

STORED_FRACTION = 0.8
"""Compressed over raw size: 0.3 - 0.4 on slides that were scanned to JPEG, 0.7 - 0.8 on tissue of
fine texture, 0.9 on noisy camera images. An estimate should rather be too large."""


@dataclass(frozen=True)
class TileStore:
    """An OME-Zarr pyramid that blocks are written to and boxes are read from.

    Made by :meth:`create` and :meth:`open`. It can be pickled, and several processes may write
    different blocks of one store at the same time.

    Attributes
    ----------
    path
        Where the store is, or will be once it is finished.
    folder
        Where its files are now.
    layout
        Its sizes and its version.
    levels
        The pyramid's arrays, ``(3, height, width)`` uint8, finest first.
    writer
        Names the run that writes. Another run's :meth:`create` takes the right to write from all
        that use this name, even from processes that outlived their run.

    Examples
    --------
    The tiles that ``run_batch(..., stage="tile")`` stored:

    >>> import wsi_suite as ws
    >>> tiles = ws.TileStore.open("tiled/B12_ER/tiles.ome.zarr")
    >>> tiles.layout.sizes[0]
    (400, 320)
    >>> tiles.read(ws.Box(100, 100, 64, 32)).shape
    (32, 64, 3)
    """

    path: Path
    folder: Path
    layout: Layout
    levels: tuple[zarr.Array[Any], ...]
    writer: str = ""

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        width: int,
        height: int,
        mpp: tuple[float, float],
        name: str,
        version: OmeZarrVersion = "0.5",
        chunk_px: int = CHUNK_PX,
        block_px: int = BLOCK_PX,
        writer: str = "",
    ) -> TileStore:
        """Begin a store, or continue the partial one of the same image.

        Parameters
        ----------
        path
            The finished store, as ``tiles.ome.zarr``.
        width, height, mpp
            Size of the finest level, and um per pixel of it in x and y.
        name
            What viewers call the image.
        version
            Of OME-Zarr: 0.5 is sharded; 0.4 has a file for each chunk, and opens in QuPath.
        writer
            Names the run that writes; no other can write any more.

        Raises
        ------
        OutputConflictError
            A finished store is there, or a partial one of another image.
        OutputError
            The folder cannot be written.
        """
        layout = Layout(width, height, chunk_px, block_px, version)
        path = Path(path)
        folder = partial_folder(path)
        if store_folder(path).exists():
            raise OutputConflictError(f"{path}: exists; remove it, or give --overwrite")
        found = read_attributes(folder)
        if found is None:
            with writing(folder):
                begin_store(folder, layout, name=name, mpp=mpp)
        elif not is_like(found, layout.attributes(name, mpp=mpp), folder=folder):
            raise OutputConflictError(
                f"{folder}: was begun for another image or with other settings; remove it, or "
                "give --overwrite"
            )
        with writing(folder):
            shut_out_writers(folder)
            staging_folder(folder, writer).mkdir()
        return cls.open(path, writer=writer)

    @classmethod
    def open(cls, path: str | Path, *, writer: str = "") -> TileStore:
        """Open a store that is finished or partial, for reading and, as `writer`, for writing.

        Raises
        ------
        OutputError
            There is none, or it is not one of this suite.
        """
        import zarr

        path = Path(path)
        folder = store_folder(path) if store_folder(path).exists() else partial_folder(path)
        attributes = read_attributes(folder)
        if attributes is None:
            raise OutputError(f"{path}: no tiles here; make them with 'wsi-suite tile'")
        layout = layout_of(attributes, folder=path)
        levels = tuple(zarr.open_array(folder / str(level)) for level in range(len(layout.sizes)))
        for codec in map(unknown_codec, levels):
            if codec is not None:
                raise OutputError(
                    f"{path}: its codec '{codec}' is none that this suite writes; make the tiles"
                    " again with 'wsi-suite tile'"
                )
        return cls(path, folder, layout, levels, writer)

    def write_block(self, block: Block, pixels: Pixels) -> None:
        """Write a block at every level where it is whole chunks.

        Chunks that the block does not want are left out, whatever `pixels` holds there. Written
        again, a block comes out in the same bytes.

        Parameters
        ----------
        pixels
            ``(block.box.height, block.box.width, 3)`` RGB.

        Raises
        ------
        OutputError
            The disk is full or cannot be written.
        """
        assert pixels.shape == (block.box.height, block.box.width, 3), pixels.shape
        chunks = block.chunks
        for level in range(self.layout.block_levels):
            if level:
                pixels, chunks = halve(pixels), halve_chunks(chunks)
            if level == 1:
                # Half chunks: of a quarter of the pixels, and in an array that is ours.
                half = self.layout.chunk_px // 2
                frame = Box(0, 0, pixels.shape[1], pixels.shape[0])
                whiten_unwanted(pixels, frame, wanted=block.chunks, chunk_px=half)
            self._write_shard(level, (block.row, block.col), pixels, chunks)

    def read(self, box: Box, *, level: int = 0) -> Pixels:
        """Return the pixels of any box: ``(height, width, 3)`` RGB, 255 if nothing is stored.

        Parameters
        ----------
        box
            In pixels of the level; it may reach outside the image.

        Raises
        ------
        OutputError
            A file of the store is damaged.
        """
        width, height = self.layout.sizes[level]
        inside = box.intersect(Box(0, 0, width, height))
        pixels = np.full((box.height, box.width, 3), 255, dtype=np.uint8)
        if inside.area:
            rows, columns = inside.within(Box(0, 0, width, height))
            try:
                stored = np.asarray(self.levels[level][:, rows, columns])
            except (OSError, ValueError, RuntimeError, zlib.error) as error:
                raise OutputError(
                    f"{self.folder}: level {level} cannot be read at {inside} ({error}); remove "
                    "the folder and make the tiles again"
                ) from error
            pixels[inside.within(box)] = stored.transpose(1, 2, 0)
        return pixels

    def finish(self) -> Path:
        """Write the coarser levels and give the store its name.

        Raises
        ------
        OutputConflictError
            A finished store is there.
        OutputError
            The disk is full or cannot be written.
        """
        for level in range(self.layout.block_levels, len(self.levels)):
            self._write_coarse(level)
        if store_folder(self.path).exists():
            raise OutputConflictError(f"{self.path}: exists; remove it, or give --overwrite")
        with writing(self.path):
            shut_out_writers(self.folder)
            self.folder.rename(store_folder(self.path))
        return self.path

    def _write_coarse(self, level: int) -> None:
        # Where chunks of the level before are absent it reads as 255, and stays absent here.
        width, height = self.layout.sizes[level]
        finer = Box(0, 0, *self.layout.sizes[level - 1])
        side = self.layout.shard_px(level)
        for row in range(-(-height // side)):
            for col in range(-(-width // side)):
                block = Box(2 * col * side, 2 * row * side, 2 * side, 2 * side)
                pixels = halve(self.read(block.intersect(finer), level=level - 1))
                chunks = not_blank(pixels, chunk_px=self.layout.chunk_px)
                self._write_shard(level, (row, col), pixels, chunks)

    def _write_shard(
        self, level: int, place: tuple[int, int], pixels: Pixels, chunks: BoolArray
    ) -> None:
        wanted = [(int(row), int(col)) for row, col in np.argwhere(chunks)]
        encoded = encode_chunks(
            pixels,
            wanted,
            chunk_px=self.layout.chunk_px,
            zarr_format=self.layout.zarr_format,
        )
        per_side = self.layout.shard_px(level) // self.layout.chunk_px
        if self.layout.zarr_format == 2:
            for (row, col), data in zip(wanted, encoded, strict=True):
                self._put(level, (place[0] * per_side + row, place[1] * per_side + col), [data])
        elif wanted:
            self._put(level, place, shard_parts(wanted, encoded, per_side=per_side))

    def _put(self, level: int, place: tuple[int, int], parts: Iterable[Buffer]) -> None:
        key = self.levels[level].metadata.encode_chunk_key((0, *place))
        place_in_store = self.folder / str(level) / key
        staging = staging_folder(self.folder, self.writer)
        with whole_file(place_in_store, staging=staging) as file:
            with file.open("wb") as stream:
                stream.writelines(parts)
            # After the file: who has no right to write leaves no folders either.
            place_in_store.parent.mkdir(parents=True, exist_ok=True)


def estimated_bytes(pixels: int) -> int:
    """Return about how many bytes a store takes on disk.

    Parameters
    ----------
    pixels
        Pixels of the finest level that are stored; the pyramid adds a third.
    """
    return round(pixels * 3 * STORED_FRACTION * 4 / 3)
