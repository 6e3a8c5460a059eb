"""The file by which the service is found."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from wsi_suite.errors import OutputConflictError, OutputError
from wsi_suite.service import discovery
from wsi_suite.service.discovery import (
    Service,
    announced,
    discovery_file,
    only_service,
    read_service,
)

HERE = Service(
    pid=os.getpid(), host="127.0.0.1", port=4711, token="secret", version="0.1.0",
    started="2026-01-01T00:00:00+00:00",
)  # fmt: skip


def test_the_file_tells_all_to_its_user_alone(tmp_path: Path) -> None:
    file = tmp_path / "service.json"
    before = os.umask(0)  # the most that others could ever be given
    try:
        with announced(file, HERE):
            assert json.loads(file.read_text()) == {
                "pid": os.getpid(), "host": "127.0.0.1", "port": 4711, "token": "secret",
                "version": "0.1.0", "started": "2026-01-01T00:00:00+00:00",
            }  # fmt: skip
            assert read_service(file) == HERE
            if sys.platform != "win32":
                assert stat.S_IMODE(file.stat().st_mode) == 0o600
    finally:
        os.umask(before)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
def test_nobody_else_can_read_it_at_any_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []
    opened = os.open

    def watched(path: Path, flags: int, mode: int = 0o777) -> int:
        descriptor = opened(path, flags, mode)
        if flags & os.O_CREAT:
            modes.append((flags & os.O_EXCL, stat.S_IMODE(os.fstat(descriptor).st_mode)))
        return descriptor

    monkeypatch.setattr(discovery.os, "open", watched)
    with announced(tmp_path / "service.json", HERE):
        pass
    assert modes == [(os.O_EXCL, 0o600)]


def test_what_a_crash_left_is_replaced_and_what_another_wrote_stays(tmp_path: Path) -> None:
    file = tmp_path / "service.json"
    file.write_text("{half")
    assert read_service(file) is None
    other = replace(HERE, pid=1, token="other")
    with announced(file, HERE):
        assert read_service(file) == HERE
        with announced(file, other):
            file_of_other = file.read_bytes()
            assert read_service(file) == other
        assert not file.exists()
        file.write_bytes(file_of_other)
    assert read_service(file) == other


@pytest.mark.parametrize("text", ["", "[]", "null", '{"pid": 1}', '{"pid": 1, "extra": 2}'])
def test_damaged_files_tell_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "service.json").write_text(text)
    assert read_service(tmp_path / "service.json") is None


def test_each_user_has_one_service(tmp_path: Path) -> None:
    file = tmp_path / "home" / "service.json"
    with only_service(file):
        with (
            pytest.raises(OutputConflictError, match="is starting already") as refused,
            only_service(file),
        ):
            pass
        assert refused.value.exit_code == 2
        with (
            announced(file, HERE),
            pytest.raises(OutputConflictError, match=rf"127.0.0.1:4711 \(process {os.getpid()}\)"),
            only_service(file),
        ):
            pass
    with only_service(file):
        pass


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    with (
        pytest.raises(OutputError, match="WSI_SUITE_SERVICE_FILE"),
        only_service(tmp_path / "home" / "service.json"),
    ):
        pass
    (tmp_path / "service.json").mkdir()
    with (
        pytest.raises(OutputError, match="WSI_SUITE_SERVICE_FILE"),
        announced(tmp_path / "service.json", HERE),
    ):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "service.json"]


def test_the_environment_names_another_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WSI_SUITE_SERVICE_FILE", raising=False)
    assert discovery_file() == Path.home() / ".wsi-suite" / "service.json"
    monkeypatch.setenv("WSI_SUITE_SERVICE_FILE", "elsewhere.json")
    assert discovery_file() == Path("elsewhere.json")


def test_windows_gives_the_file_to_its_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = []
    codes = iter([0, 5])

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        commands.append(command)
        assert (tmp_path / "x").read_bytes() == b"", "restricted before anything is in it"
        return subprocess.CompletedProcess(command, next(codes))

    monkeypatch.setattr(discovery.sys, "platform", "win32")
    monkeypatch.setattr(discovery.subprocess, "run", run)
    monkeypatch.setattr(discovery.getpass, "getuser", lambda: "ana")
    monkeypatch.setenv("USERDOMAIN", "LAB")
    discovery.write_private(tmp_path / "x", "token")
    assert (tmp_path / "x").read_text() == "token"
    assert commands[0][1:] == [str(tmp_path / "x"), "/inheritance:r", "/grant:r", "LAB\\ana:F"]
    (tmp_path / "x").unlink()
    with pytest.raises(OSError, match="icacls ended with 5"):
        discovery.write_private(tmp_path / "x", "token")
    assert (tmp_path / "x").read_bytes() == b""
