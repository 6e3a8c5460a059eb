"""The file by which the user's other programs find the service: where it listens, and its token.

Nobody else can read it, from the moment it exists. A lock beside it is held while the service
lives, so that each user has one at a time; the system takes it off the dead.
"""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from wsi_suite.errors import OutputConflictError
from wsi_suite.files import output_error, whole_file

FILE_VARIABLE = "WSI_SUITE_SERVICE_FILE"


@dataclass(frozen=True)
class Service:
    """Where a service is.

    Attributes
    ----------
    pid
        Its process.
    host, port
        Where it listens.
    token
        What it wants to see with each request.
    version
        Of the suite.
    started
        ISO 8601, UTC.
    """

    pid: int
    host: str
    port: int
    token: str
    version: str
    started: str


def discovery_file() -> Path:
    """Return the user's file; the environment variable ``WSI_SUITE_SERVICE_FILE`` names another."""
    named = os.environ.get(FILE_VARIABLE)
    return Path(named) if named else Path.home() / ".wsi-suite" / "service.json"


def read_service(file: Path) -> Service | None:
    """Return the service that a file names, ``None`` if it is absent or damaged."""
    try:
        return Service(**json.loads(file.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


@contextmanager
def only_service(file: Path) -> Iterator[None]:
    """Be the user's only service while the block runs.

    Raises
    ------
    OutputConflictError
        There is another one.
    OutputError
        The file's folder cannot be written.
    """
    lock = FileLock(file.with_name(f"{file.name}.lock"), blocking=False, mode=0o600)
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        other = read_service(file)
        where = f"at {other.host}:{other.port} (process {other.pid})" if other else "starting"
        raise OutputConflictError(
            f"a service of yours is {where} already; use it, or end it first"
        ) from None
    except OSError as error:
        remedy = f"name another file with {FILE_VARIABLE}"
        raise output_error(file.parent, error, remedy=remedy) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def announced(file: Path, service: Service) -> Iterator[None]:
    """Keep the file while the block runs; at its end it goes, unless it tells of another service.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    with whole_file(file, remedy=f"name another file with {FILE_VARIABLE}") as partial:
        write_private(partial, json.dumps(asdict(service)) + "\n")
    try:
        yield
    finally:
        if read_service(file) == service:
            with suppress(OSError):
                file.unlink()


def write_private(path: Path, text: str) -> None:
    """Write a new file that its user alone can read, at no moment anybody else."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
        if sys.platform == "win32":
            _restrict(path)  # while it is still empty
        file.write(text)


def _restrict(path: Path) -> None:
    """Take from a file on Windows all rights but its user's."""
    user = getpass.getuser()
    domain = os.environ.get("USERDOMAIN")
    grant = f"{domain}\\{user}:F" if domain else f"{user}:F"
    icacls = Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "icacls.exe"
    done = subprocess.run(
        [str(icacls), str(path), "/inheritance:r", "/grant:r", grant],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise OSError(f"its rights cannot be set: icacls ended with {done.returncode}")
