"""Files that are either whole or absent."""

from __future__ import annotations

import os
from collections.abc import Iterator
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
