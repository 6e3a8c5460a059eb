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
from wsi_suite.qupath.project_rescue import kept_if_cut_off

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


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with the small files that QuPath writes in place."""
    for name in ("project.qpproj", "classifiers/classes.json", "data/metadata.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(PROJECT)
    return tmp_path / "project.qpproj"


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in files}


@pytest.mark.parametrize("name", ["classifiers/classes.json", "data/metadata.json"])
@pytest.mark.parametrize("is_told", [True, False])
def test_a_full_disk_cuts_no_small_file_of_a_project_off(
    project: Path, name: str, is_told: bool
) -> None:
    before = contents(project.parent)

    def fill_the_disk() -> None:
        with kept_if_cut_off(project, called="the image B12"):
            project.write_text('{"version": "0.6.0", "images": [1]}')
            project.with_name("project.qpproj.tmp").write_text('{"ver')
            (project.parent / name).write_text("")
            if is_told:
                raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError if is_told else OutputError, match=None if is_told else name):
        fill_the_disk()
    assert contents(project.parent) == before


def test_without_room_for_copies_nothing_of_a_project_is_changed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(project.parent)

    def copy(_place: Path, to: Path) -> None:
        to.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copy2", copy)
    with (
        pytest.raises(OutputError, match=r"project\.qpproj: cannot be written \(No space left"),
        kept_if_cut_off(project, called="the image B12"),
    ):
        pytest.fail("nothing may be written")
    assert contents(project.parent) == before


def test_small_files_of_a_project_may_be_new(project: Path) -> None:
    (project.parent / "classifiers" / "classes.json").unlink()
    with kept_if_cut_off(project, called="the image B12"):
        (project.parent / "classifiers" / "classes.json").write_text("{}")
    assert contents(project.parent)["classifiers/classes.json"] == "{}"
    assert len(contents(project.parent)) == 3


def test_a_small_file_that_was_not_written_is_not_looked_into(project: Path) -> None:
    metadata = project.parent / "data" / "metadata.json"
    metadata.write_bytes(b"\xef\xbb\xbf{}")  # as an editor leaves it; QuPath reads it
    with kept_if_cut_off(project, called="the image B12"):
        (project.parent / "classifiers" / "classes.json").write_text("{}")
    assert metadata.read_bytes() == b"\xef\xbb\xbf{}"
