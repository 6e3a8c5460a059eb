"""What a training's folder remembers, and what is refused when it goes on."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest
import timm
import torch

pytest.importorskip("lightning", reason="the extra 'train' is not installed")

from wsi_suite.config import parse_settings
from wsi_suite.detector.model_folder import load_network
from wsi_suite.errors import ConfigError, ModelError, OutputConflictError
from wsi_suite.training import train as train_module
from wsi_suite.training.settings import TrainSettings
from wsi_suite.training.train import train_model
from wsi_suite.training.training_record import find_commit

pytestmark = pytest.mark.usefixtures("quick_training")

OPTIMISER = {"epochs": 1, "epoch_crops": 2, "batch": 2, "crop_px": 32}


def settings_with(optimiser=None, **changes) -> TrainSettings:
    values = {
        "name": "tiny",
        "network": {"backbone": "resnet10t", "stages": 1, "channels": 8},
        "split": {"test_runs": ["4"], "validation_runs": ["3"]},
        "optimiser": OPTIMISER | (optimiser or {}),
    }
    return parse_settings(TrainSettings, values | changes)


@pytest.fixture
def own(data, tmp_path):
    """A copy of the data, to change."""
    return shutil.copytree(data, tmp_path / "own")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file with the weights of a whole ResNet, and its state dict."""
    torch.manual_seed(5)
    network = timm.create_model("resnet10t", pretrained=False)
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
    path = tmp_path_factory.mktemp("weights") / "resnet10t.pth"
    torch.save(network.state_dict(), path)
    return path, network.state_dict()


def test_the_record_names_code_environment_and_data(own, tmp_path):
    model = train_model(settings_with(), data=own, out=tmp_path / "out")
    record = json.loads((tmp_path / "out" / "training" / "training.json").read_text("utf-8"))
    assert record["format"] == 1
    (environment,) = record["environments"]
    assert environment["commit"] == find_commit()
    assert environment["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert sorted(record["tiles"]) == ["a", "b", "c", "d"]  # the test run's is not among them
    tile = record["tiles"]["a"]
    assert (tile["run"], tile["mpp"]) == ("1", 0.5)
    for part, file in (("image", "images/a.png"), ("labels", "labels/a.txt")):
        assert tile[part] == hashlib.sha256((own / file).read_bytes()).hexdigest()
    assert len(model.spec.provenance["data_sha256"]) == 64
    assert model.spec.provenance["init"] is None


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("labels/a.txt", lambda text: text + "9 9 1\n", "the labels of tile a changed since"),
        ("tiles.csv", lambda text: text.replace("b,1,", "b,2,"), "the id_run of tile b changed"),
        ("tiles.csv", lambda text: text.replace("b,1,0.5", "b,1,0.4"), "the mpp of tile b changed"),
        ("tiles.csv", lambda text: text.replace("e,4", "e,1"), None),
        ("labels/e.txt", lambda text: "", None),
    ],
)
def test_other_data_is_refused_unless_it_is_of_test_runs(own, tmp_path, file, change, message):
    runs = {"split": {"validation_runs": ["3"], "test_runs": ["4"]}}
    train_model(settings_with(**runs), data=own, out=tmp_path / "out")
    path = own / file
    path.write_text(change(path.read_text("utf-8-sig")), encoding="utf-8")
    if file == "tiles.csv" and message is None:
        message = "no tile belongs to the run '4'"
        with pytest.raises(Exception, match=message):
            train_model(settings_with(**runs), data=own, out=tmp_path / "out")
    elif message is None:
        train_model(settings_with(**runs), data=own, out=tmp_path / "out")
    else:
        with pytest.raises(OutputConflictError, match=message) as error:
            train_model(settings_with(**runs), data=own, out=tmp_path / "out")
        assert str(error.value).endswith("put it back, or give another --out")


def test_a_tile_more_or_less_is_refused(own, tmp_path):
    train_model(settings_with(), data=own, out=tmp_path / "out")
    for part, ending in (("images", "png"), ("labels", "txt")):
        shutil.move(own / part / f"b.{ending}", tmp_path / f"b.{ending}")
    with pytest.raises(OutputConflictError, match="tile b has gone from the data since"):
        train_model(settings_with(), data=own, out=tmp_path / "out")


def test_going_on_elsewhere_is_remembered(data, tmp_path, monkeypatch):
    out = tmp_path / "out"
    first = train_model(settings_with(), data=data, out=out)
    here = train_module.find_environment("cpu")
    there = here.model_copy(update={"device": "another", "commit": "0" * 40})
    monkeypatch.setattr(train_module, "find_environment", lambda device: there)
    for _ in range(2):
        assert train_model(settings_with(), data=data, out=out) == first
    record = json.loads((out / "training" / "training.json").read_text("utf-8"))
    assert record["environments"] == [here.as_json(), there.as_json()]


class TestInit:
    def test_a_frozen_backbone_stays_as_the_file_has_it(self, weights, data, tmp_path):
        path, state = weights
        told = []
        model = train_model(
            settings_with({"freeze": "backbone", "epochs": 2}, init=str(path)),
            data=data,
            out=tmp_path / "out",
            tell=told.append,
        )
        assert told == ["init resnet10t.pth: 100.0 % of the backbone's weights are taken"]
        network = load_network(model)
        for name, value in network.backbone.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                assert value.equal(state[name].half().float()), name
        statistics = [v for k, v in network.smooth.state_dict().items() if k.endswith("_mean")]
        assert all(value.abs().sum() > 0 for value in statistics)  # what is not frozen learns
        init = model.spec.provenance["init"]
        assert init["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert (init["file"], init["share"]) == ("resnet10t.pth", 1.0)

    def test_without_freezing_the_backbone_learns(self, weights, data, tmp_path):
        path, state = weights
        settings = settings_with({"epoch_crops": 8}, init=str(path))
        model = train_model(settings, data=data, out=tmp_path / "out")
        learned = False
        for name, after in load_network(model).backbone.state_dict().items():
            if name.endswith("weight"):
                learned = learned or not after.equal(state[name].half().float())
                assert (after - state[name]).abs().max() < 0.05  # it did start from the file
        assert learned

    def test_another_file_of_that_name_is_refused(self, weights, data, tmp_path):
        path = shutil.copy(weights[0], tmp_path / "own.pth")
        settings = settings_with(init=str(path))
        train_model(settings, data=data, out=tmp_path / "out")
        torch.save({k: v + 1 for k, v in weights[1].items()}, path)
        with pytest.raises(OutputConflictError, match="the file of init has changed since"):
            train_model(settings, data=data, out=tmp_path / "out")
        path.unlink()
        with pytest.raises(ModelError, match="no such file"):
            train_model(settings, data=data, out=tmp_path / "out")

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"init": "a.pth", "start_from": "b"}, "start_from and init both give a start"),
            ({"optimiser": {"freeze": "backbone"}}, "random weights are not worth keeping"),
            ({"optimiser": {"freeze": "heads"}}, "expected 'backbone'"),
        ],
    )
    def test_contradictions_are_refused(self, changes, message):
        with pytest.raises(ConfigError, match=message):
            settings_with(**changes)
