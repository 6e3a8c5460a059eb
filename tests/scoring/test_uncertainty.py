"""Intervals from blocks of tissue: what they hold, how often, and when there is none."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from wsi_suite.scoring.uncertainty import (
    BLOCK_UM,
    GRADES,
    POSITIVE,
    Blocks,
    Grid,
    Interval,
    find_interval,
)
from wsi_suite.synthetic.heterogeneity import CELL_UM, Heterogeneity, draw_counts

Counts = npt.NDArray[np.int64]


def blocks_of(counts: Counts) -> Blocks:
    """Return blocks from ``(rows, columns, 4)`` counts, those without nuclei left out."""
    filled = np.argwhere(counts.any(axis=2))
    return Blocks(filled[:, ::-1].astype(np.int64), counts[*filled.T], BLOCK_UM)


def independent(rng: np.random.Generator, side: int, *, nuclei: int = 40) -> Counts:
    """Return blocks whose share of positive nuclei is 0.3 on average and differs between blocks."""
    positive = rng.beta(3, 7, size=(side, side))
    shares = np.stack([1 - positive, *(positive * part for part in (0.5, 0.3, 0.2))], axis=-1)
    return rng.multinomial(rng.poisson(nuclei, size=(side, side)), shares).astype(np.int64)


def interval(counts: Counts, worth: tuple[int, int, int, int] = POSITIVE) -> Interval:
    return find_interval(blocks_of(counts), worth, rng=np.random.default_rng(0))


def test_blocks_are_squares_in_um_whatever_the_pixels() -> None:
    points = np.array([[0.0, 0.0], [999.9, 0.0], [1000.0, 0.0], [0.0, 500.0], [-0.1, 0.0]])
    grid = Grid.of(points, mpp=(0.25, 0.5))
    assert grid.place[grid.owner].tolist() == [[0, 0], [0, 0], [1, 0], [0, 1], [-1, 0]]
    blocks = grid.count(np.array([0, 3, 1, 255, 2], np.uint8))
    assert blocks.place.tolist() == [[-1, 0], [0, 0], [1, 0]]
    assert blocks.counts.tolist() == [[0, 0, 1, 0], [1, 0, 0, 1], [0, 1, 0, 0]]
    some = grid.count(np.array([0, 3, 1, 255, 2], np.uint8), rows=np.array([0, 2]))
    assert some.counts.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]


def test_larger_blocks_hold_the_same_nuclei() -> None:
    counts = independent(np.random.default_rng(0), 5)
    doubled = blocks_of(counts).doubled()
    assert len(doubled) == 9
    assert doubled.side_um == 2 * BLOCK_UM
    assert doubled.counts[0].tolist() == counts[:2, :2].sum(axis=(0, 1)).tolist()
    assert doubled.counts.sum(axis=0).tolist() == counts.sum(axis=(0, 1)).tolist()


def test_blocks_of_equal_size_count_each_and_a_dominant_one_counts_alone() -> None:
    counts = np.zeros((3, 3, 4), np.int64)
    counts[..., 0] = 7
    assert blocks_of(counts).effective == pytest.approx(9)
    counts[0, 0, 0] = 70_000
    assert blocks_of(counts).effective == pytest.approx(1, abs=0.01)


def test_the_order_of_nuclei_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    points, grades = rng.uniform(0, 5000, (4000, 2)), rng.integers(0, 4, 4000).astype(np.uint8)
    order = rng.permutation(4000)
    first, second = (
        find_interval(
            Grid.of(points[rows], mpp=(0.5, 0.5)).count(grades[rows]),
            GRADES,
            rng=np.random.default_rng(0),
        )
        for rows in (np.arange(4000), order)
    )
    assert first == second
    assert first.low is not None


@pytest.mark.parametrize("worth", [POSITIVE, GRADES])
def test_more_tissue_narrows_the_interval(worth: tuple[int, int, int, int]) -> None:
    rng = np.random.default_rng(2)
    widths = []
    for side in (6, 12, 24):
        found = interval(independent(rng, side), worth)
        assert found.low is not None
        assert found.high is not None
        assert 0 <= found.low < found.high <= 100 * max(worth)
        widths.append(found.high - found.low)
    assert widths[0] > widths[1] > widths[2]


def test_likeness_of_neighbours_widens_the_interval() -> None:
    """The same blocks, shuffled and sorted into one positive and one negative half."""
    rng = np.random.default_rng(3)
    counts = np.zeros((10, 10, 4), np.int64)
    counts[:, :5, 0] = counts[:, 5:, 1] = 40
    counts[..., 0] += rng.poisson(40, (10, 10))
    apart = counts.reshape(100, 4)[rng.permutation(100)].reshape(10, 10, 4)
    together, mixed = interval(counts), interval(apart)
    assert mixed.high is not None
    assert mixed.low is not None
    if together.low is not None and together.high is not None:
        assert together.high - together.low > 2 * (mixed.high - mixed.low)


def test_too_little_tissue_gives_no_interval_but_the_reason() -> None:
    counts = independent(np.random.default_rng(4), 3)
    counts[1:] = 0
    found = interval(counts)
    assert (found.low, found.high, found.blocks) == (None, None, 3)
    assert found.reason == "an interval needs nuclei in 4 blocks of 250 um, here they lie in 3"
    none = interval(np.zeros((1, 1, 4), np.int64))
    assert (none.reason, none.blocks) == ("no measurable nuclei", 0)


def test_four_blocks_that_all_touch_give_no_interval() -> None:
    """Nothing tells how alike they are, since their residuals sum to 0."""
    for seed in range(5):
        found = interval(independent(np.random.default_rng(seed), 2))
        assert (found.low, found.blocks) == (None, 4)


def test_nuclei_all_of_one_grade_between_give_no_interval() -> None:
    counts = np.zeros((6, 6, 4), np.int64)
    counts[..., 1] = 30
    assert str(interval(counts, GRADES).reason).startswith("all blocks have the same score")


@pytest.mark.parametrize("worth", [POSITIVE, GRADES])
def test_only_negative_nuclei_have_an_exact_limit_by_patches(
    worth: tuple[int, int, int, int],
) -> None:
    """36 blocks hold 25 patches of 50 um each: at most 1 - 0.025^(1/900) = 0.41 % is positive."""
    counts = np.zeros((6, 6, 4), np.int64)
    counts[..., 0] = 30
    found = interval(counts, worth)
    assert (found.low, found.high) == (0, round(100 * max(worth) * (1 - 0.025 ** (1 / 900)), 2))
    assert (found.method, found.reason) == ("binomial", None)
    counts[..., 3], counts[..., 0] = 30, 0
    found = interval(counts, worth)
    assert found.high == 100 * max(worth)
    assert found.low == round(100 * max(worth) * 0.025 ** (1 / 900), 2)


def test_patches_are_no_more_trials_than_nuclei() -> None:
    counts = np.zeros((4, 4, 4), np.int64)
    counts[..., 0] = 2
    assert interval(counts).high == round(100 * (1 - 0.025 ** (1 / 32)), 2)


@pytest.mark.parametrize("side", [3, 6, 20])
def test_few_positive_nuclei_are_no_surer_than_none(side: int) -> None:
    counts = np.zeros((side, side, 4), np.int64)
    counts[..., 0] = 60
    none = interval(counts).high
    counts[0, 0, 1] = 1
    few = interval(counts).high
    assert none is not None
    assert few is not None
    assert few >= none
    all_but_few = interval(counts[..., [1, 0, 2, 3]]).low
    assert all_but_few is not None
    assert all_but_few <= 100 - none + 0.01


def test_one_block_that_holds_nearly_all_nuclei_gives_no_interval() -> None:
    counts = independent(np.random.default_rng(5), 4)
    counts[1, 1] *= 1000
    assert "most nuclei lie in few of them" in str(interval(counts).reason)


@pytest.mark.parametrize("side", [3, 12])
def test_intervals_hold_the_truth_as_often_as_they_say(side: int) -> None:
    """95 % of 300; a fair coin of 95 % gives 91 % to 98 % nearly always."""
    rng = np.random.default_rng(6)
    found = [interval(independent(rng, side)) for _ in range(300)]
    assert all(each.low is not None for each in found)
    assert 0.91 <= np.mean([each.low <= 30 <= each.high for each in found]) <= 0.99


@pytest.mark.parametrize("worth", [POSITIVE, GRADES])
@pytest.mark.parametrize(("correlation_um", "area_mm2"), [(50, 1.5), (100, 6), (250, 25)])
def test_clusters_do_not_make_intervals_too_narrow(
    correlation_um: float, area_mm2: float, worth: tuple[int, int, int, int]
) -> None:
    """Tissue that is alike over many nuclei, and denser where it is positive."""
    kind = Heterogeneity(correlation_um, tie=0.5)
    truth = kind.h_score if worth == GRADES else kind.positive_percent
    rng = np.random.default_rng(7)
    cells = round(BLOCK_UM / CELL_UM)
    held = []
    for _ in range(120):
        counts = draw_counts(kind, area_mm2=area_mm2, rng=rng)
        missing = -len(counts) % cells
        padded = np.pad(counts, ((0, missing), (0, missing), (0, 0)))
        side = len(padded) // cells
        found = interval(padded.reshape(side, cells, side, cells, 4).sum(axis=(1, 3)), worth)
        assert found.low is not None
        held.append(found.low <= truth <= found.high)
    assert 0.9 <= np.mean(held) <= 1
