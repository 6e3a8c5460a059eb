"""Where blocks are worked on: in this process, in processes of this machine, or on a cluster."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wsi_suite.analysis.blocks import SlideJob
from wsi_suite.analysis.worker_cache import close_all, open_detector, usable_threads
from wsi_suite.config import RunSettings
from wsi_suite.errors import ConfigError, WorkerError
from wsi_suite.runs.connecting import connect
from wsi_suite.runs.probing import Check, ask_workers
from wsi_suite.runs.roll import BLOCKS_PER_WORKER, Demand, Roll
from wsi_suite.runs.worker_task import Unfit, block_task
from wsi_suite.slides.grid import Block

if TYPE_CHECKING:
    from distributed import Client, Future

    from wsi_suite.detector.detector import Compute
    from wsi_suite.detector.model_folder import ModelFolder
    from wsi_suite.runs.records import BlockResult

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cluster:
    """Workers to send blocks to.

    Attributes
    ----------
    client
        Dask's.
    threads
        Threads of each worker; of a cluster, of the largest one at the start.
    topic
        Under which workers report.
    size
        Number of workers in this process or on this machine; 0 with a `roll`.
    roll
        The workers of a cluster, which may be other machines, and come and go.
    demand
        How many of them the work could use.
    """

    client: Client
    threads: int
    topic: str
    size: int = 0
    roll: Roll | None = None
    demand: Demand = field(default_factory=Demand)

    @property
    def remote(self) -> bool:
        """Whether workers may be other machines."""
        return self.roll is not None

    @property
    def lost(self) -> bool:
        """Whether a cluster's scheduler was lost, so that no work comes back."""
        return self.roll is not None and self.roll.lost

    @property
    def alone(self) -> bool:
        """Whether the only worker lives in this process."""
        return self.size == 1

    @property
    def window(self) -> int:
        """Blocks in flight at once, which bounds the memory; it follows the number of workers."""
        if self.roll is not None:
            return len(self.roll.workers()) * BLOCKS_PER_WORKER
        return self.size * BLOCKS_PER_WORKER + 1

    def submit(
        self,
        key: str,
        job: SlideJob,
        block: Block,
        *,
        check: Check | None = None,
        worker: str | None = None,
    ) -> Future[BlockResult | Unfit]:
        """Send a block to a worker.

        Parameters
        ----------
        key
            Names the block's run where progress is reported.
        job, block
            The work.
        check
            What a worker of a cluster needs for it.
        worker
            Address of the worker that should do it; another one does, if that has left.
        """
        where: dict[str, Any] = {}
        if worker is not None:
            where = {"workers": [worker], "allow_other_workers": True}
        future: Future[BlockResult | Unfit] = self.client.submit(
            block_task, self.topic, key, job, block, check, pure=False, **where
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
        answers = ask_workers(self.client, choose_compute, device, precision, flips=flips)
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
    tell: Callable[[str], object] = log.info,
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
    tell
        Receives remarks, such as that workers are waited for.

    Raises
    ------
    ConfigError
        No scheduler answers at the address, or it has no workers; the cluster cannot be started.
    WorkerError
        No worker of the cluster has joined in time.
    """
    from distributed.utils import silence_logging_cmgr

    from wsi_suite.runs.local_workers import local_client

    _refuse_several(settings)
    topic = f"wsi-suite-{uuid.uuid4().hex}"
    with ExitStack() as stack:
        if settings.scheduler or settings.cluster:
            demand = Demand()
            if settings.cluster:
                from wsi_suite.runs.cluster_start import start_cluster

                started = start_cluster(settings.cluster, demand=demand, tell=tell)
                client = stack.enter_context(started)
            else:
                # Dask logs tracebacks of a scheduler that ends; one line of ours tells it.
                stack.enter_context(silence_logging_cmgr(logging.CRITICAL))
                client = connect(settings, timeout_s=connect_s)
                stack.callback(client.close)
            roll = Roll(client)
            threads = max(roll.workers().values(), default=1)
            cluster = Cluster(client, threads, topic, roll=roll, demand=demand)
        else:
            count = settings.workers or _default_workers(device)
            client = stack.enter_context(local_client(count, threads=BLOCKS_PER_WORKER))
            stack.push(_let_go)
            cluster = Cluster(client, usable_threads(count), topic, size=count)
        client.subscribe_topic(topic, lambda event: progress(*event[1]))
        yield cluster


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


def _refuse_several(settings: RunSettings) -> None:
    """Refuse settings that name workers in more than one way."""
    given = [name for name in ("scheduler", "cluster", "workers") if getattr(settings, name)]
    if len(given) > 1:
        raise ConfigError(
            f"--{given[0]}: not with --{given[1]}, as both say where the work is done; give one"
        )


def _let_go(kind: type[BaseException] | None, *_: object) -> None:
    """Close the files of blocks in this process; on interruption, drop waiting blocks."""
    close_all(abandon=kind is not None)


def _default_workers(device: str) -> int:
    if device == "cpu":
        return 1
    import torch

    from wsi_suite.detector.detector import resolve_device

    return torch.cuda.device_count() if resolve_device(device) == "cuda" else 1
