"""``push``, ``pull`` and ``run --project`` as they are typed, with a stand-in for QuPath."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import SAME_RESULTS, Cli

from wsi_suite.errors import InputError, WsiSuiteError
from wsi_suite.progress import Step
from wsi_suite.qupath import running
from wsi_suite.runs import project_pull, project_push, project_run
from wsi_suite.runs.project_images import ProjectBatch
from wsi_suite.runs.transfers import Transfer

COUNTS = {
    **{"placed": 1234567, "removed": 4, "changed": 3, "deleted": 2, "added": 1},
    **{"suppressed": 5, "regions": 0},
}


@pytest.fixture
def pushed(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was asked of a push that works."""
    asked: list[dict[str, Any]] = []

    def push(folders: list[Path], project: Path, **options: Any) -> list[Transfer]:
        options["progress"](Step("B12", 0, 1))
        asked.append({"folders": folders, "project": project, **options})
        return [
            Transfer("B12.svs", folder, "B12", COUNTS, Path("data.qpdata.before-push"), ("moved",))
            for folder in folders
        ]

    for module in (project_push, project_run):
        monkeypatch.setattr(module, "push_results", push)
    monkeypatch.setattr(running, "running_qupath", list)
    return asked


def test_a_push_tells_what_was_kept(wsi: Cli, pushed: list[dict[str, Any]]) -> None:
    answer = wsi("push", "results/B12", "--project", "study", "--shape", "point", "--create")
    assert answer.code == 0
    assert "1,234,567" in answer.out
    assert "3 changed, 2 deleted, 1 added" in answer.out
    assert "B12: moved" in answer.err
    assert "data.qpdata.before-push" in answer.err
    (asked,) = pushed
    assert asked["folders"] == [Path("results/B12")]
    assert (asked["project"], asked["shape"], asked["create"]) == (Path("study"), "point", True)
    assert asked["image_type"] is None
    assert asked["discard_corrections"] is False


def test_a_push_as_json(wsi: Cli, pushed: list[dict[str, Any]]) -> None:
    answer = wsi("push", "r", "-p", "study", "--json", "--image-type", "brightfield_other")
    (told,) = json.loads(answer.out)
    assert told["counts"] == COUNTS
    assert told["error"] is None
    assert pushed[0]["image_type"] == "brightfield_other"


def test_a_running_qupath_is_not_overwritten_unasked(
    wsi: Cli, pushed: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(running, "running_qupath", lambda: [4711])
    for command in (("push", "r"), ("run", "--out", tmp_path)):
        answer = wsi(*command, "--project", "study")
        assert answer.code == 2
        assert "process 4711" in answer.errors[0]
        assert "--force" in answer.errors[0]
    assert not pushed
    assert wsi("push", "r", "--project", "study", "--force").code == 0
    assert len(pushed) == 1


def test_failures_have_exit_codes(wsi: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "running_qupath", list)
    bad = Transfer("B12", Path("r"), error=InputError("B12: no"))
    good = Transfer("B13", Path("s"), "B13", COUNTS)
    for transfers, code in (([bad], 2), ([good, bad], 1)):
        monkeypatch.setattr(project_push, "push_results", lambda *_, _all=transfers, **__: _all)
        answer = wsi("push", "r", "--project", "study")
        assert answer.code == code
        assert answer.errors == ["error: B12: no"]
    died = Transfer("B12", Path("r"), error=WsiSuiteError("Java died"))
    monkeypatch.setattr(project_pull, "pull_project", lambda *_, **__: [died])
    assert wsi("pull", "--project", "study", "--out", "o").code == 1


def test_a_project_without_anything_in_it_is_told(
    wsi: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "running_qupath", list)
    monkeypatch.setattr(project_pull, "pull_project", lambda *_, **__: [])
    answer = wsi("pull", "--project", "study", "--out", "o")
    assert (answer.code, answer.out) == (0, "")
    assert "study: no image has objects yet" in answer.err
    monkeypatch.setattr(project_run, "project_batches", lambda *_, **__: ([], []))
    answer = wsi("run", "--project", "study")
    assert answer.code == 2
    assert "study: the project has no images" in answer.errors[0]


def test_no_table_is_shown_if_no_image_could_be_run(
    wsi: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "running_qupath", list)
    lost = Transfer("gone", None, "gone", error=InputError("gone: is missing"))
    monkeypatch.setattr(project_run, "project_batches", lambda *_, **__: ([], [lost]))
    answer = wsi("run", "--project", "study")
    assert (answer.code, answer.out) == (2, "")
    assert "Results" not in answer.err


def test_what_does_not_go_together_is_refused(wsi: Cli, tmp_path: Path) -> None:
    for arguments, told in (
        (("run", "--out", tmp_path), "Missing argument 'SLIDE...' or option '--project'"),
        (("run", "x.svs"), "Missing option '--out'"),
        (
            ("run", "x.svs", "--out", tmp_path, "--in-class", "Tumor"),
            "--in-class: takes annotations from a project",
        ),
        (("run", "x.svs", "--project", "study"), "leave out SLIDE"),
    ):
        answer = wsi(*arguments)
        assert answer.code == 2
        assert told in answer.errors[0]


@pytest.fixture
def one_slide(slide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project of one slide, and an image whose file is gone."""
    lost = Transfer("gone", None, "gone", error=InputError("gone: is missing"))
    batch = ProjectBatch((slide,), None, 0.25)
    monkeypatch.setattr(project_run, "project_batches", lambda *_, **__: ([batch], [lost]))


@pytest.mark.usefixtures("one_slide")
def test_a_run_on_a_project_pushes_what_it_found(
    wsi: Cli, model: Path, pushed: list[dict[str, Any]], tmp_path: Path
) -> None:
    study = tmp_path / "study"
    study.mkdir()
    options = ("--model", model, "--no-keep-tiles", *SAME_RESULTS, "--json")
    answer = wsi("run", "--project", study, *options)
    assert answer.code == 1
    assert answer.errors == ["error: gone: is missing"]
    done, failed = json.loads(answer.out)
    assert done["summary"]["scores"]["Epithelium"]["nuclei"] > 0
    assert failed["error"] == "gone: is missing"
    assert [folder.parent for folder in pushed[0]["folders"]] == [study / "results"]
