"""Files that are either whole or absent, and names that every system takes."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import tempfile
import time
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from wsi_suite.errors import BusyError, DiskError, OutputError

FREE_SHARE = 0.05
"""Share of a disk that a run leaves free."""

PARTIAL = ".partial"
"""How the name of a file ends that is still being written."""

passing_folders: set[Path] = set()
"""Folders that this process removes when it ends, and that a program which leaves at once has to
remove in its stead."""

_TEMPORARY = re.compile(r".+\.[0-9a-f]{8}\.partial")
_NAME_LENGTH = 40  # characters of a name in that of its temporary file; systems take 255 bytes
_DISK = (errno.ENOSPC, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC))
_DENIED = (errno.EACCES, errno.EPERM)
_GONE = (errno.ENOENT, errno.ESTALE)
_IN_THE_WAY = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)

_SAID = {
    "no space left": errno.ENOSPC,
    "quota exceeded": getattr(errno, "EDQUOT", errno.ENOSPC),
    "read-only file system": errno.EROFS,
    "permission denied": errno.EACCES,
}
"""Errors of the system in the words of Java, which hides their numbers."""

PAUSES_S = (0.1, 0.2, 0.4, 0.8) if os.name == "nt" else ()
"""Seconds between attempts to rename a file. On Windows a scanner or a preview may hold it for a
moment; on other systems a refusal is final."""

_NAME_MAX_BYTES = 200  # systems take 255; some room for endings
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f\ud800-\udfff]')
_DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$"} | {
    f"{device}{number}" for device in ("com", "lpt") for number in "0123456789¹²³"
}
"""Names of devices on Windows, with any ending."""


@contextmanager
def whole_file(
    path: Path,
    *,
    staging: Path | None = None,
    remedy: str | None = None,
    pauses_s: Sequence[float] = PAUSES_S,
) -> Iterator[Path]:
    """Yield a temporary path that takes the place of `path` once the block has succeeded.

    The temporary path is no other writer's, and its content is on the disk before it gets the name:
    whoever sees `path` sees all of it, after a crash of the machine too. If the block fails, it is
    removed, and what `path` held before stays. It may also become a folder, if `path` is none yet.

    Parameters
    ----------
    path
        The file.
    staging
        Folder for the temporary path, on the same disk; by default that of `path`. Removing it
        takes the right to write from whoever still uses it.
    remedy
        What the user can do if it fails; by default named after the error, with ``--out``.
    pauses_s
        Seconds to wait before each new attempt to rename, if another program holds `path`.

    Raises
    ------
    DiskError
        The disk is full or read-only.
    OutputError
        The file cannot be written for another reason: no such folder, no right to write.
    """
    partial = temporary_path(path, staging=staging)
    try:
        yield partial
        _sync(partial)
        _rename(partial, path, pauses_s)
        _sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            _remove(partial)
        if not isinstance(error, OSError):
            raise
        raise output_error(path, error, remedy=remedy) from error


def move_files(source: Path, target: Path) -> None:
    """Rename all files of a folder into another one on the same disk, over those of their names.

    Raises
    ------
    OutputError
        A file cannot be renamed; those before it have been.
    """
    for file in sorted(source.iterdir()):
        try:
            _rename(file, target / file.name, PAUSES_S)
        except OSError as error:
            raise output_error(target / file.name, error) from error
    _sync_folder(target)


def temporary_path(path: Path, *, staging: Path | None = None) -> Path:
    """Return a new name for a temporary file of `path`; :func:`remove_leftovers` knows it.

    It is hidden, so that a pattern such as ``data.qpdata*`` finds whole files only.
    """
    name = f".{path.name[:_NAME_LENGTH]}.{secrets.token_hex(4)}{PARTIAL}"
    return (staging or path.parent) / name


def output_error(path: Path, error: OSError, *, remedy: str | None = None) -> OutputError:
    """Return an error of the system as one line that names `path` and a remedy.

    Parameters
    ----------
    path
        What cannot be written.
    error
        The system's error.
    remedy
        What the user can do; by default named after the error, with ``--out``.
    """
    reason = " ".join(str(error.strerror or error).split())
    kind = DiskError if is_disk_full(error) else OutputError
    room = _room(path) if error.errno == errno.ENOSPC and not remedy else ""
    remedy = remedy or _remedy(error.errno, path)
    return kind(f"{path}: cannot be written ({reason}); {remedy}{room}")


def check_folder_takes_files(folder: Path) -> None:
    """Refuse a folder that is not there yet and cannot be made, as below ``/proc``.

    Raises
    ------
    OutputError
        The nearest folder that is there takes no new folder.
    """
    if not folder.exists() and (error := _refusal(_nearest_folder(folder))) is not None:
        raise output_error(folder, error) from error


def _nearest_folder(path: Path) -> Path:
    """Return the nearest folder above a path that is there."""
    return next(parent for parent in path.absolute().parents if parent.is_dir())


def _refusal(folder: Path) -> OSError | None:
    """Return why the system makes no folder in a folder, or ``None`` if it does."""
    try:
        Path(tempfile.mkdtemp(prefix=".wsi-suite-", dir=folder)).rmdir()
    except OSError as error:
        return error
    return None


def _room(path: Path) -> str:
    """Return how much of a file's disk is free, in words; empty if that cannot be told."""
    with suppress(OSError, StopIteration):
        disk = next(parent for parent in path.absolute().parents if parent.exists())
        usage = shutil.disk_usage(disk)
        return f" ({usage.free / 1e6:,.1f} of its {usage.total / 1e6:,.0f} MB are free)"
    return ""


