"""Scores of counts, QuPath's own among them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_suite.nuclei.table import NOT_MEASURABLE, Nuclei
from wsi_suite.scoring.decimals import fixed
from wsi_suite.scoring.hscore import (
    Allred,
    Irs,
    Score,
    allred,
    h_score,
    irs,
    mean_intensity,
    positive_percent,
    score_nuclei,
)

COUNT = st.integers(0, 10**7)


def test_h_score_weighs_each_grade() -> None:
    assert h_score(Score(1, 1, 1, 1)) == 150
    assert h_score(Score(0, 0, 0, 7)) == 300
    assert h_score(Score(3, 0, 0, 1)) == 75


def test_whole_percentages_are_shown_whole() -> None:
    """7 / 100 * 100 is 7.000000000000001, as in QuPath, and is shown as 7."""
    percents = [Score(100 - count, count, 0, 0).positive_percent for count in range(101)]
    assert [fixed(value, 1) for value in percents] == [f"{count}.0" for count in range(101)]
    assert fixed(0.999999, 1) == "0.999999"


def test_positive_percent_counts_every_grade_above_negative() -> None:
    assert positive_percent(Score(1, 1, 1, 1)) == 75
    assert positive_percent(Score(5, 0, 0, 0)) == 0


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (Score(1000, 1, 0, 0), 1),
        (Score(99, 1, 0, 0), 2),
        (Score(9, 1, 0, 0), 3),
        (Score(2, 1, 0, 0), 3),
        (Score(199, 101, 0, 0), 4),
        (Score(1, 2, 0, 0), 4),
        (Score(99, 201, 0, 0), 5),
    ],
)
def test_allred_proportion_at_its_borders(score: Score, expected: int) -> None:
    assert allred(score) == Allred(expected, 1, expected + 1)


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (Score(0, 1, 2, 0), 1),
        (Score(0, 33, 67, 0), 2),
        (Score(0, 1, 0, 2), 2),
        (Score(0, 0, 66, 34), 3),
    ],
)
def test_allred_intensity_at_its_borders(score: Score, expected: int) -> None:
    assert allred(score) == Allred(5, expected, 5 + expected)


@pytest.mark.parametrize(
    ("negative", "positive", "proportion"),
    [
        (1_000_000, 1, 1),
        (9_001, 999, 1),
        (9_000, 1_000, 2),
        (50, 50, 2),
        (4_999, 5_001, 3),  # between 50 % and 51 %
        (49, 51, 3),
        (20, 80, 3),
        (1_999, 8_001, 4),
        (0, 1, 4),
    ],
)
def test_irs_proportion_at_its_borders(negative: int, positive: int, proportion: int) -> None:
    assert irs(Score(negative, positive, 0, 0)) == Irs(proportion, 1, proportion)
    assert irs(Score(negative, 0, 0, positive)) == Irs(proportion, 3, 3 * proportion)


@given(COUNT, COUNT, COUNT, COUNT)
def test_irs_is_a_product_and_shares_its_intensity_with_allred(
    negative: int, one: int, two: int, three: int
) -> None:
    score = Score(negative, one, two, three)
    found, other = score.irs, score.allred
    if found is None or other is None:
        assert found is other
        return
    assert found.score == found.proportion * found.intensity
    assert found.score in {0, 1, 2, 3, 4, 6, 8, 9, 12}
    assert (found.score == 0) == (score.positive == 0)
    assert found.intensity == other.intensity == mean_intensity(score)


@pytest.mark.parametrize(
    ("score", "reason"),
    [
        (Score(0, 0, 0, 0), "no nuclei"),
        (Score(0, 0, 0, 0, not_measurable=3), "no measurable nuclei"),
    ],
)
def test_where_there_is_no_score_there_is_a_reason(score: Score, reason: str) -> None:
    assert score.h_score is None
    assert score.allred is None
    assert score.irs is None
    assert score.positive_percent is None
    assert score.why_no_score == reason


@given(st.integers(1, 10**7), COUNT)
def test_only_negative_nuclei_score_zero(negative: int, unknown: int) -> None:
    score = Score(negative, 0, 0, 0, unknown)
    assert score.h_score == 0
    assert score.positive_percent == 0
    assert score.allred == Allred(0, 0, 0)
    assert score.irs == Irs(0, 0, 0)
    assert score.why_no_score is None


@given(COUNT, COUNT, COUNT, st.integers(1, 10**7), COUNT)
def test_scores_stay_within_their_range(
    negative: int, one: int, two: int, three: int, unknown: int
) -> None:
    score = Score(negative, one, two, three, unknown)
    assert score.why_no_score is None
    assert score.h_score is not None
    assert score.positive_percent is not None
    assert score.allred is not None
    assert 0 < score.h_score <= 300
    assert (
        score.positive_percent <= score.h_score * (1 + 1e-12) <= 3 * score.positive_percent + 1e-9
    )
    assert 2 <= score.allred.score <= 8
    assert score == Score(negative, one, two, three, unknown)
    assert Score(negative, one, two, three).h_score == score.h_score


def nuclei(label: list[int]) -> Nuclei:
    place = np.arange(len(label), dtype=float)
    ones = np.ones(len(label), np.float32)
    return Nuclei(place, place, ones, np.array(label, np.uint8), ("Stroma", "Epithelium"))


def test_classes_are_scored_apart_and_together() -> None:
    grades = np.array([0, 3, 1, NOT_MEASURABLE, 2], np.uint8)
    scores = score_nuclei(nuclei([0, 0, 1, 1, 1]), grades)
    assert scores == {
        "Stroma": Score(1, 0, 0, 1),
        "Epithelium": Score(0, 1, 1, 0, not_measurable=1),
        "Epithelium + Stroma": Score(1, 1, 1, 1, not_measurable=1),
    }


def test_only_the_rows_asked_for_count() -> None:
    scores = score_nuclei(nuclei([0, 1]), np.array([3, 1], np.uint8), rows=np.array([1]))
    assert scores["Stroma"] == Score(0, 0, 0, 0)
    assert scores["Epithelium + Stroma"] == Score(0, 1, 0, 0)


def test_one_class_is_its_own_whole() -> None:
    table = Nuclei(*np.zeros((2, 1)), np.ones(1, np.float32), np.zeros(1, np.uint8), ("Tumor",))
    assert score_nuclei(table, np.array([2], np.uint8)) == {"Tumor": Score(0, 0, 1, 0)}


@pytest.mark.realdata
def test_scores_are_those_qupath_shows(real_data: Path) -> None:
    rows = pd.read_csv(real_data / "qupath_reference/scores.csv", float_precision="round_trip")
    assert len(rows) > 50
    all_negative = 0
    for row in rows.drop(columns="prefix").astype(float).to_numpy():
        score = Score(*map(int, row[:4]))
        grades = score.allred or (math.nan,) * 3
        found = [score.positive_percent, score.h_score, *grades]
        expected = row[4:].copy()
        if score.measured and not score.positive:
            # The one difference: QuPath has no such columns here, the score of "negative" is 0.
            assert np.isnan(expected[1:]).all()
            expected[1:] = 0
            all_negative += 1
        np.testing.assert_array_equal(np.array(found, float), expected, err_msg=str(score))
    assert all_negative > 0
