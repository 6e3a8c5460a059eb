"""Outcome of one slide of a batch, and the progress of the batch."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from wsi_suite.analysis.summary import Summary
from wsi_suite.errors import WsiSuiteError
from wsi_suite.runs.state import State

log = logging.getLogger(__name__)


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
        ``DONE``, ``TILED`` or ``FAILED``.
    summary
        Its scores, as ``summary.json`` holds them, where it was scored.
    error
        Why it failed.
    """

    slide: Path
    folder: Path | None
    state: State
    summary: Summary | None = None
    error: WsiSuiteError | None = None


class Progress(Protocol):
    """Progress of a batch; called from any thread, with a key per slide."""

    def begin(self, key: str, *, pixels: int, done: int) -> None:
        """Receive a slide that is planned: working pixels in all, and those done before."""

    def advance(self, key: str, pixels: int) -> None:
        """Receive working pixels that are done."""

    def finish(self, outcome: Outcome) -> None:
        """Receive the outcome of a slide."""

    def complain(self, error: WsiSuiteError) -> None:
        """Receive an error of the batch as a whole, such as of its table."""


class NoProgress:
    """Progress that is not shown; errors of the batch are logged."""

    def begin(self, key: str, *, pixels: int, done: int) -> None:
        """Do nothing."""

    def advance(self, key: str, pixels: int) -> None:
        """Do nothing."""

    def finish(self, outcome: Outcome) -> None:
        """Do nothing."""

    def complain(self, error: WsiSuiteError) -> None:
        """Log it."""
        log.warning("%s", error)
