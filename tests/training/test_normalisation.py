import numpy as np
import pytest

from wsi_suite.errors import ConfigError, DataError
from wsi_suite.staining.deconvolution import StainVectors, combine_stains
from wsi_suite.training.normalisation import METHODS, stain_normaliser


def stained(seed, *, dab, stains):
    """Return tissue of blue and brown spots on glass."""
    rng = np.random.default_rng(seed)
    amounts = np.zeros((96, 96, 3))
    rows, cols = np.mgrid[:96, :96]
    for x, y in rng.uniform(0, 96, (60, 2)):
        stain = int(rng.integers(2))
        amounts[np.hypot(cols - x, rows - y) < 6, stain] += (0.5, dab)[stain]
    return combine_stains(amounts, stains)


@pytest.mark.parametrize("method", METHODS)
def test_a_picture_gets_the_colours_of_the_target(method):
    pale = stained(1, dab=0.3, stains=StainVectors((0.74, 0.62, 0.25)))
    target = stained(2, dab=0.9, stains=StainVectors())
    normalised = stain_normaliser(method, target)(pale)
    assert normalised.shape == pale.shape
    assert normalised.dtype == np.uint8
    apart = [
        np.abs(rgb.mean(axis=(0, 1)) - target.mean(axis=(0, 1))).sum() for rgb in (pale, normalised)
    ]
    assert apart[1] < 0.8 * apart[0]


def test_glass_stays_as_it_is():
    normalise = stain_normaliser("macenko", stained(2, dab=0.9, stains=StainVectors()))
    glass = np.full((32, 32, 3), 245, np.uint8)
    assert (normalise(glass) == glass).all()


def test_unknown_methods_and_targets_without_tissue_are_refused():
    tissue = stained(2, dab=0.9, stains=StainVectors())
    with pytest.raises(ConfigError, match=r"macenco: unknown .did you mean 'macenko'"):
        stain_normaliser("macenco", tissue)
    with pytest.raises(DataError, match="give a picture of tissue"):
        stain_normaliser("macenko", np.full((32, 32, 3), 245, np.uint8))
