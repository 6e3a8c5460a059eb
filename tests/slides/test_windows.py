from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wsi_suite.slides.windows import Cost, rectangles

COST = Cost(cell_px=128, halo_px=112, most_px=1248**2)


def pixels(found: list[tuple[int, int, int, int]], cost: Cost = COST) -> int:
    sides = ((bottom - top, right - left) for top, left, bottom, right in found)
    return sum(
        (height * cost.cell_px + 2 * cost.halo_px) * (width * cost.cell_px + 2 * cost.halo_px)
        for height, width in sides
    )


@given(
    st.integers(1, 24),
    st.integers(1, 24),
    st.sampled_from([0.0, 0.05, 0.5, 0.97, 1.0]),
    st.sampled_from([0, 112, 512]),
    st.integers(0, 2**32 - 1),
)
def test_each_cell_is_in_one_rectangle_and_none_is_too_large(rows, cols, share, halo_px, seed):
    cells = np.random.default_rng(seed).random((rows, cols)) < share
    cost = Cost(128, halo_px, 1248**2)
    covered = np.zeros(cells.shape, int)
    for top, left, bottom, right in (found := list(rectangles(cells, cost))):
        covered[top:bottom, left:right] += 1
        assert cells[top].any() | cells[bottom - 1].any(), "rectangles end where cells do"
        assert pixels([(top, left, bottom, right)], cost) <= cost.most_px
    assert covered.max(initial=0) <= 1
    assert (covered[cells] == 1).all()
    assert found == list(rectangles(cells, cost))


def test_a_full_square_is_cut_into_equal_parts():
    found = list(rectangles(np.ones((16, 16), bool), COST))
    assert found == [(0, 0, 8, 8), (0, 8, 8, 16), (8, 0, 16, 8), (8, 8, 16, 16)]


def test_glass_is_left_out_where_that_saves_more_than_a_halo_costs():
    cells = np.ones((8, 8), bool)
    cells[0, 0] = False
    assert list(rectangles(cells, COST)) == [(0, 0, 8, 8)]
    bent = np.zeros((8, 8), bool)
    bent[:, 0] = bent[7] = True
    assert pixels(list(rectangles(bent, COST))) < 0.7 * pixels([(0, 0, 8, 8)])
    assert list(rectangles(np.zeros((8, 8), bool), COST)) == []


def test_long_and_thin_tissue_is_one_rectangle():
    cells = np.zeros((32, 32), bool)
    cells[5, 2:30] = True
    assert list(rectangles(cells, COST)) == [(5, 2, 6, 30)]
