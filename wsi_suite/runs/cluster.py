"""Where blocks are worked on: in this process, in processes of this machine, or on a cluster."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsi_suite.analysis.blocks import SlideJob, process_block
from wsi_suite.analysis.worker_cache import close_all, open_detector, usable_threads
from wsi_suite.config import RunSettings
from wsi_suite.documents import RUN_FILE
from wsi_suite.errors import ConfigError, WorkerError
from wsi_suite.geometry import Box
from wsi_suite.runs.folder import library_versions
from wsi_suite.runs.records import BlockResult
from wsi_suite.slides.grid import Block
from wsi_suite.slides.identity import SlideIdentity

if TYPE_CHECKING:
    from distributed import Client, Future, Security

    from wsi_suite.detector.detector import Compute
    from wsi_suite.detector.model_folder import ModelFolder

_TASKS_PER_WORKER = 2  # while one block ends, the next is being read


@dataclass(frozen=True)
class Cluster:
    """Workers to send blocks to.

    Attributes
    ----------
    client
        Dask's.
    threads
        Threads of each worker.
    window
        Blocks in flight at once, which bounds the memory.
    remote
        Whether workers may be other machines.
    alone
        Whether the only worker lives in this process.
    topic
        Under which workers report.
    """

    client: Client
    threads: int
    window: int
    remote: bool
    alone: bool
    topic: str

    def submit(self, key: str, job: SlideJob, block: Block) -> Future[BlockResult]:
        """Send a block to a worker; `key` names its run where progress is reported."""
        future: Future[BlockResult] = self.client.submit(
            block_task, self.topic, key, job, block, pure=False
        )
        return future

    def choose_compute(self, device: str, precision: str, *, flips: bool = False) -> Compute:
        """Settle how forward passes are run, with all workers alike.

        Raises
        ------
        ModelError, WorkerError
            The device is not there, or workers have different ones.
        """
        from wsi_suite.detector.detector import choose_compute

        if not self.remote:
            return choose_compute(device, precision, flips=flips)
        answers: dict[str, Any] = self.client.run(
            choose_compute, device, precision, flips=flips, on_error="return"
        )
        for worker, answer in answers.items():
            if isinstance(answer, BaseException):
                raise WorkerError(f"worker {worker}: {answer}")
        return common_compute(answers)

    def load_model(self, model: ModelFolder, compute: Compute) -> None:
        """Load a model: damaged weights are refused before anything is begun.

        A worker in this process has it from then on.

        Raises
        ------
        ModelError
            Its weights cannot be used.
        """
        from wsi_suite.detector.model_folder import load_network

        if self.alone:
            open_detector(model.path.resolve(), model_hash=model.hash, compute=compute, gpu=0)
        else:
            load_network(model)


@contextmanager
def open_cluster(
    settings: RunSettings,
    *,
    device: str,
    progress: Callable[[str, int], None],
    connect_s: float = 10,
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
    connect_s
        How long to wait for the scheduler to answer, in seconds.

    Raises
    ------
    ConfigError
        No scheduler answers at the address, or it has no workers.
    """
    from wsi_suite.runs.local_workers import local_client

    with ExitStack() as stack:
        if settings.scheduler:
            client = _connect(settings, timeout_s=connect_s)
            stack.callback(client.close)
            count, threads = _workers_of(client, settings.scheduler)
        else:
            count = settings.workers or _default_workers(device)
            threads = usable_threads(count)
            client = stack.enter_context(local_client(count, threads=_TASKS_PER_WORKER))
            stack.push(_let_go)
        topic = f"wsi-suite-{uuid.uuid4().hex}"
        client.subscribe_topic(topic, lambda event: progress(*event[1]))
        window = count * _TASKS_PER_WORKER + 1
        remote = bool(settings.scheduler)
        alone = count == 1 and not remote
        yield Cluster(client, threads, window, remote=remote, alone=alone, topic=topic)


