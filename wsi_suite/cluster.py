"""Where regions are worked on: in this process, in processes of this machine, or on a cluster."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsi_suite.config import RunSettings
from wsi_suite.engine import SlideJob, process_region
from wsi_suite.errors import ConfigError, WorkerError
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.run_folder import RUN_FILE, library_versions
from wsi_suite.slides.grid import Region
from wsi_suite.slides.identity import SlideIdentity
from wsi_suite.worker import close_all, usable_threads

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster

    from wsi_suite.nuclei.detector import Compute
    from wsi_suite.nuclei.weights import ModelFolder

log = logging.getLogger(__name__)

_TASKS_PER_WORKER = 2  # while one region ends, the next is being read
_CONNECT_SECONDS = 10


@dataclass(frozen=True)
class Cluster:
    """Workers to send regions to.

    Attributes
    ----------
    client
        Dask's.
    threads
        Threads of each worker.
    window
        Regions in flight at once, which bounds the memory.
    remote
        Whether workers may be other machines.
    topic
        Under which workers report.
    """

    client: Client
    threads: int
    window: int
    remote: bool
    topic: str

    def submit(self, key: str, job: SlideJob, region: Region) -> Future[Nuclei | None]:
        """Send a region to a worker; `key` names its run where progress is reported."""
        future: Future[Nuclei | None] = self.client.submit(
            region_task, self.topic, key, job, region, pure=False
        )
        return future

    def choose_compute(self, device: str, precision: str) -> Compute:
        """Settle how forward passes are run, on the machine that runs them.

        Raises
        ------
        ModelError
            The device is not there.
        """
        from wsi_suite.nuclei.detector import choose_compute

        if not self.remote:
            return choose_compute(device, precision)
        compute: Compute = self.client.submit(
            choose_compute, device, precision, pure=False
        ).result()
        return compute


@contextmanager
def open_cluster(
    settings: RunSettings, *, device: str, progress: Callable[[str, int], None]
) -> Iterator[Cluster]:
    """Start workers here, or connect to a scheduler.

    Parameters
    ----------
    settings
        Workers and scheduler.
    device
        What the user asks for: on several GPUs one process each is the default.
    progress
        Called with a run's key and the number of working pixels that are done, from any thread.

    Raises
    ------
    ConfigError
        No scheduler answers at the address, or it has no workers.
    """
    with ExitStack() as stack:
        if settings.scheduler:
            client = _connect(settings.scheduler)
            stack.callback(client.close)
            count, threads = _workers_of(client, settings.scheduler)
        else:
            count = settings.workers or _default_workers(device)
            threads = usable_threads(count)
            client = stack.enter_context(_local_client(count))
            stack.push(_let_go)
        topic = f"wsi-suite-{uuid.uuid4().hex}"
        client.subscribe_topic(topic, lambda event: progress(*event[1]))
        window = count * _TASKS_PER_WORKER + 1
        yield Cluster(client, threads, window, remote=bool(settings.scheduler), topic=topic)


def region_task(topic: str, key: str, job: SlideJob, region: Region) -> Nuclei | None:
    """Do one region on a worker and report as it goes; what Dask is given."""
    from distributed import get_worker

    worker = get_worker()
    return process_region(
        job,
        region,
        gpu=_own_gpu(job, worker.name),
        report=lambda pixels: worker.log_event(topic, (key, pixels)),
    )


def probe_workers(
    client: Client,
    *,
    slide: Path | None,
    identity: SlideIdentity,
    folder: Path,
    model: ModelFolder,
) -> None:
    """Ask every worker whether it can do the work, and refuse with the reason.

    Parameters
    ----------
    client
        Dask's.
    slide, identity
        The slide's file, if it is read, and what it is.
    folder
        The results folder, claimed.
    model
        The model.

    Raises
    ------
    WorkerError
        A worker cannot read the slide, write the output, or has another model or version.
    """
    answers: dict[str, Any] = client.run(
        _probe,
        slide=slide,
        identity=identity,
        folder=folder,
        model=model.path.resolve(),
        model_hash=model.hash,
        on_error="return",
    )
    here = library_versions()
    for worker, answer in answers.items():
        if isinstance(answer, BaseException):
            raise WorkerError(f"worker {worker}: {answer}")
        for name, version in here.items():
            if answer.get(name) != version:
                raise WorkerError(
                    f"worker {worker}: has {name} {answer.get(name)}, this machine {version}; "
                    "install the same versions"
                )


def _probe(
    *, slide: Path | None, identity: SlideIdentity, folder: Path, model: Path, model_hash: str
) -> dict[str, str]:
    """Return this worker's versions, or raise what keeps it from working."""
    from wsi_suite.nuclei.weights import find_model

    if slide is not None and SlideIdentity.of(slide).content != identity.content:
        raise WorkerError(f"has another file at {slide}; share the slides' folder")
    if not (folder / RUN_FILE).exists():
        raise WorkerError(f"does not see {folder}; share the results' folder")
    if not os.access(folder, os.W_OK):
        raise WorkerError(f"cannot write {folder}; share the results' folder")
    if find_model(model).hash != model_hash:
        raise WorkerError(f"has another model at {model}; give all workers the same")
    return library_versions()


