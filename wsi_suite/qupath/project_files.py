"""Files of a QuPath project on the disk: their integrity and replacement.

QuPath writes the objects of an image over ``data.qpdata`` in place, after it moved the earlier file
to ``data.qpdata.bkp``. If it is killed meanwhile, the first file is cut off and only the second is
whole. ``wsi-suite push`` writes beside the file and lets the new one take its place at once; here
is also what finds the newest whole file where another program was killed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsi_suite.errors import InputError, OutputError
from wsi_suite.files import remove_leftovers, whole_file

PROJECT_FILE = "project.qpproj"
DATA_NAME = "data.qpdata"
QUPATH_BACKUP_NAME = "data.qpdata.bkp"
BACKUP_NAME = "data.qpdata.before-push"
DAMAGED_NAME = "data.qpdata.damaged"
LOCK_NAME = ".wsi-suite.lock"
HOLDER_NAME = ".wsi-suite.lock.holder"
MAKE_ROOM = "make room on this disk or see to the rights, and give the same command again"


_MAGIC = b"\xac\xed\x00\x05"  # Java's serialised objects
_LAST_OBJECT = b"\x74\x00\x03EOF"  # the text with which QuPath ends its files

# What a project that was killed while it was made may leave, and what a lock leaves.
_LOCKS = {LOCK_NAME, f"{LOCK_NAME}.held"}  # the second on disks without locks
_LEFTOVERS = {*_LOCKS, HOLDER_NAME, f"{PROJECT_FILE}.tmp", "classifiers", "data"}


def project_file(path: Path) -> Path:
    """Return the project file that a path names: the file itself, or the one in a folder."""
    return path if path.suffix == ".qpproj" else path / PROJECT_FILE


def is_locked(folder: Path) -> bool:
    """Return whether a project has the file of a lock: its writer is alive, or was killed."""
    return any((folder / name).exists() for name in _LOCKS)


# ---- The project's own file ----------------------------------------------------------------------


def check_project(path: Path, *, create: bool, writes: bool) -> None:
    """Refuse a path that is no usable project, before anything is begun.

    Parameters
    ----------
    path
        A project file or its folder.
    create
        It may be missing: it will be made.
    writes
        It must be possible to change it. A project file that is missing or damaged is then put
        back from QuPath's copy of it later, and is no reason to refuse.

    Raises
    ------
    InputError
        There is no project, it is damaged or it cannot be changed.
    """
    file = project_file(path)
    restorable = writes and newest_project_copy(file) is not None
    if file.is_file():
        if not (is_whole_project(file) or restorable):
            _refuse_damaged(file)
        if writes:
            _check_writable(file)
    elif restorable:
        _check_writable(file)
    elif not create:
        remedy = "; 'wsi-suite push' with --create makes a new one" if writes else ""
        raise InputError(
            f"{path}: no QuPath project ({file.name} is missing); expected the folder of a project "
            f"or its .qpproj file{remedy}"
        )
    elif not _is_free(file.parent):
        raise InputError(
            f"{file.parent}: neither a QuPath project nor empty; name an empty or a new folder"
        )


def is_whole_project(file: Path) -> bool:
    """Return whether a file is a project file of QuPath, from its first to its last byte.

    Raises
    ------
    InputError
        It cannot be read at all.
    """
    return "version" in (json_object(file) or {})


def json_object(file: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file; ``None`` if the file is missing or holds no whole one."""
    try:
        content = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror or error})") from None
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def newest_project_copy(file: Path) -> Path | None:
    """Return the newest whole copy that QuPath keeps of a project file, if there is one.

    QuPath writes ``.tmp``, moves the file to ``.backup`` and ``.tmp`` to the file's place.
    """
    copies = (file.with_name(f"{file.name}{ending}") for ending in (".tmp", ".backup"))
    whole = [copy for copy in copies if copy.is_file() and is_whole_project(copy)]
    return max(whole, key=lambda copy: copy.stat().st_mtime_ns, default=None)


def restore_project(file: Path) -> str | None:
    """Put a project file that is missing or damaged back from QuPath's copy.

    Returns
    -------
    str or None
        What the user should know, if anything was done.
    """
    if is_whole_project(file):
        return None
    copy = newest_project_copy(file)
    if copy is None:
        return None
    how = "damaged" if file.exists() else "missing"
    with replacing(file, called=file.name) as partial:
        shutil.copy2(copy, partial)
    return f"{file} was {how}, as after a crash, and was put back from {copy.name}"


