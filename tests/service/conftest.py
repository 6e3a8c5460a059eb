"""A service in this process: a tiny model, a small slide, real requests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from live import TOKEN, listening
from runs import Bench

from wsi_suite.nuclei.detector import Compute
from wsi_suite.nuclei.weights import find_model
from wsi_suite.service.analyst import Analyst
from wsi_suite.service.app import make_app
from wsi_suite.service.guard import Guard
from wsi_suite.service.jobs import JobQueue
from wsi_suite.service.roots import Roots
from wsi_suite.worker import close_all


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


@pytest.fixture
def service(bench: Bench) -> Iterator[Running]:
    """A service that may read the slide's folder."""
    model = find_model(bench.model)
    analyst = Analyst({model.spec.name: model}, Compute("cpu", "fp32", 1))
    jobs, roots = JobQueue(analyst), Roots([bench.slide.parent])
    guard = Guard(make_app(analyst, jobs, roots), token=TOKEN, hosts=("localhost",))
    headers = {"authorization": f"Bearer {TOKEN}"}
    with (
        listening(guard) as address,
        httpx.Client(base_url=address, headers=headers, timeout=60) as client,
    ):
        yield Running(client, analyst, jobs, roots)
    jobs.close(seconds=30)
    close_all()
