"""The table of all figures of many slides, a line a slide, as CSV, Parquet or XLSX."""

from __future__ import annotations

import csv
import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from wsi_suite.analysis.summary import Summary
from wsi_suite.errors import ConfigError, did_you_mean
from wsi_suite.files import whole_file
from wsi_suite.runs.outcome import Outcome
from wsi_suite.runs.summary_csv import SUMMARY_COLUMNS, Row, summary_row
from wsi_suite.slides.store_layout import writing
from wsi_suite.tables import csv_cell

SCORES_FILE = "scores.csv"
"""The table in the folder of a batch."""

_OWN_COLUMNS = frozenset({"format", "slide", "headline", "h_scores", "scores", "regions"})
"""Parts of a summary that have columns of their own, or none."""

_XLSX_EXTRA = "pip install 'wsi-suite[xlsx]'"
_CREATED = datetime.datetime(2000, 1, 1)

Rows = Sequence[Row]


def score_rows(outcomes: Sequence[Outcome]) -> list[Row]:
    """Return a line for each slide: the columns of ``summary.csv``, and then all its figures.

    What belongs to a class is called as in ``Epithelium: h_score``, what lies deeper in
    ``summary.json`` as in ``compute.device``.
    """
    return [
        summary_row(outcome) | ({} if outcome.summary is None else _figures(outcome.summary))
        for outcome in outcomes
    ]


def column_names(rows: Rows) -> list[str]:
    """Return the columns of rows: those of ``summary.csv``, then others as they come."""
    return list(dict.fromkeys([*SUMMARY_COLUMNS, *(name for row in rows for name in row)]))


def choose_columns(wanted: str | None, known: Sequence[str]) -> list[str]:
    """Return the columns that a text names; ``None``: all that are known.

    Parameters
    ----------
    wanted
        Names or patterns such as ``Epithelium*``, separated by commas.
    known
        All columns there are.

    Raises
    ------
    ConfigError
        A name is none of them.
    """
    if wanted is None:
        return list(known)
    chosen: dict[str, None] = {}
    for name in filter(None, map(str.strip, wanted.split(","))):
        found = [name] if name in known else [one for one in known if fnmatchcase(one, name)]
        if not found:
            hint = did_you_mean(name, known) or f"; expected some of {', '.join(known)}"
            raise ConfigError(f"--columns: no column '{name}'{hint}")
        chosen |= dict.fromkeys(found)
    if not chosen:
        raise ConfigError(f"--columns {wanted!r}: expected names, separated by commas")
    return list(chosen)


def check_table(path: Path) -> None:
    """Refuse a file whose ending names no kind of table, or one that cannot be written here.

    Raises
    ------
    ConfigError
        The ending is unknown, or the package that writes XLSX is not installed.
    """
    if path.suffix.lower() not in _WRITERS:
        raise ConfigError(f"--table {path}: expected a name that ends in {', '.join(_WRITERS)}")
    if path.suffix.lower() == ".xlsx":
        try:
            import xlsxwriter  # noqa: F401
        except ImportError:
            raise ConfigError(
                f"--table {path}: XLSX needs the package xlsxwriter; {_XLSX_EXTRA}, or give .csv"
            ) from None


def write_score_table(path: Path, rows: Rows, *, columns: Sequence[str]) -> None:
    """Write a table; its kind follows from the ending. Same rows, same bytes.

    Raises
    ------
    ConfigError
        See :func:`check_table`.
    OutputError
        The file cannot be written.
    """
    check_table(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        _WRITERS[path.suffix.lower()](partial, rows, columns)


def _figures(summary: Summary) -> Row:
    values = summary.as_json()
    row: Row = {}
    for name, value in values.items():
        if name not in _OWN_COLUMNS:
            row |= _flat(name, value)
    for name, figures in values["scores"].items():
        row |= {f"{name}: {key}": value for key, value in _flat("", figures).items()}
    return {name: value for name, value in row.items() if name not in SUMMARY_COLUMNS}


def _flat(name: str, value: Any) -> Row:  # noqa: ANN401 - whatever JSON holds
    """Return the plain values in a value by their names; lists of parts are left out."""
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, list):
        if any(isinstance(one, Mapping | list) for one in value):
            return {}
        if any(isinstance(one, str) for one in value) or not value:
            return {name: " ".join(map(str, value))}
        items = [(str(number), one) for number, one in enumerate(value, start=1)]
    else:
        return {name: value}
    row: Row = {}
    for key, inner in items:
        row |= _flat(f"{name}.{key}" if name else key, inner)
    return row


def _cells(rows: Rows, columns: Sequence[str]) -> Iterator[list[str | float | None]]:
    for row in rows:
        yield [row.get(name) for name in columns]


def _write_csv(path: Path, rows: Rows, columns: Sequence[str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(map(csv_cell, columns))
        for cells in _cells(rows, columns):
            writer.writerow(map(csv_cell, cells))


def _write_parquet(path: Path, rows: Rows, columns: Sequence[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {}
    for name in columns:
        values = [row.get(name) for row in rows]
        known = [value for value in values if value is not None]
        if known and all(isinstance(value, bool) for value in known):
            kind = pa.bool_()
        elif known and all(isinstance(value, int | float) for value in known):
            whole = all(isinstance(value, int) for value in known)
            kind = pa.int64() if whole else pa.float64()
        else:
            kind, values = pa.string(), [None if one is None else str(one) for one in values]
        arrays[name] = pa.array(values, kind)
    pq.write_table(pa.table(arrays), path, compression="zstd")


def _write_xlsx(path: Path, rows: Rows, columns: Sequence[str]) -> None:
    import xlsxwriter

    book = xlsxwriter.Workbook(str(path), {"strings_to_formulas": False, "strings_to_urls": False})
    book.set_properties({"created": _CREATED})
    sheet = book.add_worksheet("Scores")
    sheet.write_row(0, 0, columns, book.add_format({"bold": True, "text_wrap": True}))
    for number, cells in enumerate(_cells(rows, columns), start=1):
        for column, value in enumerate(cells):
            if value is not None:
                sheet.write(number, column, value)
    sheet.freeze_panes(1, 1)
    sheet.autofilter(0, 0, max(1, len(rows)), max(0, len(columns) - 1))
    sheet.set_column(0, 0, 30)
    sheet.set_column(1, max(1, len(columns) - 1), 14)
    book.close()


_WRITERS: Mapping[str, Callable[[Path, Rows, Sequence[str]], None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".xlsx": _write_xlsx,
}
