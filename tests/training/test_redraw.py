import numpy as np
import pytest

from wsi_suite.staining.deconvolution import combine_stains
from wsi_suite.training.labelled import TilePixels
from wsi_suite.training.redraw import H_AND_E, redraw_as_hdab

POINTS = np.array([(12.0, 12.0), (36.0, 12.0), (12.0, 36.0), (36.0, 36.0)])


@pytest.fixture(scope="module")
def tile():
    """Four blue nuclei of radius 5 px on pink."""
    rows, cols = np.mgrid[:48, :48] + 0.5
    amounts = np.zeros((48, 48, 3))
    amounts[..., 1] = 0.3
    for x, y in POINTS:
        amounts[np.hypot(cols - x, rows - y) < 5] = (0.8, 0.1, 0)
    return TilePixels(
        rgb=combine_stains(amounts, H_AND_E),
        mpp=(0.5, 0.5),
        points=POINTS,
        radius=np.full(4, 5.0),
        label=np.array([0, 0, 1, 1], np.uint8),
    )


def at_nuclei(drawn, stain):
    cols, rows = POINTS.astype(int).T
    return drawn[rows, cols, stain]


def test_some_nuclei_become_brown_and_the_others_stay_blue(tile):
    positive = negative = 0
    for seed in range(30):
        drawn = redraw_as_hdab(tile, rng=np.random.default_rng(seed))
        dab, hematoxylin = at_nuclei(drawn, 1), at_nuclei(drawn, 0)
        assert (hematoxylin > 0.08).all()
        brown = dab > 0.1
        assert (hematoxylin[~brown] > 0.18).all()
        positive, negative = positive + brown.sum(), negative + (~brown).sum()
    assert positive > 20
    assert negative > 20


def test_eosin_fades_and_dab_stays_in_the_nuclei(tile):
    for seed in range(10):
        drawn = redraw_as_hdab(tile, rng=np.random.default_rng(seed))
        assert drawn[24, 24].max() < 0.1
        assert drawn.shape == (48, 48, 3)
