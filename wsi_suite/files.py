"""Files that are either whole or absent, and names that every system takes."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wsi_suite.errors import OutputError

_NAME_MAX_BYTES = 200  # systems take 255; some room for endings
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f\ud800-\udfff]')
_DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$"} | {
    f"{device}{number}" for device in ("com", "lpt") for number in "0123456789¹²³"
}
"""Names of devices on Windows, with any ending."""


@contextmanager
def whole_file(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place once the block has succeeded.

    Where the block fails the temporary file is removed and what `path` held before stays.

    Parameters
    ----------
    path
        The file.
    shared
        Several processes may write it at the same time: the last one wins.

    Raises
    ------
    OutputError
        The file cannot be written: no such folder, no right to write, a full disk.
    """
    mine = f".{os.getpid()}" if shared else ""
    partial = path.with_name(f"{path.name}{mine}.partial")
    try:
        yield partial
        partial.replace(path)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink()
        if not isinstance(error, OSError):
            raise
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}); "
            "free or choose another disk with --out"
        ) from error


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
    """Return a name of a file or folder that every system takes: `name` itself where it is one.

    What Windows forbids becomes ``_``, dots and blanks at the ends go, as does what makes it
    longer than 200 bytes.
    """
    allowed = _FORBIDDEN.sub("_", name).encode()[:_NAME_MAX_BYTES].decode(errors="ignore")
    plain = allowed.strip(" .") or "_"
    first, dot, rest = plain.partition(".")
    return f"{first}_{dot}{rest}" if first.rstrip().casefold() in _DEVICES else plain


def name_key(name: str) -> str:
    """Return what two names share that some system takes for the same, as ``A`` and ``a``."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
