"""Ki-67 by the working group's rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsi_suite.geometry import Points
from wsi_suite.scoring.ki67 import LEVELS, Ki67Figures, fields_by_level, ki67_figures


def scatter(count: int, *, seed: int = 0) -> Points:
    return np.random.default_rng(seed).uniform(0, 10_000, (count, 2))


def figures(points: Points, positive: np.ndarray, **options: float) -> Ki67Figures:
    return ki67_figures(points, positive, class_name="Tumor", **options)


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ((25, 25, 25, 25), (1, 1, 1, 1)),
        ((97, 1, 1, 1), (1, 1, 1, 1)),
        ((199, 0, 0, 1), (3, 0, 0, 1)),
        ((200, 0, 0, 1), (4, 0, 0, 0)),  # the eye takes less than half a percent for none
        ((0, 50, 30, 20), (0, 2, 1, 1)),
        ((20, 30, 0, 50), (1, 1, 0, 2)),
        ((40, 40, 20, 0), (1, 1, 1, 0)),  # a tie: three fields
        ((62, 38, 0, 0), (2, 2, 0, 0)),
        ((625, 375, 0, 0), (3, 1, 0, 0)),  # 25 % apart
        ((0, 10, 0, 90), (0, 1, 0, 3)),
        ((0, 0, 50, 50), (0, 0, 2, 2)),
        ((0, 0, 7, 0), (0, 0, 4, 0)),
        ((0, 0, 0, 0), (0, 0, 0, 0)),
    ],
)
def test_fields_are_allocated_as_in_the_groups_counter(
    shares: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    found = fields_by_level(dict(zip(LEVELS, shares, strict=True)))
    assert tuple(found[level] for level in LEVELS) == expected


@pytest.mark.parametrize(
    ("negative", "positive", "where", "reliable"),
    [
        (100, 0, "5 % or less", True),
        (95, 5, "5 % or less", True),
        (9_499, 501, "between 5 % and 30 %", False),
        (7_001, 2_999, "between 5 % and 30 %", False),
        (70, 30, "30 % or more", True),
        (0, 1, "30 % or more", True),
    ],
)
def test_index_over_all_nuclei_and_where_it_lies(
    negative: int, positive: int, where: str, reliable: bool
) -> None:
    kinds = np.repeat([False, True], [negative, positive])
    found = figures(scatter(len(kinds)), kinds)
    assert found.index_percent == positive / len(kinds) * 100
    assert (found.range, found.reliable) == (where, reliable)


def test_halves_of_two_levels_are_counted_and_weighted() -> None:
    """The left quarter is 40 % positive, the rest 5 %: every fifth nucleus or twentieth there."""
    points = np.stack(np.meshgrid(np.arange(80.0), np.arange(40.0)), axis=-1).reshape(-1, 2)
    column, row = points.T.astype(int)
    high = column < 20
    positive = np.where(high, (column + 2 * row) % 5 < 2, (column + 7 * row) % 20 == 0)
    found = figures(points, positive)
    assert found.index_percent == pytest.approx(0.25 * 40 + 0.75 * 5)
    assert found.levels == {"negligible": 0.0, "low": 75.0, "medium": 0.0, "high": 25.0}
    assert [field.level for field in found.fields] == ["low", "low", "low", "high"]
    assert {field.nuclei for field in found.fields} == {100}
    for field, index in zip(found.fields, (5, 5, 5, 40), strict=True):
        assert field.positive_percent == pytest.approx(index, abs=2)
        assert (field.x_px0 < 20) == (field.level == "high")
    assert found.weighted_percent == pytest.approx(0.25 * 40 + 0.75 * 5, abs=2)
    assert found.unweighted_percent == pytest.approx((40 + 3 * 5) / 4, abs=2)


def test_an_even_stain_is_counted_in_four_fields_of_one_level() -> None:
    points = scatter(5000, seed=1)
    positive = np.random.default_rng(1).random(5000) < 0.18
    found = figures(points, positive)
    by_level = [field for field in found.fields if field.level == "medium"]
    assert len(found.fields) == 4
    assert len(by_level) >= 2
    assert found.weighted_percent == pytest.approx(18, abs=5)


@pytest.mark.parametrize(("count", "fields"), [(0, 0), (1, 0), (99, 0), (100, 1), (399, 3)])
def test_few_nuclei_make_few_fields_or_none(count: int, fields: int) -> None:
    found = figures(scatter(count), np.zeros(count, bool))
    assert len(found.fields) == fields
    assert (found.index_percent is None) == (count == 0)
    assert (found.weighted_percent is None) == (found.unweighted_percent is None) == (fields == 0)
    assert (found.reason is None) == (fields > 0)
    if 0 < count < 100:
        assert found.reason == f"{count} measured nuclei of Tumor, fewer than the 100 of a field"


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(100, 2500), share=st.floats(0, 1))
def test_fields_hold_what_is_told_whatever_the_order(seed: int, count: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    points = np.round(rng.uniform(0, 500, (count, 2)), 2)
    positive = rng.random(count) < share * points[:, 0] / 500
    found = figures(points, positive)
    order = rng.permutation(count)
    assert figures(points[order], positive[order]) == found
    assert sum(found.levels.values()) == pytest.approx(100)
    assert 0 <= found.weighted_percent <= 100
    for field in found.fields:
        low = np.array([field.x_px0, field.y_px0]) - 1e-6
        high = low + (field.width_px0, field.height_px0) + 2e-6
        held = ((points >= low) & (points <= high)).all(axis=1)
        assert 100 <= field.nuclei < 200
        # Nuclei at the very border may be the neighbour's.
        assert field.nuclei <= held.sum() <= field.nuclei + 4
