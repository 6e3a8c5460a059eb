"""The table of a folder of results, summary.csv and summary.parquet: one line per slide."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

from wsi_suite.analysis.summary import SUMMARY_FILE, Summary, read_summary
from wsi_suite.errors import BusyError, DiskError, OutputError, WsiSuiteError
from wsi_suite.files import remove_leftovers, take_lock, whole_file
from wsi_suite.runs.outcome import Outcome
from wsi_suite.runs.run_record import read_run
from wsi_suite.runs.state import State
from wsi_suite.scoring.decimals import rounded_percent
from wsi_suite.slides.store_layout import writing
from wsi_suite.tables import csv_cell, csv_text

_DAY_S = 24 * 3600


Row = dict[str, str | float | None]
"""A line of the table, by its columns."""

SUMMARY_COLUMNS = (
    "slide",
    "folder",
    "state",
    "case",
    "nuclei",
    "headline",
    "h_score",
    "h_score_low",
    "h_score_high",
    "positive_percent",
    "positive_percent_low",
    "positive_percent_high",
    "verdict",
    "allred",
    "irs",
    "receptor_status",
    "ki67_weighted_percent",
    "hot_spot_percent",
    "pooled_h_score",
    "scored_tissue_mm2",
    "unreadable_mm2",
    "unreadable_percent",
    "density_per_mm2",
    "out_of_focus_percent",
    "missing_cores",
    "familiarity",
    "familiarity_times_limit",
    "warnings",
    "error",
)

_TEXTS = frozenset(
    (
        "slide", "folder", "state", "case", "headline", "verdict", "receptor_status",
        "missing_cores", "familiarity", "warnings", "error",
    )
)  # fmt: skip
_COUNTS = frozenset(("nuclei", "allred", "irs"))
_KEYS = {"slide", "folder", "state", "error"}


def write_summary_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write one line a slide; columns as in ``SUMMARY_COLUMNS``, empty if there is no value.

    Raises
    ------
    OutputError
        The file cannot be replaced, as while it is open in Excel. The rows are then in
        ``<name>-2.csv`` or the next free name beside it, if they can be.
    """
    remove_leftovers(path.parent, older_than_s=_DAY_S)  # others may be writing theirs
    try:
        _write_rows(path, rows)
    except DiskError:
        raise
    except OutputError as error:
        numbered = (path.with_stem(f"{path.stem}-{number}") for number in count(2))
        beside = next(file for file in numbered if not file.exists())
        try:
            _write_rows(beside, rows)
        except OutputError:
            raise error from None
        raise OutputError(f"{error}; this time its lines are in {beside.name}") from error


def write_summary_parquet(path: Path, rows: Sequence[Row]) -> None:
    """Write the lines of ``summary.csv`` as Parquet: numbers are numbers, no value is null.

    Types of columns do not depend on the rows, so that tables of several folders go together.

    Raises
    ------
    OutputError
        The file cannot be replaced.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"text": pa.string(), "whole": pa.int64(), "number": pa.float64()}
    arrays = {}
    for name in SUMMARY_COLUMNS:
        values = [_plain(row.get(name), name) for row in rows]
        arrays[name] = pa.array(values, kinds[_kind(name)])
    with whole_file(path) as partial:
        pq.write_table(pa.table(arrays), partial, compression="zstd")


def _kind(column: str) -> str:
    if column in _TEXTS:
        return "text"
    return "whole" if column in _COUNTS else "number"


def _plain(value: str | float | None, column: str) -> str | float | None:
    """Return a value as the column's type; lines of earlier tables hold texts alone."""
    if value is None or value == "":
        return None
    if column in _TEXTS:
        return str(value)
    return int(value) if column in _COUNTS else float(value)


