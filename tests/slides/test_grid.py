from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_suite.errors import ConfigError
from wsi_suite.geometry import Box
from wsi_suite.slides.chunks import chunk_shape
from wsi_suite.slides.grid import Tile, TileGrid, plan_grid

SIZES = {"chunk_px": 8, "tile_px": 16, "block_px": 64}


@st.composite
def grids(draw) -> TileGrid:
    width, height = draw(st.integers(1, 200)), draw(st.integers(1, 200))
    seed = draw(st.integers(0, 2**32 - 1))
    share = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    shape = chunk_shape(width, height, chunk_px=8)
    wanted = np.random.default_rng(seed).random(shape) < share
    tissue = wanted | (np.random.default_rng(seed + 1).random(shape) < share)
    return plan_grid(width, height, wanted=wanted, tissue=tissue, halo_px=6, align_px=4, **SIZES)


def owners(grid: TileGrid) -> np.ndarray:
    count = np.zeros((grid.height, grid.width), dtype=int)
    for block in grid.blocks:
        for tile in block.tiles:
            count[tile.core.within(Box(0, 0, grid.width, grid.height))] += 1
    return count


@given(grids())
def test_every_wanted_pixel_has_exactly_one_owner(grid):
    count = owners(grid)
    wanted = np.kron(grid.wanted, np.ones((8, 8), dtype=bool))[: grid.height, : grid.width]
    assert count.max(initial=0) <= 1
    assert (count[wanted] == 1).all()


@given(grids(), st.integers(0, 2**32 - 1))
def test_every_point_has_exactly_one_owner(grid, seed):
    full = plan_grid(grid.width, grid.height, wanted=np.ones_like(grid.wanted), **SIZES)
    points = np.random.default_rng(seed).random((50, 2)) * [grid.width, grid.height]
    corners = np.floor(points / 8) * 8  # on the borders of cores, where ownership is decided
    for at in (points, corners):
        owned = [tile.core.contains(at) for block in full.blocks for tile in block.tiles]
        assert (np.sum(owned, axis=0) == 1).all()


@given(grids())
def test_blocks_and_tiles_hold_only_what_is_wanted(grid):
    plane = Box(0, 0, grid.width, grid.height)
    assert [(r.row, r.col) for r in grid.blocks] == sorted((r.row, r.col) for r in grid.blocks)
    covered = np.zeros((grid.height, grid.width), bool)
    for window in (tile.window.intersect(plane) for r in grid.blocks for tile in r.tiles):
        covered[window.within(plane)] = True
    for block in grid.blocks:
        assert block.box == Box(block.col * 64, block.row * 64, 64, 64).intersect(plane)
        assert block.chunks.shape == chunk_shape(block.box.width, block.box.height, chunk_px=8)
        read = np.zeros_like(covered)
        for part in block.parts:
            assert not read[part.within(plane)].any(), "no pixel is read twice"
            read[part.within(plane)] = True
        frame = block.box.expand(grid.halo_px).intersect(plane).within(plane)
        assert read[frame][covered[frame]].all(), "all that windows show is read"
        assert block.stored_px == read[block.box.within(plane)].sum()
        rows, cols = np.nonzero(read[block.box.within(plane)])
        stored = np.zeros_like(block.chunks)
        stored[rows // 8, cols // 8] = True
        assert np.array_equal(block.chunks, stored)
        for tile in block.tiles:
            core = tile.core
            assert core.intersect(block.box) == core
            rows, cols = (
                slice(core.y // 8, -(-core.bottom // 8)),
                slice(core.x // 8, -(-core.right // 8)),
            )
            assert grid.wanted[rows, cols].any()
            inner = tile.window.expand(-grid.halo_px)
            assert inner.width % 4 == inner.height % 4 == 0
            shown = grid.wanted[rows, cols].nonzero()
            for y, x in zip(*shown, strict=True):
                chunk = Box(core.x + int(x) * 8, core.y + int(y) * 8, 8, 8).intersect(core)
                assert chunk.intersect(inner) == chunk


@given(grids(), st.integers(0, 2**32 - 1))
def test_windows_follow_from_tissue_whatever_is_wanted(grid, seed):
    some = grid.wanted & (np.random.default_rng(seed).random(grid.wanted.shape) < 0.5)
    options = {"tissue": grid.wanted, "halo_px": 6, "align_px": 4, **SIZES}
    whole = plan_grid(grid.width, grid.height, wanted=grid.wanted, **options)
    part = plan_grid(grid.width, grid.height, wanted=some, **options)
    windows = {tile.core: tile.window for block in whole.blocks for tile in block.tiles}
    assert all(windows[t.core] == t.window for block in part.blocks for t in block.tiles)


def test_a_grid_by_hand():
    wanted = np.zeros((10, 13), dtype=bool)
    wanted[9, 12] = wanted[0, 8] = True
    grid = plan_grid(100, 75, wanted=wanted, halo_px=5, **SIZES)
    ring, first, last = grid.blocks
    assert (ring.row, ring.col, ring.tiles) == (0, 0, ())
    assert ring.parts == (Box(59, 0, 5, 8), Box(64, 0, 5, 8), Box(59, 8, 5, 5), Box(64, 8, 5, 5))
    assert ring.chunks.sum() == 2
    assert (first.row, first.col, first.box) == (0, 1, Box(64, 0, 36, 64))
    assert first.tiles == (Tile(Box(64, 0, 16, 16), Box(59, -5, 18, 18)),)
    assert first.parts[0] == Box(59, 0, 5, 8)
    assert (last.row, last.col, last.box) == (1, 1, Box(64, 64, 36, 11))
    # Of the core of 4 x 11 px at the corner the lower chunk is shown.
    assert last.tiles == (Tile(Box(96, 64, 4, 11), Box(91, 67, 14, 13)),)
    assert last.chunks.tolist() == [[False] * 3 + [True] * 2, [False] * 3 + [True] * 2]


def test_a_grid_travels_to_workers():
    grid = plan_grid(100, 75, wanted=np.ones((10, 13), dtype=bool), **SIZES)
    copy = pickle.loads(pickle.dumps(grid))
    assert [r.tiles for r in copy.blocks] == [r.tiles for r in grid.blocks]


@pytest.mark.parametrize("tile_px", [12, 24, 128])
def test_sides_that_do_not_nest_are_refused(tile_px):
    with pytest.raises(ConfigError, match=f"tile_px = {tile_px}"):
        plan_grid(64, 64, wanted=np.ones((8, 8), bool), chunk_px=8, tile_px=tile_px, block_px=64)
