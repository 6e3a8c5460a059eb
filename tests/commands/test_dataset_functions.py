"""``wsi_suite.dataset``: the commands of datasets, as Python users call them."""

from __future__ import annotations

import doctest
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import wsi_suite as ws
from wsi_suite.errors import ConfigError, DataError, OutputConflictError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two labelled tiles of two runs, ``endonuke``, and of three ``slides``."""
    folder = tmp_path_factory.mktemp("made")
    for part in ("images", "labels"):
        (folder / "endonuke" / part).mkdir(parents=True)
    for number in (1, 2):
        rgb, truth = ws.make_tile(160, mpp=0.5, seed=number)
        picture = folder / "endonuke" / "images" / f"{number}.png"
        cv2.imwrite(str(picture), np.ascontiguousarray(rgb[..., ::-1]))
        lines = np.column_stack([truth.nuclei.points, truth.nuclei.label])
        labels = folder / "endonuke" / "labels" / f"{number}.txt"
        np.savetxt(labels, lines, fmt=("%.2f", "%.2f", "%d"))
    (folder / "endonuke" / "tiles.csv").write_text("id,id_run,mpp\n1,r1,0.5\n2,r2,0.5\n")
    (folder / "slides").mkdir()
    for seed, name in ((6, "B12_ER"), (3, "B13_ER"), (0, "B15_ER")):
        path = folder / "slides" / f"{name}.svs"
        ws.make_slide(path, width=800, height=640, mpp=0.25, tissue_fraction=0.7, seed=seed)
    return folder


@pytest.fixture
def desk(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with what was made."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ws.dataset.__all__)
def test_examples_are_right(name: str, desk: Path) -> None:
    docstring = getattr(ws.dataset, name).__doc__
    assert "\n    Examples\n    --------\n" in docstring
    examples = doctest.DocTestParser().get_doctest(docstring, {}, name, None, None)
    told: list[str] = []
    runner = doctest.DocTestRunner()
    assert runner.run(examples, out=told.append).attempted > 0
    assert runner.failures == 0, "".join(told)


def test_what_is_imported_twice_is_nothing_new(desk: Path) -> None:
    first = ws.dataset.import_labels(str(desk / "endonuke"), "mine", format="tiles")
    assert (first.before, first.is_new, first.version.number) == (None, True, 1)
    again = ws.dataset.import_labels("endonuke", Path("mine"), format="tiles", replace=True)
    assert (again.before, again.is_new) == (first.version, False)
    with pytest.raises(DataError, match=r"'1.png' is there already"):
        ws.dataset.import_labels("endonuke", "mine", format="tiles")
    other = {"Stroma": "", "Epithelium": "Tumour"}
    with pytest.raises(DataError, match="Tumour"):
        ws.dataset.import_labels("endonuke", "mine", format="tiles", replace=True, classes=other)
    renamed = ws.dataset.import_labels(
        "endonuke", "mine", format="tiles", replace=True, classes=other, new_classes=True
    )
    assert set(renamed.version.classes) == {"Tumour"}
    (change, _) = ws.dataset.diff("mine", 1).changes
    assert change.kind == "changed"
    assert {"removed", "renamed"} <= set(change.nuclei)


def test_labels_go_out_and_come_back(desk: Path) -> None:
    version = ws.dataset.import_labels("endonuke", "mine", format="tiles").version
    done = ws.dataset.export_labels("mine", "out.csv", format="points")
    assert (done.pictures, done.classes) == (2, version.classes)
    again = ws.dataset.import_labels("out.csv", "again", format="points", images="mine/images")
    assert again.version.classes == version.classes
    with pytest.raises(OutputConflictError, match=r"out\.csv: is there already"):
        ws.dataset.export_labels("mine", "out.csv", format="points")


def test_damage_is_found(desk: Path) -> None:
    ws.dataset.import_labels("endonuke", "mine", format="tiles")
    (desk / "mine" / "images" / "1.png").write_bytes(b"x")
    found = ws.dataset.verify("mine")
    assert (found.is_whole, found.leaks) == (False, ())
    assert found.faults == ("images/1.png: not the picture that was added",)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("import_labels", {"source": "x", "format": "cocoo"}, "no format 'cocoo'"),
        ("split", {"parts": {"train": 1}, "folds": 2}, "--folds: takes the place of --parts"),
        ("split", {"folds": 1}, "--folds 1: expected 2 or more"),
        ("revoke", {}, "give one of --patient, --slide and --picture"),
        ("revoke", {"slide": "1", "models": "none"}, "--models none: no such folder"),
        ("agree", {"match_um": 0}, "--match-um 0: expected a number of 0.1 or more"),
        ("consensus", {"least_share": 1}, "--least-share 1: expected 0 to 0.99"),
        ("show", {"dataset": 5}, "dataset: a int: expected a folder or a URL"),
        ("show", {"dataset": "s3://bucket/mine"}, "expected a folder here"),
    ],
)
def test_what_cannot_be_used_is_refused(name: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        getattr(ws.dataset, name)(**{"dataset": "mine", **given})


def test_fields_are_refused_before_the_work(desk: Path) -> None:
    for given, message in (
        ({"doubt": "flips"}, "--doubt: give the model"),
        ({"key": "key.json"}, "--key: name the labelled pictures"),
        ({"size_um": 5}, "--size-um 5: expected a number of 20 or more"),
        ({"control": "endonuke", "project": "study"}, "leave out --project"),
    ):
        with pytest.raises(ConfigError, match=message):
            ws.dataset.sample("slides", out="fields", **given)
    with pytest.raises(OutputConflictError, match="slides: is there already"):
        ws.dataset.sample("slides", out="slides")
