"""The control chart of a folder of runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from measured_results import write_result

from wsi_suite.errors import DataError
from wsi_suite.staining.deconvolution import StainVectors
from wsi_suite.studies.control_chart import ControlChart, chart_runs, write_control_page


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Thirteen runs, of which the last one is much stronger."""
    for number in range(1, 14):
        share = 50 + number % 3 if number < 13 else 90
        dab_od = np.where(np.arange(100) < share, 0.3, 0.0)
        write_result(tmp_path / "runs" / f"run{number}" / "control", dab_od)
    return tmp_path / "runs"


def test_runs_stand_in_the_order_of_their_numbers(runs: Path, tmp_path: Path) -> None:
    found = chart_runs(runs, baseline=12)
    assert [run.run for run in found.runs] == [f"run{number}" for number in range(1, 14)]
    assert [run.score for run in found.runs[:3]] == [51, 52, 50]
    assert [run.run for run in found.runs if run.broken] == ["run13"]
    assert found.limits.mean == 51
    assert "from 12 runs" in found.warnings[-1]
    assert len(found.warnings) == 1
    assert ControlChart.model_validate(found.as_json()) == found
    write_control_page(tmp_path / "chart.html", found)
    assert "<td>1-3s</td>" in (tmp_path / "chart.html").read_text("utf-8")


def test_the_control_is_named_where_there_are_other_slides(runs: Path) -> None:
    write_result(runs / "run2" / "B12", [0.1])
    with pytest.raises(DataError, match="name the control with --slide"):
        chart_runs(runs)
    assert len(chart_runs(runs, slide="CONTROL").runs) == 13
    with pytest.raises(DataError, match="no run has results of B13"):
        chart_runs(runs, slide="B13")


def test_a_run_without_a_score_is_named(runs: Path) -> None:
    write_result(runs / "run14" / "control", [])
    with pytest.raises(DataError, match=r"run14: control\.svs has no score \(no nuclei\)"):
        chart_runs(runs)


def test_gaps_are_told(runs: Path) -> None:
    """A run that failed or is at work, one of other slides, and one under another name."""
    (runs / "run14" / "control").mkdir(parents=True)
    write_result(runs / "run15" / "B12", [0.1, 0.3])
    write_result(runs / "run16" / "control_2", [0.1, 0.3])
    (runs / ".cache").mkdir()
    found = chart_runs(runs, slide="control")
    assert len(found.runs) == 13
    (gaps,) = (warning for warning in found.warnings if "not in the chart" in warning)
    assert "run14 (no results), run15 (only B12.svs), run16 (only control_2.svs)." in gaps
    with pytest.raises(DataError, match=r"different slides .*name the control with --slide"):
        chart_runs(runs)


def test_other_settings_are_told_with_the_run_where_they_begin(runs: Path, tmp_path: Path) -> None:
    stains = StainVectors((0.7, 0.65, 0.3), (0.3, 0.55, 0.78))
    strong = np.where(np.arange(100) < 51, 0.3, 0.0)
    for number in (14, 15):
        write_result(runs / f"run{number}" / "control", strong, model="new", stains=stains)
    found = chart_runs(runs)
    assert [run.run for run in found.runs if run.changed] == ["run14"]
    assert sorted(found.runs[13].changed) == ["model", "stain vectors"]
    assert found.warnings[0].startswith("From run14 on, other settings were used (")
    write_control_page(tmp_path / "chart.html", found)


def test_dates_that_do_not_sort_are_refused(tmp_path: Path) -> None:
    for day in ("30.11.2026", "01.12.2026"):
        write_result(tmp_path / day / "control", [0.1, 0.3])
    with pytest.raises(DataError, match=r"do not sort \(01\.12\.2026, 30\.11\.2026\)"):
        chart_runs(tmp_path)


def test_one_scan_again_and_again_is_told(runs: Path) -> None:
    for number in (14, 15):
        write_result(runs / f"run{number}" / "control", [0.1, 0.3], scan="one")
    (told,) = (warning for warning in chart_runs(runs).warnings if "same scan" in warning)
    assert told.startswith("run14, run15 are of one and the same scan")


def test_one_run_is_too_few(tmp_path: Path) -> None:
    write_result(tmp_path / "2026-11-30" / "control", [0.1, 0.3])
    with pytest.raises(DataError, match="1 run to set limits from; expected at least 11"):
        chart_runs(tmp_path)
