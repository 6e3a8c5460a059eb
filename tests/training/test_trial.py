"""Figures of models on tiles: intervals by runs and tiles, two models side by side, the page."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from wsi_suite.errors import DataError
from wsi_suite.training.evaluation_report import report_trial, worst_tiles, write_page
from wsi_suite.training.labelled import LabelledTile
from wsi_suite.training.matches import Labelled, match_tile
from wsi_suite.training.trial import Trial, compare_models, draw_again, find_intervals

CLASSES = "Stroma", "Epithelium"


def make_trial(
    folder: Path, *, found: list[float], wrong_class: float = 0, spurious: int = 0
) -> Trial:
    """Return a trial of one tile per entry, two a run, of which a share of 20 nuclei is found."""
    tiles, truth, detections = [], [], []
    for number, share in enumerate(found):
        image = folder / f"{number}.png"
        cv2.imwrite(str(image), np.full((200, 200, 3), 200, np.uint8))
        points = np.column_stack([np.arange(20) * 4.0 + 8, np.full(20, 30.0)])
        label = (np.arange(20) % 2).astype(np.uint8)
        tiles.append(
            LabelledTile(
                str(number), str(number // 2), image, 0.5, points * 2, label, np.full(20, np.nan)
            )
        )
        kept = np.arange(20) < round(20 * share)
        guess = label.copy()
        guess[: round(20 * wrong_class)] = 1 - guess[: round(20 * wrong_class)]
        extra = np.column_stack([np.arange(spurious) * 4.0 + 8, np.full(spurious, 80.0)])
        truth.append(Labelled(points, label, np.ones(20, np.float32)))
        there = np.concatenate([points[kept], extra])
        detections.append(
            Labelled(
                there,
                np.concatenate([guess[kept], np.zeros(spurious, np.uint8)]),
                np.full(len(there), 0.9, np.float32),
            )
        )
    return Trial(
        model="tried",
        model_hash="0123456789abcdef",
        classes=CLASSES,
        min_confidence=0.5,
        match_um=3.5,
        tiles=tuple(tiles),
        truth=tuple(truth),
        found=tuple(detections),
        matches=tuple(match_tile(a, b, classes=2) for a, b in zip(truth, detections, strict=True)),
    )


def test_runs_are_drawn_and_tiles_within_them():
    runs = ["a"] * 3 + ["b"] * 5 + ["c"]
    draws = list(draw_again(runs, resamples=200))
    for rows in draws:
        drawn = [runs[row] for row in rows]
        # Each run comes as a whole number of times its size.
        assert [drawn.count(run) % size for run, size in (("a", 3), ("b", 5), ("c", 1))] == [0] * 3
    assert len({len(rows) for rows in draws}) > 3
    assert all(map(np.array_equal, draws, draw_again(runs, resamples=200)))


def test_of_one_run_the_tiles_are_drawn():
    draws = list(draw_again(["a"] * 4, resamples=50))
    assert all(len(rows) == 4 for rows in draws)
    assert {0, 1, 2, 3} == set(np.concatenate(draws).tolist())


def test_alike_tiles_have_an_interval_of_no_width(tmp_path):
    interval = find_intervals(make_trial(tmp_path, found=[0.5] * 4), resamples=50)["f1_agnostic"]
    assert (interval.low, interval.high) == pytest.approx((2 / 3, 2 / 3))


def test_one_tile_alone_has_figures_but_no_interval(tmp_path):
    # Drawn again it is the same tile: an interval of no width would claim to be certain.
    trial, other = make_trial(tmp_path, found=[0.5]), make_trial(tmp_path, found=[0.8])
    report = report_trial(trial, against=other)
    assert report.f1_agnostic == pytest.approx(2 / 3)
    assert {(part.low, part.high) for part in report.intervals.values()} == {(None, None)}
    difference = report.against.differences["map"]
    assert difference.value == pytest.approx(-0.3)
    assert (difference.low, difference.high, difference.p) == (None, None, None)
    page = tmp_path / "page.html"
    write_page(page, report, trial, read_mpp=0.5)
    assert "One tile alone has none." in page.read_text("utf-8")
    assert "– to –" not in page.read_text("utf-8")


def test_the_interval_holds_what_the_runs_differ_in(tmp_path):
    # One run at recall 1, one at 0.5: drawn again both come alone.
    interval = find_intervals(make_trial(tmp_path, found=[1, 1, 0.5, 0.5]), resamples=200)
    assert interval["f1_agnostic"].low == pytest.approx(2 / 3)
    assert interval["f1_agnostic"].high == 1


def test_a_figure_without_value_has_no_interval(tmp_path):
    trial = make_trial(tmp_path, found=[1])
    empty = Labelled(np.zeros((0, 2)), np.zeros(0, np.uint8), np.zeros(0, np.float32))
    nothing = match_tile(empty, empty, classes=2)
    trial = replace(trial, truth=(empty,), found=(empty,), matches=(nothing,))
    interval = find_intervals(trial, resamples=10)["map"]
    assert (interval.low, interval.high) == (None, None)
    assert compare_models(trial, trial, resamples=10)["map"].value is None
    assert report_trial(trial).count_error["all"].bias is None


def test_a_model_that_is_better_everywhere_is_so_beyond_chance(tmp_path):
    good = make_trial(tmp_path, found=[1, 0.9, 1, 0.9])
    poor = make_trial(tmp_path, found=[0.8, 0.7, 0.8, 0.7])
    difference = compare_models(good, poor, resamples=100)["f1_agnostic"]
    assert difference.value is not None
    assert 0.05 < difference.low <= difference.value <= difference.high
    assert difference.p == pytest.approx(0.02)  # two in a hundred draws, the least that is told
    back = compare_models(poor, good, resamples=100)["f1_agnostic"]
    assert back.value == -difference.value
    assert back.p == difference.p


def test_a_model_is_no_better_than_itself(tmp_path):
    trial = make_trial(tmp_path, found=[1, 0.5])
    difference = compare_models(trial, trial, resamples=20)["map"]
    assert (difference.value, difference.low, difference.high, difference.p) == (0, 0, 0, 1)


def test_models_of_other_classes_are_not_compared(tmp_path):
    trial = make_trial(tmp_path, found=[1])
    other = replace(trial, model="other", classes=("Tumour", "Rest"))
    with pytest.raises(DataError, match=r"other: its classes \(Tumour, Rest\) are not those of"):
        compare_models(trial, other)


def test_the_report_counts_what_is_confused_missed_and_spurious(tmp_path):
    trial = make_trial(tmp_path, found=[0.5, 0.5, 1], wrong_class=0.1, spurious=3)
    report = report_trial(trial)
    # 20 nuclei a tile, ten of each class; the first two in each tile have the other class.
    assert report.confusion == {
        "Stroma": {"Stroma": 4 + 4 + 9, "Epithelium": 3, "missed": 10},
        "Epithelium": {"Stroma": 3, "Epithelium": 4 + 4 + 9, "missed": 10},
        "spurious": {"Stroma": 9, "Epithelium": 0},
    }
    assert report.count_error["all"].bias == pytest.approx((13 + 13 + 23) / 60 - 1)
    assert report.count_error["all"].mean_absolute == pytest.approx((7 + 7 + 3) / 60)
    assert list(report.by_run) == ["0", "1"]
    assert report.by_run["1"].tiles == 1
    assert report.f1_agnostic == trial.evaluate().agnostic.f1
    assert list(report.map_at_um) == ["2", "3.5", "5"]


def test_the_worst_tiles_come_first(tmp_path):
    assert worst_tiles(make_trial(tmp_path, found=[0.9, 0.2, 1, 0.5])) == [1, 3, 0, 2]


def test_the_page_stands_alone_and_tells_the_figures(tmp_path):
    trial = make_trial(tmp_path, found=[0.9, 0.2], wrong_class=0.1, spurious=2)
    other = make_trial(tmp_path, found=[0.5, 0.2])
    other = replace(other, model="<b>other</b>")
    report = report_trial(trial, against=other)
    write_page(tmp_path / "page.html", report, trial, read_mpp=0.5)
    page = (tmp_path / "page.html").read_text("utf-8")
    assert f"{report.map:.3f}" in page
    assert "Compared with &lt;b&gt;other&lt;/b&gt;" in page
    sources = re.findall(r'src="([^"]{22})', page)
    assert len(sources) == 3 + 2
    assert all(source.startswith("data:image/") for source in sources)
    assert "http" not in page


def test_the_page_has_a_roc_curve_if_classes_have_probabilities(tmp_path):
    trial = make_trial(tmp_path, found=[0.9, 0.2])
    likely = [np.eye(2, dtype=np.float32)[nuclei.label] for nuclei in trial.found]
    sure = [
        replace(nuclei, class_probability=p) for nuclei, p in zip(trial.found, likely, strict=True)
    ]
    trial = replace(trial, found=tuple(sure))
    report = report_trial(trial)
    assert report.class_area == {"Stroma": 1, "Epithelium": 1}
    write_page(tmp_path / "page.html", report, trial, read_mpp=0.5)
    assert "ROC of the class probability" in (tmp_path / "page.html").read_text("utf-8")