def _refuse_damaged(file: Path) -> None:
    raise InputError(
        f"{file}: not a QuPath project, or a damaged one; QuPath keeps the file as it was "
        f"before in {file.name}.backup"
    )


def _check_writable(file: Path) -> None:
    folders = [file.parent, file.parent / "data"]
    folders += sorted(folder for folder in folders[1].glob("*") if folder.is_dir())
    for place in (file, *folders):
        if place.exists() and not os.access(place, os.W_OK):
            raise InputError(f"{place}: the project is read-only; make it writable, or copy it")


def _is_free(folder: Path) -> bool:
    """Return whether a project can be made in a folder: there is nothing in it."""
    if not folder.exists():
        return True
    if not folder.is_dir():
        return False
    found = list(folder.iterdir())
    return all(path.name in _LEFTOVERS for path in found) and not any(
        path.is_file() for name in ("classifiers", "data") for path in (folder / name).rglob("*")
    )


def remove_new_project(file: Path) -> None:
    """Remove a project that was made and came to nothing; its lock must be held."""
    with suppress(OSError):
        for ending in ("", ".backup", ".tmp"):
            file.with_name(f"{file.name}{ending}").unlink(missing_ok=True)
        for name in ("data", "classifiers"):
            shutil.rmtree(file.parent / name, ignore_errors=True)


def holds_objects(file: Path) -> bool:
    """Return whether any image of a project has objects on the disk."""
    return any(has_data(folder) for folder in (file.parent / "data").glob("*"))


def missing_folders(folder: Path) -> list[Path]:
    """Return the missing folders of a path, the outermost first."""
    return [place for place in (*reversed(folder.parents), folder) if not place.exists()]


def remove_folders(made: list[Path]) -> None:
    """Remove the folders that are empty; the outermost stands first."""
    with suppress(OSError):
        for folder in reversed(made):
            folder.rmdir()


# ---- The objects of an image ---------------------------------------------------------------------


@dataclass(frozen=True)
class DataFiles:
    """The files that hold the objects of an image.

    Attributes
    ----------
    candidates
        Those that are whole as far as can be seen without QuPath: ``data.qpdata`` first, then the
        copies of it, the newest first.
    cut_off
        ``data.qpdata`` if it exists and its end is missing.
    """

    candidates: tuple[Path, ...]
    cut_off: Path | None


def data_files(folder: Path) -> DataFiles:
    """Return the files of an image that can be read, by its folder in the project."""
    file = folder / DATA_NAME
    copies = [folder / name for name in (QUPATH_BACKUP_NAME, BACKUP_NAME)]
    copies = [copy for copy in copies if ends_whole(copy)]
    copies.sort(key=lambda copy: copy.stat().st_mtime_ns, reverse=True)
    whole = ends_whole(file)
    return DataFiles(
        candidates=(*((file,) if whole else ()), *copies),
        cut_off=file if file.exists() and not whole else None,
    )


def has_data(folder: Path) -> bool:
    """Return whether an image has objects on the disk, whole or not."""
    return any((folder / name).exists() for name in (DATA_NAME, QUPATH_BACKUP_NAME, BACKUP_NAME))


def ends_whole(file: Path) -> bool:
    """Return whether a data file begins and ends as QuPath writes it.

    QuPath itself accepts a file without its last parts, and leaves out without a word what stood
    there: the properties of the image, with the record of the nuclei that were pushed.
    """
    try:
        with file.open("rb") as stream:
            if stream.read(len(_MAGIC)) != _MAGIC:
                return False
            stream.seek(-len(_LAST_OBJECT), os.SEEK_END)
            return stream.read() == _LAST_OBJECT
    except OSError:
        return False


# ---- Writing -------------------------------------------------------------------------------------


@contextmanager
def replacing(file: Path, *, called: str) -> Iterator[Path]:
    """Yield a temporary path that takes a file's place once the block has succeeded.

    If the block fails, the earlier file stays. Hold the project's lock: what killed writers left
    beside the file is removed.

    Parameters
    ----------
    file
        The file.
    called
        What it holds, for the user.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    remove_leftovers(file.parent)
    with whole_file(file, remedy=_kept(called)) as partial:
        yield partial


def cannot_write(file: Path, *, called: str, why: str) -> OutputError:
    """Return the error of a file of a project that cannot be written."""
    return OutputError(f"{file}: cannot be written ({why}); {_kept(called)}")


def _kept(called: str) -> str:
    return f"{called}: what was there is kept; {MAKE_ROOM}"


def stamp(file: Path) -> tuple[int, int] | None:
    """Return the time and the size of a file, to see whether another program changed it."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
