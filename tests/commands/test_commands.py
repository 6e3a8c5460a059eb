"""Commands as Python users call them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pushed import make_results
from shapely.geometry import MultiPolygon, box

import wsi_suite as ws
from wsi_suite.errors import ConfigError, InputError, ModelError, OutputConflictError, RegionError
from wsi_suite.qupath import running
from wsi_suite.runs import project_pull, project_push, project_run
from wsi_suite.runs.outcome import Outcome
from wsi_suite.runs.project_run import ProjectRun
from wsi_suite.runs.state import State
from wsi_suite.synthetic import make_slide


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder of a small slide."""
    folder = tmp_path_factory.mktemp("commands")
    truth = make_slide(folder / "B12.tif", width=300, height=260, mpp=0.25)
    tissue = MultiPolygon([box(0, 0, 300, 260)]).wkt
    made = make_results(folder / "B12", slide=folder / "B12.tif", truth=truth, tissue_wkt=tissue)
    return made.folder


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What pushes, pulls and runs on a project were asked for."""
    calls: list[tuple[Any, ...]] = []

    def note(*arguments: Any, **options: Any) -> list[Any]:
        calls.append((arguments, options))
        return []

    monkeypatch.setattr(project_push, "push_results", note)
    monkeypatch.setattr(project_pull, "pull_project", note)
    monkeypatch.setattr(project_run, "run_project", note)
    monkeypatch.setattr(running, "running_qupath", list)
    return calls


def test_scores_are_made_anew_of_what_a_run_left(result: Path, tmp_path: Path) -> None:
    settings = {"score.thresholds_od": [0.05, 0.1, 9]}
    again = ws.rescore(str(result), settings=settings)
    assert again.summary is not None
    assert again.summary.thresholds_od == (0.05, 0.1, 9)
    run = Outcome(Path("B12.tif"), result, state=State.DONE)
    assert ws.rescore(run, settings=settings).summary == again.summary
    (same,) = ws.rescore_batch([result / "nuclei.parquet"], settings=ws.Settings(**settings_of()))
    assert same.summary == ws.rescore(result).summary != again.summary
    left = ws.Roi("left", None, MultiPolygon([box(0, 0, 150, 260)]))
    out = tmp_path / "left"
    half = ws.rescore(result, rois=[left], out=out, geojson="point", by_region=True)
    assert [region.name for region in half.summary.regions] == ["left"]
    assert (out / "B12" / "nuclei_left.geojson").exists()
    assert (out / "summary.csv").exists()


def settings_of() -> dict[str, Any]:
    return {"detect": {"min_confidence": 0.5}}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"settings": {"detect.min_confidence": 0.5}}, "detect.min_confidence: scores are made"),
        ({"settings": {"score.markr": "ER"}}, "did you mean 'score.marker'"),
        ({"geojson": "polygons", "out": "x"}, "polygons: unknown .did you mean 'polygon'"),
        ({"geojson": "point"}, "give --out too"),
        ({"by_region": True}, "give --geojson too"),
        ({"rois": []}, "an empty list"),
        ({"rois": "none.geojson"}, "none.geojson"),
    ],
)
def test_scores_refuse_in_one_line(asked: dict[str, Any], message: str, result: Path) -> None:
    with pytest.raises(InputError, match=message) as refused:
        ws.rescore(result, **asked)
    assert "\n" not in str(refused.value)


def test_results_that_are_none_are_refused(tmp_path: Path) -> None:
    failed = Outcome(Path("B12.tif"), None, state=State.FAILED, error=InputError("no slide"))
    for given, message in (
        (failed, r"B12.tif: its run left no results \(no slide\)"),
        (5, "a int: expected a results folder"),
        (tmp_path, "nuclei.parquet"),
    ):
        with pytest.raises(ws.WsiSuiteError, match=message):
            ws.rescore(given)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no result given"):
        ws.rescore_batch([])


def test_regions_where_nothing_was_looked_for_are_refused(result: Path) -> None:
    far = ws.Roi("far", None, MultiPolygon([box(5000, 5000, 6000, 6000)]))
    with pytest.raises(RegionError, match=r"rois: .*"):
        ws.rescore(result, rois=[far])
    for outcome in ws.rescore_batch([result, result], rois=[far]):
        assert "one slide for several slides" in str(outcome.error)


def test_projects_are_asked_as_the_command_line_asks(
    asked: list[tuple[Any, ...]], result: Path
) -> None:
    ws.push(str(result), project="study", create=True, entries=1)
    ws.pull("study", out="corrected")
    ws.run_project("study", in_class="Tumor", settings={"score.marker": "ER"}, device="cpu")
    (push, pull, run) = asked
    assert push[0] == ([result], Path("study"))
    assert (push[1]["entries"], push[1]["qupath"]) == (["1"], [])
    assert pull[0] == (Path("study"), Path("corrected"))
    assert run[0] == (Path("study"),)
    assert run[1]["settings"].score.marker == "ER"
    assert run[1]["settings"].run.device == "cpu"
    assert (run[1]["out"], run[1]["in_class"]) == (None, "Tumor")


def test_nothing_is_written_beside_a_running_qupath(
    asked: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "running_qupath", lambda: [4711])
    with pytest.raises(InputError, match="process 4711"):
        ws.push("r", project="study")
    with pytest.raises(InputError, match="process 4711"):
        ws.run_project("study")
    assert not asked
    ws.push("r", project="study", force=True)
    assert asked[0][1]["qupath"] is None


def test_what_a_push_does_not_know_is_refused(asked: list[tuple[Any, ...]]) -> None:
    with pytest.raises(ConfigError, match=r"--shape circle: unknown; expected polygon"):
        ws.push("r", project="study", shape="circle")
    with pytest.raises(ConfigError, match="did you mean 'brightfield_h_dab'"):
        ws.push("r", project="study", image_type="brightfield-h-dab")
    assert not asked


def test_progress_of_a_run_on_a_project_is_heard(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    heard: list[object] = []

    def run(project: Path, *, display: project_run.Display, **_: Any) -> ProjectRun:
        with display.transfers() as progress:
            progress("image")  # type: ignore[arg-type]
        with display.slides() as (progress, tell):
            progress("slide")  # type: ignore[arg-type]
            tell("remark")
        return ProjectRun(project)

    monkeypatch.setattr(running, "running_qupath", list)
    monkeypatch.setattr(project_run, "run_project", run)
    assert ws.run_project(tmp_path, progress=heard.append, tell=heard.append).out == tmp_path
    assert heard == ["image", "slide", "remark"]


def test_scores_are_compared(tmp_path: Path) -> None:
    for name, scores in (("a", (10, 100, 250)), ("b", (20, 110, 240))):
        rows = "".join(f"B{number},{score}\n" for number, score in enumerate(scores))
        (tmp_path / f"{name}.csv").write_text(f"slide,H-score\n{rows}")
    one, other = str(tmp_path / "a.csv"), tmp_path / "b.csv"
    found = ws.compare(one, other, cutoff=50, groups=[50, 200])
    assert (found.pairs, found.within.value) == (3, 1.0)
    with pytest.raises(ConfigError, match="there is no folder"):
        ws.compare(one, other, out=tmp_path / "no" / "page.html")
    for groups in ([50, 20], 50, "50,100", [None]):
        with pytest.raises(ConfigError, match=r"--groups .*: expected rising"):
            ws.compare(one, other, groups=groups)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="--cutoff high: expected a number"):
        ws.compare(one, other, cutoff="high")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="second: a NoneType: expected a path"):
        ws.compare(one, None)  # type: ignore[arg-type]


def test_models_refuse_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no-such-model"):
        ws.export_model("no-such-model", format="onnx", out=tmp_path / "m.onnx")
    with pytest.raises(ConfigError, match=r"format 'onx' is unknown .did you mean 'onnx'"):
        ws.export_model("endonuke-resnet18", format="onx", out=tmp_path / "m.onnx")
    with pytest.raises(OutputConflictError, match="is there already"):
        ws.export_model("endonuke-resnet18", format="onnx", out=str(tmp_path))
    with pytest.raises(ConfigError, match=r"--match-um 0: expected a number of 0.1 or more"):
        ws.evaluate(data=tmp_path, match_um=0)
    for settings, message in (
        (None, "CONFIG is missing"),
        ({"name": "x", "optimiser.epoch": 3}, "did you mean 'optimiser.epochs'"),
        ({}, "name: missing"),
        (5, "a int: expected values by name"),
        ("none.yaml", "none.yaml: cannot be read"),
    ):
        with pytest.raises(ConfigError, match=message):
            ws.train(settings, data=tmp_path, out=tmp_path / "model")  # type: ignore[arg-type]
