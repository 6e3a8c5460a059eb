"""Tables that people keep: CSV as any program writes it, and workbooks.

Text files may be UTF-8 (with or without a mark), UTF-16 or Windows-1252, with semicolons, tabs or
commas between columns, and with a decimal comma. What could be read in two ways is refused.
"""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wsi_suite.errors import DataError, did_you_mean

WORKBOOKS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
"""Endings of workbooks."""

_DELIMITERS = (";", "\t", ",")
MISSING = frozenset({"", "na", "n/a", "nan", "none", "null", "-", "–", "#n/a"})
"""What a cell without a value says, in small letters."""

_EITHER = re.compile(r"[-+]?[1-9]\d{0,2},\d{3}")  # 0,250 can only be a decimal comma
_DATES = (date, time, timedelta)


_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what spreadsheets take the rest of a cell for


def csv_cell(value: str | float | None) -> str | float:
    """Return a value for a CSV file that people open in a spreadsheet.

    A text that would be taken for a formula, as the name of a slide may be, gets an apostrophe in
    front, which means a text there; so does one that begins with such an apostrophe. Numbers stay.
    """
    if not isinstance(value, str):
        return "" if value is None else value
    return f"'{value}" if value.lstrip("'").startswith(_FORMULA) else value


def csv_text(cell: str) -> str:
    """Return the text that :func:`csv_cell` wrote."""
    written = cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA)
    return cell[1:] if written else cell


@dataclass(frozen=True)
class Table:
    """A table as text.

    Attributes
    ----------
    path
        Its file.
    columns
        Their names, as they stand there.
    lines
        Number of each row in the file, from 1.
    rows
        Cells of each row, as many as columns.
    """

    path: Path
    columns: tuple[str, ...]
    lines: tuple[int, ...]
    rows: tuple[tuple[str, ...], ...]

    def column(self, name: str) -> list[str]:
        """Return the cells of a column."""
        place = self.columns.index(name)
        return [row[place] for row in self.rows]

    def numbers(self, name: str) -> npt.NDArray[np.float64]:
        """Return ``(N,)`` the numbers of a column; NaN for an empty cell, NA, NaN or a dash.

        Raises
        ------
        DataError
            A cell is no number, or its comma may be of decimals or of thousands.
        """
        cells = self.column(name)
        with_comma = [cell for cell in cells if "," in cell]
        if with_comma and all(_EITHER.fullmatch(_plain(cell)) for cell in with_comma):
            raise DataError(
                f"{self.path}: column '{name}' has '{with_comma[0]}', a decimal comma or one of "
                "thousands; write it with a point, or with another number of decimals"
            )
        pairs = zip(self.lines, cells, strict=True)
        return np.array([self._number(cell, name, line=line) for line, cell in pairs], np.float64)

    def _number(self, cell: str, name: str, *, line: int) -> float:
        if cell.casefold() in MISSING:
            return math.nan
        try:
            value = float(_plain(cell).replace(",", ".", 1))
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or "_" in cell:
            raise DataError(
                f"{self.path}: line {line}: {name} = '{cell}': expected a number such as 12.5 or "
                "12,5, or an empty cell"
            )
        return value


def read_table(path: Path) -> Table:
    """Read a table: a first row of names, then one row a slide; empty rows are left out.

    Raises
    ------
    DataError
        The file cannot be read, is empty, names a column twice, or has several sheets.
    """
    try:
        book = path.suffix.lower() in WORKBOOKS
        numbered = _read_workbook(path) if book else _read_text(path)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(
            f"{path}: cannot be read ({reason}); expected a results folder or a table (CSV, XLSX)"
        ) from None
    numbered = [(line, row) for line, row in numbered if any(row)]
    if not numbered:
        raise DataError(f"{path}: empty; expected a row of names and one row a slide")
    (_, names), *body = numbered
    width = max((place + 1 for place, name in enumerate(names) if name), default=0)
    columns = tuple(names[:width])
    _refuse_title(path, names, body)
    _refuse_columns(path, columns)
    for line, row in body:
        if any(row[width:]):
            raise DataError(
                f"{path}: line {line} has more cells than the {width} columns; put a cell with "
                "the separator in it into quotes"
            )
    rows = tuple(tuple((*row, *[""] * width)[:width]) for _, row in body)
    return Table(path, columns, tuple(line for line, _ in body), rows)


