"""Errors of slides, in words that can be shown to the user."""

from __future__ import annotations

import logging
from pathlib import Path

from wsi_suite.errors import (
    DiskError,
    OutputConflictError,
    OutputError,
    WorkerError,
    WsiSuiteError,
)
from wsi_suite.files import is_disk_full, output_error
from wsi_suite.runs.request import Request

log = logging.getLogger(__name__)


class SchedulerLostError(WorkerError):
    """A slide is not done because there is no scheduler; told once for all of them."""


def told(error: Exception, request: Request) -> WsiSuiteError:
    """Return an error that can be shown: ours, or another in our words; it names the slide."""
    log.debug("%s failed", request.slide, exc_info=error)
    if isinstance(error, OSError) and is_disk_full(error):  # which a library has met
        error = output_error(Path(error.filename or request.folder), error)
    if isinstance(error, OutputError) and not isinstance(error, OutputConflictError):
        named = request.slide.name in str(error)
        return error if named else type(error)(f"{request.slide.name}: {error}")
    if isinstance(error, WsiSuiteError):
        text = request.in_original(str(error))
        return error if text == str(error) else type(error)(text)
    reason = " ".join(request.in_original(str(error)).split())[:300]
    shown = WsiSuiteError(
        f"{request.slide}: {type(error).__name__}: {reason}; run again to go on, with --debug "
        "for the traceback"
    )
    shown.__cause__ = error
    return shown


def without_disk(request: Request, how: str) -> DiskError:
    """Return the error of a slide that is not done because the disk is full."""
    return DiskError(
        f"{request.slide.name}: {how}, as the disk cannot be written; the same command goes on "
        "once it can be"
    )


def without_scheduler(request: Request, how: str) -> SchedulerLostError:
    """Return the error of a slide that is not done because the scheduler was lost."""
    return SchedulerLostError(
        f"{request.slide}: {how}, as the connection to the Dask scheduler was lost; the same "
        "command goes on once there is a scheduler"
    )


def deadly(request: Request, *, remote: bool) -> WorkerError:
    """Return the error of a slide on which workers die."""
    if remote:
        return WorkerError(
            f"{request.slide}: workers died on it again and again, at last on one block alone; the "
            "file is damaged, or memory too small: give workers more memory or fewer threads"
        )
    return WorkerError(
        f"{request.slide}: a worker process died on it twice, the second time on one block alone; "
        "the file is damaged, or memory too small: give fewer --workers"
    )
