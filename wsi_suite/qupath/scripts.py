"""Scripts into QuPath's user directory, where its menu lists them."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import wsi_suite
from wsi_suite.errors import InputError, OutputConflictError
from wsi_suite.files import output_error, whole_file
from wsi_suite.resources import qupath_scripts_folder

SCRIPTS_FOLDER = Path("scripts", "WSI Suite")
"""Where scripts go, below QuPath's user directory."""

PROGRAM_FILE = "wsi-suite.program"
"""What starts the suite, one argument a line: the scripts start the service with it."""

RECORD_FILE = "wsi-suite.installed"
"""What was installed: ``version`` and ``files``, SHA-256 by name."""

_SUFFIXES = (".groovy", ".gvy")  # scripts, and the libraries that QuPath's menu leaves out
_USER_FOLDER = re.compile(r"v0\.([4-9]|\d\d+)")  # as QuPath 0.4 and later propose it


@dataclass(frozen=True)
class Installed:
    """Scripts installed in a user directory of QuPath.

    Attributes
    ----------
    folder
        Where the scripts are.
    scripts
        Their names, without the libraries.
    removed
        Names of files of an earlier version that this one no longer has.
    """

    folder: Path
    scripts: tuple[str, ...]
    removed: tuple[str, ...]


def find_user_folders(home: Path | None = None) -> tuple[Path, ...]:
    """Return the user directories of QuPath 0.4 and later that exist on this machine.

    They are those that QuPath proposes, ``QuPath/v0.6`` in the user's home and the like, and on
    Linux those that its preferences name.

    Parameters
    ----------
    home
        The user's home directory; by default that of who runs this.
    """
    home = Path.home() if home is None else home
    proposed = (folder for folder in home.glob("QuPath/v*") if _USER_FOLDER.fullmatch(folder.name))
    found = {folder.resolve() for folder in (*proposed, *_preferred(home)) if folder.is_dir()}
    return tuple(sorted(found))


def _preferred(home: Path) -> Iterator[Path]:
    """Yield the user directories that QuPath's preferences name.

    Folders of Java's preferences have encoded names, so that all of them are searched.
    """
    for file in home.glob(".java/.userPrefs/*/*/prefs.xml"):
        with suppress(OSError, ElementTree.ParseError):
            for entry in ElementTree.parse(file).iter("entry"):
                if entry.get("key") == "userPath" and entry.get("value"):
                    yield Path(entry.get("value", ""))


def install_scripts(user_folder: Path, *, overwrite: bool = False) -> Installed:
    """Put all scripts into a user directory of QuPath, or none.

    Files of an earlier version are replaced, and removed if this version has none of that name.

    Parameters
    ----------
    user_folder
        QuPath's user directory; it has to exist.
    overwrite
        Replace files, too, that are not as they were installed.

    Raises
    ------
    InputError
        There is no such directory.
    OutputConflictError
        A file of that name is there that was not installed, or was changed since.
    OutputError
        A file cannot be written.
    """
    if not user_folder.is_dir():
        raise InputError(
            f"{user_folder}: no such folder; give QuPath's user directory with --user-dir "
            "(in QuPath: Edit > Preferences... > Extensions > QuPath user directory)"
        )
    folder = user_folder / SCRIPTS_FOLDER
    contents = _contents()
    before = _installed_before(folder)
    changed = sorted(name for name, digest in before.items() if _digest(folder / name) != digest)
    known = {*before, RECORD_FILE}
    foreign = sorted(name for name in contents if name not in known and (folder / name).exists())
    if (changed or foreign) and not overwrite:
        raise OutputConflictError(
            f"{folder}: {', '.join(changed + foreign)} was changed or is not from wsi-suite; "
            "save what you want to keep under another name, then repeat with --overwrite"
        )
    outdated = sorted(set(before) - set(contents))
    _write_all(folder, contents)
    for name in outdated:
        (folder / name).unlink(missing_ok=True)
    scripts = tuple(sorted(name for name in contents if name.endswith(".groovy")))
    return Installed(folder, scripts=scripts, removed=tuple(outdated))


def _contents() -> dict[str, bytes]:
    """Return the files to install: content by name, the record last."""
    source = qupath_scripts_folder()
    contents = {
        file.name: file.read_bytes() for file in source.iterdir() if file.suffix in _SUFFIXES
    }
    contents[PROGRAM_FILE] = f"{sys.executable}\n-m\nwsi_suite\n".encode()
    record = {
        "version": wsi_suite.__version__,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
    }
    contents[RECORD_FILE] = json.dumps(record, indent=2).encode()
    return contents


def _installed_before(folder: Path) -> dict[str, str]:
    """Return digests by name as an earlier installation recorded them, of files still there."""
    try:
        record = json.loads((folder / RECORD_FILE).read_bytes())
        files = {str(name): str(digest) for name, digest in record["files"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
    # A name with a folder in it was not written by us.
    here = {name: digest for name, digest in files.items() if Path(name).name == name}
    return {name: digest for name, digest in here.items() if (folder / name).is_file()}


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _write_all(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files beside their places first, so that a full disk leaves the old ones."""
    remedy = "give another user directory of QuPath with --user-dir"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(folder, error, remedy=remedy) from error
    with ExitStack() as stack:  # which ends with what was entered first: the record
        for name in reversed(list(contents)):
            stack.enter_context(whole_file(folder / name, remedy=remedy)).write_bytes(
                contents[name]
            )
