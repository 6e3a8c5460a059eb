"""How slides ended, and how that is told: while they run, and in ``summary.csv``."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock

from wsi_suite.errors import OutputError, WsiSuiteError
from wsi_suite.outputs import summary_row, write_summary_csv
from wsi_suite.run_folder import SUMMARY_NAME, read_run
from wsi_suite.slides.store_layout import writing

log = logging.getLogger(__name__)

TABLE_FILE = "summary.csv"
"""The table of a folder of results, a line a slide."""


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
    """Write ``summary.csv``: these outcomes, and what earlier batches left in the same folder.

    Raises
    ------
    OutputError
        The file cannot be replaced, as while it is open in Excel; if another could be written
        beside it, that one is named.
    """
    with writing(out), FileLock(out / f"{TABLE_FILE}.lock"):  # others may end at the same time
        _write_table(out, outcomes)


def _write_table(out: Path, outcomes: Sequence[Outcome]) -> None:
    known = {outcome.folder.resolve() for outcome in outcomes if outcome.folder is not None}
    folders = sorted(folder for folder in out.iterdir() if folder.resolve() not in known)
    others = [_stored_row(folder) for folder in folders]
    rows = [outcome.row() for outcome in outcomes] + [row for row in others if row is not None]
    rows.sort(key=lambda row: (str(row["slide"]), row["folder"] or ""))
    write_summary_csv(out / TABLE_FILE, rows)


def _stored_row(folder: Path) -> dict[str, Any] | None:
    """Return the line of the slide of a results folder, ``None`` where it is none."""
    try:
        run = read_run(folder)
    except OutputError:
        return None
    if run is None:
        return None
    slide = Path(run["fingerprint"]["slide"]["name"])
    error = WsiSuiteError(run["error"]) if "error" in run else None
    stored = Outcome(slide, folder, run["state"], error=error)
    if run["state"] != "done":
        return stored.row()
    file = folder / SUMMARY_NAME
    try:
        return replace(stored, summary=json.loads(file.read_text("utf-8"))).row()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        damaged = WsiSuiteError(f"{file}: missing or damaged; remove it and run again")
        return replace(stored, error=damaged).row()
