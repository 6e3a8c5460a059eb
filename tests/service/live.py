"""A real server in a thread, for tests that send real requests."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import uvicorn
from starlette.types import ASGIApp

from wsi_suite.service.analyst import Analyst
from wsi_suite.service.jobs import JobQueue
from wsi_suite.service.roots import Roots

TOKEN = "right"


@dataclass(frozen=True)
class Running:
    """A service that runs."""

    client: httpx.Client
    analyst: Analyst
    jobs: JobQueue
    roots: Roots

    def submit(self, slide: Path, **asked: Any) -> httpx.Response:
        """Ask for a job."""
        return self.client.post("/v1/jobs", json={"slide": str(slide), **asked})

    def job(self, answer: httpx.Response) -> dict[str, Any]:
        """Wait until a job that was asked for is over, and return it."""
        assert answer.status_code == 202, answer.text
        while True:
            job = self.client.get(f"/v1/jobs/{answer.json()['id']}").json()
            if job["state"] not in ("queued", "running"):
                return job


@contextmanager
def listening(app: ASGIApp) -> Iterator[str]:
    """Serve an application while the block runs; yield its address."""
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        thread = Thread(target=server.run, kwargs={"sockets": [taken]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.005)
            yield f"http://127.0.0.1:{taken.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
