"""``report``: pages to read, print and sign."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from wsi_suite.commands.results import ResultLike, folders_of
from wsi_suite.errors import WsiSuiteError
from wsi_suite.given_values import path_of
from wsi_suite.runs.outcome import log_errors


@dataclass(frozen=True)
class Reports:
    """Pages and tables that were written.

    Attributes
    ----------
    files
        Their paths, in the order in which they were written.
    errors
        Why others could not be written.
    """

    files: tuple[Path, ...]
    errors: tuple[WsiSuiteError, ...]


def write_reports(
    results: ResultLike | Iterable[ResultLike],
    *,
    tables: str | Path | Iterable[str | Path] = (),
    columns: str | None = None,
    tell: Callable[[Path | str | WsiSuiteError], None] | None = None,
) -> Reports:
    """Write a report of each slide, one HTML page, and of each batch: ``wsi-suite report``.

    Parameters
    ----------
    results
        Results folders of slides, folders that hold those of a batch, or what runs returned.
    tables
        Files for one table over all slides: ``.csv``, ``.parquet`` or ``.xlsx``.
    columns
        Columns of the tables, separated by commas, as in ``slide,h_score,Epithelium*``; by default
        all.
    tell
        Receives the path of each file that was written, errors, and remarks; by default errors are
        logged.

    Returns
    -------
    Reports
        The files. A slide whose page cannot be written stops no other, and has its error there.

    Raises
    ------
    WsiSuiteError
        No result was given, or a table or a column is none that can be written.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> reports = ws.write_reports("results", tables="scores.xlsx")
    >>> [path.name for path in reports.files][-2:]
    ['report.html', 'scores.xlsx']
    """
    from wsi_suite.runs.reports import report_folders

    files: list[Path] = []
    errors: list[WsiSuiteError] = []

    def hear(news: Path | str | WsiSuiteError) -> None:
        if isinstance(news, Path):
            files.append(news)
        elif isinstance(news, WsiSuiteError):
            errors.append(news)
        if tell is not None:
            tell(news)
        elif not isinstance(news, Path):
            log_errors(news)

    given = [tables] if isinstance(tables, str | Path) else tables
    report_folders(
        [_folder(folder) for folder in folders_of(results)],
        tables=[path_of(table, option="--table") for table in given],
        columns=columns,
        tell=hear,
    )
    return Reports(tuple(files), tuple(errors))


def _folder(result: Path) -> Path:
    """Return the folder of a result that is given by its table of nuclei."""
    return result.parent if result.suffix == ".parquet" else result
