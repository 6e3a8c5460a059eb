"""Examples in the docstrings of public names, run as they stand."""

from __future__ import annotations

import doctest
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import wsi_suite as ws
from wsi_suite.detector.model_folder import find_model
from wsi_suite.qupath import running
from wsi_suite.runs import project_pull, project_push, project_run
from wsi_suite.runs.outcome import Outcomes
from wsi_suite.runs.project_run import ProjectRun
from wsi_suite.runs.transfers import Transfer
from wsi_suite.training import train

UNTESTED = {
    *("LaboratoryStains", "Reports"),  # without examples
    # Theirs need a microarray, corrections, graded slides, or XLSX, which the desk lacks.
    *("calibrate", "corrections", "estimate_stains", "find_cores", "write_reports"),
}
NAMES = [name for name in ws.__all__ if callable(getattr(ws, name)) and name not in UNTESTED]
NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?")
FIGURES = dict.fromkeys(("untouched", "corrected", "deleted", "added", "annotations"), 2)


class NumbersNearly(doctest.OutputChecker):
    """Numbers may be off by 3 %: confidences differ in their last digits from CPU to CPU."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        if not super().check_output(NUMBER.sub("#", want), NUMBER.sub("#", got), optionflags):
            return False
        pairs = zip(NUMBER.findall(want), NUMBER.findall(got), strict=True)
        values = [[float(text.replace(",", "")) for text in pair] for pair in pairs]
        return all(math.isclose(*pair, rel_tol=0.03) for pair in values)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, one_torch_thread: None) -> Path:
    """A folder with what the examples name."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "slides").mkdir()
    for name, seed in (("B12_ER", 6), ("B13_ER", 3), ("B15_ER", 0)):
        path = folder / "slides" / f"{name}.svs"
        ws.make_slide(path, width=800, height=640, mpp=0.25, tissue_fraction=0.7, seed=seed)
    (folder / "lab.yaml").write_text("score: {marker: ER}\n")
    (folder / "scanner.yaml").write_text("stain: {background: [243, 243, 241]}\n")
    (folder / "readers.csv").write_text("slide,H-score\nB12_ER,220\nB13_ER,200\nB15_ER,230\n")
    (folder / "train.yaml").write_text("name: mine\nsplit: {test_runs: [r2]}\n")
    corners = [[0, 0], [800, 0], [800, 640], [0, 640], [0, 0]]
    region = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [corners]},
        "properties": {"objectType": "annotation", "name": "Tumour"},
    }
    (folder / "annotations.geojson").write_text(json.dumps(region))
    (folder / "hot").mkdir()
    for name in ("B12_ER", "B13_ER"):
        shutil.copy(folder / "annotations.geojson", folder / "hot" / f"{name}.geojson")
    truth = write_tiles(folder / "endonuke")
    ws.write_geojson(truth.nuclei, folder / "corrected.geojson", grades=truth.grades())
    ws.run_batch(folder / "slides", out=folder / "results", settings={"score.marker": "ER"})
    ws.run_batch(folder / "slides/B12_ER.svs", out=folder / "tiled", stage="tile")
    return folder


def write_tiles(folder: Path) -> Any:
    """Write two labelled tiles of two runs; return the truth of the latter."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for number in (1, 2):
        rgb, truth = ws.make_tile(160, mpp=0.5, seed=number)
        cv2.imwrite(str(folder / "images" / f"{number}.png"), np.ascontiguousarray(rgb[..., ::-1]))
        lines = np.column_stack([truth.nuclei.points, truth.nuclei.label])
        np.savetxt(folder / "labels" / f"{number}.txt", lines, fmt=("%.2f", "%.2f", "%d"))
    (folder / "tiles.csv").write_text("id,id_run,mpp\n1,r1,0.5\n2,r2,0.5\n")
    return truth


@pytest.fixture
def _no_qupath_and_no_training(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer as QuPath and a training of an hour would."""
    results = desk / "results/B12_ER"
    counts = {**FIGURES, "placed": 242}
    transfers = [Transfer("B12_ER.svs", results, image="B12_ER.svs", counts=counts)]

    def train_model(*_: Any, out: Path, **__: Any) -> Any:
        model = find_model("endonuke-resnet18")
        shutil.copytree(model.path, out, dirs_exist_ok=True)
        return find_model(out)

    def run(*_: Any, **__: Any) -> ProjectRun:
        return ProjectRun(results, Outcomes([ws.rescore(results)]), transfers)

    monkeypatch.setattr(running, "running_qupath", list)
    monkeypatch.setattr(project_push, "push_results", lambda *_, **__: transfers)
    monkeypatch.setattr(project_pull, "pull_project", lambda *_, **__: transfers)
    monkeypatch.setattr(project_run, "run_project", run)
    monkeypatch.setattr(train, "train_model", train_model)


@pytest.mark.usefixtures("_no_qupath_and_no_training")
@pytest.mark.parametrize("name", NAMES)
def test_examples_are_right(name: str, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    docstring = getattr(ws, name).__doc__
    assert "\n    Examples\n    --------\n" in docstring, f"{name}: has no examples"
    examples = doctest.DocTestParser().get_doctest(docstring, {}, name, None, None)
    told: list[str] = []
    runner = doctest.DocTestRunner(checker=NumbersNearly(), optionflags=doctest.ELLIPSIS)
    assert runner.run(examples, out=told.append).attempted > 0
    assert runner.failures == 0, "".join(told)
