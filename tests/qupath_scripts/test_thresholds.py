"""Thresholds, scores and the start-up script, without QuPath."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_suite.measurements import DISC_DAB, NUCLEUS_DAB
from wsi_suite.scoring.intensity import intensity_grades

# ---- Thresholds ----------------------------------------------------------------------------------

DETECTIONS = """
    def nuclei = values.withIndex().collect { value, i ->
        def list = new qupath.lib.measurements.MeasurementList()
        if (value != null)
            list.put(name, value as double)
        def nucleus = qupath.lib.objects.PathObjects.createDetectionObject(
            null, qupath.lib.objects.classes.PathClass.fromString(classes[i], null), list)
        if (ours)
            Nuclei.mark(nucleus, [(Nuclei.SOURCE): "wsi-suite 0.1.0"])
        nucleus
    }
    def groups = Thresholds.of(nuclei)
    groups.each { it.apply([0.2d, 0.4d, 0.6d]) }
    [groups: groups.collect { [it.name, it.counts([0.2d, 0.4d, 0.6d]) as List, it.notMeasurable] },
     classes: nuclei*.pathClass*.toString()]
"""


def test_measurements_have_the_names_that_the_suite_gives_them(groovy):
    assert groovy("Thresholds.MEASUREMENTS") == [NUCLEUS_DAB, DISC_DAB]


def test_nuclei_are_classified_by_compartment(groovy):
    told = groovy(
        DETECTIONS,
        name=NUCLEUS_DAB,
        ours=True,
        values=[0.1, 0.2, 0.6, 0.5, None, 0.39],
        classes=["Stroma", "Stroma: 3+", "Epithelium: 1+", "Epithelium", "Stroma: 2+", "Ignore*"],
    )
    assert told["classes"] == [
        *("Stroma: Negative", "Stroma: 1+", "Epithelium: 3+", "Epithelium: 2+", "Stroma", "Ignore*")
    ]
    assert told["groups"] == [["Epithelium", [0, 0, 1, 1], 0], ["Stroma", [1, 1, 0, 0], 1]]


def test_objects_without_the_measurement_are_left_alone(groovy):
    given = {"values": [None, 0.3], "classes": ["Tumor: 2+", "Tumor"], "ours": False}
    told = groovy(DETECTIONS, name=DISC_DAB, **given)
    assert told["classes"] == ["Tumor: 2+", "Tumor: 1+"]
    assert told["groups"] == [["Tumor", [0, 1, 0, 0], 0]]


def test_grades_are_those_of_the_suite(groovy):
    values = [0, 0.1999, 0.2, 0.35, 0.349999, 0.4, 0.6, 2.5, -0.1]
    thresholds = [0.2, 0.35, 0.6]
    expected = intensity_grades(np.array(values, np.float32), tuple(thresholds)).tolist()
    code = "values.collect { Thresholds.grade(it as double, thresholds.collect { it as double }) }"
    assert groovy(code, values=values, thresholds=thresholds) == expected
    assert groovy("Thresholds.grade(Double.NaN, [0.2d, 0.4d, 0.6d])") == -1


def test_the_h_score_is_qupaths(groovy):
    assert groovy("Thresholds.hScore([10, 20, 30, 40] as int[])") == 200
    assert math.isnan(groovy("Thresholds.hScore([0, 0, 0, 0] as int[])"))


SCORES = """
    Thresholds.tallies(classes.collect {
        qupath.lib.objects.PathObjects.createDetectionObject(
            null, it == null ? null : qupath.lib.objects.classes.PathClass.fromString(it, null))
    }).collectEntries { [it.key, Thresholds.hScore(it.value)] }
"""


def test_scores_follow_from_classes_as_in_qupath(groovy):
    classes = ["Stroma: 1+", "Epithelium: 3+", "Epithelium: Negative", "Stroma", None, "Tumor"]
    expected = {"Epithelium": 150, "Stroma": 100, "Epithelium + Stroma": 400 / 3}
    assert groovy(SCORES, classes=classes) == pytest.approx(expected)
    assert groovy(SCORES, classes=["3+", "Negative", "Positive"]) == {"All nuclei": 150}
    assert groovy(SCORES, classes=[]) == {}


def test_a_tumour_of_negative_nuclei_has_the_score_0(groovy):
    assert groovy(SCORES, classes=["Epithelium: Negative"] * 3) == {"Epithelium": 0}
    assert groovy("Thresholds.inWords([3, 0, 0, 0] as int[])") == "H-score 0.0, 0.0 % positive"
    assert groovy("Thresholds.inWords([1, 1, 1, 1] as int[])") == "H-score 150.0, 75.0 % positive"
    assert groovy("Thresholds.inWords(new int[4])") == "no score: no nucleus here has an intensity"


MOVES = """
    def moving = Thresholds.moving([0.2d, 0.4d, 0.6d])
    moves.each { index, value -> moving.move(index as int, value as double, 1.5d) }
    moving.values
