"""The table of a folder of results, as CSV and as Parquet."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from bench import Bench

from wsi_suite.errors import SlideError
from wsi_suite.runs.outcome import Outcome
from wsi_suite.runs.state import State
from wsi_suite.runs.summary_csv import (
    SUMMARY_COLUMNS,
    read_summary_csv,
    write_summary_csv,
    write_table,
)


def failed(name: str, *, case: str | None = None) -> Outcome:
    return Outcome(Path(name), None, State.FAILED, error=SlideError(f"{name}: bad"), case=case)


def test_failures_alone_are_a_table_with_the_types_of_every_other(tmp_path: Path) -> None:
    write_table(tmp_path, [failed("b.svs", case="12"), failed("ä,\n;.svs")])
    write_table(tmp_path, [])  # the lines of before are read from the table
    table = pq.read_table(tmp_path / "summary.parquet")
    assert tuple(table.column_names) == SUMMARY_COLUMNS
    types = {name: str(table.schema.field(name).type) for name in SUMMARY_COLUMNS}
    assert (types["nuclei"], types["h_score"], types["case"]) == ("int64", "double", "string")
    assert table.column("slide").to_pylist() == ["b.svs", "ä,\n;.svs"]
    assert table.column("case").to_pylist() == ["12", None]
    assert table.column("nuclei").null_count == 2


@pytest.mark.usefixtures("quick")
def test_parquet_holds_what_csv_holds(bench: Bench, tmp_path: Path) -> None:
    bench.run(tmp_path, "tiles.keep=false", "score.marker=ER")
    (row,) = pq.read_table(tmp_path / "summary.parquet").to_pylist()
    (text,) = read_summary_csv(tmp_path / "summary.csv")
    assert {name: "" if value is None else str(value) for name, value in row.items()} == text
    before = (tmp_path / "summary.parquet").read_bytes()
    write_table(tmp_path, [])
    assert (tmp_path / "summary.parquet").read_bytes() == before


@pytest.mark.parametrize("name", ["=1+1.svs", "-B12.svs", "@B12", "'=1", "''", "'quoted'.svs"])
def test_names_that_look_like_formulas_are_texts_and_come_back(name: str, tmp_path: Path) -> None:
    row = {"slide": name, "folder": None, "state": "failed", "error": "+ broken"}
    write_summary_csv(tmp_path / "summary.csv", [row])
    line = (tmp_path / "summary.csv").read_text("utf-8").splitlines()[1]
    assert not line.startswith(("=", "-", "@"))
    (back,) = read_summary_csv(tmp_path / "summary.csv")
    assert (back["slide"], back["error"]) == (name, "+ broken")