def _connect(address: str) -> Client:
    from distributed import Client

    try:
        return Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"--scheduler {address}: no Dask scheduler answers ({error}); start one with "
            "'dask scheduler', then workers with 'dask worker ADDRESS'"
        ) from None


def _workers_of(client: Client, address: str) -> tuple[int, int]:
    """Return how many workers a scheduler has, and how many threads the largest one has."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if not workers:
        raise ConfigError(
            f"--scheduler {address}: it has no workers; start some with 'dask worker {address}'"
        )
    return len(workers), max(worker["nthreads"] for worker in workers.values())


@contextmanager
def _local_client(count: int) -> Iterator[Client]:
    """Start `count` workers here: one lives in this process, several have processes of their own.

    Dask's own limit of memory is off, since our queues bound it. A region that falls with its
    worker comes back at once, with whatever else was on that worker: we know what to do then.
    """
    from distributed import Client, LocalCluster

    cluster = LocalCluster(
        n_workers=count,
        threads_per_worker=_TASKS_PER_WORKER,
        processes=count > 1,
        memory_limit=None,
        protocol="tcp",
        host="127.0.0.1",  # nothing listens to other machines
        silence_logs=logging.CRITICAL,
        dashboard_address=None,
        scheduler_kwargs={
            "allowed_failures": 0,
            "dashboard": False,
            "dashboard_address": "127.0.0.1:0",  # its web server cannot be left out
        },
    )
    try:
        with Client(cluster, set_as_default=False) as client:
            yield client
    finally:
        _close(cluster)


def _close(cluster: LocalCluster) -> None:
    """End the workers; those that a busy machine is slow to end die with this process."""
    logger = logging.getLogger("tornado.application")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        cluster.close()
    except TimeoutError:
        log.debug("workers are slow to end", exc_info=True)
    finally:
        logger.setLevel(level)


def _let_go(kind: type[BaseException] | None, *_: object) -> None:
    """Close what regions in this process have opened; where we are being stopped, drop them."""
    close_all(abandon=kind is not None)


def _default_workers(device: str) -> int:
    if device == "cpu":
        return 1
    import torch

    from wsi_suite.nuclei.detector import resolve_device

    return torch.cuda.device_count() if resolve_device(device) == "cuda" else 1


def _own_gpu(job: SlideJob, name: object) -> int:
    """Return the GPU of a worker: those of one machine are numbered, others see their own only."""
    if job.detect is None or job.detect.compute.device != "cuda" or not isinstance(name, int):
        return 0
    import torch

    return name % torch.cuda.device_count()