"""


@pytest.mark.parametrize(
    ("moves", "thresholds"),
    [
        ([[0, 1.0]], [1.0, 1.01, 1.02]),
        ([[0, 1.0], [0, 0.3]], [0.3, 0.4, 0.6]),
        ([[2, 0.0], [2, 0.5]], [0.2, 0.4, 0.5]),
        ([[1, 0.9], [1, 0.1], [1, 0.4]], [0.2, 0.4, 0.6]),
        # Once another one is moved, what was pushed aside stays where it is.
        ([[0, 1.0], [2, 1.3], [0, 0.2]], [0.2, 1.01, 1.3]),
    ],
)
def test_what_a_slider_pushed_aside_comes_back(groovy, moves, thresholds):
    assert groovy(MOVES, moves=moves) == pytest.approx(thresholds)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *[("0.35", 0.35), (" 0,35 ", 0.35), (".5", 0.5), ("1", 1), ("2.", 2)],
        *[
            (text, None)
            for text in ("", "NaN", "Infinity", "-1", "1e3", "0.3d", "0,3,5", "x", None)
        ],
    ],
)
def test_only_plain_numbers_are_taken(groovy, text, number):
    assert groovy("Thresholds.parsed(text)", text=text) == number


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (["", " ", None], []),
        (["0,15", "0.35", "0.6"], [0.15, 0.35, 0.6]),
        (["0.2", "", ""], None),
        (["0.4", "0.2", "0.6"], None),
        (["0.2", "0.2", "0.6"], None),
        (["a", "b", "c"], None),
    ],
)
def test_thresholds_are_all_typed_or_none(groovy, texts, numbers):
    assert groovy("Choices.risingOf(texts)", texts=texts) == numbers


def test_typed_thresholds_are_remembered(groovy):
    assert groovy("Choices.remembered(Choices.toRemember([0.15d, 0.35d, 0.6d]))") == [
        0.15,
        0.35,
        0.6,
    ]
    for text in (None, "", "0.1 0.2", "a b c", "3 2 1"):
        assert groovy("Choices.remembered(text)", text=text) == []


@given(index=st.integers(0, 2), value=st.floats(-1, 3))
def test_thresholds_keep_rising_whatever_is_moved(groovy, index, value):
    code = "Thresholds.moved([0.2d, 0.4d, 0.6d], index as int, value as double, 1.5d)"
    low, middle, high = groovy(code, index=index, value=value)
    assert 0 <= low < middle < high <= 1.5


@pytest.mark.parametrize(
    "text",
    [None, "", "[]", "{", "7", '{"A": 1}', '{"A": [1, 2]}', '{"A": [1, 2, "3"]}', '{"A": null}'],
)
def test_odd_things_are_not_remembered(groovy, text):
    assert groovy("Thresholds.remembered(text)", text=text) == {}


def test_thresholds_are_remembered(groovy):
    code = "Thresholds.remembered(Thresholds.toRemember([Stroma: [0.1d, 0.2d, 0.3d]]))"
    assert groovy(code) == {"Stroma": [0.1, 0.2, 0.3]}


# ---- The start-up script -------------------------------------------------------------------------


@pytest.mark.parametrize("current", [None, "", "  ", "/gone.groovy", "old/Install_menu.groovy"])
def test_the_menu_becomes_the_start_up_script_where_there_is_none(groovy, tmp_path, current):
    old = tmp_path / "old" / "Install_menu.groovy"
    old.parent.mkdir()
    old.touch()
    current = str(tmp_path / current) if current == "old/Install_menu.groovy" else current
    assert (
        groovy("Ui.startUpAdvice(current, new File('/x/Install_menu.groovy'))", current=current)
        is None
    )


def test_another_start_up_script_stays_and_is_told_what_to_add(groovy, tmp_path):
    other = tmp_path / "mine.groovy"
    other.touch()
    own = tmp_path / "WSI Suite" / "Install_menu.groovy"
    told = groovy("Ui.startUpAdvice(current, new File(own))", current=str(other), own=str(own))
    assert str(other) in told
    assert told.endswith(f'getQuPath().runScript(new File("{Path(own).as_posix()}"), null)')
