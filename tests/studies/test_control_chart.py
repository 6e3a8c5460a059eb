"""The control chart of a folder of runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from measured_results import write_result

from wsi_suite.errors import DataError
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
    assert "from 12 runs" in found.warnings[0]
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
