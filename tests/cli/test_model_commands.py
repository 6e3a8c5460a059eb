"""``train`` and ``evaluate`` on a few synthetic tiles."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from command_line import Cli

import wsi_suite as ws
from wsi_suite.detector.model_folder import ModelFolder, find_model
from wsi_suite.synthetic import make_tile

TRAINING = """
name: tried
labels: {classes: {0: Stroma, 1: Epithelium}}
network: {backbone: resnet18, stages: 1, channels: 8}
split: {test_runs: [2]}
optimiser: {epochs: 2, epoch_crops: 2, batch: 2, crop_px: 64, validate_every: 1}
"""


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four tiles of two runs."""
    folder = tmp_path_factory.mktemp("tiles")
    rows = ["id,id_run,mpp"]
    for part in ("images", "labels"):
        (folder / part).mkdir()
    for number in range(4):
        rgb, truth = make_tile(100, mpp=0.5, seed=number)
        cv2.imwrite(str(folder / "images" / f"{number}.png"), np.ascontiguousarray(rgb[..., ::-1]))
        nuclei = truth.nuclei
        rows.append(f"{number},{1 + number // 2},0.5")
        (folder / "labels" / f"{number}.txt").write_text(
            "".join(
                f"{x:.2f} {y:.2f} {label}\n"
                for x, y, label in zip(nuclei.x, nuclei.y, nuclei.label, strict=True)
            )
        )
    (folder / "tiles.csv").write_text("\n".join(rows))
    return folder


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """The YAML of a very short training."""
    file = tmp_path / "train.yaml"
    file.write_text(TRAINING)
    return file


def test_train_makes_a_model_and_measures_it(
    wsi: Cli, tiles: Path, training: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wsi_suite.training import train

    monkeypatch.setattr(train, "measure_halo", partial(train.measure_halo, core_px=32))
    out = tmp_path / "model"
    answer = wsi("train", training, "--data", tiles, "--out", out, "--device", "cpu", "--json")
    assert answer.code == 0, answer.err
    assert "epoch 1/2  loss " in answer.err
    assert "epoch 2/2  loss " in answer.err
    document = json.loads(answer.out)
    assert Path(document["model"]) == out
    figures = document["evaluation"]
    assert figures["tiles"] == 2
    told = wsi("evaluate", "--model", out, "--data", tiles, "--run", 2, "--json")
    assert json.loads(told.out) == figures
    assert {"ap", "map", "f1", "f1_agnostic", "tiles", "nuclei"} <= figures.keys()
    seen = wsi("evaluate", "--model", out, "--data", tiles)
    assert "trained on some of these runs: 1" in seen.err
    assert "mAP" in seen.out


def test_python_trains_and_evaluates_alike(
    tiles: Path, training: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wsi_suite.training import train

    asked: list[Any] = []

    def trained(*arguments: Any, **options: Any) -> ModelFolder:
        asked.extend([*arguments, options])
        return find_model(model)

    monkeypatch.setattr(train, "train_model", trained)
    out = training.parent / "out"
    values = {"name": "tried", "split.test_runs": [2], "optimiser": {"epochs": 2}}
    for settings in (str(training), values):
        asked.clear()
        overrides = ["optimiser.seed=7"]
        done = ws.train(settings, data=str(tiles), out=str(out), overrides=overrides, device="cpu")
        assert (asked[0].name, asked[0].optimiser.epochs, asked[0].optimiser.seed) == (
            "tried",
            2,
            7,
        )
        assert (asked[1]["data"], asked[1]["out"], asked[1]["device"]) == (tiles, out, "cpu")
        assert done.folder == find_model(model).path
        assert done.evaluation == ws.evaluate(str(model), data=tiles, runs="2", device="cpu")
    ws.train(from_model=model, data=tiles, out=out, device="cpu")
    assert (asked[-2].name, asked[-2].start_from) == ("out", str(model))


def test_evaluate_prints_a_table(wsi: Cli, tiles: Path, model: Path) -> None:
    answer = wsi("evaluate", "--model", model, "--data", tiles, "--match-um", 2)
    assert answer.code == 0
    header, stroma, epithelium, figures, pooled, *_, about = answer.out.splitlines()
    assert header.split() == ["class", "AP", "precision", "recall"]
    assert (stroma.split()[0], epithelium.split()[0]) == ("Stroma", "Epithelium")
    assert figures.split() == ["value", "95", "%", "interval"]
    assert pooled.startswith("mAP ")
    assert "in 4 tiles of 2 runs; matches within 2.0 um" in about


def test_evaluate_compares_two_models_and_writes_a_page(
    wsi: Cli, tiles: Path, model: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    options = ("--data", tiles, "--model", model, "--against", model)
    answer = wsi("evaluate", *options, "--report", page)
    assert answer.code == 0, answer.err
    assert "less the figures of " in answer.out
    assert max(map(len, answer.out.splitlines())) <= 80
    assert "Tiles, the worst first" in page.read_text("utf-8")
    document = json.loads(wsi("evaluate", *options, "--json").out)
    assert document["against"]["differences"]["f1_agnostic"]["value"] == 0
    assert list(document["by_run"]) == ["1", "2"]


def test_evaluate_takes_the_bundled_model_by_default(wsi: Cli, tiles: Path) -> None:
    document = json.loads(wsi("evaluate", "--data", tiles, "--run", 1, "--json").out)
    assert document["model"] == "endonuke-resnet18"
    assert document["f1_agnostic"] > 0.8  # of synthetic nuclei


def test_evaluate_sees_tiles_as_they_are_or_stretched(wsi: Cli, tiles: Path, model: Path) -> None:
    plain, stretched = (
        json.loads(wsi("evaluate", "--model", model, "--data", tiles, "--json", *options).out)
        for options in ((), ("--stretched",))
    )
    assert plain["nuclei"] == stretched["nuclei"]
    assert plain != stretched


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ("--set", "optimizer.epochs=3"),
            "unknown setting 'optimizer' (did you mean 'optimiser'?)",
        ),
        (("--set", "split.test_runs=[9]"), "no tile belongs to the run '9'"),
        (("--set", "network.backbone=seresnet50"), "seresnet50"),
        (("--device", "cuda:9"), "device 'cuda:9' is not on this machine"),
    ],
    ids=["key", "run", "backbone", "device"],
)
def test_training_refuses_in_one_line(
    options: tuple[str, ...], words: str, wsi: Cli, tiles: Path, training: Path
) -> None:
    out = training.parent / "model"
    answer = wsi("train", training, "--data", tiles, "--out", out, *options)
    assert answer.code == 2
    assert words in answer.errors[0]
    assert len(answer.err.splitlines()) == 1
    assert not (out / "model.yaml").exists()


