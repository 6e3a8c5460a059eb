import math
from dataclasses import replace

import pytest
import shapely

from wsi_suite.datasets.agreement import (
    MISSED,
    cohens_kappa,
    compare_annotators,
    fleiss_kappa,
    share_nuclei,
    vote,
)
from wsi_suite.datasets.labelled_image import UNGRADED, LabelledImage, join_labels, nucleus_labels
from wsi_suite.errors import DataError

S, E = "Stroma", "Epithelium"


def picture(*labels, name="a.png", mpp=0.5):
    """Return a picture with labels of (annotator, x, y, class)."""
    who = [one[0] for one in labels]
    return LabelledImage(
        name=name,
        size_px=(100, 100),
        mpp=None if mpp is None else (mpp, mpp),
        labels=nucleus_labels(
            [one[1:3] for one in labels], [one[3] for one in labels], annotators=who
        ),
    )


THREE = picture(
    *(("ann", 10, 10, S), ("bob", 11, 10, S), ("eve", 10, 12, E)),  # one nucleus
    *(("ann", 50, 50, E), ("bob", 50, 56, E)),  # 3 um apart: one nucleus, missed by eve
    ("bob", 90, 90, S),  # bob alone
)


def test_points_of_one_nucleus_are_brought_together():
    shared = share_nuclei(THREE)
    assert shared.classes == {
        "ann": (S, E, MISSED),
        "bob": (S, E, S),
        "eve": (E, MISSED, MISSED),
    }
    assert shared.points.tolist() == [
        pytest.approx([31 / 3, 32 / 3]),
        [50, 53],
        [90, 90],
    ]
    assert len(share_nuclei(THREE, within_um=2.5).points) == 4
    with pytest.raises(DataError, match="no pixel size"):
        share_nuclei(picture(("ann", 1, 1, S), mpp=None))


def test_kappa_counts_missed_nuclei():
    ann_bob, ann_eve, _ = compare_annotators([THREE])
    assert (ann_bob.first, ann_bob.second, ann_bob.pictures) == ("ann", "bob", 1)
    assert ann_bob.confusion == {(S, S): 1, (E, E): 1, (MISSED, S): 1}
    # Agreed 2/3; chance (1/3 x 2/3 + 1/3 x 1/3 + 1/3 x 0) = 1/3.
    assert ann_bob.kappa == pytest.approx(0.5)
    assert ann_bob.kappa_matched == 1
    assert ann_bob.f1 == pytest.approx(0.8)
    assert ann_eve.confusion == {(S, E): 1, (E, MISSED): 1}
    assert ann_eve.kappa == pytest.approx((0 - 0.25) / (1 - 0.25))


def test_a_picture_that_one_annotator_did_not_label_is_none_that_they_missed():
    alone = picture(("ann", 1, 1, S), name="b.png")
    assert [one.confusion for one in compare_annotators([THREE, alone])] == [
        one.confusion for one in compare_annotators([THREE])
    ]
    assert compare_annotators([alone]) == []
    assert math.isnan(fleiss_kappa([alone]))


def test_kappa_is_that_of_cohens_example():
    # Cohen 1960, table 1: agreement .44, .20, .06 of proportions; kappa .492.
    shares = {
        ("A", "A"): 88, ("B", "A"): 14, ("C", "A"): 18,
        ("A", "B"): 10, ("B", "B"): 40, ("C", "B"): 10,
        ("A", "C"): 2, ("B", "C"): 6, ("C", "C"): 12,
    }  # fmt: skip
    assert cohens_kappa(shares) == pytest.approx(0.492, abs=5e-4)
    assert math.isnan(cohens_kappa({("A", "A"): 5}))


def test_fleiss_kappa_of_equal_and_of_opposite_labels():
    equal = picture(*((who, x, x, (S, E)[x // 50]) for who in "abc" for x in (10, 80)))
    assert fleiss_kappa([equal]) == 1
    opposite = picture(("a", 1, 1, S), ("b", 1, 1, E), ("a", 50, 50, E), ("b", 50, 50, S))
    assert fleiss_kappa([opposite]) == pytest.approx(-1)


def test_the_consensus_keeps_what_most_labelled_and_says_who():
    (kept,) = vote([THREE])
    assert kept.labels.class_names == (S, E)
    assert kept.labels.points[1].tolist() == [50, 53]
    assert kept.labels.annotators == (
        "consensus 3/3: ann, bob, eve",
        "consensus 2/3: ann, bob, eve",
    )
    assert next(iter(vote([kept]))) is kept, "a consensus stays"
    (tie,) = vote([picture(("a", 1, 1, S), ("b", 1, 1, E))])
    assert tie.labels.class_names == (None,)
    alone = picture(("ann", 1, 1, S))
    assert list(vote([alone])) == [alone]


def test_a_class_called_missed_is_not_one_that_was_missed():
    both = picture(("a", 1, 1, "missed"), ("b", 1, 1, "missed"), ("a", 50, 50, S))
    (pair,) = compare_annotators([both])
    assert pair.confusion == {("missed", "missed"): 1, (S, MISSED): 1}
    assert (pair.kappa_matched, pair.f1) == (pytest.approx(math.nan, nan_ok=True), 2 / 3)
    (kept,) = vote([both])
    assert kept.labels.class_names == ("missed",)


def test_a_consensus_is_one_annotator_and_is_not_voted_on_with_others():
    (kept,) = vote([THREE])
    assert set(share_nuclei(kept).classes) == {"consensus"}
    assert compare_annotators([kept]) == []
    more = replace(kept, labels=join_labels([kept.labels, picture(("zoe", 10, 10, S)).labels]))
    assert [(one.first, one.second) for one in compare_annotators([more])] == [("consensus", "zoe")]
    with pytest.raises(DataError, match=r"'a\.png': has a consensus and labels of zoe"):
        list(vote([more]))


def test_a_consensus_keeps_grades_and_radii_and_tells_of_outlines():
    labels = nucleus_labels(
        [(10, 10), (10, 11), (11, 10), (50, 50), (50, 50)],
        [S] * 5,
        annotators=["a", "b", "c", "a", "b"],
        grades=[1, 2, 2, 3, 0],
        radii_px=[4, math.nan, 6, math.nan, math.nan],
        outlines=[shapely.box(6, 6, 14, 14), None, None, None, None],
    )
    told = []
    (kept,) = vote([replace(THREE, labels=labels)], tell=told.append)
    assert kept.labels.grades.tolist() == [2, UNGRADED]
    assert kept.labels.radii_px.tolist() == [5, pytest.approx(math.nan, nan_ok=True)]
    assert told == ["1 nuclei lost their outlines, as a consensus has points only"]
