"""``wsi-suite serve`` as a process of its own: how it is found, how it ends, what it leaves."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from bench import Bench

from wsi_suite.service.discovery import Service, read_service

pytestmark = pytest.mark.slow

START_SECONDS = 240  # importing torch on a busy machine
posix = pytest.mark.skipif(sys.platform == "win32", reason="no signals to one process there")


@dataclass(frozen=True)
class Started:
    """A service that was started, and where it says it is."""

    process: subprocess.Popen[str]
    file: Path

    @property
    def told(self) -> Service:
        service = read_service(self.file)
        assert service is not None
        return service

    def client(self) -> httpx.Client:
        told = self.told
        return httpx.Client(
            base_url=f"http://{told.host}:{told.port}",
            headers={"authorization": f"Bearer {told.token}"},
            timeout=60,
        )

    def ended(self) -> tuple[int, str]:
        """Wait for the end; return exit code and all that was said."""
        out, err = self.process.communicate(timeout=60)
        assert out == ""
        return self.process.returncode, err


def command(*options: object) -> list[str]:
    return [sys.executable, "-m", "wsi_suite", "serve", *map(str, options)]


def environment(file: Path) -> dict[str, str]:
    return {**os.environ, "WSI_SUITE_SERVICE_FILE": str(file), "OMP_NUM_THREADS": "1"}


@contextmanager
def started(file: Path, *options: object) -> Iterator[Started]:
    """Start a service and wait until it has told where it is."""
    with subprocess.Popen(
        command(*options),
        env=environment(file),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        try:
            service = Started(process, file)
            wait_for(lambda: (told := read_service(file)) and told.pid == process.pid, process)
            yield service
        finally:
            if process.poll() is None:
                process.kill()


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + START_SECONDS
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def done(client: httpx.Client, slide: Path) -> dict[str, object]:
    job = client.post("/v1/jobs", json={"slide": str(slide)}).json()
    while job["state"] in ("queued", "running"):
        time.sleep(0.02)
        job = client.get(f"/v1/jobs/{job['id']}").json()
    return job


@posix
def test_a_service_from_start_to_end(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "home" / "service.json"
    root = os.path.relpath(bench.slide.parent)
    options = ("--allow-root", root, "--model", bench.model, "--device", "cpu")
    with started(file, *options) as service, service.client() as client:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        told = service.told
        assert told.host == "127.0.0.1"
        assert client.get("/v1/health").json()["pid"] == told.pid

        again = subprocess.run(
            command("--allow-root", tmp_path),
            check=False,
            env=environment(file),
            capture_output=True,
            text=True,
        )
        assert again.returncode == 2
        assert f"127.0.0.1:{told.port} (process {told.pid})" in again.stderr
        assert service.told == told, "the first one's file stays"

        with service.client() as other, ThreadPoolExecutor(2) as pool:
            jobs = list(pool.map(done, (client, other), [bench.slide] * 2))
        assert [job["state"] for job in jobs] == ["done", "done"]
        assert jobs[0]["summary"] == jobs[1]["summary"]

        for _ in range(20):
            waiting = client.post("/v1/jobs", json={"slide": str(bench.slide)}).json()
        cancelled = client.delete(f"/v1/jobs/{waiting['id']}").json()
        assert cancelled["state"] == "cancelled"
        service.process.send_signal(signal.SIGTERM)
        code, said = service.ended()
    assert code == 0
    assert said.splitlines() == [f"ready: http://127.0.0.1:{told.port} (process {told.pid})"]
    assert not file.exists()


@posix
def test_ctrl_c_ends_it_and_what_a_crash_left_does_not_matter(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "service.json"
    file.write_text('{"pid": 1, "host": "127.0.0.1", "port": 1, "token": "t", "version": "0"}')
    with started(file, "--model", bench.model, "--device", "cpu") as service:
        with service.client() as client:
            assert client.post("/v1/jobs", json={"slide": str(bench.slide)}).status_code == 403
        service.process.send_signal(signal.SIGINT)
        code, said = service.ended()
    assert code == 130
    assert said.splitlines()[1:] == ["error: interrupted"]
    assert not file.exists()


def test_an_idle_service_ends(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "service.json"
    options = ("--model", bench.model, "--device", "cpu", "--idle-minutes", 0.02)
    with started(file, *options) as service:
        code, _ = service.ended()
    assert code == 0
    assert not file.exists()
