import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsi_suite.config import parse_settings
from wsi_suite.errors import ConfigError
from wsi_suite.training.augment import AugmentSettings, augment
from wsi_suite.training.labelled import TilePixels

PLACE_ONLY = AugmentSettings(stain_probability=0, blur_probability=0)


def dotted(points, *, height=60, width=80):
    """Return a white picture with a dark 5 px square about each of the points."""
    rgb = np.full((height, width, 3), 255, np.uint8)
    for x, y in points:
        rgb[int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3] = 0
    points = np.array(points, np.float64).reshape(-1, 2)
    return TilePixels(rgb, (0.5, 0.5), points, np.full(len(points), 2.5))


def darkness_about(rgb, point):
    """Return the centre of darkness within 4 px of a point."""
    rows, cols = np.mgrid[: rgb.shape[0], : rgb.shape[1]] + 0.5
    weight = (255.0 - rgb[..., 0]) * (np.hypot(cols - point[0], rows - point[1]) < 6)
    return np.array([(cols * weight).sum(), (rows * weight).sum()]) / weight.sum()


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1))
def test_points_move_with_their_pixels(seed):
    tile = dotted([(20.5, 15.5), (60.5, 20.5), (40.5, 45.5)])
    crop = augment(tile, crop_px=48, settings=PLACE_ONLY, rng=np.random.default_rng(seed))
    assert crop.rgb.shape == (48, 48, 3)
    for point in crop.points[((crop.points > 7) & (crop.points < 41)).all(axis=1)]:
        assert darkness_about(crop.rgb, point) == pytest.approx(point, abs=0.1)


@given(seed=st.integers(0, 2**32 - 1))
def test_lengths_change_with_the_enlargement(seed):
    tile = dotted([(20.5, 15.5), (60.5, 20.5)])
    crop = augment(tile, crop_px=48, settings=PLACE_ONLY, rng=np.random.default_rng(seed))
    factor = np.hypot(*np.diff(crop.points, axis=0)[0]) / np.hypot(40, 5)
    assert 0.8 - 1e-9 <= factor <= 1.3 + 1e-9
    assert crop.radius == pytest.approx(2.5 * factor)
    assert crop.mpp == pytest.approx((0.5 / factor, 0.5 / factor))


def test_all_eight_orientations_come():
    tile = dotted([(40.0, 30.0), (50.0, 30.0), (40.0, 33.0)])
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(200):
        crop = augment(tile, crop_px=32, settings=PLACE_ONLY, rng=rng)
        right, down = crop.points[1:] - crop.points[0]
        seen.add((*np.sign(np.round(right, 6)), *np.sign(np.round(down, 6))))
    assert len(seen) == 8


def test_a_crop_larger_than_its_tile_is_filled_with_white():
    tile = TilePixels(np.zeros((20, 20, 3), np.uint8), (0.5, 0.5), np.zeros((0, 2)), np.zeros(0))
    crop = augment(tile, crop_px=64, settings=PLACE_ONLY, rng=np.random.default_rng(0))
    assert (crop.rgb[:10] == 255).all()
    assert (crop.rgb[-10:] == 255).all()
    assert (crop.rgb[32, 32] == 0).all()


def test_a_crop_lies_within_its_tile_where_it_can():
    tile = TilePixels(np.zeros((90, 90, 3), np.uint8), (0.5, 0.5), np.zeros((0, 2)), np.zeros(0))
    rng = np.random.default_rng(0)
    for _ in range(50):
        assert augment(tile, crop_px=64, settings=PLACE_ONLY, rng=rng).rgb[2:-2, 2:-2].max() == 0


def test_stains_change_within_their_factors():
    grey = np.full((40, 40, 3), 120, np.uint8)
    tile = TilePixels(grey, (0.5, 0.5), np.zeros((0, 2)), np.zeros(0))
    still = AugmentSettings(
        scale=(1, 1),
        hematoxylin=(1, 1),
        dab=(1, 1),
        residual=0,
        blur_probability=0,
        stain_probability=1,
    )
    same = augment(tile, crop_px=32, settings=still, rng=np.random.default_rng(0))
    assert np.abs(same.rgb.astype(int) - 120).max() <= 1
    more = still.model_copy(update={"dab": (1.5, 1.6)})
    darker = augment(tile, crop_px=32, settings=more, rng=np.random.default_rng(0))
    assert (darker.rgb[..., 2] < same.rgb[..., 2]).all()


def test_the_same_generator_gives_the_same_crop():
    tile = dotted([(20.5, 15.5)])
    first, second = (
        augment(tile, crop_px=32, settings=AugmentSettings(), rng=np.random.default_rng(7))
        for _ in range(2)
    )
    assert (first.rgb == second.rgb).all()
    assert (first.points == second.points).all()


@pytest.mark.parametrize("limits", [[0, 1], [1.3, 0.8], [-1, 1], [1]])
def test_absurd_limits_are_refused(limits):
    with pytest.raises(ConfigError, match="scale"):
        parse_settings(AugmentSettings, {"scale": limits})
