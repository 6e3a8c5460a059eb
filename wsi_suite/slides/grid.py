"""Which pixels of a slide are worked on, and who owns them.

A *chunk* (512 px) is what is stored or left out, a *tile* (1024 px) what a detector sees at once,
a *block* (4096 px) what one task does and what one shard holds. All three are laid from the
raster's origin, so chunks nest in tiles and tiles in blocks. Everything is in working pixels.

What a detector is shown in a tile, its *window*, follows from the tissue alone, and all its pixels
are real. So a tile gives the same nuclei whatever regions of interest are looked at. Read and
stored is what windows cover: the chunks of tissue and a ring about them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wsi_suite.errors import ConfigError
from wsi_suite.geometry import Box
from wsi_suite.slides.chunks import CHUNK_PX, BoolArray, chunk_shape, chunks_under

TILE_PX = 1024
BLOCK_PX = 4096

SEAM_PX = 2
"""How far beyond its core a tile keeps nuclei. Seen from two tiles, a nucleus on their border lies
some hundredths of a pixel apart: each might leave it to the other. Twins go when tables are
merged."""


@dataclass(frozen=True)
class Tile:
    """Unit of detection: the pixels that it owns, and those that the detector is shown.

    Attributes
    ----------
    core
        The pixels whose nuclei this tile owns; the cores of a grid never overlap. A core is
        clipped at the raster's edge.
    window
        The pixels that a detector is shown: what of the core's chunks holds tissue, grown by the
        halo. It may reach outside the raster.
    """

    core: Box
    window: Box


@dataclass(frozen=True, eq=False)
class Block:
    """Unit of work of one task, and of one shard of the store.

    Attributes
    ----------
    row, col
        Its place among the blocks of the raster.
    box
        Its pixels, clipped at the raster's edge.
    tiles
        The tiles with at least one wanted chunk, row by row; maybe none.
    chunks
        ``(rows, cols)``, whether a chunk of the box is stored.
    parts
        The pixels to read, one box per chunk: what windows cover of the box and of the halo
        about it.
    """

    row: int
    col: int
    box: Box
    tiles: tuple[Tile, ...]
    chunks: BoolArray
    parts: tuple[Box, ...]

    @property
    def stored_px(self) -> int:
        """Pixels of the box that are read, and stored where tiles are kept."""
        return sum(part.intersect(self.box).area for part in self.parts)


@dataclass(frozen=True, eq=False)
class TileGrid:
    """The plan of a slide's work.

    Attributes
    ----------
    width, height
        Size of the raster.
    block_px, tile_px, chunk_px
        Sides of blocks, tiles and chunks.
    halo_px
        Real pixels around what a detector looks for nuclei in.
    wanted
        ``(rows, cols)``, whether nuclei are looked for in a chunk of the raster.
    blocks
        The blocks that windows reach into, row by row.
    """

    width: int
    height: int
    block_px: int
    tile_px: int
    chunk_px: int
    halo_px: int
    wanted: BoolArray
    blocks: tuple[Block, ...]


def plan_grid(
    width: int,
    height: int,
    *,
    wanted: BoolArray,
    tissue: BoolArray | None = None,
    halo_px: int = 0,
    align_px: int = 1,
    tile_px: int = TILE_PX,
    block_px: int = BLOCK_PX,
    chunk_px: int = CHUNK_PX,
) -> TileGrid:
    """Cut a raster into blocks and tiles, without those that no window reaches.

    Parameters
    ----------
    width, height
        Size of the raster.
    wanted
        ``(ceil(height / chunk_px), ceil(width / chunk_px))``, whether nuclei are looked for in a
        chunk.
    tissue
        The same, whether a chunk holds tissue; windows follow from it. By default the wanted ones.
    halo_px
        Real pixels around what a detector looks for nuclei in.
    align_px
        Sides of windows are multiples of this, where `chunk_px` and twice `halo_px` are.
    tile_px
        A multiple of `chunk_px` that divides `block_px`.

    Raises
    ------
    ConfigError
        The sides do not nest.
    """
    if tile_px % chunk_px or block_px % tile_px:
        raise ConfigError(
            f"tile_px = {tile_px}: expected a multiple of {chunk_px} that divides {block_px}, "
            f"as {TILE_PX}"
        )
    assert wanted.shape == chunk_shape(width, height, chunk_px=chunk_px), wanted.shape
    shown = wanted if tissue is None else tissue | wanted
    plane = Box(0, 0, width, height)
    tiles = [
        Tile(core, _window(core, shown, chunk_px=chunk_px, halo_px=halo_px, align_px=align_px))
        for _, _, core in _cut(plane, tile_px)
        if chunks_under(core, wanted, chunk_px=chunk_px).any()
    ]
    by_block: dict[tuple[int, int], list[Tile]] = {}
    for tile in tiles:
        by_block.setdefault((tile.core.y // block_px, tile.core.x // block_px), []).append(tile)
    covered = _covered(tiles, plane, chunk_px=chunk_px)
    blocks = tuple(
        Block(
            row,
            col,
            box,
            tiles=tuple(by_block.get((row, col), ())),
            chunks=chunks_under(box, covered, chunk_px=chunk_px)[..., 2] > 0,
            parts=_parts(box.expand(halo_px).intersect(plane), covered, chunk_px=chunk_px),
        )
        for row, col, box in _cut(plane, block_px)
        if chunks_under(box, covered, chunk_px=chunk_px).any()
    )
    return TileGrid(width, height, block_px, tile_px, chunk_px, halo_px, wanted, blocks)


def _window(core: Box, shown: BoolArray, *, chunk_px: int, halo_px: int, align_px: int) -> Box:
    """Return the window of a core: the bounds of its chunks to show, and the halo."""
    rows, cols = np.nonzero(chunks_under(core, shown, chunk_px=chunk_px))
    x, y = core.x + int(cols.min()) * chunk_px, core.y + int(rows.min()) * chunk_px
    width = min(core.x + (int(cols.max()) + 1) * chunk_px, core.right) - x
    height = min(core.y + (int(rows.max()) + 1) * chunk_px, core.bottom) - y
    return Box(x, y, _up(width, align_px), _up(height, align_px)).expand(halo_px)


def _covered(tiles: Sequence[Tile], plane: Box, *, chunk_px: int) -> npt.NDArray[np.int64]:
    """Return ``(rows, cols, 4)`` bounds x, y, right, bottom of each chunk's part in windows.

    They are all 0 where no window reaches.
    """
    shape = chunk_shape(plane.width, plane.height, chunk_px=chunk_px)
    low, high = np.full((*shape, 2), np.iinfo(np.int64).max), np.zeros((*shape, 2), np.int64)
    for tile in tiles:
        window = tile.window.intersect(plane)
        rows = np.arange(window.y // chunk_px, -(-window.bottom // chunk_px))
        cols = np.arange(window.x // chunk_px, -(-window.right // chunk_px))
        at = np.ix_(rows, cols)
        y, x = rows[:, None] * chunk_px, cols[None, :] * chunk_px
        corner = np.stack(np.broadcast_arrays(x.clip(window.x), y.clip(window.y)), -1)
        end = np.stack(
            np.broadcast_arrays(
                (x + chunk_px).clip(max=window.right), (y + chunk_px).clip(max=window.bottom)
            ),
            -1,
        )
        low[at], high[at] = np.minimum(low[at], corner), np.maximum(high[at], end)
    low[high == 0] = 0
    return np.concatenate([low, high], axis=-1)


def _parts(frame: Box, covered: npt.NDArray[np.int64], *, chunk_px: int) -> tuple[Box, ...]:
    """Return the part of each chunk in a frame that windows cover."""
    boxes = (
        Box(x, y, right - x, bottom - y).intersect(frame)
        for x, y, right, bottom in chunks_under(frame, covered, chunk_px=chunk_px)
        .reshape(-1, 4)
        .tolist()
    )
    return tuple(box for box in boxes if box.area)


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _cut(box: Box, side: int) -> Iterator[tuple[int, int, Box]]:
    # Row, column and box of each square, row by row, clipped at the box.
    for row, y in enumerate(range(box.y, box.bottom, side)):
        for col, x in enumerate(range(box.x, box.right, side)):
            yield row, col, Box(x, y, side, side).intersect(box)
