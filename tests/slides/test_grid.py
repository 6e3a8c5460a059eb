from __future__ import annotations

import pickle
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_suite.errors import ConfigError
from wsi_suite.geometry import Box
from wsi_suite.slides import grid as grids_module
from wsi_suite.slides.chunks import chunk_shape, chunks_of_cells
from wsi_suite.slides.grid import Tile, TileGrid, plan_grid

SIZES = {"chunk_px": 8, "tile_px": 16, "block_px": 64}


@pytest.fixture(autouse=True, scope="module")
def small_windows():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grids_module, "WINDOW_PX", 28**2)  # a square tile and its halo
        yield


@dataclass(frozen=True)
class Planned:
    grid: TileGrid
    tissue: np.ndarray
    """A cell is 4 px."""

    @property
    def plane(self) -> Box:
        return Box(0, 0, self.grid.width, self.grid.height)

    def pixels(self, values: np.ndarray, side: int) -> np.ndarray:
        return np.kron(values, np.ones((side, side), bool))[: self.plane.height, : self.plane.width]


@st.composite
def plans(draw) -> Planned:
    width, height = draw(st.integers(1, 200)), draw(st.integers(1, 200))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    share = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    cells = random.random(chunk_shape(width, height, chunk_px=4)) < share
    chunks = chunks_of_cells(cells, cells_per_chunk=2)
    wanted = chunks & (random.random(chunks.shape) < draw(st.sampled_from([0.5, 1.0])))
    return Planned(plan(width, height, wanted, cells, fitted=draw(st.booleans())), cells)


def plan(width: int, height: int, wanted: np.ndarray, cells: np.ndarray, **options) -> TileGrid:
    options |= {"cell_px": 4, "halo_px": 6, "align_px": 4}
    return plan_grid(width, height, wanted=wanted, tissue=cells, **options, **SIZES)


@given(plans())
def test_tissue_of_wanted_chunks_has_exactly_one_owner(planned):
    grid = planned.grid
    owners = np.zeros((grid.height, grid.width), dtype=int)
    for tile in (tile for block in grid.blocks for tile in block.tiles):
        owners[tile.core.within(planned.plane)] += 1
    assert owners.max(initial=0) <= 1
    wanted = planned.pixels(grid.wanted, 8) & planned.pixels(planned.tissue, 4)
    assert (owners[wanted] == 1).all()


@given(plans(), st.integers(0, 2**32 - 1))
def test_every_point_has_exactly_one_owner(planned, seed):
    width, height = planned.plane.width, planned.plane.height
    cells, chunks = (np.ones(chunk_shape(width, height, chunk_px=side), bool) for side in (4, 8))
    full = plan(width, height, chunks, cells, fitted=bool(seed % 2))
    points = np.random.default_rng(seed).random((50, 2)) * [width, height]
    corners = np.floor(points / 8) * 8  # on the borders of cores, where ownership is decided
    for at in (points, corners):
        owned = [tile.core.contains(at) for block in full.blocks for tile in block.tiles]
        assert (np.sum(owned, axis=0) == 1).all()


