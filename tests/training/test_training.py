import logging
import shutil
from functools import partial

import numpy as np
import pytest
import torch
import yaml

from wsi_suite.config import parse_settings
from wsi_suite.detector.detector import Compute, load_detector
from wsi_suite.detector.int8_ranges import read_ranges
from wsi_suite.detector.label_spec import LabelSpec
from wsi_suite.detector.model_check import verify_model
from wsi_suite.detector.model_folder import find_model
from wsi_suite.errors import BusyError, ConfigError, DataError, OutputConflictError
from wsi_suite.training import fitting
from wsi_suite.training import train as module
from wsi_suite.training.crops import CropDataset
from wsi_suite.training.halo import measure_halo
from wsi_suite.training.labelled import load_tiles
from wsi_suite.training.settings import SplitSettings, TrainSettings
from wsi_suite.training.train import split_tiles, train_model
from wsi_suite.training.training_folder import at_work, claim

RUNS = {"a": "1", "b": "1", "c": "2", "d": "3", "e": "4"}
VALUES = {
    "name": "tiny",
    "headline_class": "Epithelium",
    "network": {"backbone": "resnet18", "stages": 1, "channels": 8},
    "split": {"test_runs": ["4"], "validation_runs": ["3"]},
    "optimiser": {"epochs": 2, "epoch_crops": 3, "batch": 2, "crop_px": 32, "validate_every": 1},
}


def settings_with(**changes) -> TrainSettings:
    return parse_settings(TrainSettings, VALUES | changes)


SETTINGS = settings_with()


class StoppedError(Exception):
    """Somebody ends a training."""


def stop_after(epoch):
    def progress(step):
        if step.done == epoch:
            raise StoppedError

    return progress


