"""A training on several devices: what each gets, and two processes on a CPU."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("lightning", reason="the extra 'train' is not installed")

from wsi_suite.config import parse_settings
from wsi_suite.detector.detector import Compute
from wsi_suite.detector.model_folder import find_model
from wsi_suite.errors import ConfigError, ModelError
from wsi_suite.training.crops import EpochSampler, TrainingTiles, training_loader
from wsi_suite.training.crossvalidation import cross_validate
from wsi_suite.training.fitting import check_devices
from wsi_suite.training.settings import TrainSettings

TRAINING = """
name: two
network: {backbone: resnet10t, stages: 1, channels: 8}
split: {validation_runs: ["3"]}
optimiser: {epochs: 2, epoch_crops: 9, batch: 4, crop_px: 32, validate_every: 1, devices: 2}
"""


def settings_with(**optimiser) -> TrainSettings:
    values = {"epoch_crops": 26, "batch": 8, "crop_px": 32}
    return parse_settings(TrainSettings, {"name": "t", "optimiser": values | optimiser})


def batches(tiles, settings, *, rank=0):
    size = training_loader(TrainingTiles(tiles, []), settings, rank=rank).batch_size
    sampler = EpochSampler(TrainingTiles(tiles, []), settings, rank=rank)
    sampler.set_epoch(3)
    items = list(sampler)
    assert len(items) == len(sampler)
    return [items[at : at + size] for at in range(0, len(items) - size + 1, size)]


@pytest.mark.parametrize("devices", [2, 4])
def test_the_crops_of_each_step_are_those_of_one_device(tiles, devices):
    alone = batches(tiles, settings_with())
    settings = settings_with(devices=devices)
    parts = [batches(tiles, settings, rank=rank) for rank in range(devices)]
    assert {len(part) for part in parts} == {len(alone)} == {3}
    for step, wanted in enumerate(alone):
        together = [item for part in parts for item in part[step]]
        assert together == wanted


def test_crops_that_cannot_be_shared_out_are_refused():
    with pytest.raises(ConfigError, match=r"devices 3: do not share out 8 crops per step"):
        settings_with(devices=3)
    with pytest.raises(ConfigError, match="do not share out 5 crops"):
        settings_with(devices=2, epoch_crops=5)


def test_more_devices_than_there_are_are_refused(monkeypatch):
    settings = settings_with(devices=2)
    with pytest.raises(ModelError, match="'cuda:1' is one device; set --device cuda"):
        check_devices(settings, Compute("cuda:1", "fp32", 1))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(ModelError, match=r"optimiser\.devices 2: there are 1 GPUs"):
        check_devices(settings, Compute("cuda", "fp32", 1))
    check_devices(settings, Compute("cpu", "fp32", 1))


def test_folds_are_trained_on_one_device(data, tmp_path):
    with pytest.raises(ConfigError, match=r"optimiser\.devices: folds are trained on one device"):
        cross_validate(settings_with(devices=2), data=data, out=tmp_path / "x")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="PyTorch for Windows lacks libuv stores")
def test_two_processes_train_one_model(data, tmp_path):
    (tmp_path / "two.yaml").write_text(TRAINING, encoding="utf-8")
    command = (sys.executable, "-m", "wsi_suite", "train", tmp_path / "two.yaml", "--data", data)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    out = tmp_path / "out"
    done = subprocess.run(
        [*map(str, command), "--out", str(out), "--device", "cpu"],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("epoch 2/2") == 1  # one process tells
    assert find_model(out).spec.provenance["optimiser"]["devices"] == 2
    with (out / "training" / "metrics.csv").open(encoding="utf-8", newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["2", "4"]
