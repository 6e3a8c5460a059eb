import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_suite.training.evaluation import (
    Counts,
    EvaluationFigures,
    average_precision,
    best_threshold,
    evaluate_detections,
)
from wsi_suite.training.matches import Labelled, match_points

CLASSES = "Stroma", "Epithelium"


def nuclei(*rows: tuple[float, float, int, float]) -> Labelled:
    """Return nuclei from rows of x, y, class and confidence."""
    table = np.array(rows, np.float64).reshape(-1, 4)
    return Labelled(table[:, :2], table[:, 2].astype(np.uint8), table[:, 3].astype(np.float32))


def evaluate(truth, found, *, min_confidence=0.5, match_um=3.5):
    return evaluate_detections(
        truth, found, classes=CLASSES, min_confidence=min_confidence, match_um=match_um
    )


def test_a_perfect_answer():
    tile = nuclei((0, 0, 0, 0.9), (20, 0, 1, 0.8), (40, 0, 1, 0.7))
    result = evaluate([tile, tile], [tile, tile])
    assert result.ap == {"Stroma": 1, "Epithelium": 1}
    assert result.map == result.f1 == result.agnostic.f1 == 1
    assert (result.tiles, result.nuclei) == (2, 6)


def test_nothing_found():
    result = evaluate([nuclei((0, 0, 0, 1), (9, 9, 1, 1))], [nuclei()])
    assert result.map == result.f1 == 0
    assert math.isnan(result.counts["Stroma"].precision)
    assert result.counts["Stroma"].recall == 0


def test_nothing_there():
    result = evaluate([nuclei()], [nuclei((0, 0, 0, 0.9))])
    assert math.isnan(result.map)
    assert result.f1 == 0
    assert result.counts == {"Stroma": Counts(0, 1, 0), "Epithelium": Counts(0, 0, 0)}


def test_a_class_without_nuclei_is_left_out_of_the_mean():
    tile = nuclei((0, 0, 0, 0.9))
    assert evaluate([tile], [tile]).map == 1


def test_figures_that_do_not_exist_are_null_in_json():
    values = EvaluationFigures.of(evaluate([nuclei()], [nuclei()])).as_json()
    assert json.loads(json.dumps(values, allow_nan=False)) == {
        "ap": {"Stroma": None, "Epithelium": None},
        "map": None,
        "f1": None,
        "f1_agnostic": None,
        "precision": {"Stroma": None, "Epithelium": None},
        "recall": {"Stroma": None, "Epithelium": None},
        "min_confidence": 0.5,
        "match_um": 3.5,
        "tiles": 1,
        "nuclei": 0,
        "calibration_error": None,
        "class_calibration_error": None,
    }


def test_of_duplicates_one_matches():
    result = evaluate(
        [nuclei((0, 0, 0, 1))], [nuclei((0.5, 0, 0, 0.8), (0, 0, 0, 0.7), (0, 1, 0, 0.9))]
    )
    assert result.counts["Stroma"] == Counts(matched=1, spurious=2, missed=0)
    assert result.ap["Stroma"] == 1  # the most confident one matches


def test_the_wrong_class_matches_only_where_classes_are_ignored():
    result = evaluate([nuclei((0, 0, 0, 1))], [nuclei((0, 0, 1, 0.9))])
    assert result.f1 == 0
    assert result.agnostic == Counts(1, 0, 0)
    assert result.ap["Stroma"] == 0


def test_the_largest_distance_counts_itself():
    truth = np.array([[0.0, 0.0]])
    confidence = np.ones(1, np.float32)
    assert match_points(truth, np.array([[3.5, 0.0]]), confidence, match_um=3.5) == [0]
    assert match_points(truth, np.array([[3.5001, 0.0]]), confidence, match_um=3.5) == [-1]


def test_the_nearest_free_nucleus_is_taken():
    truth = np.array([[0.0, 0.0], [3.0, 0.0]])
    found = np.array([[1.4, 0.0], [-1.0, 0.0]])
    # The confident one takes the left nucleus, which is nearer; the other reaches no other one.
    confidence = np.array([0.9, 0.8], np.float32)
    assert match_points(truth, found, confidence, match_um=3.5).tolist() == [0, -1]
    assert match_points(truth, found, confidence[::-1], match_um=3.5).tolist() == [1, 0]


def test_of_two_nuclei_at_one_distance_each_is_taken_once():
    truth = np.array([[-1.0, 0.0], [1.0, 0.0]])
    found = np.zeros((3, 2))
    confidence = np.array([0.9, 0.8, 0.7], np.float32)
    assert match_points(truth, found, confidence, match_um=3.5).tolist() == [0, 1, -1]


def test_nuclei_of_other_tiles_do_not_match():
    here, there = nuclei((0, 0, 0, 0.9)), nuclei((50, 0, 0, 0.9))
    assert evaluate([here, there], [there, here]).f1 == 0


def test_average_precision_by_hand():
    # Hits at ranks 1, 3 and 4 of 5, of 4 nuclei: precisions 1, 2/3, 3/4 at recalls 1/4, 1/2, 3/4.
    hit = np.array([True, False, True, True, False])
    confidence = np.array([0.9, 0.8, 0.7, 0.6, 0.5], np.float32)
    by_hand = 1 / 4 * 1 + 1 / 4 * 3 / 4 + 1 / 4 * 3 / 4
    assert average_precision(hit, confidence, 4) == pytest.approx(by_hand)
    shuffled = np.array([3, 0, 4, 2, 1])
    assert average_precision(hit[shuffled], confidence[shuffled], 4) == pytest.approx(by_hand)


