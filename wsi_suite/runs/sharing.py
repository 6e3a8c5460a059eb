"""Slides of a batch that several processes share.

Each process goes through the slides in its own order and puts off those that another one is at work
on. At its end it waits for them: it notes how they ended, and goes on with those that their process
left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event

from wsi_suite.documents import RUN_FILE
from wsi_suite.errors import BusyError, OutputError
from wsi_suite.leases import STALE_S, disk_time
from wsi_suite.runs.outcome import Outcome, Tell
from wsi_suite.runs.request import Request
from wsi_suite.runs.run_record import read_run
from wsi_suite.runs.state import State
from wsi_suite.runs.summary_csv import stored_outcome

POLL_S = 3.0
"""Seconds between two looks at slides that other processes are at work on."""

_PER_SLIDE_S = 0.05  # more for each: many processes may wait for many slides
_WAITING = "waiting for slides that other processes are at work on; what they leave is done here"


@dataclass(eq=False)
class Sharing:
    """State of the slides of a batch that several processes share, as one of them sees it.

    Attributes
    ----------
    since
        When this process began, seconds, by the clock of the results folder's disk.
    tell
        Receives a remark for the user.
    """

    since: float
    tell: Tell
    _put_off: deque[Request] = field(default_factory=deque)
    _over: Event = field(default_factory=Event)
    _told: bool = False

    @classmethod
    def begin(cls, out: Path, *, tell: Tell) -> Sharing:
        """Begin to share the slides of a results folder that exists."""
        return cls(disk_time(out), tell)

    def put_off(self, request: Request) -> None:
        """Come back to a slide later, as another process is at work on it."""
        self._put_off.append(request)

    def rounds(self) -> Iterator[list[Request]]:
        """Wait for a while, and yield the slides to look at again, until :meth:`end` is called."""
        while not self._over.wait(self._pause_s()):
            yield [self._put_off.popleft() for _ in range(len(self._put_off))]

    def end(self) -> None:
        """End the waiting."""
        self._over.set()

    def _pause_s(self) -> float:
        if not self._put_off:  # slides of our own are at work
            return 0.2
        if not self._told:
            self._told = True
            self.tell(_WAITING)
        return POLL_S + _PER_SLIDE_S * len(self._put_off)

    def ended(self, request: Request) -> Outcome | None:
        """Return how another process has ended a slide since this one began, if it is not well.

        That is a failure, or results without places that could not be read. Without this each of
        the processes would try it once more. ``None``: the slide is to be prepared.
        """
        if not self._is_new(request.folder):
            return None
        try:
            run = read_run(request.folder)
        except OutputError:  # told when the slide is prepared
            return None
        ended_badly = run is not None and (
            run.state is State.FAILED or (run.unreadable_blocks and run.state is not State.RUNNING)
        )
        found = stored_outcome(request.folder) if ended_badly else None
        return None if found is None else replace(found, slide=request.slide)

    def latest(self, outcome: Outcome) -> Outcome:
        """Return how a slide ended that failed here, and may have been done by another process."""
        if outcome.error is None or outcome.folder is None or not self._is_new(outcome.folder):
            return outcome
        found = stored_outcome(outcome.folder)
        done = found is not None and found.error is None and found.state is not State.RUNNING
        return replace(found, slide=outcome.slide) if found is not None and done else outcome

    def _is_new(self, folder: Path) -> bool:
        """Return whether the record of a slide was written since this process began."""
        try:
            return (folder / RUN_FILE).stat().st_mtime >= self.since
        except OSError:
            return False


def taken_over(request: Request) -> BusyError:
    """Return the error of a process that has lost a slide to another one."""
    return BusyError(
        f"{request.slide}: another process has taken it over, as this one gave no sign of life for "
        f"{STALE_S:.0f} s; the results in {request.folder} are of that one"
    )
