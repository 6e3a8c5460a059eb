"""Trainings on growing shares of the cases."""

from __future__ import annotations

import csv
import json
from itertools import pairwise

import pytest

pytest.importorskip("lightning", reason="the extra 'train' is not installed")

from wsi_suite.config import parse_settings
from wsi_suite.detector.model_folder import find_model
from wsi_suite.errors import ConfigError, DataError, OutputConflictError
from wsi_suite.training import learning_curve
from wsi_suite.training.learning_answer import answer_rows
from wsi_suite.training.learning_curve import learn_curve
from wsi_suite.training.learning_curve_document import CURVE_FILE, TABLE_FILE, LearningCurve
from wsi_suite.training.learning_curve_page import write_curve_page
from wsi_suite.training.nested import plan_nested
from wsi_suite.training.settings import SplitSettings, TrainSettings
from wsi_suite.training.train import split_tiles


def settings_with(**changes) -> TrainSettings:
    values = {
        "name": "tiny",
        "network": {"backbone": "resnet10t", "stages": 1, "channels": 8},
        "optimiser": {
            "epochs": 1,
            "epoch_crops": 2,
            "batch": 2,
            "crop_px": 32,
            "precision": "fp32",
        },
    }
    return parse_settings(TrainSettings, values | changes)


def plan(runs="abcdefghij", *, shares=(0.25, 0.5, 1), repeats=3, test_share=0.2, seed=0):
    return plan_nested(list(runs), shares=shares, repeats=repeats, test_share=test_share, seed=seed)


class TestNested:
    def test_each_share_holds_the_smaller_ones_and_no_test_case(self):
        parts = plan()
        for repeat in (1, 2, 3):
            mine = [part for part in parts if part.repeat == repeat]
            assert [len(part.train_runs) for part in mine] == [2, 4, 8]
            assert len({part.test_runs for part in mine}) == 1
            for small, large in pairwise(mine):
                assert set(small.train_runs) < set(large.train_runs)
            assert set(mine[-1].train_runs) | set(mine[-1].test_runs) == set("abcdefghij")
            assert not set(mine[-1].train_runs) & set(mine[-1].test_runs)

    def test_test_cases_go_round_all_cases(self):
        tests = {part.repeat: part.test_runs for part in plan(repeats=5)}
        assert sorted(run for runs in tests.values() for run in runs) == list("abcdefghij")

    def test_more_repeats_and_shares_leave_the_others_as_they_are(self):
        before = {(part.repeat, part.train_runs, part.test_runs) for part in plan()}
        more = plan(shares=(1, 0.75, 0.5, 0.25), repeats=5)
        assert before < {(part.repeat, part.train_runs, part.test_runs) for part in more}
        assert plan(seed=1) != plan()

    def test_shares_of_as_many_cases_are_one(self):
        parts = plan("abc", shares=(0.1, 0.2, 1), repeats=1)
        assert [(len(part.train_runs), part.share) for part in parts] == [(1, 0.2), (2, 1)]

    @pytest.mark.parametrize("shares", [(0, 1), (1.5,), (-0.2, 1), (float("nan"),), ()])
    def test_impossible_shares_are_refused(self, shares):
        with pytest.raises(ConfigError, match="expected shares above 0 and up to 1"):
            plan(shares=shares)

    @pytest.mark.parametrize(("runs", "test_share"), [("", 0.25), ("a", 0.25), ("ab", 0.9)])
    def test_too_few_cases_are_refused(self, runs, test_share):
        with pytest.raises(DataError, match=r"at least one to test on and one to train on"):
            plan(runs, test_share=test_share)


class TestTrainRuns:
    def test_only_named_runs_are_trained_on(self, tiles):
        split = split_tiles(tiles, SplitSettings(test_runs=("2",), train_runs=("1", "3")))
        assert {tile.run for tile in split.train} == {"1", "3"}
        assert {tile.run for tile in split.test} == {"2"}

    def test_a_run_in_two_parts_is_refused(self, tiles):
        with pytest.raises(DataError, match="run 2 is both test and train; keep one"):
            split_tiles(tiles, SplitSettings(test_runs=("2",), train_runs=("2",)))


class TestRefused:
    def test_what_could_not_be_compared(self, data, tmp_path):
        optimiser = settings_with().optimiser.model_dump() | {"patience": 1}
        patient = settings_with(optimiser=optimiser, split={"validation_runs": ["1"]})
        with pytest.raises(ConfigError, match=r"optimiser\.patience ends trainings after diff"):
            learn_curve({"a": patient}, data=data, out=tmp_path / "x")
        missing = settings_with(split={"validation_runs": ["9"]})
        with pytest.raises(DataError, match="no tile belongs to the run '9'"):
            learn_curve({"a": missing}, data=data, out=tmp_path / "x")
        assert not (tmp_path / "x").exists()


@pytest.fixture
def curve_of(data, tmp_path):
    def curve(variants=None, **changes) -> LearningCurve:
        values = {"data": data, "out": tmp_path / "out", "repeats": 2, "shares": (0.3, 0.7, 1)}
        return learn_curve(variants or {"tiny": settings_with()}, **(values | changes))

    return curve


