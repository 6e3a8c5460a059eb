import json
from dataclasses import replace

import pytest

pytest.importorskip("lightning", reason="the extra 'train' is not installed")

from wsi_suite.config import parse_settings
from wsi_suite.detector.model_folder import ModelSpec, find_model, save_model
from wsi_suite.detector.network import NucleusNet
from wsi_suite.errors import DataError, ModelError
from wsi_suite.training import crossvalidation
from wsi_suite.training.crossvalidation import (
    REPORT_FILE,
    UNCHANGED,
    Spread,
    cross_validate,
)
from wsi_suite.training.folds import Fold, plan_folds, plan_work, settings_of
from wsi_suite.training.settings import SplitSettings, TrainSettings
from wsi_suite.training.shifts import SHIFTS

SETTINGS = parse_settings(
    TrainSettings,
    {
        "name": "tiny",
        "network": {"backbone": "resnet10t", "stages": 1, "channels": 8},
        "split": {"validation_runs": ["1"]},
        "optimiser": {
            "epochs": 1,
            "epoch_crops": 2,
            "batch": 2,
            "crop_px": 32,
            "precision": "fp32",
        },
    },
)


def tiles_of(tiles, sizes):
    return [replace(tiles[0], run=run) for run, size in sizes.items() for _ in range(size)]


class TestFolds:
    def test_each_run_is_left_out_once_with_each_seed(self, tiles):
        folds = plan_folds(tiles_of(tiles, {"a": 3, "b": 1, "c": 2}), folds=None, seeds=(0, 1))
        assert len(folds) == len(set(folds)) == 6
        assert sorted(fold.test_runs for fold in folds if fold.seed == 1) == [
            ("a",),
            ("b",),
            ("c",),
        ]

    def test_folds_are_about_equal_and_keep_runs_together(self, tiles):
        sizes = {"a": 50, "b": 40, "c": 20, "d": 15, "e": 3}
        folds = plan_folds(tiles_of(tiles, sizes), folds=3, seeds=(0,))
        assert sorted(run for fold in folds for run in fold.test_runs) == list(sizes)
        parts = [sum(sizes[run] for run in fold.test_runs) for fold in folds]
        assert max(parts) - min(parts) <= 15

    @pytest.mark.parametrize(("sizes", "folds"), [({"a": 5}, None), ({"a": 1, "b": 1}, 3)])
    def test_too_few_runs_are_refused(self, tiles, sizes, folds):
        with pytest.raises(DataError, match=r"a run for each; name the runs in tiles\.csv"):
            plan_folds(tiles_of(tiles, sizes), folds=folds, seeds=(0,))

    def test_a_test_run_does_not_validate(self):
        settings = settings_of(Fold(("1", "2"), seed=7), SETTINGS)
        assert settings.split.test_runs == ("1", "2")
        assert settings.split.validation_runs == ()
        assert settings.optimiser.seed == 7


class TestWork:
    """What is refused before the first training, not hours later."""

    @pytest.fixture
    def work(self, data):
        def plan(settings=SETTINGS, seeds=None):
            return plan_work(settings, data=data, folds=2, seeds=seeds, mpp=None)

        return plan

    def test_the_seed_is_that_of_the_settings_unless_others_are_given(self, work):
        optimiser = SETTINGS.optimiser.model_copy(update={"seed": 5})
        settings = SETTINGS.model_copy(update={"optimiser": optimiser})
        assert {fold.seed for fold in work(settings).folds} == {5}
        assert {fold.seed for fold in work(settings, (1, 2)).folds} == {1, 2}

    def test_a_start_that_cannot_be_used_in_some_fold_is_refused(self, work, tmp_path):
        missing = SETTINGS.model_copy(update={"init": str(tmp_path / "no.pth")})
        with pytest.raises(ModelError, match=r"fold .*-seed0: init .*no\.pth: no such file"):
            work(missing)
        network = NucleusNet(SETTINGS.network, classes=2)
        provenance = {"runs": {"train": ["4"], "validation": [], "test": []}}
        save_model(
            tmp_path / "start",
            ModelSpec(name="start", network=SETTINGS.network, provenance=provenance),
            network,
        )
        seen = SETTINGS.model_copy(update={"start_from": str(tmp_path / "start")})
        with pytest.raises(DataError, match=r"fold 1\+4-seed0: start_from .* the test run '4'"):
            work(seen)


@pytest.mark.usefixtures("quick_training")
def test_runs_of_names_alike_have_folders_of_their_own(tmp_path, write_tiles, monkeypatch):
    monkeypatch.setattr(crossvalidation, "SHIFTS", {})
    data = write_tiles(tmp_path / "data", {"a": "S/1", "b": "s_1"})
    settings = SETTINGS.model_copy(update={"split": SplitSettings()})
    cross_validate(settings, data=data, out=tmp_path / "out")
    there = sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir())
    assert there == ["S_1-seed0", "s_1-seed0 2"]


def test_spread_of_some_values():
    assert Spread.of([0.2, 0.6, 0.4]) == Spread(pytest.approx(0.4), 0.2, 0.6)


@pytest.mark.usefixtures("quick_training")
def test_each_fold_has_a_model_that_did_not_see_its_runs(tmp_path, write_tiles):
    data = write_tiles(tmp_path / "data", {"a": "1", "b": "2", "c": "3"})
    report = cross_validate(SETTINGS, data=data, out=tmp_path / "folds")
    assert {fold.test_runs for fold in report.folds} == {("1",), ("2",), ("3",)}
    for fold in report.folds:
        model = find_model(tmp_path / "folds" / f"{fold.test_runs[0]}-seed0")
        assert model.hash == fold.model_hash
        runs = model.spec.provenance["runs"]
        assert runs["test"] == list(fold.test_runs)
        assert not set(runs["train"]) & set(fold.test_runs)
        assert set(fold.figures) == {UNCHANGED, *SHIFTS}
        assert fold.figures[UNCHANGED].nuclei == 8 * fold.figures[UNCHANGED].tiles
    written = json.loads((tmp_path / "folds" / REPORT_FILE).read_text("utf-8"))
    assert written == report.model_dump(mode="json")

    told = []
    again = cross_validate(
        SETTINGS,
        data=data,
        out=tmp_path / "folds",
        progress=told.append,
    )
    assert again == report
    assert told == []  # nothing is trained twice