@pytest.fixture(scope="module", autouse=True)
def _same_on_every_machine():
    """Compute in single precision, and measure the halo on small cores."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "choose_compute", lambda device, precision: Compute("cpu", "fp32", 1))
        patch.setattr(module, "measure_halo", partial(measure_halo, core_px=32))
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory, write_tiles):
    return write_tiles(tmp_path_factory.mktemp("data") / "Gewebe für heute", RUNS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data):
    """A whole training: its model, and what its progress was."""
    told = []
    model = train_model(
        SETTINGS,
        data=data,
        out=tmp_path_factory.mktemp("models") / "tiny",
        progress=told.append,
    )
    return model, told


class TestSplit:
    @pytest.fixture
    def tiles(self, data):
        return load_tiles(data, LabelSpec())

    def test_tiles_of_a_run_stay_together(self, tiles):
        split = split_tiles(tiles, SETTINGS.split)
        ids = {part: [tile.id for tile in found] for part, found in vars(split).items()}
        assert ids == {"train": ["a", "b", "c"], "validation": ["d"], "test": ["e"]}

    @pytest.mark.parametrize(
        ("test", "validation", "message"),
        [
            (["1"], ["1", "2"], "run 1 is both test and validation"),
            (["9"], [], "no tile belongs to the run '9'"),
            (["1", "2"], ["3", "4"], "no run is left to train on"),
        ],
    )
    def test_a_wrong_split_is_refused(self, tiles, test, validation, message):
        with pytest.raises(DataError, match=message):
            split_tiles(tiles, SplitSettings(test_runs=test, validation_runs=validation))


class TestSettings:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"optimiser": {"crop_px": 33}}, "crop_px must be a multiple of 2"),
            ({"headline_class": "Tumour"}, "headline_class must be one of Stroma, Epithelium"),
            ({"optimizer": {}}, r"unknown setting 'optimizer'"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, changes, message):
        with pytest.raises(ConfigError, match=message):
            settings_with(**changes)


class TestTraining:
    def test_it_ends_in_a_model_that_loads(self, trained):
        model, _ = trained
        assert find_model(model.path) == model
        assert model.spec.name == "tiny"
        assert model.spec.classes == ("Stroma", "Epithelium")
        assert model.spec.headline_class == "Epithelium"
        assert model.spec.network == SETTINGS.network
        assert 0.1 <= model.spec.min_confidence <= 0.7
        assert 0 < model.spec.halo_px <= 64
        detector = load_detector(model.path, device="cpu", precision="fp32")
        assert len(detector.detect(np.zeros((2, 64, 64, 3), np.uint8))) == 2

    def test_it_can_be_computed_in_int8(self, trained):
        model, _ = trained
        ranges, _ = read_ranges(model)
        assert ranges.tiles == 3, "those it learned from"
        assert all(value > 0 for value in ranges.largest.values())
        assert verify_model(model).stated

    def test_it_says_where_the_model_comes_from(self, trained):
        model, _ = trained
        provenance = yaml.safe_load((model.path / "model.yaml").read_text())["provenance"]
        assert provenance["runs"] == {"train": ["1", "2"], "validation": ["3"], "test": ["4"]}
        assert provenance["tiles"] == {"train": 3, "validation": 1, "test": 1}
        assert provenance["nuclei"] == {"train": 24, "validation": 8, "test": 8}
        assert provenance["optimiser"]["epochs"] == 2
        assert provenance["threshold_from"] == "validation"
        assert provenance["h_and_e"] == {"tiles": 0, "nuclei": 0}

    def test_tiles_stained_with_h_and_e_are_learned_from_too(self, data, tmp_path, write_tiles):
        labels = {"columns": "yx", "classes": {0: "Epithelium", 1: "Stroma"}}
        settings = settings_with(h_and_e={"share": 0.5, "labels": labels})
        other = write_tiles(tmp_path / "h_and_e", {"x": "9", "y": "9"})
        model = train_model(settings, data=data, out=tmp_path / "mixed", h_and_e=other)
        assert model.spec.provenance["h_and_e"] == {"tiles": 2, "nuclei": 16}
        strange = settings_with(h_and_e={"labels": {"classes": {0: "Gland", 1: "Stroma"}}})
        with pytest.raises(DataError, match=r"h_and_e\.labels: class 'Gland' is not among"):
            train_model(strange, data=data, out=tmp_path / "none", h_and_e=other)
        assert not (tmp_path / "none").exists()

    def test_progress_is_told_after_every_epoch(self, trained):
        _, told = trained
        assert [(step.name, step.done, step.total) for step in told] == [
            ("tiny", 1, 2),
            ("tiny", 2, 2),
        ]
        for figures in (step.figures for step in told):
            assert figures["train/loss"] == pytest.approx(
                sum(figures[f"train/{part}"] for part in ("heat", "kind", "offset", "size"))
            )
            assert 0 <= figures["validation/map"] <= 1

    def test_called_again_it_is_written_again_the_same(self, trained, data):
        model, _ = trained
        before = {path.name: path.read_bytes() for path in model.path.iterdir() if path.is_file()}
        for name in before:
            (model.path / name).unlink()
        told = []
        again = train_model(SETTINGS, data=data, out=model.path, progress=told.append)
        assert again == model
        assert told == []
        assert {name: (model.path / name).read_bytes() for name in before} == before

    def test_a_stopped_training_goes_on_to_the_same_model(self, trained, data, tmp_path):
        model, _ = trained
        out = tmp_path / "stopped"
        with pytest.raises(StoppedError):
            train_model(SETTINGS, data=data, out=out, progress=stop_after(2))
        assert not (out / "model.yaml").exists()
        out = out.rename(tmp_path / "moved")
        told = []
        again = train_model(SETTINGS, data=data, out=out, progress=told.append)
        assert [step.done for step in told] == [2]
        assert again.hash == model.hash

    def test_other_settings_on_the_same_folder_are_refused(self, trained, data):
        model, _ = trained
        other = settings_with(optimiser=VALUES["optimiser"] | {"seed": 1})
        with pytest.raises(OutputConflictError, match="other settings; give another --out"):
            train_model(other, data=data, out=model.path)

    def test_a_folder_of_something_else_is_refused(self, data, tmp_path):
        (tmp_path / "thesis.docx").write_text("years of work")
        for out in (tmp_path, tmp_path / "thesis.docx"):
            with pytest.raises(OutputConflictError, match="holds no training; give another --out"):
                train_model(SETTINGS, data=data, out=out)

    def test_what_a_training_left_that_was_killed_at_once_is_no_hindrance(self, tmp_path):
        (tmp_path / "m" / "training").mkdir(parents=True)
        (tmp_path / "m" / "training" / ".settings.yaml.0123abcd.partial").touch()
        (tmp_path / "m" / "training" / "lease" / "0123abcd").mkdir(parents=True)
        claim(tmp_path / "m", SETTINGS)
        assert (tmp_path / "m" / "training" / "settings.yaml").is_file()

    def test_two_at_once_are_refused(self, data, tmp_path, monkeypatch):
        """Processes of one training, which lightning starts with its command line, are one."""
        out = tmp_path / "m"
        with at_work(out, SETTINGS) as check:
            check()
            with pytest.raises(BusyError, match=r"m: another training is at work in it \(process"):
                train_model(SETTINGS, data=data, out=out)
            with monkeypatch.context() as patch:
                patch.setenv("LOCAL_RANK", "1")
                with at_work(out, SETTINGS) as check_child:
                    check_child()
            shutil.rmtree(out / "training" / "lease")
            with pytest.raises(BusyError, match="has taken it over, or it was removed"):
                check()
        assert not list((out / "training").iterdir())

    @pytest.mark.parametrize("damage", ["empty", "cut off", "of something else"])
    def test_a_damaged_checkpoint_is_refused(self, trained, data, tmp_path, damage):
        out = tmp_path / "m"
        shutil.copytree(trained[0].path, out)
        last = out / "training" / "last.ckpt"
        whole = last.read_bytes()
        last.write_bytes({"empty": b"", "cut off": whole[:-1000]}.get(damage, whole))
        if damage == "of something else":
            torch.save({"state_dict": {"x": torch.zeros(1)}}, last)
        with pytest.raises(OutputConflictError, match=r"last\.ckpt: .*; remove it to train from"):
            train_model(SETTINGS, data=data, out=out)

    def test_pixels_of_test_runs_are_never_read(self, tmp_path, write_tiles):
        folder = write_tiles(tmp_path / "data", RUNS)
        image = folder / "images" / "e.png"
        image.write_bytes(image.read_bytes()[:60])  # of its pixels nothing is left
        train_model(SETTINGS, data=folder, out=tmp_path / "out")

    def test_each_epoch_has_crops_of_its_own(self, data, tmp_path, monkeypatch):
        items = []
        plain = CropDataset.__getitem__

        def noted(self, item):
            items.append(item)
            return plain(self, item)

        monkeypatch.setattr(CropDataset, "__getitem__", noted)
        one_by_one = settings_with(optimiser=VALUES["optimiser"] | {"batch": 1})
        with pytest.raises(StoppedError):
            train_model(one_by_one, data=data, out=tmp_path / "a", progress=stop_after(2))
        seen = set(items)
        assert {item[:2] for item in seen} == {(e, turn) for e in (0, 1) for turn in (0, 1, 2)}
        items.clear()
        train_model(one_by_one, data=data, out=tmp_path / "a")
        assert set(items) == {item for item in seen if item[0] == 1}

    def test_lightning_keeps_its_advice_to_itself(self, data, tmp_path, caplog, capfd):
        levels = {name: logging.getLogger(name).level for name in fitting.LIGHTNING_LOGGERS}
        with caplog.at_level(logging.INFO):
            train_model(SETTINGS, data=data, out=tmp_path / "out")
        assert {record.name for record in caplog.records} == {"wsi_suite.training.train"}
        assert capfd.readouterr() == ("", "")
        assert {name: logging.getLogger(name).level for name in levels} == levels