@pytest.mark.usefixtures("quick_training")
class TestCurve:
    def test_models_learn_from_their_cases_alone(self, curve_of, tmp_path):
        told = []
        curve = curve_of(progress=told.append)
        (variant,) = curve.variants
        assert [(point.repeat, point.cases) for point in variant.points] == [
            (repeat, cases) for repeat in (1, 2) for cases in (1, 2, 3)
        ]
        assert len(told) == curve.planned == 6
        assert curve.steps == 1
        for point in variant.points:
            folder = tmp_path / "out" / f"repeat-{point.repeat}-cases-{point.cases}"
            model = find_model(folder)
            assert model.hash == point.model_hash
            runs = model.spec.provenance["runs"]
            assert runs["train"] == list(point.train_runs)
            assert runs["test"] == list(point.test_runs)
            assert point.nuclei == 8 * point.tiles
            assert point.figures.nuclei == 8 * point.figures.tiles
        assert json.loads((tmp_path / "out" / CURVE_FILE).read_text("utf-8")) == curve.as_json()
        with (tmp_path / "out" / TABLE_FILE).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [int(row["cases"]) for row in rows] == [1, 2, 3] * 2
        assert float(rows[0]["map"]) == pytest.approx(variant.points[0].figures.map, abs=1e-6)

        told.clear()
        more = curve_of(progress=told.append, repeats=3)
        assert more.variants[0].points[:6] == variant.points
        assert len(told) == 3  # what is there is not trained again

    def test_a_failure_is_told_and_tried_again(self, curve_of, tmp_path, monkeypatch):
        train, asked = learning_curve.train_model, []

        def failing(settings, **values):
            asked.append(values["out"].name)
            if len(asked) == 2:
                raise RuntimeError("CUDA out\nof memory")
            return train(settings, **values)

        monkeypatch.setattr(learning_curve, "train_model", failing)
        curve = curve_of()
        ((name, point),) = curve.failed
        assert (name, point.cases, point.error) == ("tiny", 2, "CUDA out of memory")
        assert sum(point.figures is not None for point in curve.variants[0].points) == 5
        assert any("repeat 1 with 2 cases failed" in text for text in curve.warnings)
        assert curve.variants[0].outlooks["map"].repeats == 1
        write_curve_page(tmp_path / "page.html", curve)
        page = (tmp_path / "page.html").read_text("utf-8")
        assert "CUDA out of memory" in page
        assert "not told by these data: one repeat" in page or "does not rise" in page
        # No mean over one repeat stands beside means over two as if it were one of them.
        rows = answer_rows(curve.variants[0], "f1")
        assert [(row.cases, row.repeats, row.planned) for row in rows] == [
            (1, 1, 2), (2, 1, 2), (3, 1, 2),
        ]  # fmt: skip
        whole = [point.figures.f1 for point in curve.variants[0].points if point.repeat == 2]
        assert [row.mean for row in rows] == whole
        assert [row.low for row in rows] == [None] * 3
        assert "1 of 2 repeats" in page
        assert page.count("<td>1 of 2</td>") == 6
        assert curve_of().failed == []

    def test_an_interrupted_curve_goes_on(self, curve_of, tmp_path):
        class StopError(BaseException):
            pass

        told = []

        def stopping(step):
            told.append(step.name)
            if len(told) == 3:
                raise StopError

        with pytest.raises(StopError):
            curve_of(progress=stopping)
        written = LearningCurve.model_validate_json((tmp_path / "out" / CURVE_FILE).read_text())
        assert len(written.variants[0].points) == 2
        whole = curve_of(progress=lambda step: told.append(step.name))
        assert [point.error for point in whole.variants[0].points] == [None] * 6
        assert written.variants[0].points == whole.variants[0].points[:2]

    def test_a_folder_of_other_settings_is_refused(self, curve_of):
        curve_of(repeats=1, shares=(1,))
        other = settings_with(network={"backbone": "resnet10t", "stages": 1, "channels": 16})
        with pytest.raises(OutputConflictError, match="holds a training with other settings"):
            curve_of({"tiny": other}, repeats=1, shares=(1,))

    def test_variants_stand_side_by_side_on_the_same_cases(self, curve_of, tmp_path):
        wide = settings_with(network={"backbone": "resnet10t", "stages": 1, "channels": 16})
        curve = curve_of({"scratch": settings_with(), "wide/2": wide}, repeats=1, shares=(0.5, 1))
        first, second = curve.variants
        assert second.changes == {"network.channels": 16}
        cases = [[(p.train_runs, p.test_runs) for p in part.points] for part in curve.variants]
        assert cases[0] == cases[1]
        assert find_model(tmp_path / "out" / "wide_2" / "repeat-1-cases-3").spec.network.channels
        assert first.outlooks["map"].gains == ()
        assert any("fewer than 3" in text for text in curve.warnings)
        write_curve_page(tmp_path / "page.html", curve)
        page = (tmp_path / "page.html").read_text("utf-8")
        assert "<strong>wide/2.</strong>" in page
        assert "network.channels=16" in page
        assert "script" not in page
