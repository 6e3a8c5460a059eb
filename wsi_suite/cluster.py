"""Where regions are worked on: in this process, in processes of this machine, or on a cluster."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsi_suite.config import RunSettings
from wsi_suite.engine import GPU_VARIABLE, SlideJob, process_region, usable_threads
from wsi_suite.errors import ConfigError, WorkerError
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.run_folder import library_versions
from wsi_suite.slides.grid import Region

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)

PROGRESS_TOPIC = "wsi-suite-progress"

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
    """

    client: Client
    threads: int
    window: int
    remote: bool


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
        The resolved device: on several GPUs one process each is the default.
    progress
        Called with a run's key and the number of working pixels that are done, from any thread.

    Raises
    ------
    ConfigError
        No scheduler answers at the address.
    """
    from distributed import Client

    with ExitStack() as stack:
        if settings.scheduler:
            try:
                client = Client(settings.scheduler, timeout=_CONNECT_SECONDS)
            except (OSError, ValueError, TimeoutError) as error:
                raise ConfigError(
                    f"--scheduler {settings.scheduler}: no Dask scheduler answers ({error}); "
                    "start one with 'dask scheduler', then workers with 'dask worker ADDRESS'"
                ) from None
            workers = client.scheduler_info(n_workers=-1)["workers"]
            if not workers:
                client.close()
                raise ConfigError(
                    f"--scheduler {settings.scheduler}: it has no workers; start some with "
                    f"'dask worker {settings.scheduler}'"
                )
            threads, count = max(w["nthreads"] for w in workers.values()), len(workers)
        else:
            count = settings.workers or _default_workers(device)
            threads = usable_threads(count)
            client = _local_client(count, device=device, stack=stack)
        stack.callback(client.close)
        client.subscribe_topic(PROGRESS_TOPIC, lambda event: progress(*event[1]))
        yield Cluster(
            client,
            threads=threads,
            window=count * _TASKS_PER_WORKER + 1,
            remote=bool(settings.scheduler),
        )


def region_task(key: str, job: SlideJob, region: Region) -> Nuclei | None:
    """Do one region on a worker and report as it goes; what Dask is given."""
    from distributed import get_worker

    worker = get_worker()
    return process_region(
        job, region, report=lambda pixels: worker.log_event(PROGRESS_TOPIC, (key, pixels))
    )


def probe_workers(client: Client, *, slide: Path, folder: Path, model_hash: str, model: Path
                  ) -> None:
    """Ask every worker whether it can do the work, and refuse with the reason.

    Raises
    ------
    WorkerError
        A worker cannot read the slide, write the output, or has another model or version.
    """
    here = library_versions()
    answers = client.run(
        _probe, slide=slide, folder=folder, model=model, model_hash=model_hash, on_error="return"
    )
    for worker, answer in answers.items():
        if isinstance(answer, BaseException):
            raise WorkerError(f"worker {worker}: {answer}")
        for name, version in here.items():
            if answer.get(name) != version:
                raise WorkerError(
                    f"worker {worker}: has {name} {answer.get(name)}, this machine {version}; "
                    "install the same versions"
                )


def _probe(*, slide: Path, folder: Path, model: Path, model_hash: str) -> dict[str, str]:
    """Return this worker's versions, or raise what keeps it from working."""
    from wsi_suite.nuclei.weights import find_model

    try:
        with slide.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise WorkerError(f"cannot read {slide} ({error.strerror}); share the folder") from None
    if not os.access(folder, os.W_OK):
        raise WorkerError(f"cannot write {folder}; share the folder")
    if find_model(model).hash != model_hash:
        raise WorkerError(f"has another model at {model}; give all workers the same")
    return library_versions()


def _default_workers(device: str) -> int:
    if device != "cuda":
        return 1
    import torch

    return max(1, torch.cuda.device_count())


def _local_client(count: int, *, device: str, stack: ExitStack) -> Client:
    import dask
    from distributed import Client, LocalCluster, SpecCluster
    from distributed.nanny import Nanny
    from distributed.scheduler import Scheduler

    for name in ("distributed", "bokeh", "tornado"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Our own queues bound the memory; Dask would pause and kill workers by its own measure.
    stack.enter_context(dask.config.set({"distributed.worker.memory.target": False,
                                         "distributed.worker.memory.spill": False,
                                         "distributed.worker.memory.pause": False,
                                         "distributed.worker.memory.terminate": False}))
    if count == 1:
        cluster: Any = LocalCluster(
            n_workers=1, threads_per_worker=_TASKS_PER_WORKER, processes=False,
            memory_limit=None, dashboard_address=None,
        )
    else:
        options: dict[str, Any] = {"nthreads": _TASKS_PER_WORKER, "memory_limit": None,
                                   "host": "127.0.0.1", "dashboard": False}
        workers = {
            number: {"cls": Nanny,
                     "options": options | {"env": {GPU_VARIABLE: str(_gpu(number, device))}}}
            for number in range(count)
        }
        scheduler = {"cls": Scheduler,
                     "options": {"host": "127.0.0.1", "port": 0, "dashboard": False}}
        cluster = SpecCluster(scheduler=scheduler, workers=workers)
    stack.callback(cluster.close)
    return Client(cluster)


def _gpu(number: int, device: str) -> int:
    if device != "cuda":
        return 0
    import torch

    return number % max(1, torch.cuda.device_count())
