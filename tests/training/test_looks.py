"""Looks at validation runs, the early end that follows from them, curves and pictures."""

from __future__ import annotations

import csv
import itertools
import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("lightning", reason="the extra 'train' is not installed")

from wsi_suite.config import parse_settings
from wsi_suite.detector.label_spec import LabelSpec
from wsi_suite.detector.model_folder import load_network
from wsi_suite.errors import ConfigError, DataError
from wsi_suite.training import callbacks
from wsi_suite.training.labelled import load_tiles
from wsi_suite.training.looks import SHOWN_TILES, BestLook, Look, shown_tiles
from wsi_suite.training.settings import TrainSettings
from wsi_suite.training.train import train_model

VALUES = {
    "name": "tiny",
    "network": {"backbone": "resnet10t", "stages": 1, "channels": 8},
    "split": {"test_runs": ["4"], "validation_runs": ["3"]},
}
OPTIMISER = {"epochs": 6, "epoch_crops": 2, "batch": 2, "crop_px": 32, "validate_every": 1}

pytestmark = pytest.mark.usefixtures("quick_training")


def settings_with(split=VALUES["split"], **optimiser) -> TrainSettings:
    return parse_settings(
        TrainSettings, VALUES | {"split": split, "optimiser": OPTIMISER | optimiser}
    )


class StoppedError(Exception):
    """Somebody ends a training."""


def stop_after(epoch):
    def progress(step):
        if step.done == epoch:
            raise StoppedError

    return progress


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, math.nan]), max_size=9))
def test_the_best_look_is_the_first_of_the_highest(values):
    best = BestLook()
    for epoch, value in enumerate(values, start=1):
        best = best.after(value, epoch=epoch)
    known = [value for value in values if not math.isnan(value)]
    if known:
        assert best.epoch == values.index(max(known)) + 1
        assert best.value == max(known)
    assert best.since == len(values) - best.epoch


class TestEarlyEnd:
    @pytest.fixture
    def watched(self, monkeypatch):
        """The weights at each look, which find mAP to be 0.3, 0.5, 0.5, 0.4, ...; by epoch."""
        weights = []

        def look(network, tiles, settings):
            epoch = len(weights)
            weights.append({k: v.detach().clone() for k, v in network.state_dict().items()})
            figures = [0.3, 0.5, 0.5, 0.4, 0.6, 0.7]
            return Look({"validation/map": figures[min(epoch, 5)], "validation/f1": 0.5}, {})

        monkeypatch.setattr(callbacks, "look_at", look)
        return weights

    def test_it_ends_and_keeps_the_best_weights(self, watched, data, tmp_path):
        told, remarks = [], []
        model = train_model(
            settings_with(patience=2),
            data=data,
            out=tmp_path / "out",
            progress=told.append,
            tell=remarks.append,
        )
        assert [step.done for step in told] == [1, 2, 3, 4]
        assert remarks == [
            "ended after epoch 4 of 6: no look at the validation runs was better than that of "
            "epoch 2"
        ]
        assert model.spec.provenance["kept"] == {"epoch": 2, "of": 4, "map": 0.5}
        kept = load_network(model).state_dict()
        for name in (name for name in kept if name.startswith("backbone")):
            assert kept[name].equal(watched[1][name].half().float())
            assert not name.endswith("conv1.weight") or not kept[name].equal(
                watched[3][name].half().float()
            )

    def test_stopped_and_ended_trainings_are_resumed_to_the_same_model(
        self, watched, data, tmp_path
    ):
        settings = settings_with(patience=2)
        whole = train_model(settings, data=data, out=tmp_path / "whole")
        del watched[:]
        with pytest.raises(StoppedError):
            train_model(settings, data=data, out=tmp_path / "a", progress=stop_after(4))
        del watched[3:]  # the look at the fourth epoch is lost with its checkpoint
        resumed = train_model(settings, data=data, out=tmp_path / "a")
        assert resumed.hash == whole.hash
        told, remarks = [], []
        again = train_model(
            settings, data=data, out=tmp_path / "a", progress=told.append, tell=remarks.append
        )
        assert again == resumed
        assert told == []
        assert len(remarks) == 1
        curves = [tmp_path / name / "training" / "metrics.csv" for name in ("whole", "a")]
        assert curves[0].read_bytes() == curves[1].read_bytes()

    def test_without_patience_looks_choose_nothing(self, watched, data, tmp_path):
        model = train_model(settings_with(epochs=3), data=data, out=tmp_path / "out")
        assert model.spec.provenance["kept"] == {"epoch": 3, "of": 3, "map": None}
        kept = load_network(model).state_dict()
        for name in (name for name in kept if name.startswith("backbone")):
            assert kept[name].equal(watched[2][name].half().float())

    def test_the_last_epoch_is_looked_at_too(self, watched, data, tmp_path):
        train_model(settings_with(epochs=3, validate_every=2), data=data, out=tmp_path / "out")
        assert len(watched) == 2

    def test_it_needs_validation_runs_with_nuclei(self, data, tmp_path):
        with pytest.raises(DataError, match=r"optimiser\.patience: watches the validation runs"):
            train_model(
                settings_with(split={"test_runs": ["4"]}, patience=2), data=data, out=tmp_path / "x"
            )
        assert not (tmp_path / "x").exists()
        with pytest.raises(ConfigError, match=r"optimiser\.patience = 0"):
            settings_with(patience=0)


