"""The lock of a dataset: one process writes at a time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wsi_suite.files import PARTIAL, is_leftover, output_error, take_lock

_LOCK, _WAIT_S = ".lock", 10.0


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from writing to a dataset; what killed ones left is removed.

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


def _remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of killed processes; no other process writes here now."""
    for path in filter(is_leftover, [*folder.rglob(f"*{PARTIAL}")]):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