def test_a_page_without_folder_is_refused_before_the_work(
    wsi: Cli, tiles: Path, tmp_path: Path
) -> None:
    answer = wsi("evaluate", "--data", tiles, "--report", tmp_path / "no" / "page.html")
    assert answer.code == 2
    assert len(answer.err.splitlines()) == 1
    assert "there is no folder" in answer.errors[0]


def test_evaluate_names_the_run_that_is_meant(wsi: Cli, tiles: Path, model: Path) -> None:
    answer = wsi("evaluate", "--model", model, "--data", tiles, "--run", "22")
    assert answer.code == 2
    assert "no tile belongs to the run '22' (did you mean '2'?)" in answer.errors[0]


def test_export_writes_a_model_that_answers_as_ours(wsi: Cli, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiny.pt"
    command = ("models", "export", model, "--format", "torchscript", "--out", out)
    answer = wsi(*command, "--json")
    assert answer.code == 0, answer.err
    document = json.loads(answer.out)
    assert document["path"] == str(out)
    assert document["difference"]["confidence"] < 1e-4
    assert "compared with the detector" in answer.err
    assert out.stat().st_size > 0
    again = wsi(*command)
    assert again.code == 2
    assert "is there already" in again.errors[0]


def test_export_refuses_an_unknown_model_or_format(wsi: Cli, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "x"
    answer = wsi("models", "export", "endonuke", "--format", "onnx", "--out", out)
    assert answer.code == 2
    assert "model 'endonuke' is neither a known name nor a folder" in answer.errors[0]
    answer = wsi("models", "export", model, "--format", "torch", "--out", out)
    assert answer.code == 2
    assert "format 'torch' is unknown" in answer.errors[0]
