"""Files that are either whole or absent, and names that every system takes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wsi_suite.errors import OutputError


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
        plain = re.sub(r"[^\w .+-]", "_", title)[:60].strip(" .") or "_"
        name, number = plain, 1
        while name.casefold() in taken:  # some systems take A and a for the same
            number += 1
            name = f"{plain} {number}"
        taken.add(name.casefold())
        names.append(name)
    return names