def find_column(
    table: Table, wanted: str | None, *, known: Sequence[str], meant: str, option: str
) -> str:
    """Return the name of a column.

    Parameters
    ----------
    table
        The table.
    wanted
        Its name as the user gave it; case, spaces and marks do not matter. ``None``: look for it.
    known
        Names that such columns have, the best first; without one of them, a column whose name
        ends in one.
    meant
        What the column holds, to name in errors.
    option
        What the user can name the column with.

    Raises
    ------
    DataError
        There is none, or more than one.
    """
    found = _candidates(table.columns, known if wanted is None else (wanted,))
    if not found and wanted is None:
        ends = tuple(key for name in known if len(key := plain_key(name)) > 1)  # 'index' is no x
        found = [name for name in table.columns if plain_key(name).endswith(ends)]
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(
            f"{table.path}: {' and '.join(map(repr, found))} may both hold {meant}; name one with "
            f"{option}"
        )
    given = "" if wanted is None else f" '{wanted}'"
    hint = "" if wanted is None else did_you_mean(wanted, table.columns)
    raise DataError(
        f"{table.path}: no column{given} with {meant} among {', '.join(table.columns)}{hint}; name "
        f"it with {option}"
    )


def name_is(column: str, names: Sequence[str]) -> bool:
    """Return whether a column is called by one of the names; case, spaces, marks do not matter."""
    return bool(_candidates((column,), names))


def _candidates(columns: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return the columns that are called by the first of the names that one is called by."""
    for name in names:
        if found := [column for column in columns if plain_key(column) == plain_key(name)]:
            return found
    return []


def plain_key(name: str) -> str:
    """Return letters and digits of a name: case, spaces and marks do not tell columns apart."""
    plain = unicodedata.normalize("NFKD", name.replace("%", "percent")).casefold()
    return "".join(letter for letter in plain if letter.isalnum())


def _plain(cell: str) -> str:
    return cell.removesuffix("%").strip()


def _refuse_title(path: Path, names: list[str], body: list[tuple[int, list[str]]]) -> None:
    """Refuse a first row with fewer cells than the row of names below it."""
    if not body:
        return
    line, row = body[0]
    words = not any(re.match(r"[-+<>]?[\d.,]", cell) for cell in row)
    if words and len(list(filter(None, names))) < len(list(filter(None, row))):
        raise DataError(
            f"{path}: the first row ({', '.join(filter(None, names))}) is no row of names: line "
            f"{line} has more cells; delete titles and merged cells above the names of columns"
        )


def _refuse_columns(path: Path, columns: Sequence[str]) -> None:
    for place, name in enumerate(columns):
        if not name:
            raise DataError(f"{path}: column {place + 1} has no name; name it in the first row")
        if name in columns[:place]:
            raise DataError(f"{path}: two columns are called '{name}'; rename one")


def _read_text(path: Path) -> list[tuple[int, list[str]]]:
    content = path.read_bytes()
    if content.startswith(b"PK\x03\x04"):
        raise DataError(f"{path}: a workbook or archive; give it its own ending, such as .xlsx")
    text = _decoded(content)
    if "\0" in text:
        raise DataError(f"{path}: not a table; expected CSV, or a workbook such as .xlsx")
    skipped = 0
    first, _, rest = text.partition("\n")
    if (said := re.fullmatch(r"sep=(.)\r?", first)) is not None:  # Excel's own first line
        text, skipped = rest, 1
    delimiter = said[1] if said else _delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return [(reader.line_num + skipped, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise DataError(
            f"{path}: line {reader.line_num + skipped}: not CSV ({error}); save it as CSV again"
        ) from None


def _decoded(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _delimiter(text: str) -> str:
    """Return the delimiter of the names: commas may be decimals further down.

    It is looked for in the first row that has one: a title may stand above the names.
    """
    for line in text.splitlines():
        outside = re.sub(r'"[^"]*"', "", line)
        if (found := next((mark for mark in _DELIMITERS if mark in outside), None)) is not None:
            return found
    return ","


def _read_workbook(path: Path) -> Iterable[tuple[int, list[str]]]:
    from python_calamine import CalamineError, CalamineWorkbook

    path.stat()
    try:
        with CalamineWorkbook.from_path(path) as book:
            sheets = {
                name: book.get_sheet_by_name(name).to_python(skip_empty_area=False)
                for name in book.sheet_names
            }
    except (CalamineError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path}: not a readable workbook ({reason}); save it as XLSX again"
        ) from None
    filled = {name: rows for name, rows in sheets.items() if any(map(any, rows))}
    if len(filled) > 1:
        raise DataError(
            f"{path}: {len(filled)} sheets are filled ({', '.join(filled)}); keep one, or save it "
            "as CSV"
        )
    return [
        (line, [_cell(cell, path=path, line=line) for cell in row])
        for rows in filled.values()
        for line, row in enumerate(rows, 1)
    ]


def _cell(cell: object, *, path: Path, line: int) -> str:
    match cell:
        case None:
            return ""
        case bool():
            return str(cell)
        case float() if cell.is_integer() and abs(cell) < 2**53:
            return str(int(cell))
        case _ if isinstance(cell, _DATES):
            raise DataError(
                f"{path}: line {line}: '{cell}' is a date or time there; format the column as text "
                "and type it again"
            )
        case _:
            return str(cell).strip()
