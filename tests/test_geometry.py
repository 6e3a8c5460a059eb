"""Frames, scales and boxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_suite.geometry import Box, Scale, snapped_downsample

coordinates = st.integers(-100_000, 100_000)
sizes = st.integers(0, 5_000)
boxes = st.builds(Box, coordinates, coordinates, sizes, sizes)
factors = st.floats(0.25, 64)
scales = st.builds(Scale, factors, factors)
positions = st.floats(-1e6, 1e6)
points = st.lists(st.tuples(positions, positions), min_size=1, max_size=20).map(np.array)


@given(points, scales)
def test_level0_and_back_is_the_same_point(there: np.ndarray, scale: Scale) -> None:
    back = scale.from_level0(scale.to_level0(there))
    np.testing.assert_allclose(back, there, rtol=1e-12, atol=1e-9)
    assert back.dtype == np.float64


@given(boxes, scales)
def test_a_working_box_covers_its_level0_box(box: Box, scale: Scale) -> None:
    working = scale.box_from_level0(box)
    slack_x, slack_y = 1e-5 * scale.x, 1e-5 * scale.y
    assert working.x * scale.x <= box.x + slack_x
    assert working.y * scale.y <= box.y + slack_y
    assert working.right * scale.x >= box.right - slack_x or box.width == 0
    assert working.bottom * scale.y >= box.bottom - slack_y or box.height == 0


@given(boxes, st.sampled_from([1.0, 2.0, 4.0, 3.0, 16.0]))
def test_whole_factors_scale_boxes_exactly(box: Box, factor: float) -> None:
    level0 = Box(*(int(value * factor) for value in (box.x, box.y, box.width, box.height)))
    assert Scale(factor, factor).box_from_level0(level0) == box


@given(boxes, boxes)
def test_the_intersection_is_what_both_hold(one: Box, other: Box) -> None:
    both = one.intersect(other)
    assert both == other.intersect(one) or both.area == 0
    if both.area:
        assert one.intersect(both) == both
        assert other.intersect(both) == both
    corners = np.array([(box.x, box.y) for box in (one, other, both)], float)
    np.testing.assert_array_equal(
        both.contains(corners), one.contains(corners) & other.contains(corners)
    )


@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 6), st.data())
def test_boxes_that_part_the_plane_own_every_point_once(
    width: int, height: int, parts: int, data: st.DataObject
) -> None:
    tiles = [
        Box(col * width, row * height, width, height)
        for row in range(parts)
        for col in range(parts)
    ]
    # Half of the points lie exactly on borders, where a closed interval would own them twice.
    x = st.one_of(
        st.integers(0, parts - 1).map(lambda n: float(n * width)),
        st.floats(0, parts * width, exclude_max=True),
    )
    y = st.one_of(
        st.integers(0, parts - 1).map(lambda n: float(n * height)),
        st.floats(0, parts * height, exclude_max=True),
    )
    there = np.array(data.draw(st.lists(st.tuples(x, y), min_size=1, max_size=10)))
    owners = sum(tile.contains(there).astype(int) for tile in tiles)
    np.testing.assert_array_equal(owners, 1)


def test_a_box_cuts_its_pixels_out_of_an_array() -> None:
    outer, inner = Box(10, 20, 6, 4), Box(12, 21, 3, 2)
    pixels = np.arange(24).reshape(4, 6)
    np.testing.assert_array_equal(pixels[inner.within(outer)], [[8, 9, 10], [14, 15, 16]])


def test_expanding_grows_every_side() -> None:
    grown = Box(10, 20, 5, 6).expand(3)
    assert grown == Box(7, 17, 11, 12)
    assert (grown.right, grown.bottom, grown.area) == (18, 29, 132)


def test_a_negative_size_is_a_mistake_of_ours() -> None:
    with pytest.raises(AssertionError, match="negative size"):
        Box(0, 0, -1, 2)


@pytest.mark.parametrize(
    ("size0", "size", "reported", "true"),
    [
        (11952, 2988, 4.0, 4.0),  # luna-1065626, width
        (10249, 2562, 4.000390, 4.0),  # luna-1065626, height: 2562.25
        (10249, 2562, 4.0001952, 4.0),  # both sides averaged, as OpenSlide reports
        (1000, 334, 1000 / 334, 3.0),  # rounded up
        (1000, 1000, 1.0, 1.0),
        (1000, 666, 1000 / 666, 1000 / 666),  # truly a fraction
        (100_000, 24_900, 100_000 / 24_900, 100_000 / 24_900),  # near 4, but 100 px off
    ],
)
def test_downsamples_snap_to_what_explains_the_size(
    size0: int, size: int, reported: float, true: float
) -> None:
    assert snapped_downsample(size0, size, reported) == true


@given(st.integers(1, 64), st.integers(200, 200_000), st.sampled_from([np.floor, np.ceil, round]))
def test_rounded_levels_snap_back(factor: int, size0: int, rounding) -> None:
    size = int(rounding(size0 / factor))
    if size >= 128:  # the rounding of smaller ones is over the 1 % that still counts as near
        assert snapped_downsample(size0, size, size0 / size) == factor
