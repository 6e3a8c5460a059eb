"""Opening of a QuPath project: Java, locks and new projects."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from wsi_suite.errors import ConfigError, OutputError, WsiSuiteError
from wsi_suite.qupath.java import in_words
from wsi_suite.qupath.program import GET_QUPATH, find_qupath
from wsi_suite.qupath.project_files import (
    MAKE_ROOM,
    check_project,
    remove_folders,
    remove_new_project,
    restore_project,
)
from wsi_suite.qupath.project_lock import ProjectLock
from wsi_suite.qupath.project_messages import Opened
from wsi_suite.qupath.project_session import Session

if TYPE_CHECKING:
    pass


def open_project(
    session: Session, *, path: str, create: bool, readonly: bool, qupath: list[int] | None
) -> Opened:
    """Start Java and open or make a project."""
    version = _start_java()
    file = Path(path)
    made: tuple[Path, ...] | None = None
    session.qupath = qupath
    if not readonly:
        session.lock = ProjectLock(
            file.parent, tell=lambda holder: session.tell(f"{file.parent}: waiting for {holder}")
        )
        try:
            check_project(file, create=create, writes=True)
            told = restore_project(file)
        except WsiSuiteError:
            _unlock(session)
            raise
        if told is not None:
            session.tell(told)
        if not file.exists():
            _make_project(session, file)
            made = tuple(session.lock.made)
    if made is None:
        session.load(path, readonly=readonly)
    if not readonly:
        from wsi_suite.qupath.groovy_library import prepare_library

        prepare_library()
    return Opened(version, made)


def _make_project(session: Session, file: Path) -> None:
    """Make an empty project and read it back, or leave nothing.

    Raises
    ------
    OutputError
        It cannot be written, or a full disk has cut it off in silence.
    """
    why = "what was written cannot be read back: the disk is probably full"
    try:
        try:
            _write_empty_project(file)
        except Exception as error:
            why = in_words(error)
            raise
        session.load(str(file), readonly=False)
    except Exception as error:
        remove_new_project(file)
        _unlock(session)
        raise OutputError(
            f"{file}: the new project cannot be written ({why}); {MAKE_ROOM}"
        ) from error


def _unlock(session: Session) -> None:
    """Release the lock of a project that is not made, and remove the folders made for it."""
    lock, session.lock = session.lock, None
    assert lock is not None
    lock.release()  # its files would keep the folders
    remove_folders(lock.made)


def _write_empty_project(file: Path) -> None:
    """Have QuPath write an empty project; paquo would refuse the folder for the lock in it."""
    from paquo.java import BufferedImage, File, Projects

    Projects.createProject(File(str(file)), BufferedImage).syncChanges()


def _start_java() -> str:
    try:
        find_qupath()
    except ConfigError as error:
        raise ConfigError(f"QuPath was {error}; {GET_QUPATH}") from None
    _choose_collector()
    try:
        from paquo.java import qupath_version
    except Exception as error:  # of JPype and of the JVM, many kinds
        while error.__context__ is not None:  # the first one tells most
            error = error.__context__  # type: ignore[assignment]
        raise ConfigError(
            f"QuPath's Java does not start ({in_words(error)}); install QuPath again, of the same "
            f"architecture as Python, or {GET_QUPATH}"
        ) from error
    return str(qupath_version)


def _choose_collector() -> None:
    """Let Java collect its garbage in the way that suits a million objects, unless one is set."""
    from paquo._config import settings

    given = settings.java_opts
    options = shlex.split(given) if isinstance(given, str) else list(given)
    if not any(option.startswith("-XX:+Use") for option in options):
        settings.java_opts = [*options, "-XX:+UseParallelGC"]
