"""Files that are whole or absent, whatever happens, and names that every system takes."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from wsi_suite.errors import BusyError, DiskError, OutputError
from wsi_suite.files import (
    check_folder_takes_files,
    file_names,
    output_error,
    remove_leftovers,
    take_lock,
    whole_file,
)
from wsi_suite.runs.folder import lock_folder


@pytest.mark.parametrize(
    ("titles", "expected"),
    [
        (["Region 1", "Tumör ER+ (2.5 mm²)"], ["Region 1", "Tumör ER+ _2.5 mm²_"]),
        (["../../etc", "a/b\\c:d", "x\ny"], ["_.._etc", "a_b_c_d", "x_y"]),
        (["A", "a", "A", "A 2"], ["A", "a 2", "A 3", "A 2 2"]),
        (["con", "Aux.v1", "COM1 ", "contra"], ["con_", "Aux_.v1", "COM1_", "contra"]),
        (["", " . ", "x" * 200], ["_", "_ 2", "x" * 60]),
    ],
)
def test_titles_become_names(titles: list[str], expected: list[str]) -> None:
    assert file_names(titles) == expected


def write_half(path: Path, error: BaseException, *, below: str = "") -> None:
    """Write to a file, or to one below a folder, and fail."""
    with whole_file(path) as partial:
        file = partial / below
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("half")
        raise error


def write_late(path: Path, staging: Path) -> None:
    """Lose the staging folder while writing."""
    with whole_file(path, staging=staging) as partial:
        partial.write_text("late")
        shutil.rmtree(staging)


def test_a_file_is_whole_or_as_before(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with whole_file(path) as partial:
        partial.write_text("whole")
    with pytest.raises(ZeroDivisionError):
        write_half(path, ZeroDivisionError())
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_never_share_a_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with whole_file(path) as first:
        first.write_text("first")
        with whole_file(path) as second:
            second.write_text("second, and longer")
        assert path.read_text() == "second, and longer"
    assert path.read_text() == "first"


def test_a_folder_takes_its_place_whole(tmp_path: Path) -> None:
    with whole_file(tmp_path / "model") as partial:
        (partial / "deep").mkdir(parents=True)
        (partial / "deep" / "file").write_text("content")
    assert (tmp_path / "model" / "deep" / "file").read_text() == "content"
    with pytest.raises(ZeroDivisionError):
        write_half(tmp_path / "other", ZeroDivisionError(), below="deep/file")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_content_is_on_the_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash of the machine after the rename must not leave an empty file under the name."""
    path, order = tmp_path / "run.json", []
    sync, replace = os.fsync, Path.replace

    def watched_sync(descriptor: int) -> None:
        mode = os.fstat(descriptor).st_mode
        order.append("folder" if stat.S_ISDIR(mode) else f"{os.fstat(descriptor).st_size} bytes")
        sync(descriptor)

    def watched_replace(self: Path, target: Path) -> Path:
        order.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", watched_sync)
    monkeypatch.setattr(Path, "replace", watched_replace)
    with whole_file(path) as partial:
        partial.write_text("content")
    assert order == ["7 bytes", "rename", *(["folder"] if os.name != "nt" else [])]


@pytest.mark.parametrize(
    ("number", "kind", "message"),
    [
        (errno.ENOSPC, DiskError, r"No space left on device\); free or choose another disk"),
        (errno.EROFS, DiskError, r"Read-only file system\); free or choose another disk"),
        (errno.EDQUOT, DiskError, r"quota exceeded\); free or choose another disk with --out"),
        (errno.EACCES, OutputError, r"Permission denied\); close the program that has it open, or"),
        (errno.ENAMETOOLONG, OutputError, r"File name too long\); choose a shorter --out"),
        (errno.EISDIR, OutputError, r"Is a directory\); something else has its name, rename"),
        (errno.ENOENT, OutputError, r"directory\); its folder was removed or renamed, run again"),
        (errno.EIO, OutputError, r"error\); free or choose another disk with --out"),
    ],
)
def test_what_the_system_refuses_is_one_line(
    tmp_path: Path, number: int, kind: type[OutputError], message: str
) -> None:
    with pytest.raises(OutputError, match=message) as caught:
        write_half(tmp_path / "a", OSError(number, os.strerror(number)))
    assert type(caught.value) is kind
    assert str(caught.value).startswith(f"{tmp_path / 'a'}: cannot be written (")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc on this system")
