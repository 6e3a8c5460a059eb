import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_suite.geometry import Box
from wsi_suite.slides.resample import average_areas, average_blocks, block_size, source_box

SOURCE = np.random.default_rng(0).integers(0, 256, size=(97, 131, 3), dtype=np.uint8)
FACTORS = st.tuples(st.floats(1, 9), st.floats(1, 9))


def averaged(box, factor):
    at = source_box(box, factor=factor)
    padded = np.pad(SOURCE, ((0, 40), (0, 40), (0, 0)), constant_values=255)
    return average_areas(
        padded[at.y : at.bottom, at.x : at.right], box, source_at=at, factor=factor
    )


def mean_over_area(column, row, factor):
    """The mean of one working pixel by summing over all source pixels it touches."""
    total, area = np.zeros(3), 0.0
    for y in range(math.floor(row * factor[1]), math.ceil((row + 1) * factor[1])):
        for x in range(math.floor(column * factor[0]), math.ceil((column + 1) * factor[0])):
            high = min(y + 1, (row + 1) * factor[1]) - max(y, row * factor[1])
            wide = min(x + 1, (column + 1) * factor[0]) - max(x, column * factor[0])
            total += SOURCE[y, x] * high * wide
            area += high * wide
    return total / area


@given(factor=FACTORS, column=st.integers(0, 9), row=st.integers(0, 9))
def test_a_pixel_is_the_mean_over_its_area(factor, column, row):
    found = averaged(Box(column, row, 1, 1), factor)[0, 0]
    assert np.abs(found - mean_over_area(column, row, factor)).max() <= 0.51


@given(factor=FACTORS, data=st.data())
def test_a_part_has_the_bytes_of_the_whole(factor, data):
    whole = Box(0, 0, int(131 / factor[0]), int(97 / factor[1]))
    x = data.draw(st.integers(0, whole.width - 1))
    y = data.draw(st.integers(0, whole.height - 1))
    width = data.draw(st.integers(1, whole.width - x))
    height = data.draw(st.integers(1, whole.height - y))
    part = Box(x, y, width, height)
    assert np.array_equal(averaged(part, factor), averaged(whole, factor)[part.within(whole)])


@given(factor=FACTORS)
def test_white_stays_white(factor):
    box = Box(3, 2, 7, 5)
    at = source_box(box, factor=factor)
    white = np.full((at.height, at.width, 3), 255, np.uint8)
    assert (average_areas(white, box, source_at=at, factor=factor) == 255).all()


@pytest.mark.parametrize("block", [1, 2, 3, 4, 7, 16, 32])
def test_blocks_are_rounded_means(block):
    rows, columns = SOURCE.shape[0] // block, SOURCE.shape[1] // block
    source = np.ascontiguousarray(SOURCE[: rows * block, : columns * block])
    means = source.reshape(rows, block, columns, block, 3).mean(axis=(1, 3))
    found = average_blocks(source, block=block)
    assert found.shape == (rows, columns, 3)
    assert np.abs(found - means).max() <= 0.5


def test_only_whole_factors_along_both_axes_are_blocks():
    assert block_size((4.0, 4.0 + 1e-12)) == 4
    assert block_size((4.0, 4.1)) is None
    assert block_size((2.0, 3.0)) is None
