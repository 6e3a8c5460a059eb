"""``serve``: what is refused before anything is served; tests/service has the rest."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from command_line import Cli

from wsi_suite.service.discovery import only_service


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a service would say where it is."""
    monkeypatch.setenv("WSI_SUITE_SERVICE_FILE", str(tmp_path / "service.json"))
    return tmp_path / "service.json"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--allow-root", "absent"], "absent: no such folder"),
        (["--allow-root", "/"], "the whole disk of the system"),
        (["--model", "nonsense"], "model 'nonsense' is neither a known name nor a folder"),
        (["--device", "gpu"], "device 'gpu' is not on this machine"),
        (["--host", "256.0.0.1"], "--host 256.0.0.1"),
        (["--port", "65536"], "65536"),
        (["--idle-minutes", "0"], "--idle-minutes"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(
    wsi: Cli, file: Path, options: list[str], reason: str
) -> None:
    answer = wsi("serve", *options)
    assert answer.code == 2
    (error,) = answer.errors
    assert reason in error
    assert not file.exists()


def test_a_port_that_is_taken_is_refused(wsi: Cli, file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        answer = wsi("serve", "--port", taken.getsockname()[1])
    assert answer.code == 2
    assert "give another port, or 0 for a free one" in answer.errors[0]


def test_a_second_service_is_refused(wsi: Cli, file: Path) -> None:
    with only_service(file):
        answer = wsi("serve")
    assert answer.code == 2
    assert answer.errors == [
        "error: a service of yours is starting already; use it, or end it first"
    ]


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.7"])
def test_listening_to_other_machines_is_warned_of(wsi: Cli, file: Path, host: str) -> None:
    answer = wsi("serve", "--host", host, "--allow-root", "absent")
    assert f"note: --host {host}: other machines can reach the service" in answer.err
    for own in ("localhost", "127.0.0.2", "::1"):
        assert "note:" not in wsi("serve", "--host", own, "--allow-root", "absent").err
