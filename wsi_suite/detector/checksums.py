"""Checksums of a folder's files in ``SHA256SUMS``, as ``sha256sum --check`` reads them.

They tell damage on the way from one machine to another. They are no signature: whoever can replace
a file can replace its checksum.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from wsi_suite.errors import ModelError
from wsi_suite.files import whole_file

SUMS_FILE = "SHA256SUMS"

_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *]([^/\\]+)")


def file_sum(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_sums(folder: Path, names: Iterable[str]) -> None:
    """Write the checksums of files in a folder, in place of those that it states."""
    lines = [f"{file_sum(folder / name)}  {name}\n" for name in names]
    with whole_file(folder / SUMS_FILE) as partial:
        partial.write_bytes("".join(lines).encode())


def read_sums(folder: Path) -> Mapping[str, str] | None:
    """Return the checksums that a folder states, by file name, or ``None`` if it states none.

    Raises
    ------
    ModelError
        The file cannot be read, or holds other lines.
    """
    path = folder / SUMS_FILE
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); copy the model again") from None
    sums: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        parts = _LINE.fullmatch(line)
        if parts is None:
            raise ModelError(
                f"{path}: line {number} is '{line[:40]}', expected a SHA-256 and the name of a file"
                " of this folder; copy the model again"
            )
        sums[parts[2]] = parts[1].lower()
    return sums


def check_sum(path: Path) -> bool:
    """Compare a file with the checksum that its folder states.

    Returns
    -------
    bool
        Whether one is stated.

    Raises
    ------
    ModelError
        The file is another one.
    """
    stated = (read_sums(path.parent) or {}).get(path.name)
    if stated is None:
        return False
    found = file_sum(path)
    if found != stated:
        raise ModelError(
            f"{path}: its SHA-256 is {found[:12]}..., {SUMS_FILE} states {stated[:12]}...; it was "
            f"damaged or changed: copy the model again (or remove {SUMS_FILE}, if you changed it)"
        )
    return True
