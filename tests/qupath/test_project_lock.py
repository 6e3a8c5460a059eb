"""One writer at a time in a project, whatever becomes of the writers."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from wsi_suite.errors import OutputError
from wsi_suite.qupath.project_files import HOLDER_NAME, LOCK_NAME, check_project, is_locked
from wsi_suite.qupath.project_lock import ProjectLock

_HOLD = """
import sys, time
from pathlib import Path
from wsi_suite.qupath.project_lock import ProjectLock
lock = ProjectLock(Path(sys.argv[1]), tell=print)
print("held", flush=True)
sys.stdin.read()
lock.release()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of a project."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path / "study")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with process:
        yield process
        process.kill()


@pytest.mark.parametrize("how", ["released", "killed"])
def test_another_writer_is_waited_for_and_named(
    holder: subprocess.Popen[str], tmp_path: Path, how: str
) -> None:
    told: list[str] = []

    def end(who: str) -> None:
        told.append(who)
        if how == "killed":
            holder.kill()
        elif holder.stdin is not None:
            holder.stdin.close()

    lock = ProjectLock(tmp_path / "study", tell=end)
    assert told[0].startswith(f"process {holder.pid} on ")
    lock.release()


def test_a_lock_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "study"
    lock = ProjectLock(folder, tell=print)
    assert lock.made == [tmp_path / "deep", folder]
    assert (folder / HOLDER_NAME).exists()
    lock.release()
    assert not (folder / HOLDER_NAME).exists()
    assert not (folder / LOCK_NAME).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows locks in another way")
def test_a_project_is_made_on_a_disk_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    lock = ProjectLock(tmp_path / "study", tell=print)
    assert is_locked(tmp_path / "study")
    check_project(tmp_path / "study", create=True, writes=True)
    lock.release()
    assert list((tmp_path / "study").iterdir()) == []


def test_a_full_disk_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(path: Path, *_: object) -> None:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fill)
    with pytest.raises(OutputError, match=r"study: cannot be written \(No space left"):
        ProjectLock(tmp_path / "deep" / "study", tell=print)
    assert list(tmp_path.iterdir()) == []