@pytest.mark.parametrize("name", ["/proc/x", "/proc/x/y"])
def test_a_folder_that_takes_no_files_is_named(name: str) -> None:
    """Not as one that was removed, or in which others are at work."""
    folder, told = Path(name), r"/proc takes no files, choose another folder with --out"
    for attempt in (
        lambda: check_folder_takes_files(folder),
        lambda: lock_folder(folder),
        lambda: write_half(folder / "a.html", OSError(errno.ENOENT, "No such file")),
    ):
        with pytest.raises(OutputError, match=told):
            attempt()


def test_an_error_crosses_processes_as_it_is() -> None:
    error = output_error(Path("out"), OSError(errno.ENOSPC, "full"), remedy="free some")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (DiskError, "out: cannot be written (full); free some")


def test_a_file_that_is_held_for_a_moment_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, refusals = Path.replace, [PermissionError(errno.EACCES, "held")] * 2

    def held(self: Path, target: Path) -> Path:
        if refusals:
            raise refusals.pop()
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", held)
    with whole_file(tmp_path / "a", pauses_s=(0.0, 0.0, 0.0)) as partial:
        partial.write_text("content")
    assert (tmp_path / "a").read_text() == "content"


def test_leftovers_of_the_dead_are_removed(tmp_path: Path) -> None:
    context = whole_file(tmp_path / "run.json")
    left = context.__enter__()
    left.write_text("half")
    for name in ("my.partial", "a.0123456.partial", "a.01234567.partial.txt"):
        (tmp_path / name).touch()
    (tmp_path / "tiles.ome.zarr.partial").mkdir()
    remove_leftovers(tmp_path, older_than_s=60)
    assert left.exists()
    remove_leftovers(tmp_path)
    assert not left.exists()
    assert len(list(tmp_path.iterdir())) == 4, "what is not ours stays"
    remove_leftovers(tmp_path / "none")


def test_who_lost_the_staging_folder_can_no_longer_write(tmp_path: Path) -> None:
    staging = tmp_path / "writing"
    staging.mkdir()
    with whole_file(tmp_path / "a", staging=staging) as partial:
        partial.write_text("content")
    with pytest.raises(OutputError):
        write_late(tmp_path / "a", staging)
    assert (tmp_path / "a").read_text() == "content"


def test_a_lock_is_one_process_s(tmp_path: Path) -> None:
    lock = take_lock(tmp_path / "lock", wait_s=0, busy="busy")
    with pytest.raises(BusyError, match=r"^busy$"):
        take_lock(tmp_path / "lock", wait_s=0, busy="busy")
    lock.release()
    take_lock(tmp_path / "lock", wait_s=0, busy="busy").release()


@pytest.mark.skipif(os.name == "nt", reason="has locks on all disks")
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
@pytest.mark.filterwarnings("ignore:flock not supported")
def test_a_disk_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """As some network disks are: a file stands for the lock, and says whose it is."""
    import fcntl

    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refused)
    lock = take_lock(tmp_path / "lock", wait_s=0, busy="busy")
    for _ in range(2):  # a try leaves the lock as it is
        with pytest.raises(BusyError, match=r"busy \(or remove .*lock\.held, if that process was"):
            take_lock(tmp_path / "lock", wait_s=0, busy="busy")
    lock.release()
    assert not list(tmp_path.iterdir())
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    (tmp_path / "lock.held").write_text(f"{killed.pid}\n{socket.gethostname()}\n")
    take_lock(tmp_path / "lock", wait_s=0, busy="busy").release()
