"""``models list``, ``show``, ``verify``, ``add`` and ``remove``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from command_line import Cli


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of models; it is not there yet."""
    folder = tmp_path / "added"
    monkeypatch.setenv("WSI_SUITE_MODELS", str(folder))
    return folder


def test_a_model_is_added_listed_used_and_removed(
    wsi: Cli, model: Path, added: Path, slide: Path, tmp_path: Path
) -> None:
    answer = wsi("models", "add", model, "--name", "mine", "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["path"] == str(added / "mine")
    assert "no MODEL_CARD.md in it" in answer.err
    assert wsi("models").out == wsi("models", "list").out
    listed = json.loads(wsi("models", "list", "--json").out)
    assert [(one["name"], one["origin"]) for one in listed] == [
        ("endonuke-resnet18", "bundled"),
        ("mine", "added"),
    ]
    run = wsi(
        "run", slide, "--out", tmp_path / "out", "--model", "mien", "--set", "score.marker=ER"
    )
    assert run.code == 2
    assert "(did you mean 'mine'?)" in run.errors[0]
    assert wsi("models", "remove", "mine").code == 0
    assert "mine" not in wsi("models").out


def test_show_tells_what_a_model_is(wsi: Cli, model: Path) -> None:
    shown = wsi("models", "show", "endonuke-resnet18")
    lines = {line[:14].strip(): line[14:].strip() for line in shown.out.splitlines()}
    assert lines["held out"] == "321-364"
    assert lines["classes"] == "Stroma, Epithelium; Epithelium stands first"
    assert "Finds nuclei in tissue" in shown.out
    facts = json.loads(wsi("models", "show", model, "--json").out)
    assert (facts["name"], facts["origin"], facts["stated"]) == ("tiny", "folder", True)


def test_verify_refuses_one_and_still_does_the_others(
    wsi: Cli, model: Path, added: Path, tmp_path: Path
) -> None:
    damaged = shutil.copytree(model, tmp_path / "damaged")
    weights = damaged / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8] + bytes(8))
    alone = wsi("models", "verify", damaged)
    assert alone.code == 2
    assert len(alone.errors) == 1
    both = wsi("models", "verify", damaged, model, "--json")
    assert both.code == 1
    assert [one["stated"] for one in json.loads(both.out)] == [True]
    assert "as stated" in wsi("models", "verify", "endonuke-resnet18").out


def test_a_damaged_added_model_does_not_stop_the_list(wsi: Cli, model: Path, added: Path) -> None:
    shutil.copytree(model, added / "broken")
    (added / "broken" / "model.yaml").write_text("name: [")
    answer = wsi("models")
    assert answer.code == 0
    assert "endonuke-resnet18" in answer.out
    assert "not YAML" in answer.errors[0]
