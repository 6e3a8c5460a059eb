"""``compare``, ``calibrate`` and ``control-chart`` from the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import Cli

from wsi_suite.nuclei.parquet import read_nuclei
from wsi_suite.scoring.intensity import intensity_grades


@pytest.fixture
def folders(results: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Two results folders of three slides; the second one's H-scores are 1, 2 and 3 higher."""
    summary = json.loads((results / "summary.json").read_text("utf-8"))
    for number in (1, 2, 3):
        for side, more in (("a", 0), ("b", number)):
            folder = tmp_path / side / f"B{number}"
            folder.mkdir(parents=True)
            summary["slide"] = f"B{number}.svs"
            figures = summary["scores"][summary["headline"]["class"]]
            figures["h_score"] = 50.0 * number + more
            (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    shutil.copy(results / "run.json", tmp_path / "a" / "B1")
    return tmp_path / "a", tmp_path / "b"


def test_two_runs_are_compared(folders: tuple[Path, Path], wsi: Cli, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    answer = wsi("compare", *folders, "--cutoff", 100, "--out", page)
    assert answer.code == 0
    assert "-2.0" in next(line for line in answer.out.splitlines() if line.startswith("bias"))
    assert "3 pairs; A: a, B: b" in answer.out
    assert page.read_text("utf-8").startswith("<!doctype html>")
    found = json.loads(wsi("compare", *folders, "--json").out)
    assert found["limits"]["bias"]["value"] == pytest.approx(-2)
    assert found["at_cutoff"] is None


def test_a_run_is_compared_with_a_reader(
    folders: tuple[Path, Path], wsi: Cli, tmp_path: Path
) -> None:
    reader = tmp_path / "reader.csv"
    reader.write_text("slide;score\nB1;50\nB2;100\nB3;150\nB4;9\n", encoding="utf-8")
    answer = wsi("compare", folders[0], reader)
    assert answer.code == 0
    assert answer.err.splitlines() == ["note: only in reader.csv (1): B4"]


def test_what_cannot_be_compared_is_one_line(results: Path, wsi: Cli, tmp_path: Path) -> None:
    reader = tmp_path / "reader.csv"
    reader.write_text("slide;score\nB12_ER;50\n", encoding="utf-8")
    for arguments, said in (
        ((tmp_path, reader), "no results in it"),
        ((results, tmp_path / "none.csv"), "cannot be read"),
        ((results, reader, "--class", "Tumour"), "no class 'Tumour' (--class); expected "),
        ((results, reader, "--column-a", "x"), "--column-a is for tables"),
        ((results, reader, "--groups", "a,b"), "--groups a,b"),
    ):
        answer = wsi("compare", *arguments)
        assert (answer.code, len(answer.errors), answer.out) == (2, 1, "")
        assert said in answer.errors[0]


def test_thresholds_are_calibrated_and_taken_by_score(
    results: Path, wsi: Cli, tmp_path: Path
) -> None:
    nuclei, _ = read_nuclei(results / "nuclei.parquet")
    dab_od = nuclei.measurements["Nucleus: DAB OD mean"]
    cuts = tuple(np.quantile(dab_od, [0.3, 0.5, 0.7]).tolist())
    rows = [
        f"B12_ER,{x},{y},{grade}"
        for (x, y), grade in zip(nuclei.points, intensity_grades(dab_od, cuts), strict=True)
    ]
    labels, config = tmp_path / "grades.csv", tmp_path / "lab.yaml"
    labels.write_text("\n".join(["slide,x,y,grade", *rows]), encoding="utf-8")
    page = tmp_path / "lab.html"
    answer = wsi("calibrate", results, "--grades", labels, "--out", config, "--report", page)
    assert answer.code == 0
    assert answer.out.splitlines()[1].startswith("fitted")
    assert page.is_file()
    summary = json.loads(wsi("score", results, "--config", config, "--json").out)[0]["summary"]
    assert summary["thresholds_origin"] == "calibrated"
    assert summary["thresholds_source"].startswith("grades.csv ")
    assert summary["thresholds_od"] == pytest.approx(cuts, abs=0.02)
    assert not any("not calibrated" in warning for warning in summary["warnings"])
    over = ("--set", "score.thresholds_od=[0.1,0.2,0.3]")
    changed = json.loads(wsi("score", results, "--config", config, *over, "--json").out)
    assert changed[0]["summary"]["thresholds_origin"] == "user"
    assert changed[0]["summary"]["thresholds_source"] is None
    again = wsi("calibrate", results, "--grades", labels, "--out", config)
    assert (again.code, len(again.errors)) == (2, 1)


def test_calibrate_takes_one_kind_of_labels(results: Path, wsi: Cli, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    for options in (
        (),
        ("--grades", labels, "--scores", labels),
        ("--grades", labels, "--class", "Epithelium"),
        ("--scores", labels, "--reviewed", "x"),
        ("--scores", labels),
    ):
        answer = wsi("calibrate", results, *options)
        assert (answer.code, len(answer.errors), answer.out) == (2, 1, "")


def test_a_control_slide_is_charted(results: Path, wsi: Cli, tmp_path: Path) -> None:
    summary = json.loads((results / "summary.json").read_text("utf-8"))
    for number in range(1, 14):
        folder = tmp_path / "runs" / f"2026-01-{number:02}" / "B12_ER"
        folder.mkdir(parents=True)
        figures = summary["scores"][summary["headline"]["class"]]
        figures["h_score"] = 100.0 + number % 2 if number < 13 else 120.0
        (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    answer = wsi("control-chart", tmp_path / "runs", "--baseline", 12, "--out", tmp_path / "c.html")
    assert answer.code == 0
    broken = [line for line in answer.out.splitlines() if "1-3s" in line]
    assert [line.split()[0] for line in broken] == ["2026-01-13"]
    assert (tmp_path / "c.html").is_file()
    few = wsi("control-chart", tmp_path / "runs" / "2026-01-01")
    assert (few.code, len(few.errors)) == (2, 1)
