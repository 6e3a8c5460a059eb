"""Locks of a dataset and of its exports: one process writes at a time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wsi_suite.errors import OutputConflictError, OutputError
from wsi_suite.files import PARTIAL, is_leftover, leftovers_of, output_error, take_lock

_LOCK, _WAIT_S = ".lock", 10.0


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from writing to a dataset; leftovers of killed ones are removed.

    Raises
    ------
    BusyError
        Another process writes to it.
    OutputError
        The folder cannot be written to.
    """
    busy = f"{folder}: another process writes to this dataset; wait for it"
    try:
        lock = take_lock(folder / _LOCK, wait_s=_WAIT_S, busy=busy)
    except OSError as error:
        raise output_error(
            folder, error, remedy="expected the folder of a dataset that can be written to"
        ) from None
    try:
        _remove_leftovers(folder)
        yield
    finally:
        lock.release()


@contextmanager
def alone_at(out: Path) -> Iterator[None]:
    """Keep other processes from a new file or folder; leftovers of killed ones are removed.

    Raises
    ------
    OutputConflictError
        It is there already.
    BusyError
        Another process writes it.
    OutputError
        Its folder cannot be written to.
    """
    if not out.parent.is_dir():
        raise OutputError(f"{out.parent}: no such folder; make it, or give another path")
    busy = f"{out}: another process writes it; wait for it, or give another path"
    try:
        lock = take_lock(out.parent / f".{out.name}{_LOCK}", wait_s=0.1, busy=busy)
    except OSError as error:
        raise output_error(out, error) from None
    try:
        if out.exists():
            raise OutputConflictError(f"{out}: is there already; give another path")
        for path in leftovers_of(out):
            _remove(path)
        yield
    finally:
        lock.release()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of killed processes; no other process writes here now."""
    for path in filter(is_leftover, [*folder.rglob(f"*{PARTIAL}")]):
        _remove(path)