def java_error(error: Exception) -> OSError:
    """Return Java's error about a file as an error of the system."""
    said = " ".join(str(error).split()).removeprefix("java.io.IOException: ")
    number = next((number for words, number in _SAID.items() if words in said.lower()), None)
    return OSError(said) if number is None else OSError(number, os.strerror(number))


def is_disk_full(error: OSError) -> bool:
    """Return whether a disk is full, over its quota or read-only: no file can be written to it."""
    return error.errno in _DISK


def _remedy(number: int | None, path: Path) -> str:
    if number in _DENIED:
        return "close the program that has it open, or choose another folder with --out"
    if number in _IN_THE_WAY:
        return "something else has its name, rename that or choose another folder with --out"
    if number in _GONE and _refusal(there := _nearest_folder(path)) is not None:
        return f"{there} takes no files, choose another folder with --out"
    if number in _GONE:
        return "its folder was removed or renamed, run again"
    if number == errno.ENAMETOOLONG:
        return "choose a shorter --out"
    return "free or choose another disk with --out"


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def take_lock(path: Path, *, wait_s: float, busy: str) -> BaseFileLock:
    """Take a lock that the system releases when this process ends, however it ends.

    Some network disks have no such locks. There the file ``<path>.held`` stands for one. If its
    process is killed, it is removed by the next one on the same machine, else by the user.

    Parameters
    ----------
    path
        File of the lock, in a folder that exists. Releasing the lock removes it.
    wait_s
        How long to wait for another process, in seconds.
    busy
        What to tell the user if another process keeps the lock.

    Raises
    ------
    BusyError
        Another process holds the lock.
    OSError
        The file cannot be made.
    """
    lock = FileLock(path, timeout=wait_s, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise BusyError(busy) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        with suppress(OSError):
            path.unlink()
    else:
        if not isinstance(lock, SoftFileLock):
            return lock
        # The library's own stand-in has the path of the lock, where the next process truncates it.
        lock.release()
    held = path.with_name(f"{path.name}.held")
    soft_lock = SoftFileLock(held, timeout=wait_s, thread_local=False)
    for _ in range(2):  # the first try removes the file of a process that was killed
        with suppress(Timeout):
            soft_lock.acquire()
            return soft_lock
    raise BusyError(f"{busy} (or remove {held}, if that process was killed)")


def remove_leftovers(folder: Path, *, older_than_s: float = 0) -> None:
    """Remove the temporary files of killed processes from a folder, as far as that is allowed.

    Parameters
    ----------
    folder
        The folder; those below it are left alone.
    older_than_s
        Leave what was written to since then, as its writer may be alive. Zero is for folders in
        which nobody else writes.
    """
    with suppress(OSError):
        for file in filter(is_leftover, list(folder.iterdir())):
            with suppress(OSError):
                if file.is_file() and time.time() - file.stat().st_mtime >= older_than_s:
                    file.unlink()


def is_leftover(path: Path) -> bool:
    """Return whether a path has the name of a temporary file of :func:`whole_file`."""
    return _TEMPORARY.fullmatch(path.name) is not None


def leftovers_of(path: Path) -> list[Path]:
    """Return the temporary files and folders of a path that :func:`whole_file` was to write.

    None of a path whose name is so long that another one may have them.
    """
    if len(path.name) > _NAME_LENGTH:
        return []
    name = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}{re.escape(PARTIAL)}")
    return [one for one in path.parent.iterdir() if name.fullmatch(one.name)]


