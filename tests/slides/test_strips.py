"""Strips of pictures: the same as the whole, to the bit."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_suite.slides import strips as module
from wsi_suite.slides.strips import in_strips, median_of_counts, percentile_of_counts
from wsi_suite.slides.tissue import find_masks

LEVELS = np.arange(30, dtype=np.float32) / np.float32(7)


def picture(height: int, width: int) -> np.ndarray:
    """Return glass with tissue, a stroke of a pen and a black canvas."""
    rng = np.random.default_rng(0)
    rgb = np.full((height, width, 3), (241, 239, 240)) + rng.normal(0, 1, (height, width, 1))
    middle = (width // 2, height // 2)
    for axes, colour in (((width // 3, height // 4), (180, 120, 170)), ((9, 60), (60, 60, 160))):
        spot = cv2.ellipse(np.zeros((height, width), np.uint8), middle, axes, 30, 0, 360, 1, -1)
        rgb[spot > 0] = np.array(colour) + rng.normal(0, 9, (np.count_nonzero(spot), 3))
    rgb[: height // 6] = 0
    return rgb.round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("shape", [(300, 400), (1, 500), (700, 1)])
def test_masks_do_not_depend_on_the_strips(shape, monkeypatch):
    rgb = picture(*shape)
    whole = find_masks(rgb, mpp=8.0)
    monkeypatch.setattr(module, "_STRIP_PX", 7 * shape[1])
    cut = find_masks(rgb, mpp=8.0)
    for name in ("tissue", "canvas", "ink", "pale_ink"):
        np.testing.assert_array_equal(getattr(cut, name), getattr(whole, name))


def test_a_filter_sees_the_rows_beyond_a_strip(monkeypatch):
    grey = picture(90, 60)[..., 0]
    square = np.ones((5, 5), np.uint8)
    whole = cv2.erode(grey, square) > 100
    monkeypatch.setattr(module, "_STRIP_PX", 60)
    cut = in_strips(lambda part: cv2.erode(part, square) > 100, grey, halo_px=2)
    np.testing.assert_array_equal(cut, whole)


@given(st.lists(st.integers(0, len(LEVELS) - 1), min_size=1, max_size=300), st.integers(0, 100))
def test_medians_and_percentiles_of_counts_are_those_of_numpy(codes, percent):
    counts = np.bincount(codes, minlength=len(LEVELS))
    assert median_of_counts(LEVELS, counts) == float(np.median(LEVELS[codes]))
    assert percentile_of_counts(LEVELS, counts, percent) == float(
        np.percentile(LEVELS[codes], percent)
    )
