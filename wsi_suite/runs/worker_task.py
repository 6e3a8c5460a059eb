"""What a worker does with a block, as a task of Dask."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from wsi_suite.analysis.blocks import SlideJob, process_block
from wsi_suite.analysis.worker_cache import fitting_threads
from wsi_suite.geometry import Box
from wsi_suite.runs.gpus import claim_gpu
from wsi_suite.runs.probing import Check, fault
from wsi_suite.runs.records import BlockResult
from wsi_suite.slides.grid import Block

if TYPE_CHECKING:
    from distributed import Worker


class Unfit(NamedTuple):
    """Answer of a worker that cannot do a block.

    Attributes
    ----------
    worker
        Its address.
    reason
        Why, in one line that names the worker.
    """

    worker: str
    reason: str


def block_task(
    topic: str, key: str, job: SlideJob, block: Block, check: Check | None = None
) -> BlockResult | Unfit:
    """Dask task: do one block on a worker and report its progress.

    With a `check` the worker is one of a cluster: it is refused if it does not pass, and works with
    as many threads as Dask has given it.
    """
    from distributed import get_worker

    worker = get_worker()
    if check is not None:
        reason = fault(check)
        if reason is not None:
            return Unfit(worker.address, f"worker {worker.address}: {reason}")
        job = replace(job, threads=_threads_of(worker))
    lost: list[Box] = []
    nuclei = process_block(
        job,
        block,
        gpu=_own_gpu(job, worker.name, several=check is not None),
        report=lambda pixels: worker.log_event(topic, (key, pixels)),
        lose=lost.append,
    )
    return BlockResult(nuclei, tuple(lost))


def _threads_of(worker: Worker) -> int:
    """Return how many threads of a cluster's worker fit into its memory, at most Dask's number."""
    limit = worker.memory_manager.memory_limit
    threads: int = worker.state.nthreads
    return threads if limit is None else min(threads, fitting_threads(limit))


def _own_gpu(job: SlideJob, name: object, *, several: bool) -> int:
    """Return the GPU of a worker: ours are numbered, those of a cluster claim one."""
    if job.detect is None or job.detect.compute.device != "cuda":
        return 0
    if several:
        return claim_gpu()
    import torch

    return name % torch.cuda.device_count() if isinstance(name, int) else 0
