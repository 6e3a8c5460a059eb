"""The files of a project after a crash: which is read, and what is put back."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from wsi_suite.errors import InputError, OutputError
from wsi_suite.qupath.project_files import (
    check_project,
    data_files,
    ends_whole,
    has_data,
    remove_folders,
    remove_new_project,
    replacing,
    restore_project,
)

WHOLE = b"\xac\xed\x00\x05" + b"objects" * 100 + b"\x74\x00\x03EOF"
PROJECT = '{"version": "0.6.0", "images": []}'


def write(path: Path, content: bytes, *, age_s: int) -> Path:
    path.write_bytes(content)
    os.utime(path, (1_700_000_000 - age_s, 1_700_000_000 - age_s))
    return path


@pytest.mark.parametrize("kept", [0, 3, 4, 100, len(WHOLE) - 1])
def test_a_data_file_that_was_cut_off_is_not_whole(tmp_path: Path, kept: int) -> None:
    assert not ends_whole(write(tmp_path / "data.qpdata", WHOLE[:kept], age_s=0))
    assert ends_whole(write(tmp_path / "data.qpdata", WHOLE, age_s=0))


def test_the_newest_whole_copy_is_read_after_a_crash(tmp_path: Path) -> None:
    assert not has_data(tmp_path)
    cut_off = write(tmp_path / "data.qpdata", WHOLE[:-1], age_s=0)
    older = write(tmp_path / "data.qpdata.before-push", WHOLE, age_s=20)
    newer = write(tmp_path / "data.qpdata.bkp", WHOLE, age_s=10)
    assert data_files(tmp_path).candidates == (newer, older)
    assert data_files(tmp_path).cut_off == cut_off
    newer.write_bytes(WHOLE[:50])
    assert data_files(tmp_path).candidates == (older,)
    cut_off.write_bytes(WHOLE)
    assert data_files(tmp_path).candidates == (cut_off, older)
    assert data_files(tmp_path).cut_off is None


@pytest.mark.parametrize("before", [None, "", PROJECT[:10], "[]"])
def test_a_project_file_is_put_back_from_the_newest_copy(
    tmp_path: Path, before: str | None
) -> None:
    file = tmp_path / "project.qpproj"
    if before is not None:
        file.write_text(before)
    with pytest.raises(InputError):
        check_project(file, create=False, writes=True)
    (tmp_path / "project.qpproj.tmp").write_text(PROJECT[:20])  # it was being written
    (tmp_path / "project.qpproj.backup").write_text(PROJECT)
    check_project(file, create=False, writes=True)
    told = restore_project(file)
    assert told is not None
    assert "project.qpproj.backup" in told
    assert file.read_text() == PROJECT
    assert restore_project(file) is None


def test_a_full_disk_keeps_the_earlier_file_and_is_told_by_name(tmp_path: Path) -> None:
    file = write(tmp_path / "data.qpdata", WHOLE, age_s=0)

    def fill_the_disk() -> None:
        with replacing(file, called="the objects of 'B12'") as partial:
            partial.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    told = r"data\.qpdata: cannot be written \(No space left.* the objects of 'B12': .* is kept"
    with pytest.raises(OutputError, match=told) as raised:
        fill_the_disk()
    assert "--out" not in str(raised.value)
    assert file.read_bytes() == WHOLE
    assert list(tmp_path.iterdir()) == [file]


def test_what_a_killed_writer_left_goes_with_the_next(tmp_path: Path) -> None:
    file = write(tmp_path / "data.qpdata", WHOLE, age_s=0)
    for name in ("data.qpdata.0123abcd.partial", ".data.qpdata.0123abcd.partial"):
        (tmp_path / name).write_bytes(WHOLE[:30])
    with replacing(file, called="the objects") as partial:
        partial.touch()
        assert list(tmp_path.glob("data.qpdata*")) == [file], "a pattern meets whole files only"
        partial.write_bytes(WHOLE + b"new")
    assert file.read_bytes() == WHOLE + b"new"
    assert list(tmp_path.iterdir()) == [file]


def test_a_project_that_came_to_nothing_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "study" / "project.qpproj"
    (file.parent / "data" / "1").mkdir(parents=True)
    for ending in ("", ".backup", ".tmp"):
        file.with_name(file.name + ending).write_text(PROJECT)
    remove_new_project(file)
    remove_folders([file.parent.parent, file.parent])
    assert list(tmp_path.iterdir()) == []
