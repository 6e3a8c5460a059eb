"""Which pixels of a slide are worked on, and who owns them.

A *chunk* (512 px) is what is stored or left out, a *tile* (1024 px) what a detector sees at once,
a *region* (4096 px) what one task does and what one shard holds. All three are laid from the
raster's origin, so chunks nest in tiles and tiles in regions. Everything is in working pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wsi_suite.errors import ConfigError
from wsi_suite.geometry import Box, Roi, Scale

if TYPE_CHECKING:
    from wsi_suite.slides.tissue import TissueMask

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]

CHUNK_PX = 512
TILE_PX = 1024
REGION_PX = 4096


@dataclass(frozen=True)
class Tile:
    """What a detector sees at once.

    Attributes
    ----------
    core
        The pixels whose nuclei this tile owns; the cores of a grid never overlap. A core is
        clipped at the raster's edge.
    """

    core: Box

    def window(self, halo_px: int) -> Box:
        """Return the core grown by the halo; it may reach outside the raster."""
        return self.core.expand(halo_px)


@dataclass(frozen=True, eq=False)
class Region:
    """What one task reads, stores and detects in.

    Attributes
    ----------
    row, col
        Its place among the regions of the raster.
    box
        Its pixels, clipped at the raster's edge.
    tiles
        The tiles with at least one wanted chunk, row by row.
    chunks
        ``(rows, cols)``, whether a chunk of the box is wanted.
    """

    row: int
    col: int
    box: Box
    tiles: tuple[Tile, ...]
    chunks: BoolArray


@dataclass(frozen=True, eq=False)
class TileGrid:
    """The plan of a slide's work.

    Attributes
    ----------
    width, height
        Size of the raster.
    region_px, tile_px, chunk_px
        Sides of regions, tiles and chunks.
    halo_px
        Real pixels that a detector needs around a core.
    wanted
        ``(rows, cols)``, whether a chunk of the raster is wanted.
    regions
        The regions with at least one wanted chunk, row by row.
    """

    width: int
    height: int
    region_px: int
    tile_px: int
    chunk_px: int
    halo_px: int
    wanted: BoolArray
    regions: tuple[Region, ...]


def plan_grid(
    width: int,
    height: int,
    *,
    wanted: BoolArray,
    halo_px: int = 0,
    tile_px: int = TILE_PX,
    region_px: int = REGION_PX,
    chunk_px: int = CHUNK_PX,
) -> TileGrid:
    """Cut a raster into regions and tiles, leaving out those without a wanted chunk.

    Parameters
    ----------
    width, height
        Size of the raster.
    wanted
        ``(ceil(height / chunk_px), ceil(width / chunk_px))``, from :func:`chunks_with_tissue` or
        :func:`chunks_in_rois`.
    halo_px
        Real pixels that a detector needs around a core.
    tile_px
        A multiple of `chunk_px` that divides `region_px`.

    Raises
    ------
    ConfigError
        The sides do not nest.
    """
    if tile_px % chunk_px or region_px % tile_px:
        raise ConfigError(
            f"tile_px = {tile_px}: expected a multiple of {chunk_px} that divides {region_px}, "
            f"as {TILE_PX}"
        )
    assert wanted.shape == chunk_shape(width, height, chunk_px=chunk_px), wanted.shape
    plane = Box(0, 0, width, height)
    regions = []
    for row, col, box in _cut(plane, region_px):
        chunks = _under(box, wanted, chunk_px)
        if chunks.any():
            tiles = tuple(
                Tile(core)
                for _, _, core in _cut(box, tile_px)
                if _under(core, wanted, chunk_px).any()
            )
            regions.append(Region(row, col, box, tiles, chunks.copy()))
    return TileGrid(width, height, region_px, tile_px, chunk_px, halo_px, wanted, tuple(regions))


def chunk_shape(width: int, height: int, *, chunk_px: int = CHUNK_PX) -> tuple[int, int]:
    """Return how many ``(rows, columns)`` of chunks cover a raster."""
    return -(-height // chunk_px), -(-width // chunk_px)


def chunks_with_tissue(
    tissue: TissueMask, *, width: int, height: int, scale: Scale, chunk_px: int = CHUNK_PX
) -> BoolArray:
    """Return for each chunk of a raster whether any tissue lies under it.

    Parameters
    ----------
    tissue
        The mask, in its own frame.
    width, height, scale
        The raster: its size, and the level-0 pixels that one of its pixels spans.

    Returns
    -------
    ``(rows, cols)`` bool
    """
    y, x = _edges(height, chunk_px) * scale.y, _edges(width, chunk_px) * scale.x
    top, bottom = _mask_range(y / tissue.scale.y, tissue.mask.shape[0])
    left, right = _mask_range(x / tissue.scale.x, tissue.mask.shape[1])
    # With a summed-area table the tissue under any rectangle is four look-ups.
    table = np.pad(tissue.mask, ((1, 0), (1, 0))).astype(np.int64).cumsum(axis=0).cumsum(axis=1)
    area = (
        table[np.ix_(bottom, right)]
        - table[np.ix_(top, right)]
        - table[np.ix_(bottom, left)]
        + table[np.ix_(top, left)]
    )
    return np.asarray(area > 0)


def chunks_in_rois(
    rois: Sequence[Roi], *, width: int, height: int, scale: Scale, chunk_px: int = CHUNK_PX
) -> BoolArray:
    """Return for each chunk of a raster whether any part of a region of interest lies in it.

    Parameters
    ----------
    rois
        Regions in level-0 pixels.
    width, height, scale
        The raster: its size, and the level-0 pixels that one of its pixels spans.

    Returns
    -------
    ``(rows, cols)`` bool
    """
    import shapely  # here, since a run without regions of interest does not need it

    y, x = _edges(height, chunk_px) * scale.y, _edges(width, chunk_px) * scale.x
    # Shrunk by a millionth of a chunk: to share an edge is not to share pixels.
    trim_x, trim_y = 1e-6 * chunk_px * scale.x, 1e-6 * chunk_px * scale.y
    chunks = shapely.box(
        (x[:-1] + trim_x)[None, :],
        (y[:-1] + trim_y)[:, None],
        (x[1:] - trim_x)[None, :],
        (y[1:] - trim_y)[:, None],
    )
    tree = shapely.STRtree(chunks.ravel())
    areas = np.array([roi.area for roi in rois], dtype=object)
    _, hit = tree.query(areas, predicate="intersects")
    wanted = np.zeros(chunks.shape, dtype=np.bool_)
    wanted.ravel()[hit] = True
    return wanted


def whiten_unwanted(
    pixels: npt.NDArray[np.uint8], box: Box, *, wanted: BoolArray, chunk_px: int = CHUNK_PX
) -> None:
    """Set the pixels of chunks that are not wanted to 255, in place.

    What is not stored reads as 255; a detector that is fed from the slide must see the same.

    Parameters
    ----------
    pixels
        ``(box.height, box.width, 3)``.
    box
        Where they lie; it may reach outside the raster, and what lies there is left alone.
    wanted
        ``(rows, cols)``, whether a chunk is wanted, from the origin of the frame of `box`.
    """
    left, top = (max(0, side // chunk_px) for side in (box.x, box.y))
    right, bottom = (max(0, -(-side // chunk_px)) for side in (box.right, box.bottom))
    for row, col in np.argwhere(~wanted[top:bottom, left:right]).tolist():
        chunk = Box((left + col) * chunk_px, (top + row) * chunk_px, chunk_px, chunk_px)
        pixels[chunk.intersect(box).within(box)] = 255


def _cut(box: Box, side: int) -> Iterator[tuple[int, int, Box]]:
    # Row, column and box of each square, row by row, clipped at the box.
    for row, y in enumerate(range(box.y, box.bottom, side)):
        for col, x in enumerate(range(box.x, box.right, side)):
            yield row, col, Box(x, y, side, side).intersect(box)


def _under(box: Box, wanted: BoolArray, chunk_px: int) -> BoolArray:
    rows = slice(box.y // chunk_px, -(-box.bottom // chunk_px))
    return wanted[rows, box.x // chunk_px : -(-box.right // chunk_px)]


def _edges(size: int, chunk_px: int) -> FloatArray:
    # The chunks' borders along one axis, the last at the raster's edge.
    return np.append(np.arange(0, size, chunk_px), size).astype(np.float64)


def _mask_range(edges: FloatArray, size: int) -> tuple[npt.NDArray[np.int_], npt.NDArray[np.int_]]:
    # First and last-plus-one mask pixel under each chunk: at least one, for the mask's size is
    # rounded and may end a little before the raster does.
    first = np.clip(np.floor(edges[:-1] + 1e-6).astype(np.int_), 0, size - 1)
    last = np.clip(np.ceil(edges[1:] - 1e-6).astype(np.int_), first + 1, size)
    return first, last