def test_average_precision_where_precision_only_falls_is_scikit_learns():
    # sklearn.metrics.average_precision_score([1, 1, 0, 1, 0, 0], [.9, .8, .7, .6, .5, .4])
    # is 0.9166...: it does not interpolate, which changes nothing where precision never rises.
    hit = np.array([True, True, False, True, False, False])
    confidence = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], np.float32)
    assert average_precision(hit, confidence, 3) == pytest.approx(0.9166666667)


def test_f1_is_micro_over_the_classes():
    truth = nuclei((0, 0, 0, 1), (20, 0, 0, 1), (40, 0, 0, 1), (60, 0, 1, 1))
    found = nuclei((0, 0, 0, 0.9), (20, 0, 0, 0.6), (60, 0, 1, 0.9), (80, 0, 1, 0.9))
    result = evaluate([truth], [found], min_confidence=0.6)
    assert result.counts == {"Stroma": Counts(2, 0, 1), "Epithelium": Counts(1, 1, 0)}
    assert result.f1 == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))
    assert evaluate([truth], [found], min_confidence=0.7).counts["Stroma"] == Counts(1, 0, 2)
    assert result.ap == {"Stroma": pytest.approx(2 / 3), "Epithelium": 1}


def test_the_best_threshold_parts_hits_from_misses():
    truth = nuclei(*((20 * i, 0, 0, 1) for i in range(4)))
    found = nuclei(
        *((20 * i, 0, 0, 0.45 + 0.1 * i) for i in range(4)),
        *((20 * i, 50, 0, 0.4352) for i in range(9)),
    )
    assert best_threshold([truth], [found]) == 0.44


@pytest.mark.parametrize(("misses", "threshold"), [(1, 0.1), (4, 0.31)])
def test_a_lower_threshold_may_cost_a_little_f1(misses, threshold):
    truth = nuclei(*((20 * i, 0, 0, 1) for i in range(200)))
    hits = ((20 * i, 0, 0, 0.9) for i in range(200))
    found = nuclei(*hits, *((20 * i, 50, 0, 0.3) for i in range(misses)))
    # Without the misses F1 is 1, with them 400 / (400 + misses).
    assert best_threshold([truth], [found]) == threshold


def test_detections_of_a_class_that_is_not_there_count_against_a_threshold():
    truth = nuclei((0, 0, 0, 1))
    found = nuclei((0, 0, 0, 0.9), (50, 0, 1, 0.3))
    assert best_threshold([truth], [found]) == 0.31


def test_a_threshold_is_found_without_nuclei_and_detections():
    assert best_threshold([nuclei()], [nuclei()]) == 0.1


@st.composite
def pairs_of_tiles(draw):
    rows = st.lists(
        st.tuples(
            st.integers(0, 12), st.integers(0, 12), st.integers(0, 1), st.sampled_from([0.2, 0.5])
        ),
        max_size=12,
    )
    return nuclei(*draw(rows)), nuclei(*draw(rows))


@given(pair=pairs_of_tiles(), min_confidence=st.sampled_from([0.1, 0.3, 0.6]))
def test_counts_are_those_of_the_detections_from_the_threshold_up(pair, min_confidence):
    truth, found = pair
    rows = found.confidence >= min_confidence
    kept = Labelled(found.points[rows], found.label[rows], found.confidence[rows])
    result, again = (
        evaluate([truth], [tile], min_confidence=min_confidence, match_um=2.0)
        for tile in (found, kept)
    )
    assert result.counts == again.counts
    assert result.agnostic == again.agnostic
    total = sum(result.counts.values(), Counts(0, 0, 0))
    assert total.matched + total.missed == len(truth.points)
    assert total.matched + total.spurious == len(kept.points)


def test_a_nucleus_ranks_in_each_class_by_the_probability_of_the_class():
    # Both stand 1 um from a nucleus; the first is surer of being one, the second of its class.
    truth = nuclei((0, 0, 0, 1), (50, 0, 1, 1))
    found = Labelled(
        points=np.array([[0.0, 1.0], [50.0, 1.0]]),
        label=np.array([1, 1], np.uint8),
        confidence=np.array([0.9, 0.6], np.float32),
        class_probability=np.array([[0.45, 0.55], [0.1, 0.9]], np.float32),
    )
    result = evaluate([truth], [found])
    # Stroma: 0.405 hits before 0.06 does not. Epithelium: 0.54 hits before 0.495 does not.
    assert result.ap == {"Stroma": 1, "Epithelium": 1}
    assert result.counts == {"Stroma": Counts(0, 0, 1), "Epithelium": Counts(1, 1, 0)}
    assert result.agnostic == Counts(2, 0, 0)


def test_a_nucleus_without_class_probabilities_ranks_in_its_own_class_alone():
    tile = nuclei((0, 0, 0, 0.9))
    assert len(tile.as_class(0).points) == 1
    assert len(tile.as_class(1).points) == 0
