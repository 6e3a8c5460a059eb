"""The answer of a learning curve as a table."""

import pytest

from wsi_suite.training.crossvalidation import Figures
from wsi_suite.training.learning_answer import answer_rows
from wsi_suite.training.learning_curve_document import CurvePoint, VariantCurve
from wsi_suite.training.outlook import Gain, Outlook

GAIN = Gain(times=2, value=0.02, low=-0.01, high=0.05)


def curve(values):
    """Return a curve with ``{(repeat, cases): f1 or None}``."""
    points = [
        CurvePoint(
            repeat=repeat,
            share=cases / 4,
            seed=0,
            train_runs=tuple("abcd"[:cases]),
            test_runs=("t",),
            tiles=cases,
            nuclei=cases,
            figures=None if f1 is None else Figures.model_construct(f1=f1),
            error="died" if f1 is None else None,
        )
        for (repeat, cases), f1 in values.items()
    ]
    told = Outlook(figure="F1", repeats=2, gains=(GAIN,), words="")
    return VariantCurve.model_construct(
        name="tiny", changes={}, points=tuple(points), outlooks={"f1": told}
    )


def test_scores_have_intervals_and_all_cases_the_gain():
    half, whole = answer_rows(curve({(1, 2): 0.5, (1, 4): 0.7, (2, 2): 0.6, (2, 4): 0.8}), "f1")
    assert (half.share, half.cases, half.repeats, half.planned) == (0.5, 2, 2, 2)
    assert half.mean == pytest.approx(0.55)
    # Student's t with one degree of freedom: 12.706 times the standard error, 0.05.
    assert (half.low, half.high) == (0, 1)
    assert (half.doubled, half.is_last) == (None, False)
    assert (whole.doubled, whole.is_last) == (GAIN, True)


def test_the_interval_is_students():
    values = {(repeat, 4): f1 for repeat, f1 in enumerate((0.70, 0.72, 0.74), start=1)}
    (row,) = answer_rows(curve(values), "f1")
    half = 4.302653 * 0.02 / 3**0.5
    assert (row.low, row.high) == pytest.approx((0.72 - half, 0.72 + half))


def test_a_repeat_with_a_gap_is_in_no_mean():
    values = {(1, 2): 0.9, (1, 4): None, (2, 2): 0.5, (2, 4): 0.7}
    half, whole = answer_rows(curve(values), "f1")
    assert (half.mean, whole.mean) == (0.5, 0.7)
    assert (half.repeats, half.planned) == (1, 2)
    failed = dict.fromkeys(values) | {(1, 2): 0.9, (2, 4): 0.7}
    assert [row.mean for row in answer_rows(curve(failed), "f1")] == [None, None]
