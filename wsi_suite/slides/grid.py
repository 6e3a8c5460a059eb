"""Which pixels of a slide are worked on, and who owns them.

A *cell* (128 px) holds tissue or not, a *chunk* (512 px) is what is stored or left out, a *block*
(4096 px) what one task does and what one shard holds. All three are laid from the raster's origin,
so cells nest in chunks and chunks in blocks. A *tile* is what a detector looks for nuclei in at
once: a rectangle of cells within a block, as its tissue needs it. Everything is in working pixels.

What a detector is shown of a tile, its *window*, follows from the tissue alone: real pixels as far
as the halo reaches about cells of tissue, and white beyond. So a tile gives the same nuclei
whatever regions of interest are looked at, and the same pixels are read and stored however tiles
are cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from wsi_suite.errors import ConfigError
from wsi_suite.geometry import Box
from wsi_suite.slides.chunks import CHUNK_PX, BoolArray, chunk_shape, chunks_under
from wsi_suite.slides.windows import Cost, rectangles

TILE_PX = 1024
BLOCK_PX = 4096

WINDOW_PX = 1504 * 1504
"""Most pixels of the window of a tile that is cut to fit; a forward pass takes 0.5 GB in float32.
"""

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
        The pixels whose nuclei this tile owns, among them all cells of tissue in it; the cores of
        a grid never overlap. A core is clipped at the raster's edge.
    window
        The pixels that a detector is shown: the core, grown by the halo. It may reach outside the
        raster.
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
        The tiles with tissue in a wanted chunk, in a fixed order; maybe none.
    chunks
        ``(rows, cols)``, whether a chunk of the box is stored.
    parts
        The pixels to read, one box per chunk: tissue and the halo about it, in the box and in the
        halo about that.
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
    cell_px: int | None = None,
    halo_px: int = 0,
    align_px: int = 1,
    fitted: bool = False,
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
        ``(ceil(height / cell_px), ceil(width / cell_px))``, whether a cell holds tissue; windows
        follow from it. By default all cells of wanted chunks.
    cell_px
        Side of a cell, which divides `chunk_px`; by default a chunk is one.
    halo_px
        Real pixels around what a detector looks for nuclei in.
    align_px
        Sides of windows are multiples of this, where `cell_px` and twice `halo_px` are.
    fitted
        Cut tiles such that a detector computes the fewest pixels, of any shape, up to
        ``WINDOW_PX``. Otherwise none is larger than a square of `tile_px`, as batches need.
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
    cell_px = cell_px or chunk_px
    assert chunk_px % cell_px == 0, cell_px
    assert wanted.shape == chunk_shape(width, height, chunk_px=chunk_px), wanted.shape
    rows, cols = chunk_shape(width, height, chunk_px=cell_px)
    per_chunk = np.ones((chunk_px // cell_px, chunk_px // cell_px), np.bool_)
    asked = np.kron(wanted, per_chunk)[:rows, :cols]
    cells = asked if tissue is None else tissue
    assert cells.shape == asked.shape, cells.shape
    plane = Box(0, 0, width, height)
    squares = _cut(plane, block_px if fitted else tile_px)
    cost = Cost(cell_px, halo_px, WINDOW_PX if fitted else (tile_px + 2 * halo_px) ** 2)
    cores = [core for _, _, square in squares for core in _cores(square, cells, cost)]
    tiles = [
        Tile(core, _window(core, halo_px=halo_px, align_px=align_px))
        for core in cores
        if (chunks_under(core, cells & asked, chunk_px=cell_px)).any()
    ]
    by_block: dict[tuple[int, int], list[Tile]] = {}
    for tile in tiles:
        by_block.setdefault((tile.core.y // block_px, tile.core.x // block_px), []).append(tile)
    covered = _around(cells, plane, cell_px=cell_px, halo_px=halo_px, chunk_px=chunk_px)
    covered[~_reached(tiles, plane, chunk_px=chunk_px)] = 0
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


def _cores(square: Box, cells: BoolArray, cost: Cost) -> Iterator[Box]:
    """Yield the cores of the tiles in a square, those with the largest windows first.

    So no thread begins a long pass when the others have ended.
    """
    side = cost.cell_px
    found = rectangles(chunks_under(square, cells, chunk_px=side), cost)
    cores = [
        Box(
            square.x + left * side,
            square.y + top * side,
            (right - left) * side,
            (bottom - top) * side,
        ).intersect(square)
        for top, left, bottom, right in found
    ]
    yield from sorted(cores, key=lambda core: (-core.expand(cost.halo_px).area, core.y, core.x))


def _window(core: Box, *, halo_px: int, align_px: int) -> Box:
    """Return the window of a core: its pixels, and the halo."""
    width, height = _up(core.width, align_px), _up(core.height, align_px)
    return Box(core.x, core.y, width, height).expand(halo_px)


def _around(
    cells: BoolArray, plane: Box, *, cell_px: int, halo_px: int, chunk_px: int
) -> npt.NDArray[np.int64]:
    """Return ``(rows, cols, 4)`` bounds x, y, right, bottom of tissue and halo in each chunk.

    They are all 0 where there is neither.
    """
    shape = chunk_shape(plane.width, plane.height, chunk_px=chunk_px)
    low, high = np.full((*shape, 2), np.iinfo(np.int64).max), np.zeros((*shape, 2), np.int64)
    corners = np.argwhere(cells)[:, ::-1] * cell_px
    starts = (corners - halo_px).clip(min=0)
    ends = (corners + cell_px + halo_px).clip(max=[plane.width, plane.height])
    firsts, lasts = starts // chunk_px, (ends - 1) // chunk_px
    for step in product(range((cell_px + 2 * halo_px) // chunk_px + 2), repeat=2):
        chunks = firsts + step
        inside = (chunks <= lasts).all(axis=1)
        at, origins = tuple(chunks[inside, ::-1].T), chunks[inside] * chunk_px
        np.minimum.at(low, at, np.maximum(starts[inside], origins))
        np.maximum.at(high, at, np.minimum(ends[inside], origins + chunk_px))
    low[high == 0] = 0
    return np.concatenate([low, high], axis=-1)


def _reached(tiles: Sequence[Tile], plane: Box, *, chunk_px: int) -> BoolArray:
    """Return for each chunk whether a window reaches into it."""
    reached = np.zeros(chunk_shape(plane.width, plane.height, chunk_px=chunk_px), np.bool_)
    for tile in tiles:
        chunks_under(tile.window.intersect(plane), reached, chunk_px=chunk_px)[:] = True
    return reached


def _parts(frame: Box, covered: npt.NDArray[np.int64], *, chunk_px: int) -> tuple[Box, ...]:
    """Return the part of each chunk in a frame that is to be read."""
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
