"""The colour of empty glass, and the DAB that it seems to hold."""

from __future__ import annotations

import numpy as np
import pytest

from wsi_suite.staining.deconvolution import H_DAB, StainVectors, combine_stains, separate_stains
from wsi_suite.staining.glass import glass_colour, glass_dab_od


def test_only_glass_counts() -> None:
    rgb = np.full((40, 60, 3), 255, np.uint8)
    rgb[10:30, 10:30] = combine_stains([0.3, 1.0, 0.0])
    glass = np.ones((4, 6), bool)
    glass[1:3, 1:3] = False
    colour = glass_colour(rgb, glass)
    assert colour == (255, 255, 255)
    assert glass_dab_od(colour, H_DAB) == 0


def test_yellowish_glass_reads_as_dab_until_the_background_is_set() -> None:
    colour = (250.0, 245.0, 215.0)
    rgb = np.full((8, 8, 3), colour, np.uint8)
    assert glass_colour(rgb, np.ones((8, 8), bool)) == colour
    assert glass_dab_od(colour, H_DAB) == pytest.approx(0.11, abs=0.01)
    assert glass_dab_od(colour, H_DAB) == pytest.approx(separate_stains(rgb)[0, 0, 1], abs=1e-6)
    assert glass_dab_od(colour, StainVectors(background=colour)) == 0


def test_a_slide_full_of_tissue_has_no_glass() -> None:
    rgb = np.zeros((4, 4, 3), np.uint8)
    assert glass_colour(rgb, np.zeros((2, 2), bool)) is None