def read_summary_csv(path: Path) -> list[Row]:
    """Return the rows of a table of ours; none if it is missing, or was changed beyond reading."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [
                {
                    key: csv_text(cell) if isinstance(cell, str) else cell
                    for key, cell in row.items()
                }
                for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, csv.Error):
        return []
    known = set(SUMMARY_COLUMNS)  # earlier versions wrote fewer
    return [row for row in rows if _KEYS <= row.keys() <= known and None not in row.values()]


def _write_rows(path: Path, rows: Iterable[Row]) -> None:
    with whole_file(path) as written, written.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, SUMMARY_COLUMNS, restval="")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: csv_cell(value) for key, value in row.items()})


def summary_row(outcome: Outcome) -> Row:
    """Return the line of a slide in ``summary.csv``; keys as in ``SUMMARY_COLUMNS``."""
    summary = outcome.summary
    return {
        "slide": summary.slide if summary else outcome.slide.name,
        "case": outcome.case,
        "folder": outcome.folder.name if outcome.folder else None,
        "state": outcome.state,
        "error": str(outcome.error) if outcome.error else None,
        **(_score_columns(summary) if summary else {}),
    }


def _score_columns(summary: Summary) -> Row:
    """Return the columns that a slide's summary fills."""
    headline, pooled = summary.headline, summary.pooled
    figures = summary.scores[headline.class_name]
    familiarity = summary.familiarity
    farthest = familiarity.farthest if familiarity else None
    h_score, percent = figures.h_score_interval, figures.positive_percent_interval
    return {
        "nuclei": pooled.nuclei,
        "headline": headline.name,
        "h_score": _rounded(headline.value),
        "h_score_low": _rounded(h_score.low if h_score else None),
        "h_score_high": _rounded(h_score.high if h_score else None),
        "positive_percent": rounded_percent(figures.positive_percent),
        "positive_percent_low": rounded_percent(percent.low if percent else None),
        "positive_percent_high": rounded_percent(percent.high if percent else None),
        "verdict": summary.verdict,
        "allred": figures.allred.score if figures.allred else None,
        "irs": figures.irs.score if figures.irs else None,
        "receptor_status": summary.receptor.status if summary.receptor else None,
        "ki67_weighted_percent": rounded_percent(
            summary.ki67.weighted_percent if summary.ki67 else None
        ),
        "hot_spot_percent": rounded_percent(_hottest(summary)),
        "pooled_h_score": _rounded(pooled.h_score),
        "scored_tissue_mm2": _rounded(summary.scored_tissue_mm2, 4),
        **_unreadable_columns(summary),
        "density_per_mm2": _rounded(pooled.density_per_mm2),
        "out_of_focus_percent": _rounded(_out_of_focus_percent(summary)),
        "missing_cores": ", ".join(summary.missing_cores) or None,
        "familiarity": familiarity.verdict if familiarity else None,
        "familiarity_times_limit": farthest.times_limit if farthest else None,
        "warnings": " ".join(summary.warnings),
    }


def _unreadable_columns(summary: Summary) -> Row:
    """Return the tissue that could not be read, if there is some."""
    lost = None if summary.quality is None else summary.quality.unreadable
    if lost is None:
        return {}
    share = lost.found_share
    return {
        "unreadable_mm2": _rounded(lost.found_mm2, 4),
        "unreadable_percent": _rounded(None if share is None else 100 * share),
    }


def _hottest(summary: Summary) -> float | None:
    """Return the positive percentage of the hottest spot."""
    found = summary.hot_spots.get(f"{summary.headline.class_name}: Positive")
    return found.spots[0].figures.positive_percent if found and found.spots else None


def _out_of_focus_percent(summary: Summary) -> float | None:
    focus = summary.quality.artefacts["focus"] if summary.quality else None
    return None if focus is None or focus.found_share is None else 100 * focus.found_share


def _rounded(value: float | None, digits: int = 1) -> float | None:
    return None if value is None else round(value, digits)


TABLE_FILE, PARQUET_FILE = "summary.csv", "summary.parquet"
"""The table of a folder of results, a line a slide."""


_WAIT_S = 300.0  # for another process to write the table; thousands of folders take a while


