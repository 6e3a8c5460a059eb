"""A service in this process: a tiny model, a small slide, real requests."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from bench import Bench
from live import TOKEN, Running, listening

from wsi_suite.analysis.worker_cache import close_all
from wsi_suite.detector.detector import Compute
from wsi_suite.detector.model_folder import find_model
from wsi_suite.service.analyst import Analyst
from wsi_suite.service.app import make_app
from wsi_suite.service.guard import Guard
from wsi_suite.service.jobs import JobQueue
from wsi_suite.service.roots import Roots


@pytest.fixture
def service(bench: Bench) -> Iterator[Running]:
    """A service that may read the slide's folder."""
    model = find_model(bench.model)
    analyst = Analyst({model.spec.name: model}, Compute("cpu", "fp32", 1))
    jobs, roots = JobQueue(analyst), Roots([bench.slide.parent])
    guard = Guard(make_app(analyst, jobs, roots, local=True), token=TOKEN, hosts=("localhost",))
    headers = {"authorization": f"Bearer {TOKEN}"}
    with (
        listening(guard) as address,
        httpx.Client(base_url=address, headers=headers, timeout=60) as client,
    ):
        yield Running(client, analyst, jobs, roots)
    jobs.close(seconds=30)
    close_all()
