"""Settings compared on the same folds."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("lightning", reason="the extra 'train' is not installed")

from wsi_suite.cli.crossvalidate import show_comparison, split_variants
from wsi_suite.config import parse_settings
from wsi_suite.detector.model_folder import find_model
from wsi_suite.errors import ConfigError, DataError, ModelError
from wsi_suite.training import crossvalidation
from wsi_suite.training.matches import Labelled, match_tile
from wsi_suite.training.paired import HeldOut, compare_folds
from wsi_suite.training.settings import TrainSettings
from wsi_suite.training.trial import Trial
from wsi_suite.training.variants import changed_settings, compare_variants


def held_out(run: str, shares: list[float], *, seed: int = 0) -> HeldOut:
    """Return a model on tiles of a run with 20 nuclei each, of which a share is found."""
    points = np.column_stack([np.arange(20) * 10.0, np.zeros(20)])
    label = (np.arange(20) % 2).astype(np.uint8)
    truth, found = [], []
    for share in shares:
        kept = np.arange(20) < round(20 * share)
        truth.append(Labelled(points, label, np.ones(20, np.float32)))
        found.append(Labelled(points[kept], label[kept], np.full(kept.sum(), 0.9, np.float32)))
    trial = Trial(
        model="m",
        model_hash="0" * 64,
        classes=("Stroma", "Epithelium"),
        min_confidence=0.5,
        match_um=3.5,
        tiles=tuple(_Tile(run) for _ in shares),
        truth=tuple(truth),
        found=tuple(found),
        matches=tuple(match_tile(a, b, classes=2) for a, b in zip(truth, found, strict=True)),
    )
    return HeldOut((run,), seed, trial)


class _Tile:
    def __init__(self, run: str) -> None:
        self.run = run


class TestPairedDifferences:
    def test_a_difference_is_the_mean_over_folds_and_seeds(self):
        ours = [held_out("a", [1, 1]), held_out("b", [0.5]), held_out("a", [0.5, 0.5], seed=1)]
        theirs = [
            held_out("a", [0.5, 0.5]),
            held_out("b", [0.5]),
            held_out("a", [0.5, 0.5], seed=1),
        ]
        difference = compare_folds(ours, theirs, resamples=200)["map"]
        assert difference.value == pytest.approx((0.5 + 0 + 0) / 3)
        assert difference.low == 0
        assert 0.25 <= difference.high <= 0.5
        back = compare_folds(theirs, ours, resamples=200)["map"]
        assert back.value == -difference.value
        assert back.p == difference.p

    def test_what_is_better_in_each_fold_is_so_beyond_chance(self):
        # Folds differ by far more than settings, which does not blur the difference.
        shares = {"a": 0.9, "b": 0.5, "c": 0.2, "d": 0.7}
        ours = [held_out(run, [share + 0.05] * 3) for run, share in shares.items()]
        theirs = [held_out(run, [share] * 3) for run, share in shares.items()]
        difference = compare_folds(ours, theirs, resamples=200)["f1_agnostic"]
        assert 0 < difference.low <= difference.value <= difference.high
        assert difference.p == pytest.approx(0.01)
        # Another order of the seeds and folds changes nothing but the draws.
        same = compare_folds(ours[::-1], theirs[::-1], resamples=200)["f1_agnostic"]
        assert same.value == pytest.approx(difference.value)

    def test_a_setting_is_no_better_than_itself(self):
        folds = [held_out("a", [1, 0.5]), held_out("b", [0.2])]
        difference = compare_folds(folds, folds, resamples=50)["map"]
        assert (difference.value, difference.low, difference.high, difference.p) == (0, 0, 0, 1)

    def test_folds_without_nuclei_are_left_out(self):
        empty = Labelled(np.zeros((0, 2)), np.zeros(0, np.uint8), np.zeros(0, np.float32))
        nothing = held_out("b", [1])
        nothing = replace(
            nothing,
            trial=replace(nothing.trial, matches=(match_tile(empty, empty, classes=2),)),
        )
        ours, theirs = [held_out("a", [1]), nothing], [held_out("a", [0.5]), nothing]
        assert compare_folds(ours, theirs, resamples=20)["map"].value == pytest.approx(0.5)
        assert compare_folds([nothing], [nothing], resamples=20)["map"].value is None


class TestNames:
    def test_names_and_settings_are_parted(self):
        texts = ["scratch:", "frozen: init=C:\\w.pth 'name=a b' optimiser.freeze=backbone"]
        assert split_variants(texts) == {
            "scratch": [],
            "frozen": ["init=C:\\w.pth", "name=a b", "optimiser.freeze=backbone"],
        }

    @pytest.mark.parametrize(
        ("texts", "message"),
        [
            (["frozen"], "expected NAME: KEY=VALUE"),
            (["init=C:/w.pth"], "expected NAME: KEY=VALUE"),
            ([": init=w.pth"], "expected NAME: KEY=VALUE"),
            (["a: x=1", "a: x=2"], "the name 'a' comes twice"),
            (["a: 'x=1"], "a quote is not closed"),
        ],
    )
    def test_unclear_ones_are_refused(self, texts, message):
        with pytest.raises(ConfigError, match=message):
            split_variants(texts)


def settings_with(**changes) -> TrainSettings:
    values = {
        "name": "tiny",
        "network": {"backbone": "resnet10t", "stages": 1, "channels": 8},
        "optimiser": {"epochs": 1, "epoch_crops": 2, "batch": 2, "crop_px": 32},
    }
    return parse_settings(TrainSettings, values | changes)


def test_what_differs_between_settings():
    network = {"backbone": "resnet10t", "stages": 1, "channels": 16}
    other = settings_with(network=network, init="w.pth")
    assert changed_settings(settings_with(), other) == {"network.channels": 16, "init": "w.pth"}


def test_variants_that_cannot_be_compared_are_refused(data, tmp_path):
    one = settings_with()
    with pytest.raises(ConfigError, match="expected two or more"):
        compare_variants({"a": one}, data=data, out=tmp_path / "x")
    other = settings_with(labels={"classes": {0: "Rest", 1: "Tumour"}})
    with pytest.raises(ConfigError, match=r"variant b: its classes \(Rest, Tumour\) are not those"):
        compare_variants({"a": one, "b": other}, data=data, out=tmp_path / "x")
    optimiser = one.optimiser.model_copy(update={"seed": 3})
    other = one.model_copy(update={"optimiser": optimiser})
    with pytest.raises(ConfigError, match=r"variant b: its optimiser\.seed 3 is not that of a \(0"):
        compare_variants({"a": one, "b": other}, data=data, out=tmp_path / "x")
    missing = settings_with(init="no.pth")  # told before the first variant is trained
    with pytest.raises(ModelError, match=r"variant b: fold 1-seed0: init no\.pth: no such file"):
        compare_variants({"a": one, "b": missing}, data=data, out=tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_patience_needs_validation_runs_in_each_fold(data, tmp_path):
    patient = settings_with(
        split={"validation_runs": ["3"]},
        optimiser={"epochs": 1, "epoch_crops": 2, "batch": 2, "crop_px": 32, "patience": 1},
    )
    with pytest.raises(DataError, match=r"fold 3-seed0: optimiser\.patience: watches the valid"):
        crossvalidation.cross_validate(patient, data=data, out=tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.usefixtures("quick_training")
def test_variants_are_trained_on_the_same_folds(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(crossvalidation, "SHIFTS", {})
    network = {"backbone": "resnet10t", "stages": 1, "channels": 16}
    variants = {"as it is": settings_with(), "wide/2": settings_with(network=network)}
    told = []
    report = compare_variants(
        variants, data=data, out=tmp_path / "out", folds=2, progress=told.append
    )
    assert [step.name for step in told][::2] == ["as it is, 1+4-seed0", "wide/2, 1+4-seed0"]
    first, second = report.variants
    assert (first.name, first.changes, first.differences) == ("as it is", {}, {})
    assert second.changes == {"network.channels": 16}
    assert set(second.differences) == {"map", "f1", "f1_agnostic"}
    folds = [[(fold.test_runs, fold.seed) for fold in part.folds] for part in report.variants]
    assert folds[0] == folds[1]
    assert find_model(tmp_path / "out" / "wide_2" / "1+4-seed0").spec.network.channels == 16
    written = json.loads((tmp_path / "out" / "comparison.json").read_text("utf-8"))
    assert written == report.as_json()
    again = compare_variants(
        variants, data=data, out=tmp_path / "out", folds=2, progress=told.append
    )
    assert again == report
    assert len(told) == 4  # nothing is trained twice
    show_comparison(report)
    table = capsys.readouterr().out
    assert "less as it is" in table
    assert table.count("mAP") == 2