@given(plans())
def test_tissue_and_its_halo_are_read_and_nothing_twice(planned):
    grid, plane = planned.grid, planned.plane
    assert [(r.row, r.col) for r in grid.blocks] == sorted((r.row, r.col) for r in grid.blocks)
    near = np.zeros((grid.height, grid.width), bool)
    for row, col in np.argwhere(planned.tissue).tolist():
        near[Box(col * 4, row * 4, 4, 4).expand(6).intersect(plane).within(plane)] = True
    for block in grid.blocks:
        assert block.box == Box(block.col * 64, block.row * 64, 64, 64).intersect(plane)
        assert block.chunks.shape == chunk_shape(block.box.width, block.box.height, chunk_px=8)
        read = np.zeros_like(near)
        for part in block.parts:
            assert not read[part.within(plane)].any(), "no pixel is read twice"
            read[part.within(plane)] = True
        assert block.stored_px == read[block.box.within(plane)].sum()
        rows, cols = np.nonzero(read[block.box.within(plane)])
        stored = np.zeros_like(block.chunks)
        stored[rows // 8, cols // 8] = True
        assert np.array_equal(block.chunks, stored)
        for tile in block.tiles:
            assert tile.core.intersect(block.box) == tile.core
            inner = tile.window.expand(-grid.halo_px)
            assert tile.core.intersect(inner) == tile.core
            assert inner.width % 4 == inner.height % 4 == 0
            assert tile.window.area <= 28**2
            shown = tile.window.intersect(plane).within(plane)
            assert read[shown][near[shown]].all(), "what nuclei in tissue depend on is real"


@given(plans(), st.integers(0, 2**32 - 1))
def test_windows_and_their_pixels_follow_from_tissue_whatever_is_wanted(planned, seed):
    grid, plane = planned.grid, planned.plane
    chunks = chunks_of_cells(planned.tissue, cells_per_chunk=2)
    some = chunks & (np.random.default_rng(seed).random(chunks.shape) < 0.5)
    for fitted in (False, True):
        whole, part = (
            plan(grid.width, grid.height, wanted, planned.tissue, fitted=fitted)
            for wanted in (chunks, some)
        )
        windows = {tile.core: tile.window for block in whole.blocks for tile in block.tiles}
        assert all(windows[t.core] == t.window for block in part.blocks for t in block.tiles)
        real, read = (np.zeros((grid.height, grid.width), bool) for _ in range(2))
        for pixels, plan_of in ((real, whole), (read, part)):
            for box in (box for block in plan_of.blocks for box in block.parts):
                pixels[box.within(plane)] = True
        for tile in (tile for block in part.blocks for tile in block.tiles):
            shown = tile.window.intersect(plane).within(plane)
            assert np.array_equal(read[shown], real[shown])


def test_windows_that_are_cut_to_fit_read_the_same_pixels():
    cells = np.random.default_rng(0).random((50, 50)) < 0.3
    chunks = chunks_of_cells(cells, cells_per_chunk=2)
    grids = [plan(200, 200, chunks, cells, fitted=fitted) for fitted in (False, True)]
    assert [b.parts for b in grids[0].blocks] == [b.parts for b in grids[1].blocks]
    areas = [sum(t.window.area for b in grid.blocks for t in b.tiles) for grid in grids]
    assert areas[1] < areas[0]


def test_a_grid_by_hand():
    wanted = np.zeros((10, 13), dtype=bool)
    wanted[9, 12] = wanted[0, 8] = True
    grid = plan_grid(100, 75, wanted=wanted, halo_px=5, **SIZES)
    ring, first, last = grid.blocks
    assert (ring.row, ring.col, ring.tiles) == (0, 0, ())
    assert ring.parts == (Box(59, 0, 5, 8), Box(64, 0, 5, 8), Box(59, 8, 5, 5), Box(64, 8, 5, 5))
    assert ring.chunks.sum() == 2
    assert (first.row, first.col, first.box) == (0, 1, Box(64, 0, 36, 64))
    assert first.tiles == (Tile(Box(64, 0, 8, 8), Box(59, -5, 18, 18)),)
    assert first.parts[0] == Box(59, 0, 5, 8)
    assert (last.row, last.col, last.box) == (1, 1, Box(64, 64, 36, 11))
    # Of the tile of 4 x 11 px at the corner the lower chunk has tissue.
    assert last.tiles == (Tile(Box(96, 72, 4, 3), Box(91, 67, 14, 13)),)
    assert last.chunks.tolist() == [[False] * 3 + [True] * 2, [False] * 3 + [True] * 2]


def test_a_grid_travels_to_workers():
    grid = plan_grid(100, 75, wanted=np.ones((10, 13), dtype=bool), **SIZES)
    copy = pickle.loads(pickle.dumps(grid))
    assert [r.tiles for r in copy.blocks] == [r.tiles for r in grid.blocks]


@pytest.mark.parametrize("tile_px", [12, 24, 128])
def test_sides_that_do_not_nest_are_refused(tile_px):
    with pytest.raises(ConfigError, match=f"tile_px = {tile_px}"):
        plan_grid(64, 64, wanted=np.ones((8, 8), bool), chunk_px=8, tile_px=tile_px, block_px=64)
