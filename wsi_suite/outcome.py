"""How slides ended, and how that is told: while they run, and in ``summary.csv``."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from wsi_suite.errors import BusyError, OutputError, WsiSuiteError
from wsi_suite.files import take_lock
from wsi_suite.outputs import read_summary_csv, summary_row, write_summary_csv
from wsi_suite.run_folder import SUMMARY_NAME, read_run
from wsi_suite.slides.store_layout import writing

log = logging.getLogger(__name__)

TABLE_FILE = "summary.csv"
"""The table of a folder of results, a line a slide."""

_DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError)
_WAIT_S = 300.0  # for another process to write the table; thousands of folders take a while


@dataclass(frozen=True)
class Outcome:
    """How a slide ended.

    Attributes
    ----------
    slide
        Its file; for ``detect`` the folder with its tiles.
    folder
        Where its results are.
    state
        ``done``, ``tiled`` or ``failed``.
    summary
        What ``summary.json`` holds, where it was scored.
    error
        Why it failed.
    """

    slide: Path
    folder: Path | None
    state: str
    summary: dict[str, Any] | None = None
    error: WsiSuiteError | None = None

    def row(self) -> dict[str, Any]:
        """Return its line of ``summary.csv``."""
        return {
            "slide": self.summary["slide"] if self.summary else self.slide.name,
            "folder": self.folder.name if self.folder else None,
            "state": self.state,
            "error": str(self.error) if self.error else None,
            **(summary_row(self.summary) if self.summary else {}),
        }


class Progress(Protocol):
    """What a batch tells of its course, from any thread; keys name slides."""

    def begin(self, key: str, *, pixels: int, done: int) -> None:
        """Hear of a slide that is planned: working pixels in all, and those done before."""

    def advance(self, key: str, pixels: int) -> None:
        """Hear of pixels that are done."""

    def finish(self, outcome: Outcome) -> None:
        """Hear of a slide that is over."""

    def complain(self, error: WsiSuiteError) -> None:
        """Hear of what went wrong for the batch as a whole, as for its table."""


class NoProgress:
    """Tells nobody, but for what would be lost otherwise: that is logged."""

    def begin(self, key: str, *, pixels: int, done: int) -> None:
        """Do nothing."""

    def advance(self, key: str, pixels: int) -> None:
        """Do nothing."""

    def finish(self, outcome: Outcome) -> None:
        """Do nothing."""

    def complain(self, error: WsiSuiteError) -> None:
        """Log it."""
        log.warning("%s", error)


def write_table(out: Path, outcomes: Sequence[Outcome]) -> None:
    """Write ``summary.csv``: these outcomes, and those of other processes and earlier batches.

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
        write_summary_csv(table, _rows(out, outcomes))


def _rows(out: Path, outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return a row for each slide that has results or a failure in a folder, sorted."""
    stored = {folder.resolve(): _stored_row(folder) for folder in out.iterdir() if folder.is_dir()}
    rows = []
    for outcome in outcomes:
        found = None if outcome.folder is None else stored.pop(outcome.folder.resolve(), None)
        # Another process was at work on the slide, and has noted more than that by now.
        busy = isinstance(outcome.error, BusyError)
        rows.append(found if busy and found is not None else outcome.row())
    rows += [row for row in stored.values() if row is not None]
    slides, folders = {row["slide"] for row in rows}, {row["folder"] for row in rows}
    # Slides that failed before they had a folder are remembered here alone.
    rows += [
        row
        for row in read_summary_csv(out / TABLE_FILE)
        if row["state"] == "failed"
        and not (row["folder"] in folders if row["folder"] else row["slide"] in slides)
    ]
    return sorted(rows, key=lambda row: (str(row["slide"]), row["folder"] or ""))


def _stored_row(folder: Path) -> dict[str, Any] | None:
    """Return the line of the slide of a folder that a run or ``score`` left; else ``None``."""
    file = folder / SUMMARY_NAME
    try:
        run = read_run(folder)
    except OutputError:
        return None
    if run is None:  # of 'wsi-suite score', if it is of us at all
        with suppress(*_DAMAGED):
            summary = json.loads(file.read_text("utf-8"))
            return Outcome(Path(summary["slide"]), folder, "done", summary).row()
        return None
    slide = Path(run["fingerprint"]["slide"]["name"])
    error = WsiSuiteError(run["error"]) if "error" in run else None
    stored = Outcome(slide, folder, run["state"], error=error)
    if run["state"] != "done":
        return stored.row()
    try:
        return replace(stored, summary=json.loads(file.read_text("utf-8"))).row()
    except _DAMAGED:
        damaged = WsiSuiteError(f"{file}: missing or damaged; remove it and run again")
        return replace(stored, error=damaged).row()
