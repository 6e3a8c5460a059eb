import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsi_suite.config import parse_settings
from wsi_suite.errors import ConfigError
from wsi_suite.staining.deconvolution import H_DAB, separate_stains
from wsi_suite.training.augment import AugmentSettings, degrade, place, restain
from wsi_suite.training.labelled import TilePixels

STILL = AugmentSettings(
    hematoxylin=(1, 1), dab=(1, 1), faint_dab=0, gain=0, shift=0, hue=0, white=(1, 1)
)


def tile_of(rgb, points=()):
    points = np.array(points, np.float64).reshape(-1, 2)
    label = (np.arange(len(points)) % 2).astype(np.uint8)
    return TilePixels(rgb, (0.5, 0.5), points, np.full(len(points), 2.5), label)


def dotted(points, *, height=60, width=80):
    """Return a white picture with a dark 5 px square about each of the points."""
    rgb = np.full((height, width, 3), 255, np.uint8)
    for x, y in points:
        rgb[int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3] = 0
    return tile_of(rgb, points)


def darkness_about(rgb, point):
    """Return the centre of darkness within 6 px of a point."""
    rows, cols = np.mgrid[: rgb.shape[0], : rgb.shape[1]] + 0.5
    weight = (255.0 - rgb[..., 0]) * (np.hypot(cols - point[0], rows - point[1]) < 6)
    return np.array([(cols * weight).sum(), (rows * weight).sum()]) / weight.sum()


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1))
def test_points_move_with_their_pixels_beyond_the_border_too(seed):
    tile = dotted([(20.5, 15.5), (60.5, 20.5), (40.5, 45.5)])
    rng = np.random.default_rng(seed)
    crop = place(tile, crop_px=64, scale=(0.6, 1.3), rng=rng)
    assert crop.rgb.shape == (64, 64, 3)
    assert len(crop.points) == len(crop.label) == len(crop.radius)
    inner = ((crop.points > 7) & (crop.points < 57)).all(axis=1)
    for point in crop.points[inner]:
        assert darkness_about(crop.rgb, point) == pytest.approx(point, abs=0.2)
    # Every dark place is a labelled one.
    rows, cols = np.nonzero(crop.rgb[8:-8, 8:-8, 0] < 60)
    for place_px in np.column_stack([cols, rows]) + 8.5:
        assert np.hypot(*(crop.points - place_px).T).min() < 7


@given(seed=st.integers(0, 2**32 - 1))
def test_lengths_change_with_the_enlargement(seed):
    tile = dotted([(35.5, 25.5), (45.5, 35.5)])
    rng = np.random.default_rng(seed)
    crop = place(tile, crop_px=64, scale=(0.8, 1.3), rng=rng)
    factor = crop.radius[0] / 2.5
    assert 0.8 - 1e-9 <= factor <= 1.3 + 1e-9
    assert crop.mpp == pytest.approx((0.5 / factor, 0.5 / factor))
    apart = np.hypot(*(crop.points[:, None] - crop.points[None]).transpose(2, 0, 1))
    assert np.isclose(apart, np.hypot(10, 10) * factor).any()


def test_a_nucleus_on_the_border_is_not_labelled_twice():
    tile = dotted([(2.0, 30.0), (40.0, 30.0)])
    rng = np.random.default_rng(0)
    for _ in range(50):
        crop = place(tile, crop_px=64, scale=(1, 1), rng=rng)
        apart = np.hypot(*(crop.points[:, None] - crop.points[None]).transpose(2, 0, 1))
        assert (apart[np.triu_indices(len(apart), 1)] > 5).all()


def test_stains_stay_without_changes_and_follow_their_factors():
    rng = np.random.default_rng(0)
    rgb = rng.integers(60, 200, (40, 40, 3)).astype(np.uint8)
    amounts = separate_stains(rgb, H_DAB)
    same = restain(amounts, settings=STILL, rng=rng)
    assert np.abs(same.astype(int) - rgb).max() <= 1
    more = STILL.model_copy(update={"dab": (1.5, 1.5)})
    darker = separate_stains(restain(amounts, settings=more, rng=rng), H_DAB)
    strong = amounts[..., 1] > 0.2
    assert darker[strong][:, 1] == pytest.approx(1.5 * amounts[strong][:, 1], rel=0.1)
    faint = STILL.model_copy(update={"faint_dab": 1.0})
    paler = separate_stains(restain(amounts, settings=faint, rng=rng), H_DAB)
    assert (paler[strong][:, 1] <= 0.5 * amounts[strong][:, 1] + 0.02).all()


def test_blur_and_compression_come_as_often_as_asked():
    rgb = np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    never = AugmentSettings(blurred=0, compressed=0)
    for update, changed in (({}, False), ({"blurred": 1.0}, True), ({"compressed": 1.0}, True)):
        chosen = never.model_copy(update=update)
        out = degrade(rgb, mpp=0.5, settings=chosen, rng=np.random.default_rng(0))
        assert out.shape == rgb.shape
        assert (out != rgb).any() == changed


@pytest.mark.parametrize("limits", [[0, 1], [1.3, 0.8], [-1, 1], [1]])
def test_absurd_limits_are_refused(limits):
    with pytest.raises(ConfigError, match="scale"):
        parse_settings(AugmentSettings, {"scale": limits})