def _sync(path: Path) -> None:
    """Have the system write a file, or all files below a folder, to the disk."""
    for file in path.rglob("*") if path.is_dir() else (path,):
        if file.is_file():
            with file.open("r+b") as opened:
                os.fsync(opened.fileno())


def _sync_folder(folder: Path) -> None:
    """Have the system write the names in a folder to the disk, if it can."""
    if os.name == "nt":
        return
    with suppress(OSError):  # some network disks know no such thing
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _rename(partial: Path, path: Path, pauses_s: Sequence[float]) -> None:
    for pause in pauses_s:
        try:
            partial.replace(path)
        except PermissionError:
            time.sleep(pause)
        else:
            return
    partial.replace(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def long_path(path: Path, *, limit: int = 248) -> Path:
    r"""Return a path that Windows accepts although it is long: with ``\\?\`` before it.

    Parameters
    ----------
    path
        Any path; other systems get it back as it is.
    limit
        Characters from which on the absolute path is long; Windows' own limit is 260 for files and
        248 for folders.
    """
    text = os.path.abspath(path)  # noqa: PTH100 - Path.absolute() keeps '..', which fails there
    if os.name != "nt" or len(text) < limit or text.startswith("\\\\?\\"):
        return path
    return Path(f"\\\\?\\UNC{text[1:]}" if text.startswith("\\\\") else f"\\\\?\\{text}")


def file_names(titles: Iterable[str]) -> list[str]:
    """Return for each title a part of a file's name that every system takes, no two alike.

    Letters, digits, spaces and ``_.+-`` stay; a title that comes again gets a number.
    """
    names: list[str] = []
    taken: set[str] = set()
    for title in titles:
        plain = portable_name(re.sub(r"[^\w .+-]", "_", title)[:60])
        name, number = plain, 1
        while name_key(name) in taken:
            number += 1
            name = f"{plain} {number}"
        taken.add(name_key(name))
        names.append(name)
    return names


def portable_name(name: str) -> str:
    """Return a name of a file or folder that every system takes: `name` itself if it is one.

    What Windows forbids becomes ``_``, dots and blanks at the ends go, as does what makes it
    longer than 200 bytes.
    """
    allowed = _FORBIDDEN.sub("_", name).encode()[:_NAME_MAX_BYTES].decode(errors="ignore")
    plain = allowed.strip(" .") or "_"
    first, dot, rest = plain.partition(".")
    return f"{first}_{dot}{rest}" if first.rstrip().casefold() in _DEVICES else plain


def name_key(name: str) -> str:
    """Return a key that is equal for names that some system takes for the same (``A``, ``a``)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
