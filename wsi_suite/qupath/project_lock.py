"""One writer at a time in a QuPath project.

QuPath itself locks nothing: two programs that add images at once take the same number for them.
The lock is the operating system's, so that it ends with the process that holds it.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from filelock import BaseFileLock

from wsi_suite.errors import BusyError, OutputError
from wsi_suite.files import take_lock
from wsi_suite.qupath.project_files import HOLDER_NAME, LOCK_NAME, missing_folders, remove_folders

_LOOK_S = 1.0  # between two tries


class ProjectLock:
    """The right to write to a project, held until :meth:`release` or the end of the process.

    Parameters
    ----------
    folder
        Of the project; it is made if it is missing.
    tell
        Receives who holds the lock, each second that it is waited for.

    Attributes
    ----------
    made
        Folders that were made, the outermost first.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """

    def __init__(self, folder: Path, *, tell: Callable[[str], None]) -> None:
        self._holder = folder / HOLDER_NAME
        self.made: list[Path] = []
        self._told = ""
        self._lock: BaseFileLock | None = None
        try:
            while (lock := self._try(folder)) is None:
                tell(self._told)
                time.sleep(_LOOK_S)
            self._lock = lock
            self._holder.write_text(json.dumps(_me()), "utf-8")
        except OSError as error:
            self.release()  # its files would keep the folders
            remove_folders(self.made)
            raise OutputError(
                f"{folder}: cannot be written ({error.strerror or error}); see to the rights and "
                "to the disk"
            ) from error

    def release(self) -> None:
        """Release the lock."""
        if self._lock is None:  # it is another process that holds it
            return
        with suppress(OSError):
            self._holder.unlink(missing_ok=True)
        self._lock.release()

    def _try(self, folder: Path) -> BaseFileLock | None:
        missing = missing_folders(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.made += missing
        try:
            busy = _read_holder(self._holder)
            return take_lock(folder / LOCK_NAME, wait_s=0, busy=busy)
        except BusyError as error:
            self._told = str(error)
        except FileNotFoundError:  # the folder went with a project that could not be made
            self._told = "another process"
        return None


def _me() -> dict[str, str | int]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def _read_holder(file: Path) -> str:
    """Describe the holder of the lock."""
    try:
        holder = json.loads(file.read_text("utf-8"))
        since = datetime.fromisoformat(holder["since"])
        return f"process {holder['pid']} on {holder['host']} since {since:%Y-%m-%d %H:%M:%S}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
