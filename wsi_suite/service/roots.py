"""Files that the service may read: those below the folders that its user allowed.

A path is judged after its links are resolved, and the resolved one is what is opened. What is not
allowed and what does not exist are answered alike, so that nobody learns what is on the disk.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Lock

from wsi_suite.errors import InputError
from wsi_suite.slides.dicom import read_instance
from wsi_suite.slides.sources import is_folder_slide


class Roots:
    """The allowed folders; none at first, and then nothing can be read.

    Parameters
    ----------
    folders
        Folders to begin with; errors as :meth:`add` raises them.
    most
        Most folders that can be allowed.
    """

    def __init__(self, folders: Iterable[str | Path] = (), *, most: int = 1000) -> None:
        self._most = most
        self._folders: list[Path] = []
        self._lock = Lock()
        for folder in folders:
            self.add(folder)

    @property
    def folders(self) -> tuple[Path, ...]:
        """The allowed folders, links resolved, in the order they were allowed."""
        with self._lock:
            return tuple(self._folders)

    def add(self, folder: str | Path) -> None:
        """Allow a folder and everything below it.

        Raises
        ------
        InputError
            It is no folder, or it is the whole system's disk.
        """
        resolved = _resolved(folder)
        if resolved is None or not resolved.is_dir():
            raise InputError(f"{folder!s}: no such folder; give the absolute path of one")
        if _is_system_disk(resolved):
            raise InputError(f"{folder!s}: the whole disk of the system; name the slides' folder")
        with self._lock:
            if resolved in self._folders:
                return
            if len(self._folders) >= self._most:
                raise InputError(
                    f"{self._most} folders are allowed already; start the service again"
                )
            self._folders.append(resolved)

    def find(self, slide: str) -> Path | None:
        """Return the resolved path of a slide that may be read, else ``None``.

        A slide is a regular file, or a folder (OME-Zarr, DICOM) without links that lead out of the
        allowed folders; the folder beside an ``.mrxs`` file, and what lies beside a DICOM file, is
        looked at like that, too.
        """
        path = _resolved(slide)
        if path is None or not self._hold(path):
            return None
        try:
            if not (path.is_file() or is_folder_slide(path)):
                return None
            inside = list(_read_with(path))
            linked = [entry for entry in inside if entry.is_symlink()]
        except OSError:
            return None
        return path if all(self._hold(_resolved(link)) for link in linked) else None

    def _hold(self, path: Path | None) -> bool:
        return path is not None and any(path.is_relative_to(folder) for folder in self.folders)


def _read_with(path: Path) -> Iterator[Path]:
    """Yield the files that a slide reader may open besides its path."""
    if path.is_file() and read_instance(path) is not None:
        yield from path.parent.iterdir()
        return
    beside = path.with_suffix("") if path.suffix.lower() == ".mrxs" else path
    if beside.is_dir():
        yield beside
        yield from beside.rglob("*")


def _resolved(path: str | Path) -> Path | None:
    """Return an absolute path without links, ``None`` if there is nothing at it."""
    try:
        if not os.path.isabs(path):  # noqa: PTH117 - a NUL byte must not raise
            return None
        return Path(os.path.realpath(path, strict=True))
    except (OSError, ValueError):  # missing, a loop of links, too long, a NUL byte
        return None


def _is_system_disk(folder: Path) -> bool:
    """Return whether a folder is ``/``, or on Windows the drive that the system stands on."""
    if folder != folder.parent:
        return False
    system = os.environ.get("SYSTEMDRIVE", "C:")
    return sys.platform != "win32" or folder.drive.casefold() == system.casefold()
