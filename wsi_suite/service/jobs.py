"""Queue of jobs: one computes, some wait, results are kept for a while.

States are changed under one lock and shown as :class:`~wsi_suite.service.messages.Job`, which
never changes. A cancelled job ends at its next tile, within about a second; it is shown as
cancelled at once.
"""

from __future__ import annotations

import logging
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Condition, Thread
from typing import Protocol

from wsi_suite.errors import WsiSuiteError
from wsi_suite.progress import Progress, Step
from wsi_suite.service.analyst import Order
from wsi_suite.service.finding import Finding
from wsi_suite.service.messages import Job, State

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """Limits of the queue: waiting jobs, kept results and their age.

    Attributes
    ----------
    waiting
        Jobs that may wait.
    finished
        Finished jobs that are kept.
    nuclei
        Nuclei that finished jobs may hold together, beside those of the newest.
    seconds
        How long a finished job is kept.
    rest_seconds
        How long without a job until the worker rests. Slides that it kept open are closed then:
        their owner may want to move them.
    """

    waiting: int = 32
    finished: int = 100
    nuclei: int = 5_000_000
    seconds: float = 3600.0
    rest_seconds: float = 120.0


class Worker(Protocol):
    """Interface of the object that computes jobs."""

    def work(self, order: Order, progress: Progress) -> Finding:
        """Compute a job; `progress` raises if it was cancelled."""

    def rest(self) -> None:
        """Free memory after some time without a job."""


class QueueFullError(WsiSuiteError):
    """As many jobs wait as may."""


class _CancelledError(Exception):
    """The job was cancelled; raised from its progress callback."""


@dataclass(eq=False)
class _Entry:
    """A job as the queue knows it."""

    order: Order | None  # until it is over
    slide: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    began: float = field(default_factory=time.monotonic)
    ended: float = 0.0
    state: State = "queued"
    progress: float = 0.0
    message: str = "waiting"
    error: str | None = None
    finding: Finding | None = None
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Whether it is neither waiting nor at work."""
        return self.state not in ("queued", "running")

    def end(self, state: State, message: str, *, error: str | None = None) -> None:
        self.state, self.message, self.error = state, message, error
        self.order, self.ended = None, time.monotonic()
        self.timings["total_s"] = round(self.ended - self.began, 3)

    def shown(self) -> Job:
        finding = self.finding
        return Job(
            id=self.id,
            slide=self.slide,
            created=self.created.isoformat(timespec="seconds"),
            state=self.state,
            progress=self.progress,
            message=self.message,
            nuclei=None if finding is None else len(finding.nuclei),
            error=self.error,
            timings=dict(self.timings),
            summary=None if finding is None else dict(finding.summary),
        )


class JobQueue:
    """Jobs and the thread that does them.

    Parameters
    ----------
    worker
        Does the work, one job at a time.
    limits
        What is taken on and kept.
    """

    def __init__(self, worker: Worker, limits: Limits | None = None) -> None:
        self._worker = worker
        self._limits = limits or Limits()
        self._entries: dict[str, _Entry] = {}
        self._changed = Condition()
        self._closing = False
        self._thread = Thread(target=self._run, name="wsi-jobs", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether a job waits or is at work."""
        with self._changed:
            return any(not entry.over for entry in self._entries.values())

    def submit(self, order: Order) -> Job:
        """Take on a job.

        Raises
        ------
        QueueFullError
            Too many wait.
        """
        with self._changed:
            waiting = sum(entry.state == "queued" for entry in self._entries.values())
            if waiting >= self._limits.waiting:
                raise QueueFullError(f"{waiting} jobs are waiting already; try again later")
            entry = _Entry(order, order.analysis.slide.name)
            self._entries[entry.id] = entry
            self._changed.notify_all()
            return entry.shown()

    def jobs(self) -> list[Job]:
        """Return all jobs, oldest first."""
        with self._changed:
            self._forget_old()
            return [entry.shown() for entry in self._entries.values()]

    def job(self, job_id: str) -> Job | None:
        """Return a job, ``None`` if there is none of that id."""
        with self._changed:
            self._forget_old()
            entry = self._entries.get(job_id)
            return None if entry is None else entry.shown()

    def finding(self, job_id: str) -> Finding | None:
        """Return the result of a job that is done."""
        with self._changed:
            entry = self._entries.get(job_id)
            return None if entry is None else entry.finding

    def cancel(self, job_id: str) -> Job | None:
        """Cancel a job, or forget one that is over; ``None`` if there is none of that id."""
        with self._changed:
            entry = self._entries.get(job_id)
            if entry is None:
                return None
            if entry.over:
                del self._entries[job_id]
            else:
                entry.end("cancelled", "cancelled")
            return entry.shown()

    def close(self, *, seconds: float) -> None:
        """Cancel everything and wait until the work has ended, `seconds` at most."""
        with self._changed:
            self._closing = True
            for entry in self._entries.values():
                if not entry.over:
                    entry.end("cancelled", "the service ends")
            self._changed.notify_all()
        self._thread.join(seconds)

    def _run(self) -> None:
        while (following := self._next()) is not None:
            entry, order = following
            try:
                finding = self._worker.work(order, self._teller(entry))
            except _CancelledError:
                continue
            except WsiSuiteError as error:
                self._end(entry, error=str(error))
            except Exception as error:  # whatever it is, the service goes on
                log.debug("job %s failed", entry.id, exc_info=True)
                self._end(entry, error=_in_one_line(error))
            else:
                self._end(entry, finding=finding)

    def _next(self) -> tuple[_Entry, Order] | None:
        """Wait for a job and begin it; ``None`` once the queue is closed."""
        with self._changed:
            rested = False
            while not self._closing:
                for entry in self._entries.values():
                    if entry.order is not None and entry.state == "queued":
                        entry.state, entry.message = "running", "starting"
                        entry.timings["queued_s"] = round(time.monotonic() - entry.began, 3)
                        return entry, entry.order
                if not self._changed.wait(None if rested else self._limits.rest_seconds):
                    self._worker.rest()
                    rested = True
        return None

    def _teller(self, entry: _Entry) -> Progress:
        def tell(step: Step) -> None:
            with self._changed:
                if entry.state != "running":
                    raise _CancelledError
                # Threads tell in any order.
                entry.progress = max(entry.progress, step.fraction)
                entry.message = step.message

        return tell

    def _end(
        self, entry: _Entry, *, finding: Finding | None = None, error: str | None = None
    ) -> None:
        with self._changed:
            if entry.state != "running":  # cancelled in the meantime
                return
            if finding is None:
                entry.end("failed", "failed", error=error)
            else:
                entry.finding, entry.progress = finding, 1.0
                entry.timings |= finding.timings
                entry.end("done", "done")
            self._forget_old()

    def _forget_old(self) -> None:
        """Forget the oldest finished jobs beyond the limits."""
        over = sorted((e for e in self._entries.values() if e.over), key=lambda e: e.ended)
        nuclei = 0
        for number, entry in enumerate(reversed(over)):
            nuclei += len(entry.finding.nuclei) if entry.finding and number else 0
            if (
                number >= self._limits.finished
                or nuclei > self._limits.nuclei
                or time.monotonic() - entry.ended > self._limits.seconds
            ):
                del self._entries[entry.id]


def _in_one_line(error: Exception) -> str:
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return "out of memory: draw smaller regions, or close other programs"
    reason = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {reason}"
