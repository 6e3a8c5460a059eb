"""Fits of thresholds: known ones come back exactly, and the search is exact."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from wsi_suite.errors import DataError
from wsi_suite.scoring.calibration import (
    candidate_grid,
    fit_grades,
    fit_h_scores,
    fit_positive_percent,
    grade_intervals,
    otsu_cuts,
    quantile_cuts,
    simplest_between,
    survival,
)
from wsi_suite.scoring.intensity import intensity_grades

TRUE = (0.17, 0.42, 0.73)


def densities(seed: int, *, number: int = 3000, shape: float = 2, scale: float = 0.25):
    return np.random.default_rng(seed).gamma(shape, scale, number).astype(np.float32)


def slides(number: int) -> list[np.ndarray]:
    """Densities of slides from weak to strong."""
    strength = np.linspace(0.08, 0.35, number)
    return [densities(seed, shape=1 + seed % 3, scale=scale) for seed, scale in enumerate(strength)]


def test_thresholds_come_back_from_the_grades_they_gave() -> None:
    od = densities(0)
    found = fit_grades(od, intensity_grades(od, TRUE))
    assert found.thresholds_od == TRUE
    assert found.error == 0
    for threshold, (low, high) in zip(TRUE, found.ranges_od, strict=True):
        assert low < threshold <= high


@pytest.mark.parametrize("seed", range(5))
def test_no_other_thresholds_have_a_smaller_error(seed: int) -> None:
    random = np.random.default_rng(seed)
    od = np.round(random.integers(0, 20, 150) / 20, 2)  # many are equal
    grades = np.clip(np.round(3 * od + random.normal(0, 0.5, len(od))), 0, 3).astype(int)
    found = fit_grades(od, grades)
    errors = [
        ((np.searchsorted(cuts, od, side="right") - grades) ** 2).mean()
        for cuts in combinations(np.unique(od)[1:], 3)
    ]
    assert found.error**2 == pytest.approx(min(errors))


def test_intervals_hold_the_truth_and_are_the_same_each_time() -> None:
    random = np.random.default_rng(0)
    graded = []
    for seed in range(4):
        od = densities(seed, number=400)
        graded.append((od, intensity_grades(od + random.normal(0, 0.05, 400), TRUE)))
    found = grade_intervals(graded)
    for threshold, (low, high) in zip(TRUE, found, strict=True):
        assert low < threshold < high
        assert high - low < 0.15
    assert grade_intervals(graded) == found


@pytest.mark.parametrize(
    ("low", "high", "simplest"),
    [(0.1998, 0.2003, 0.2), (0.2, 0.3, 0.25), (0.0, 0.4, 0.2), (0.5, 1.5, 1)],
)
def test_of_equal_thresholds_the_one_with_the_fewest_decimals_is_taken(
    low: float, high: float, simplest: float
) -> None:
    assert simplest_between(low, high) == simplest


def test_grades_that_are_missing_are_refused_with_their_numbers() -> None:
    od = densities(0, number=400)
    grades = intensity_grades(od, TRUE)
    kept = grades != 1
    with pytest.raises(DataError, match=r"0 1\+, .* expected at least 10 of each"):
        fit_grades(od[kept], grades[kept])


def test_grades_that_do_not_follow_density_are_refused() -> None:
    od = np.linspace(0, 1, 80)
    grades = np.repeat([0, 2, 1, 3], 20)  # 1+ darker than 2+
    with pytest.raises(DataError, match=r"1\+ and 2\+ fall together"):
        fit_grades(od, grades)
    with pytest.raises(DataError, match="no density above 0 parts"):
        fit_grades(od - 5, np.repeat([0, 1, 2, 3], 20))


def test_thresholds_come_back_from_the_h_scores_they_gave() -> None:
    ods = slides(8)
    grid = candidate_grid(max(float(od.max()) for od in ods))
    shares = np.array([survival(od, grid) for od in ods])
    wanted = np.array([100 * intensity_grades(od, TRUE).mean() for od in ods])
    found = fit_h_scores(shares, wanted, grid)
    assert found.thresholds_od == TRUE
    assert found.ranges_od == tuple((value, value) for value in TRUE)
    assert found.error == pytest.approx(0, abs=1e-4)


def test_no_other_triple_has_a_smaller_error() -> None:
    random = np.random.default_rng(1)
    ods = slides(6)
    grid = np.round(np.arange(0.05, 0.95, 0.05), 2)
    shares = np.array([survival(od, grid) for od in ods])
    wanted = np.array([100 * intensity_grades(od, TRUE).mean() for od in ods])
    wanted = np.clip(wanted + random.normal(0, 25, 6), 0, 300)
    found = fit_h_scores(shares, wanted, grid)
    errors = {
        three: ((100 * shares[:, three].sum(axis=1) - wanted) ** 2).mean()
        for three in combinations(range(len(grid)), 3)
    }
    best = min(errors, key=errors.__getitem__)
    assert found.thresholds_od == tuple(grid[list(best)])
    assert found.error**2 == pytest.approx(errors[best])
    for (low, high), value in zip(found.ranges_od, found.thresholds_od, strict=True):
        assert low <= value <= high


def test_positive_percentages_give_the_threshold_of_1_alone() -> None:
    ods = slides(6)
    grid = candidate_grid(2.0)
    shares = np.array([survival(od, grid) for od in ods])
    wanted = np.array([100 * (intensity_grades(od, TRUE) > 0).mean() for od in ods])
    found = fit_positive_percent(shares, wanted, grid)
    assert found.thresholds_od == (0.17, None, None)
    assert found.ranges_od == ((0.17, 0.17), None, None)


def test_slides_that_are_all_alike_leave_thresholds_uncertain() -> None:
    ods = [densities(seed) for seed in range(6)]
    grid = candidate_grid(max(float(od.max()) for od in ods))
    shares = np.array([survival(od, grid) for od in ods])
    wanted = np.array([100 * intensity_grades(od, TRUE).mean() for od in ods])
    wanted += np.random.default_rng(0).normal(0, 5, 6)
    low, high = fit_h_scores(shares, wanted, grid).ranges_od[1]
    assert high - low > 0.2


def test_four_slides_are_too_few() -> None:
    grid = candidate_grid(1.0)
    shares = np.array([survival(od, grid) for od in slides(4)])
    for fitter in (fit_h_scores, fit_positive_percent):
        with pytest.raises(DataError, match=r"4 slides .* at least 5"):
            fitter(shares, np.full(4, 50.0), grid)


def test_shares_count_a_density_at_the_threshold() -> None:
    od = np.array([0.1, 0.2, 0.2, 0.5], np.float32)
    assert survival(od, np.array([0.1, 0.2, 0.3, 0.6])).tolist() == [1, 0.75, 0.25, 0]


def test_cuts_to_compare_with() -> None:
    spread = np.linspace(-0.02, 0.02, 50)
    clusters = np.concatenate([value + spread for value in (0.1, 0.3, 0.5, 0.9)])
    grades = intensity_grades(clusters, otsu_cuts(clusters))
    assert grades.tolist() == np.repeat([0, 1, 2, 3], 50).tolist()
    assert otsu_cuts(np.full(20, 0.3)) is None
    assert quantile_cuts(np.arange(5.0)) == (1, 2, 3)
