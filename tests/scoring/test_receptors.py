"""ER and PR by ASCO/CAP 2020."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_suite.scoring.hscore import Score
from wsi_suite.scoring.receptors import (
    LOW_POSITIVE_COMMENT,
    Receptor,
    controls_warning,
    receptor_status,
)


@pytest.mark.parametrize(
    ("negative", "positive", "of_er", "of_pr", "controls"),
    [
        (100, 0, "ER negative", "PR negative", True),
        (9_901, 99, "ER negative", "PR negative", True),
        (99, 1, "ER Low Positive", "PR positive", True),
        (90, 10, "ER Low Positive", "PR positive", True),
        (8_999, 1_001, "ER positive", "PR positive", False),
        (0, 3, "ER positive", "PR positive", False),
    ],
)
def test_status_at_its_borders(
    negative: int, positive: int, of_er: str, of_pr: str, controls: bool
) -> None:
    score = Score(negative, positive, 0, 0)
    er, pr = (receptor_status(score, name, class_name="Tumor") for name in ("ER", "PR"))
    assert (er.status, pr.status) == (of_er, of_pr)
    assert er.report_controls == pr.report_controls == controls
    assert er.comment == (LOW_POSITIVE_COMMENT if of_er == "ER Low Positive" else None)
    assert pr.comment is None
    assert bool(controls_warning(er)) == controls


@pytest.mark.parametrize(
    ("score", "word"),
    [
        (Score(5, 0, 0, 0), None),
        (Score(0, 1, 2, 0), "weak"),  # a mean grade of 5/3
        (Score(0, 33, 67, 0), "moderate"),
        (Score(0, 1, 0, 2), "moderate"),  # 7/3
        (Score(0, 0, 66, 34), "strong"),
    ],
)
def test_average_intensity_is_told_in_words(score: Score, word: str | None) -> None:
    assert receptor_status(score, "ER", class_name="Tumor").intensity == word


@pytest.mark.parametrize("marker", ["ER", "PR"])
def test_without_measured_nuclei_there_is_a_reason(marker: Receptor) -> None:
    found = receptor_status(Score(0, 0, 0, 0, not_measurable=2), marker, class_name="Tumor")
    assert (found.status, found.positive_percent, found.intensity) == (None, None, None)
    assert found.reason == "no measurable nuclei"
    assert controls_warning(found) == []


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_pr_is_positive_wherever_er_is(negative: int, positive: int) -> None:
    score = Score(negative, positive, 0, 0)
    er, pr = (receptor_status(score, name, class_name="Tumor") for name in ("ER", "PR"))
    assert (er.status is None) == (pr.status is None) == (score.measured == 0)
    if er.status is not None and pr.status is not None:
        assert er.status.lower().endswith("positive") == pr.status.endswith("positive")
