"""The classes of found nuclei, told apart by their probability."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wsi_suite.training.matches import Labelled, match_tile
from wsi_suite.training.roc import class_areas, class_rocs
from wsi_suite.training.trial import Trial


def make_trial(labels: list[int], likely: np.ndarray, *, found: int | None = None) -> Trial:
    """Return a trial of one tile, each nucleus found where it is with the given probabilities.

    Of `found` nuclei the confidence is high, of the others it is below the threshold.
    """
    number, classes = likely.shape
    points = np.column_stack([np.arange(number) * 10.0, np.zeros(number)])
    confidence = np.full(number, 0.9, np.float32)
    confidence[number if found is None else found :] = 0.1
    truth = Labelled(points, np.array(labels, np.uint8), np.ones(number, np.float32))
    there = Labelled(
        points,
        likely.argmax(axis=1).astype(np.uint8),
        confidence,
        likely.astype(np.float32),
    )
    return Trial(
        model="tried",
        model_hash="0" * 64,
        classes=("Stroma", "Epithelium", "Lymphocyte")[:classes],
        min_confidence=0.5,
        match_um=3.5,
        tiles=(),
        truth=(truth,),
        found=(there,),
        matches=(match_tile(truth, there, classes=classes),),
    )


def two_classes(epithelium: list[float]) -> np.ndarray:
    return np.column_stack([1 - np.array(epithelium), epithelium])


def test_the_area_is_the_share_of_pairs_in_the_right_order():
    rng = np.random.default_rng(3)
    likely = rng.integers(0, 8, 60) / 8  # many ties, which count half
    labels = rng.integers(0, 2, 60)
    (roc,) = class_rocs(make_trial(labels.tolist(), two_classes(likely.tolist())))
    difference = likely[labels == 1][:, None] - likely[labels == 0]
    assert roc.area == pytest.approx(((difference > 0) + 0.5 * (difference == 0)).mean())
    assert (roc.positive, roc.negative) == ("Epithelium", "Stroma")
    assert (roc.false_rate[0], roc.true_rate[0]) == (0, 0)
    assert (roc.false_rate[-1], roc.true_rate[-1]) == (1, 1)


def test_only_matches_from_the_threshold_up_count():
    trial = make_trial([0, 1, 1], two_classes([0.2, 0.9, 0.1]), found=2)
    assert class_areas(trial) == {"Stroma": 1, "Epithelium": 1}
    assert class_areas(replace(trial, min_confidence=0.05))["Epithelium"] == 0.5


def test_of_three_classes_each_stands_against_the_others():
    likely = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.3, 0.5, 0.2]])
    rocs = class_rocs(make_trial([0, 1, 2], likely))
    assert [(roc.positive, roc.negative) for roc in rocs] == [
        ("Stroma", "others"),
        ("Epithelium", "others"),
        ("Lymphocyte", "others"),
    ]
    assert all(roc.area == 1 for roc in rocs)


def test_without_both_classes_or_probabilities_there_is_no_curve():
    one = make_trial([1, 1], two_classes([0.2, 0.9]))
    assert class_rocs(one) == []
    assert class_areas(one) == {"Stroma": None, "Epithelium": None}
    two = make_trial([0, 1], two_classes([0.2, 0.9]))
    assert class_rocs(replace(two, found=(replace(two.found[0], class_probability=None),))) == []
    assert class_rocs(replace(two, found=(), matches=(), truth=())) == []
