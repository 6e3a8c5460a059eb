import numpy as np
import pytest

from wsi_suite.staining.deconvolution import combine_stains, separate_stains
from wsi_suite.training.shifts import SHIFTS, restained


@pytest.fixture(scope="module")
def rgb():
    rng = np.random.default_rng(0)
    return combine_stains(rng.uniform(0, 0.6, (40, 60, 3)) * (1, 1, 0.05))


@pytest.mark.parametrize("name", SHIFTS)
def test_each_shift_changes_the_look_and_keeps_the_shape(name, rgb):
    out = SHIFTS[name](rgb)
    assert out.shape == rgb.shape
    assert out.dtype == np.uint8
    assert np.abs(out.astype(int) - rgb).mean() > 1
    assert (SHIFTS[name](rgb) == out).all()


def test_amounts_of_stain_change_by_their_factor(rgb):
    before, after = separate_stains(rgb), separate_stains(restained(rgb, dab=0.5))
    assert after[..., 1] == pytest.approx(before[..., 1] / 2, abs=0.02)
    assert after[..., 0] == pytest.approx(before[..., 0], abs=0.02)