def write_table(out: Path, outcomes: Sequence[Outcome]) -> None:
    """Write ``summary.csv`` and ``summary.parquet``, the same lines for programs.

    They hold these outcomes, and those of other processes and earlier batches.

    Raises
    ------
    OutputError
        The file cannot be replaced, as while it is open in Excel; if another could be written
        beside it, that one is named.
    """
    table = out / TABLE_FILE
    lock_file = out / f"{TABLE_FILE}.lock"
    busy = f"{table}: another process has been writing it for {_WAIT_S:g} s; run again to write it"
    with writing(table), take_lock(lock_file, wait_s=_WAIT_S, busy=busy):
        rows = _rows(out, outcomes)
        write_summary_parquet(out / PARQUET_FILE, rows)
        write_summary_csv(table, rows)


def _rows(out: Path, outcomes: Sequence[Outcome]) -> list[Row]:
    """Return a row for each slide that has results or a failure in a folder, sorted."""
    stored = {folder.resolve(): _stored_row(folder) for folder in out.iterdir() if folder.is_dir()}
    rows = []
    for outcome in outcomes:
        found = None if outcome.folder is None else stored.pop(outcome.folder.resolve(), None)
        # Another process was at work on the slide, and has noted more than that by now.
        busy = isinstance(outcome.error, BusyError)
        rows.append(found if busy and found is not None else summary_row(outcome))
    rows += [row for row in stored.values() if row is not None]
    rows += _remembered(out, rows)
    cases = _cases(out)
    for row in rows:
        if row.get("case") is None:  # no manifest of this batch names one
            row["case"] = cases.get(_line_of(row))
    return sorted(rows, key=lambda row: (str(row["slide"]), str(row["folder"] or "")))


def _cases(out: Path) -> dict[str, str | float | None]:
    """Return the cases of slides, which stand in the table alone."""
    return {_line_of(row): row.get("case") for row in read_summary_csv(out / TABLE_FILE)}


def _line_of(row: Row) -> str:
    """Return a key of a line: the folder of the slide, else its name."""
    return f"folder {row['folder']}" if row["folder"] else f"slide {row['slide']}"


def _remembered(out: Path, rows: Sequence[Row]) -> list[Row]:
    """Return the lines of slides that failed before they had a folder: they stand here alone."""
    slides, folders = {row["slide"] for row in rows}, {row["folder"] for row in rows}
    return [
        row
        for row in read_summary_csv(out / TABLE_FILE)
        if row["state"] == State.FAILED
        and not (row["folder"] in folders if row["folder"] else row["slide"] in slides)
    ]


def read_outcomes(out: Path) -> list[Outcome]:
    """Return how each slide of a folder of results ended, as far as that is stored, sorted."""
    folders = sorted(folder for folder in out.iterdir() if folder.is_dir())
    outcomes = [outcome for outcome in map(stored_outcome, folders) if outcome is not None]
    outcomes += [
        Outcome(
            Path(str(row["slide"])),
            out / str(row["folder"]) if row["folder"] else None,
            State.FAILED,
            error=WsiSuiteError(str(row["error"])),
        )
        for row in _remembered(out, [summary_row(outcome) for outcome in outcomes])
    ]
    return sorted(outcomes, key=lambda outcome: (outcome.slide.name, str(outcome.folder or "")))


def _stored_row(folder: Path) -> Row | None:
    outcome = stored_outcome(folder)
    return None if outcome is None else summary_row(outcome)


def stored_outcome(folder: Path) -> Outcome | None:
    """Return how the slide of a folder ended that a run or ``score`` left; else ``None``."""
    try:
        run = read_run(folder)
        if run is None:
            return _outcome_of_scores(folder)
    except OutputError:
        return None
    slide = Path(run.fingerprint.slide.name)
    error = None if run.error is None else WsiSuiteError(run.error)
    stored = Outcome(slide, folder, run.state, error=error)
    if run.state is not State.DONE:
        return stored
    try:
        summary = read_summary(folder)
        if summary is None:
            raise OutputError(f"{folder / SUMMARY_FILE}: missing; run again")
        return replace(stored, summary=summary)
    except OutputError as damaged:
        return replace(stored, error=damaged)


def _outcome_of_scores(folder: Path) -> Outcome | None:
    """Return the outcome of a folder that ``score`` left, if it is one."""
    summary = read_summary(folder)
    if summary is None:
        return None
    return Outcome(Path(summary.slide), folder, State.DONE, summary)
