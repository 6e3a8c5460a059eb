"""Reports of results folders: the data of their pages is gathered here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from wsi_suite.analysis.slide_record import read_facts
from wsi_suite.analysis.summary import SUMMARY_FILE, read_summary
from wsi_suite.documents import RUN_FILE
from wsi_suite.errors import ConfigError, DataError, OutputError, WsiSuiteError
from wsi_suite.nuclei.parquet import read_nuclei
from wsi_suite.nuclei.provenance import parse_provenance
from wsi_suite.runs.folder import REPORT_NAME, STORE_NAME, TABLE_NAME
from wsi_suite.runs.outcome import Outcome
from wsi_suite.runs.outputs import read_enlarged, stored_thumbnail
from wsi_suite.runs.run_record import RunRecord, read_run
from wsi_suite.runs.score_table import (
    SCORES_FILE,
    check_table,
    choose_columns,
    column_names,
    score_rows,
    write_score_table,
)
from wsi_suite.runs.state import State
from wsi_suite.runs.summary_csv import Row, read_outcomes, stored_outcome
from wsi_suite.scoring.names import some_of
from wsi_suite.slides.identity import SlideIdentity
from wsi_suite.slides.slide import open_slide
from wsi_suite.slides.store import TileStore

if TYPE_CHECKING:
    from wsi_suite.overview.insets import ReadBox
    from wsi_suite.report.slide_page import Thumbnail

THUMBNAIL_PX = 2000

Told = Callable[[Path | str | WsiSuiteError], None]
"""Callback of reports: receives each page and table that was written, remarks, and failures."""


@dataclass(frozen=True)
class Pictures:
    """Where the pictures of a report come from.

    Attributes
    ----------
    source
        In words.
    read
        Gives pixels of a level-0 box.
    thumbnail
        The whole slide.
    """

    source: str
    read: ReadBox | None = None
    thumbnail: Thumbnail | None = None


def report_folders(
    folders: Sequence[Path],
    *,
    tables: Sequence[Path] = (),
    columns: str | None = None,
    tell: Told,
) -> None:
    """Write the reports of results folders, and of the folders of batches with their tables.

    Parameters
    ----------
    folders
        Results folders of slides, or folders that hold those of a batch.
    tables
        Files for one table over all slides, beside the ``scores.csv`` of each batch.
    columns
        Columns of the tables, see :func:`~wsi_suite.runs.score_table.choose_columns`.
    tell
        Receives each file that was written, and errors; one slide that fails stops no other.

    Raises
    ------
    ConfigError
        A table or a column is none that can be written.
    """
    for table in tables:
        check_table(table)
    found = [_outcomes_in(folder, tell=tell) for folder in folders]
    rows = score_rows([outcome for outcomes in found for outcome in outcomes])
    # Of all folders: a column may be known to some of them alone.
    chosen = choose_columns(columns, column_names(rows)) if rows else []
    for folder, outcomes in zip(folders, found, strict=True):
        if _is_of_slide(folder):
            _told(partial(report_slide, folder), tell=tell)
        elif outcomes:
            _report_slides(outcomes, tell=tell)
            of_batch = None if columns is None else chosen
            _told(partial(_write_batch, folder, outcomes, tables, of_batch), tell=tell)
    for table in tables if rows else ():
        _told(partial(_write_table, table, rows, chosen), tell=tell)


def report_batch(out: Path, outcomes: Sequence[Outcome], *, tell: Told) -> None:
    """Write the reports of the slides that a batch has done, and the one of its folder.

    Parameters
    ----------
    out
        The folder of the batch; slides of earlier batches are listed, too.
    outcomes
        Of this batch.
    tell
        As for :func:`report_folders`.
    """
    _report_slides(outcomes, tell=tell)
    _told(partial(_write_batch, out, read_outcomes(out), (), None), tell=tell)


def report_slide(folder: Path) -> Path:
    """Write ``report.html`` into the results folder of a slide, and return its path.

    Pictures come from the slide if it is where the run found it, unchanged; else from the stored
    tiles; without both the report has none.

    Raises
    ------
    DataError
        The folder holds no finished result.
    OutputError
        A file of the result is damaged, or the report cannot be written.
    """
    from wsi_suite.report import SlideResult, write_slide_page

    run = read_run(folder)
    if run is not None and run.state is not State.DONE:
        reason = f" ({run.error})" if run.error else ""
        raise DataError(f"{folder}: its run is {run.state}{reason}; run again to finish it")
    summary = read_summary(folder)
    if summary is None:
        raise DataError(
            f"{folder}: no {SUMMARY_FILE} here; give a folder that 'wsi-suite run' left"
        )
    if not _has_nuclei(folder):
        raise DataError(
            f"{folder}: holds scores of 'wsi-suite score', without the nuclei ({TABLE_NAME}) that "
            "a page is drawn from; give the folder of the run that was scored"
        )
    table = folder / TABLE_NAME
    nuclei, metadata = read_nuclei(table)
    path = folder / REPORT_NAME
    with open_pictures(folder, run) as pictures:
        write_slide_page(
            path,
            SlideResult(
                folder=folder.resolve().name,
                summary=summary,
                nuclei=nuclei,
                provenance=parse_provenance(metadata, source=table),
                read=pictures.read,
                thumbnail=pictures.thumbnail,
                pictures_from=pictures.source,
                versions={} if run is None else run.versions,
                settings=None if run is None else run.fingerprint.settings,
            ),
        )
    return path


def _is_of_slide(folder: Path) -> bool:
    return any((folder / name).exists() for name in (RUN_FILE, SUMMARY_FILE))


def _outcomes_in(folder: Path, *, tell: Told) -> list[Outcome]:
    """Return the outcomes in the folder of a slide or a batch, and tell if a batch has none."""
    if _is_of_slide(folder):
        outcome = stored_outcome(folder)
        return [] if outcome is None else [outcome]
    outcomes = read_outcomes(folder) if folder.is_dir() else []
    if not outcomes:
        tell(
            DataError(
                f"{folder}: no results here; give a folder that 'wsi-suite run' left, or the one "
                "that holds those of a batch"
            )
        )
    return outcomes


def _report_slides(outcomes: Sequence[Outcome], *, tell: Told) -> None:
    """Write the reports of slides that are done; ``score`` leaves folders that hold no nuclei."""
    without: list[Path] = []
    for outcome in outcomes:
        folder = outcome.folder
        if outcome.summary is None or folder is None:
            continue
        if _has_nuclei(folder):
            _told(partial(report_slide, folder), tell=tell)
        else:
            without.append(folder)
    if without:
        slides = "1 slide" if len(without) == 1 else f"{len(without)} slides"
        names = some_of([one.name for one in without])
        tell(
            f"{without[0].parent}: no page for {slides} ({names}): 'wsi-suite score' leaves no "
            f"nuclei ({TABLE_NAME}), which pages are drawn from; for pages, with the scores of the "
            "run, give 'wsi-suite report' the folder of the run"
        )


def _has_nuclei(folder: Path) -> bool:
    """Return whether a folder is that of a run, or has a table of nuclei at least."""
    return (folder / RUN_FILE).exists() or (folder / TABLE_NAME).exists()


def _told(write: Callable[[], Path], *, tell: Told) -> None:
    """Write a file and tell its path, or why it could not be written."""
    try:
        tell(write())
    except ConfigError:
        raise
    except WsiSuiteError as error:
        tell(error)


def _write_batch(
    out: Path, outcomes: Sequence[Outcome], tables: Sequence[Path], columns: Sequence[str] | None
) -> Path:
    """Write ``scores.csv`` and the page of a batch, which links to the tables beside it.

    `columns` are those of ``scores.csv``; ``None``: all that these slides have.
    """
    from wsi_suite.report import BatchSlide, write_batch_page

    rows = score_rows(outcomes)
    write_score_table(out / SCORES_FILE, rows, columns=columns or column_names(rows))
    beside = [table.name for table in tables if table.resolve().parent == out.resolve()]
    slides = [
        BatchSlide(
            name=str(row["slide"]),
            folder=None if row["folder"] is None else str(row["folder"]),
            state=str(row["state"]),
            has_report=outcome.folder is not None and (outcome.folder / REPORT_NAME).is_file(),
            summary=outcome.summary,
            error=None if outcome.error is None else str(outcome.error),
        )
        for row, outcome in zip(rows, outcomes, strict=True)
    ]
    path = out / REPORT_NAME
    write_batch_page(path, slides, name=out.resolve().name, tables=[SCORES_FILE, *beside])
    return path


def _write_table(path: Path, rows: Sequence[Row], columns: Sequence[str]) -> Path:
    write_score_table(path, rows, columns=columns)
    return path


@contextmanager
def open_pictures(folder: Path, run: RunRecord | None) -> Iterator[Pictures]:
    """Open the pictures of a result: the slide if it is at hand, else the stored tiles."""
    facts = read_facts(folder)
    slide = _slide_at_hand(run)
    store = _store(folder) if facts is not None else None
    if slide is not None and run is not None:
        with open_slide(slide, mpp=run.fingerprint.settings.get("mpp"), mend=True) as opened:
            yield Pictures(
                "the slide", partial(opened.read_level, 0), opened.thumbnail(THUMBNAIL_PX)
            )
    elif store is not None and facts is not None:
        yield Pictures(
            "the stored tiles: the slide is not at hand",
            partial(read_enlarged, store, facts=facts),
            stored_thumbnail(store, facts),
        )
    else:
        yield Pictures("none: neither the slide nor its tiles are at hand")


def _slide_at_hand(run: RunRecord | None) -> Path | None:
    """Return the slide of a run if it is still there, and the same file."""
    if run is None or not run.slide_path:
        return None
    try:
        path = Path(run.slide_path)
        there = SlideIdentity.of(path)
    except WsiSuiteError:
        return None
    return path if there.content == run.fingerprint.slide.content else None


def _store(folder: Path) -> TileStore | None:
    try:
        return TileStore.open(folder / STORE_NAME)
    except OutputError:
        return None
