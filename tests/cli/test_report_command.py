"""``report`` and ``run --report``, as they are typed."""

from __future__ import annotations

import shutil
from pathlib import Path

from command_line import SAME_RESULTS, Cli


def test_report_of_a_slide_and_of_its_batch(wsi: Cli, results: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(results, tmp_path / "out" / "B12_ER"))
    answer = wsi("report", folder, "--table", tmp_path / "t.csv", "--columns", "slide,h_score")
    assert answer.code == 0
    assert answer.err.splitlines()[1:] == [str(folder / "report.html"), str(tmp_path / "t.csv")]
    assert (tmp_path / "t.csv").read_text().splitlines()[0] == "slide,h_score"
    answer = wsi("report", tmp_path / "out")
    assert answer.code == 0
    assert (tmp_path / "out" / "scores.csv").exists()


def test_folder_without_results_is_refused(wsi: Cli, results: Path, tmp_path: Path) -> None:
    answer = wsi("report", tmp_path)
    assert answer.code == 2
    assert answer.errors == [
        f"error: {tmp_path}: no results here; give a folder that 'wsi-suite run' left, or the one "
        "that holds those of a batch"
    ]
    folder = Path(shutil.copytree(results, tmp_path / "out" / "B12_ER"))
    assert wsi("report", folder, tmp_path / "gone").code == 1, "one of two"
    assert wsi("report", folder, "--table", "a.pdf").code == 2


def test_run_writes_reports_if_asked(wsi: Cli, slide: Path, model: Path, tmp_path: Path) -> None:
    options = ("--out", tmp_path, "--model", model, *SAME_RESULTS)
    answer = wsi("run", slide, *options, "--report", "--json")
    assert answer.code == 0
    assert answer.out.startswith("[")
    assert (tmp_path / "B12_ER" / "report.html").exists()
    assert "./B12_ER/report.html" in (tmp_path / "report.html").read_text("utf-8")
    (tmp_path / "B12_ER" / "nuclei.parquet").write_bytes(b"")
    answer = wsi("run", slide, *options, "--report")
    assert answer.code == 1
    assert "nuclei.parquet: not a readable Parquet file" in answer.errors[0]


def test_report_is_told_apart_from_a_project(wsi: Cli, tmp_path: Path) -> None:
    answer = wsi("run", "--project", tmp_path, "--report")
    assert answer.code == 2
    assert "run 'wsi-suite report' on its results afterwards" in answer.errors[0]