def common_compute(choices: dict[str, Compute]) -> Compute:
    """Return how all workers compute: results must not depend on which one gets a block."""
    (first, compute), *others = sorted(choices.items())
    for worker, other in others:
        if other.device != compute.device:
            raise WorkerError(
                f"worker {first} would compute on {compute.device}, worker {worker} on "
                f"{other.device}, which give different results; name one with --device"
            )
    return compute


def block_task(topic: str, key: str, job: SlideJob, block: Block) -> BlockResult:
    """Dask task: do one block on a worker and report its progress."""
    from distributed import get_worker

    worker = get_worker()
    lost: list[Box] = []
    nuclei = process_block(
        job,
        block,
        gpu=_own_gpu(job, worker.name),
        report=lambda pixels: worker.log_event(topic, (key, pixels)),
        lose=lost.append,
    )
    return BlockResult(nuclei, tuple(lost))


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
    """Return the versions of this worker, or raise the reason that it cannot work."""
    from wsi_suite.detector.model_folder import find_model

    if slide is not None and SlideIdentity.of(slide).content != identity.content:
        raise WorkerError(f"has another file at {slide}; share the slides' folder")
    if not (folder / RUN_FILE).exists():
        raise WorkerError(f"does not see {folder}; share the results' folder")
    if not os.access(folder, os.W_OK):
        raise WorkerError(f"cannot write {folder}; share the results' folder")
    if find_model(model).hash != model_hash:
        raise WorkerError(f"has another model at {model}; give all workers the same")
    return library_versions()


def _connect(settings: RunSettings, *, timeout_s: float) -> Client:
    from distributed import Client

    address = settings.scheduler
    try:
        return Client(
            address,
            security=_security(settings),
            timeout=timeout_s,
            set_as_default=False,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"--scheduler {address}: no Dask scheduler answers ({error}); start one with "
            "'dask scheduler', then workers with 'dask worker ADDRESS'"
        ) from None


def _security(settings: RunSettings) -> Security:
    """Return the certificates for a scheduler: from our settings, else from Dask's own.

    Raises
    ------
    ConfigError
        A file is not there, or is no certificate or key.
    """
    from distributed import Security

    files = {
        "tls_ca_file": settings.tls_ca_file,
        "tls_client_cert": settings.tls_cert,
        "tls_client_key": settings.tls_key,
    }
    given = {name: str(file) for name, file in files.items() if file is not None}
    try:
        security = Security(**given)
        context = security.get_connection_args("client")["ssl_context"]  # reads the files
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        names = ", ".join(given.values()) or "Dask's distributed.comm.tls settings"
        raise ConfigError(
            f"--scheduler {settings.scheduler}: its certificates cannot be used ({names}: "
            f"{reason}); expected PEM files in run.tls_ca_file, run.tls_cert and run.tls_key"
        ) from None
    if context is None and str(settings.scheduler).startswith(("tls://", "wss://")):
        raise ConfigError(
            f"--scheduler {settings.scheduler}: it wants a certificate; give run.tls_ca_file, "
            "run.tls_cert and run.tls_key, or Dask's distributed.comm.tls settings"
        )
    return security


def _workers_of(client: Client, address: str) -> tuple[int, int]:
    """Return how many workers a scheduler has, and how many threads the largest one has."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if not workers:
        raise ConfigError(
            f"--scheduler {address}: it has no workers; start some with 'dask worker {address}'"
        )
    return len(workers), max(worker["nthreads"] for worker in workers.values())


def _let_go(kind: type[BaseException] | None, *_: object) -> None:
    """Close the files of blocks in this process; on interruption, drop waiting blocks."""
    close_all(abandon=kind is not None)


def _default_workers(device: str) -> int:
    if device == "cpu":
        return 1
    import torch

    from wsi_suite.detector.detector import resolve_device

    return torch.cuda.device_count() if resolve_device(device) == "cuda" else 1


def _own_gpu(job: SlideJob, name: object) -> int:
    """Return the GPU of a worker: those of one machine are numbered, others see their own only."""
    if job.detect is None or job.detect.compute.device != "cuda" or not isinstance(name, int):
        return 0
    import torch

    return name % torch.cuda.device_count()