@pytest.fixture(scope="module")
def work(quick_training, data, tmp_path_factory):
    """The folder of a training of three epochs, with looks at the second and third."""
    out = tmp_path_factory.mktemp("models") / "seen"
    train_model(settings_with(epochs=3, validate_every=2), data=data, out=out)
    return out / "training"


class TestCurves:
    def test_each_epoch_has_a_row(self, work):
        with (work / "metrics.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["epoch"] for row in rows] == ["1", "2", "3"]
        for row in rows:
            parts = [float(row[f"train/{part}"]) for part in ("heat", "kind", "offset", "size")]
            assert float(row["train/loss"]) == pytest.approx(sum(parts), rel=1e-4)
            assert 0 < float(row["train/rate"]) < 2e-3
            assert (row["validation/map"] == "") == (row["epoch"] == "1")
        assert {"validation/ap/Stroma", "validation/ap/Epithelium", "validation/f1"} <= rows[
            0
        ].keys()

    def test_tensorboard_has_figures_and_pictures_of_each_look(self, work, data):
        events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
        log = events.EventAccumulator(str(work), size_guidance={"images": 0})
        log.Reload()
        assert {
            "train/loss",
            "train/rate",
            "validation/map",
            "validation/ap/Stroma",
            "validation/f1",
        } <= set(log.Tags()["scalars"])
        assert [event.step for event in log.Scalars("train/rate")] == [0, 1, 2]
        assert log.Tags()["images"] == ["validation/d"]
        pictures = log.Images("validation/d")
        assert [event.step for event in pictures] == [2, 3]
        drawn = cv2.imdecode(np.frombuffer(pictures[0].encoded_image_string, np.uint8), 1)
        assert drawn.shape == (3 * 64, 2 * 3 * 64 + 6, 3)
        # The left half is the tile with a ring around each labelled nucleus.
        (tile,) = [tile for tile in load_tiles(data, LabelSpec()) if tile.id == "d"]
        colours = np.array([(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)])[:, ::-1]
        for (x, y), kind in zip(tile.points * 3, tile.label, strict=True):
            near = drawn[max(0, int(y) - 10) : int(y) + 11, max(0, int(x) - 10) : int(x) + 11]
            assert (np.abs(near.astype(int) - colours[kind]).max(axis=2) < 20).sum() > 10


def test_the_tiles_that_are_shown_are_of_all_parts_and_have_nuclei(tiles):
    from dataclasses import replace

    empty = replace(tiles[0], points=np.zeros((0, 2)), label=np.zeros(0, np.uint8))
    full = tiles[0]
    many = list(itertools.chain.from_iterable([empty, full] for _ in range(50)))
    rows = shown_tiles(many)
    assert len(rows) == SHOWN_TILES
    assert rows[0] == 1
    assert rows[-1] == 99
    assert all(len(many[row].label) for row in rows)
    assert shown_tiles([full]) == [0]
    assert shown_tiles([empty]) == shown_tiles([]) == []
