"""Estimated stain vectors compared with those that QuPath v0.6.0 estimated on the same tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from wsi_suite.datasets.pictures import read_rgb
from wsi_suite.errors import InputError
from wsi_suite.staining.deconvolution import H_DAB
from wsi_suite.staining.estimation import (
    METHODS,
    angle_degrees,
    estimate_stains,
    modal_background,
)

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def reference(real_data: Path) -> pd.DataFrame:
    file = real_data / "qupath_reference/stain_vectors.csv"
    return pd.read_csv(file, dtype={"tile": str, "background": str})


def test_every_estimate_is_qupaths_and_fails_where_qupath_fails(
    real_data: Path, reference: pd.DataFrame
) -> None:
    """201 tiles, with white as background and with the modal one: 1e-7, 10 of them fail."""
    failed = 0
    for row in reference.itertuples():
        rgb = read_rgb(real_data / f"endonuke/images/{row.tile}.png")
        background = modal_background(rgb) if row.background == "mode" else (255.0, 255.0, 255.0)
        if str(row.stain1_r).startswith("failed"):
            failed += 1
            with pytest.raises(InputError, match="stain vectors cannot be estimated"):
                estimate_stains(rgb, background=background)
            continue
        assert background == (row.r, row.g, row.b)
        found = estimate_stains(rgb, background=background)
        first = [float(value) for value in (row.stain1_r, row.stain1_g, row.stain1_b)]
        second = [row.stain2_r, row.stain2_g, row.stain2_b]
        np.testing.assert_allclose(found.hematoxylin, first, atol=1e-7)
        np.testing.assert_allclose(found.dab, second, atol=1e-7)
    assert (len(reference), failed) == (402, 10)


def test_hematoxylin_comes_first_in_real_tiles(real_data: Path) -> None:
    """Whatever the method: most nuclei of these tiles are full of DAB."""
    for file in sorted((real_data / "endonuke/images").glob("*.png"))[::10]:
        rgb = read_rgb(file)
        for method in METHODS:
            found = estimate_stains(rgb, background=(255.0, 255.0, 255.0), method=method)
            assert found.hematoxylin[0] > found.dab[0], "hematoxylin absorbs more red"
            assert found.hematoxylin[2] < found.dab[2], "and less blue"
            assert angle_degrees(found.dab, H_DAB.dab) < 12
            assert angle_degrees(found.hematoxylin, H_DAB.hematoxylin) < 26
