"""From optical densities to grades."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_suite.errors import InputError
from wsi_suite.nuclei.table import NOT_MEASURABLE, Nuclei
from wsi_suite.scoring.intensity import grade_nuclei, intensity_grades, intensity_measurement

DEFAULT = (0.2, 0.4, 0.6)


def test_a_threshold_belongs_to_the_grade_it_begins() -> None:
    grades = intensity_grades([-0.3, 0.0, 0.19999, 0.2, 0.39999, 0.4, 0.59999, 0.6, 3.0], DEFAULT)
    assert grades.dtype == np.uint8
    np.testing.assert_array_equal(grades, [0, 0, 0, 1, 1, 2, 2, 3, 3])


@given(st.floats(0.01, 1.0))
def test_a_threshold_is_reached_in_single_precision_too(threshold: float) -> None:
    value = np.array([threshold], np.float32)
    assert intensity_grades(value, (threshold, threshold + 1, threshold + 2))[0] == 1


def test_what_was_not_measured_gets_no_grade() -> None:
    grades = intensity_grades(np.array([np.nan, 0.5, np.inf], np.float32), DEFAULT)
    np.testing.assert_array_equal(grades, [NOT_MEASURABLE, 2, 3])


def test_the_nucleus_mean_comes_before_the_disc_mean() -> None:
    both = ["Disc: DAB OD mean", "Nucleus: DAB OD mean", "Nucleus: Area µm^2"]
    assert intensity_measurement(both) == "Nucleus: DAB OD mean"
    assert intensity_measurement(both[:1]) == "Disc: DAB OD mean"
    with pytest.raises(InputError, match="expected 'Nucleus: DAB OD mean'"):
        intensity_measurement(["Nucleus: Area µm^2"])


def test_a_table_without_nuclei_has_no_grades() -> None:
    assert len(grade_nuclei(Nuclei.empty(("Stroma", "Epithelium")), DEFAULT)) == 0
