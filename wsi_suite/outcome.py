"""How slides ended, and how that is told: while they run, and in ``summary.csv``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from wsi_suite.errors import OutputError, WsiSuiteError
from wsi_suite.outputs import summary_row, write_summary_csv
from wsi_suite.run_folder import SUMMARY_NAME, read_run


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


class NoProgress:
    """Tells nobody."""

    def begin(self, key: str, *, pixels: int, done: int) -> None:
        """Do nothing."""

    def advance(self, key: str, pixels: int) -> None:
        """Do nothing."""

    def finish(self, outcome: Outcome) -> None:
        """Do nothing."""


def write_table(out: Path, outcomes: Sequence[Outcome]) -> None:
    """Write ``summary.csv``: these outcomes, and what earlier batches left in the same folder."""
    known = {outcome.folder.resolve() for outcome in outcomes if outcome.folder is not None}
    others = [
        other
        for folder in sorted(out.iterdir())
        if folder.resolve() not in known and (other := _stored_outcome(folder)) is not None
    ]
    rows = [outcome.row() for outcome in (*outcomes, *others)]
    rows.sort(key=lambda row: (row["slide"], row["folder"] or ""))
    write_summary_csv(out / "summary.csv", rows)


def _stored_outcome(folder: Path) -> Outcome | None:
    """Return how the slide of a results folder ended, ``None`` where it is none."""
    summary = None
    try:
        run = read_run(folder)
        if run is None:
            return None
        if run["state"] == "done":
            summary = json.loads((folder / SUMMARY_NAME).read_text("utf-8"))
    except (OSError, ValueError, OutputError):
        return None
    slide = Path(run["fingerprint"]["slide"]["name"])
    error = WsiSuiteError(run["error"]) if "error" in run else None
    return Outcome(slide, folder, run["state"], summary, error)
