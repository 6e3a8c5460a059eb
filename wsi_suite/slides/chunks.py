"""Chunks of a raster: which hold tissue or regions of interest, and which are left white.

A chunk is what is stored or left out: 512 x 512 working pixels, laid from the raster's origin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from wsi_suite.geometry import Box, Roi, Scale

if TYPE_CHECKING:
    from wsi_suite.slides.tissue import TissueMask

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
T = TypeVar("T", bound=np.generic)

CHUNK_PX = 512

CELL_PX = 128
"""Side of the squares by which tissue is told from glass when work is planned. Smaller ones leave
out a few per cent more glass, and make ``slide.json`` longer."""


def chunk_shape(width: int, height: int, *, chunk_px: int = CHUNK_PX) -> tuple[int, int]:
    """Return how many ``(rows, columns)`` of chunks cover a raster."""
    return -(-height // chunk_px), -(-width // chunk_px)


def chunks_with_tissue(
    tissue: TissueMask,
    *,
    width: int,
    height: int,
    scale: Scale,
    chunk_px: int = CHUNK_PX,
    margin_px0: float = 0.0,
) -> BoolArray:
    """Return for each chunk of a raster whether any tissue lies under it.

    Parameters
    ----------
    tissue
        The mask, in its own frame.
    width, height, scale
        The raster: its size, and the level-0 pixels that one of its pixels spans.
    margin_px0
        Chunks that come as near as this to tissue, along x and y, count, too.

    Returns
    -------
    ``(rows, cols)`` bool
    """
    y, x = _edges(height, chunk_px) * scale.y, _edges(width, chunk_px) * scale.x
    margin_y, margin_x = margin_px0 / tissue.scale.y, margin_px0 / tissue.scale.x
    top, bottom = _mask_range(y / tissue.scale.y, tissue.mask.shape[0], margin=margin_y)
    left, right = _mask_range(x / tissue.scale.x, tissue.mask.shape[1], margin=margin_x)
    rows = [np.asarray(tissue.mask[a:b].any(axis=0)) for a, b in zip(top, bottom, strict=True)]
    columns = [np.array([row[a:b].any() for row in rows]) for a, b in zip(left, right, strict=True)]
    return np.stack(columns, axis=1)


def chunks_of_cells(cells: BoolArray, *, cells_per_chunk: int) -> BoolArray:
    """Return for each chunk whether any of its cells is set.

    Parameters
    ----------
    cells
        ``(rows, cols)`` of a raster.
    cells_per_chunk
        Along each axis.
    """
    rows, cols = chunk_shape(cells.shape[1], cells.shape[0], chunk_px=cells_per_chunk)
    whole = np.zeros((rows * cells_per_chunk, cols * cells_per_chunk), np.bool_)
    whole[: cells.shape[0], : cells.shape[1]] = cells
    grouped = whole.reshape(rows, cells_per_chunk, cols, cells_per_chunk)
    return np.asarray(grouped.any(axis=(1, 3)))


def chunks_in_rois(
    rois: Sequence[Roi],
    *,
    width: int,
    height: int,
    scale: Scale,
    chunk_px: int = CHUNK_PX,
    margin_px0: float = 0.0,
) -> BoolArray:
    """Return for each chunk of a raster whether any part of a region of interest lies in it.

    Parameters
    ----------
    rois
        Regions of interest, in level-0 pixels.
    width, height, scale
        The raster: its size, and the level-0 pixels that one of its pixels spans.
    margin_px0
        Chunks that come as near as this to a region count, too.

    Returns
    -------
    ``(rows, cols)`` bool
    """
    import shapely  # here, since a run without regions of interest does not need it

    y, x = _edges(height, chunk_px) * scale.y, _edges(width, chunk_px) * scale.x
    # Shrunk by a millionth of a chunk: to share an edge is not to share pixels.
    trim_x = 1e-6 * chunk_px * scale.x - margin_px0
    trim_y = 1e-6 * chunk_px * scale.y - margin_px0
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


def chunks_under(box: Box, values: npt.NDArray[T], *, chunk_px: int) -> npt.NDArray[T]:
    """Return the part of `values`, one per chunk, of the chunks that a box reaches into."""
    rows = slice(box.y // chunk_px, -(-box.bottom // chunk_px))
    return values[rows, box.x // chunk_px : -(-box.right // chunk_px)]


def _edges(size: int, chunk_px: int) -> FloatArray:
    # The chunks' borders along one axis, the last at the raster's edge.
    return np.append(np.arange(0, size, chunk_px), size).astype(np.float64)


def _mask_range(
    edges: FloatArray, size: int, *, margin: float
) -> tuple[npt.NDArray[np.int_], npt.NDArray[np.int_]]:
    # First and last-plus-one mask pixel under each chunk: at least one, for the mask's size is
    # rounded and may end a little before the raster does.
    first = np.clip(np.floor(edges[:-1] - margin + 1e-6).astype(np.int_), 0, size - 1)
    last = np.clip(np.ceil(edges[1:] + margin - 1e-6).astype(np.int_), first + 1, size)
    return first, last
