"""Figures of agreement, against published examples and what is worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wsi_suite.scoring.agreement import (
    CutoffTable,
    category_table,
    concordance_correlation,
    cutoff_table,
    intraclass_correlation,
    limits_of_agreement,
    share,
    weighted_kappa,
    within_tolerance,
)

SHROUT_FLEISS = [
    [9, 2, 5, 8],
    [6, 1, 3, 2],
    [8, 4, 6, 8],
    [7, 1, 2, 6],
    [10, 5, 6, 9],
    [6, 2, 4, 7],
]
A = np.array([12.0, 55, 103, 180, 220, 15, 90, 300, 0, 140])
B = np.array([20.0, 50, 120, 170, 240, 5, 100, 280, 3, 160])


def test_icc_is_that_of_shrout_and_fleiss() -> None:
    found = intraclass_correlation(SHROUT_FLEISS)
    # Their table 4 has 0.29. The rest is what pingouin 0.7 and R's psych have: 0.02 to 0.76.
    assert found.value == pytest.approx(0.2897638)
    assert (found.low, found.high) == (
        pytest.approx(0.0188, abs=5e-5),
        pytest.approx(0.7611, abs=5e-5),
    )


def test_icc_of_two_readers_by_hand() -> None:
    # Scores 1, 2, 3 and 2, 3, 4: mean squares 2 (slides), 1.5 (readers), 0 (error).
    found = intraclass_correlation([[1, 2], [2, 3], [3, 4]])
    assert found.value == pytest.approx(2 / (2 + 2 * 1.5 / 3))
    assert found.low < found.value < found.high


def test_concordance_by_hand() -> None:
    # A shift by 1 of 1 .. 5: variances and covariance are 2, so 2 * 2 / (2 + 2 + 1).
    found = concordance_correlation(np.arange(1.0, 6), np.arange(2.0, 7))
    assert found.value == pytest.approx(0.8)


def test_the_interval_of_concordance_is_lins() -> None:
    r = np.corrcoef(A, B)[0, 1]
    c = concordance_correlation(A, B)
    u2 = (A.mean() - B.mean()) ** 2 / (A.std() * B.std())
    # As printed in Lin 2000 (the correction of 1989).
    variance = (
        (1 - r**2) * c.value**2 / ((1 - c.value**2) * r**2)
        + 2 * c.value**3 * (1 - c.value) * u2 / (r * (1 - c.value**2) ** 2)
        - c.value**4 * u2**2 / (2 * r**2 * (1 - c.value**2) ** 2)
    ) / (len(A) - 2)
    half = 1.959964 * math.sqrt(variance)
    assert c.low == pytest.approx(math.tanh(math.atanh(c.value) - half))
    assert c.high == pytest.approx(math.tanh(math.atanh(c.value) + half))


def test_kappa_by_hand() -> None:
    # Observed 35 / 50; by chance 25 * 30 + 25 * 20 of 2500, that is 0.5.
    found = weighted_kappa([[20, 5], [10, 15]])
    assert found.value == pytest.approx(0.4)
    # Interval of statsmodels 0.15.
    assert (found.low, found.high) == (pytest.approx(0.1510923), pytest.approx(0.6489077))


def test_kappa_has_quadratic_weights() -> None:
    table = np.array([[20, 5, 1], [4, 15, 6], [0, 3, 10]])
    squares = np.subtract.outer(np.arange(3), np.arange(3)) ** 2
    chance = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    found = weighted_kappa(table)
    assert found.value == pytest.approx(1 - (squares * table).sum() / (squares * chance).sum())
    # Interval of statsmodels 0.15.
    assert (found.low, found.high) == (pytest.approx(0.5774172), pytest.approx(0.8523114))


def test_kappa_is_that_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    groups = [np.searchsorted([50, 100, 200], scores, side="right") for scores in (A, B)]
    found = weighted_kappa(category_table(A, B, borders=[50, 100, 200]))
    assert found.value == pytest.approx(metrics.cohen_kappa_score(*groups, weights="quadratic"))


def test_bland_altman_by_hand() -> None:
    # Differences -1, 0, 1, 4: mean 1, standard deviation sqrt(14 / 3).
    found = limits_of_agreement(np.array([1.0, 5, 9, 14]), np.array([2.0, 5, 8, 10]))
    s, t = math.sqrt(14 / 3), 3.182446  # Student's t, 3 degrees of freedom
    assert found.bias.value == pytest.approx(1)
    assert found.bias.low == pytest.approx(1 - t * s / 2)
    assert found.upper.value == pytest.approx(1 + 1.959964 * s)
    assert found.lower.value == pytest.approx(1 - 1.959964 * s)
    half = t * s * math.sqrt(1 / 4 + 1.959964**2 / 6)
    assert found.upper.high == pytest.approx(1 + 1.959964 * s + half)


def test_a_score_at_a_border_is_above_it() -> None:
    first, second = np.array([0.9, 1.0, 10.0, 1.0]), np.array([1.0, 1.0, 9.9, 0.0])
    assert cutoff_table(first, second, cutoff=1) == CutoffTable(2, 1, 1, 0)
    table = category_table(first, second, borders=[1, 10])
    assert table.tolist() == [[0, 1, 0], [1, 1, 0], [0, 1, 0]]


def test_a_difference_of_the_tolerance_is_tolerated() -> None:
    assert 16.1 - 6.1 > 10  # as numbers are stored
    assert within_tolerance(np.array([16.1, 0.0]), np.array([6.1, 10.1]), tolerance=10) == 1


def test_shares_have_wilsons_interval() -> None:
    found = share(8, 10)
    assert found.value == 0.8
    assert (found.low, found.high) == (
        pytest.approx(0.4902, abs=1e-4),
        pytest.approx(0.9433, abs=1e-4),
    )
    assert share(0, 0).value is None


def test_two_pairs_have_no_figures_and_say_why() -> None:
    pair = np.array([1.0, 2.0])
    table = category_table(pair, pair, borders=[1.5])
    for found in (
        intraclass_correlation(np.column_stack([pair, pair])),
        concordance_correlation(pair, pair),
        weighted_kappa(table),
        limits_of_agreement(pair, pair).bias,
    ):
        assert (found.value, found.low) == (None, None)
        assert found.reason == "2 pairs, at least 3 are needed"


def test_equal_scores_agree_wholly() -> None:
    assert intraclass_correlation(np.column_stack([A, A])).low == 1
    assert concordance_correlation(A, A).low == 1
    assert limits_of_agreement(A, A).upper.high == 0
    table = category_table(A, A, borders=[50])
    assert weighted_kappa(table).value == pytest.approx(1)


def test_constant_scores_have_no_correlation_and_say_so() -> None:
    same, other = np.full(5, 0.1), np.full(5, 7.3)
    for second in (same, other):
        assert intraclass_correlation(np.column_stack([same, second])).value is None
        assert "same score" in concordance_correlation(same, second).reason
    one = concordance_correlation(same, A[:5])
    assert (one.value, one.low) == (0, None)
    assert weighted_kappa([[0, 0], [0, 5]]).reason == "all pairs are in one category"
    one_sided = weighted_kappa([[4, 0, 0], [3, 0, 0], [2, 0, 0]])
    assert (one_sided.value, one_sided.low, one_sided.high) == (0, None, None)
    assert one_sided.reason == "one of the two puts all pairs in one category"
    assert limits_of_agreement(same, other).bias.value == pytest.approx(-7.2)


@given(arrays(np.float64, (6, 2), elements=st.floats(0, 300)))
def test_figures_are_within_their_bounds(scores: np.ndarray) -> None:
    first, second = scores.T
    table = category_table(first, second, borders=[50, 100, 200])
    for found in (
        intraclass_correlation(scores),
        concordance_correlation(first, second),
        weighted_kappa(table),
    ):
        if found.value is None:
            assert found.reason
            continue
        assert -1.5 - 1e-9 <= found.value <= 1 + 1e-9  # -1.5: ICC of six slides
        if found.low is not None:
            assert found.low - 1e-9 <= found.value <= found.high + 1e-9
