"""Cache of a worker between blocks: open files, the loaded model, threads.

Several threads ask for the same things at once, and a worker of a cluster may outlive many runs:
whatever may change on disk is kept under the name of one run only.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock, RLock
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from wsi_suite.errors import WorkerError
from wsi_suite.slides.slide import Raster, open_slide
from wsi_suite.slides.store import TileStore

if TYPE_CHECKING:
    from wsi_suite.detector.detector import Compute, Detector

P = ParamSpec("P")
T = TypeVar("T")

_FORWARD_BYTES = 800 * 2**20  # of one tile in float32, measured with resnet18
_MEMORY_SHARE = 0.6  # of what is available, for forward passes


class Threads(ThreadPoolExecutor):
    """A pool whose waiting work can be dropped.

    ``shutdown(cancel_futures=True)`` would leave those hanging that wait for the futures.
    """

    def __init__(self, count: int, name: str, *, begin: Callable[[], None] | None = None) -> None:
        super().__init__(count, name, initializer=begin)
        self._dropped = False

    def submit(
        self, function: Callable[P, T], /, *arguments: P.args, **named: P.kwargs
    ) -> Future[T]:
        """Have a thread call a function."""

        def call() -> T:
            if self._dropped:
                raise CancelledError
            return function(*arguments, **named)

        return super().submit(call)

    def drop(self) -> None:
        """Finish running work; waiting work raises CancelledError."""
        self._dropped = True
        self.shutdown(wait=False)


class AtOnce(Executor):
    """An executor without threads: who submits work does it."""

    def submit(
        self, function: Callable[P, T], /, *arguments: P.args, **named: P.kwargs
    ) -> Future[T]:
        """Call a function; its exceptions are raised here."""
        done: Future[T] = Future()
        done.set_result(function(*arguments, **named))
        return done


@dataclass(frozen=True)
class Pools:
    """Threads of a worker.

    Attributes
    ----------
    read
        They read pixels.
    detect
        They wait for pixels and find nuclei in them. Of a CPU there is one for each core; a GPU
        has two, so that one gets pixels ready while the other waits for the GPU.
    measure
        Has the nuclei measured that were found: on a CPU by the thread that found them, which has
        their pixels in its cache; beside a GPU by one thread for each core.
    compute
        One thread for each core: `detect` or `measure`.
    """

    read: Threads
    detect: Threads
    measure: Executor
    compute: Threads


_opening = RLock()
_forward = Lock()
_pools: dict[tuple[int, bool], Pools] = {}


@lru_cache(maxsize=4)
def _open_raster(slide: Path, mpp_given: float | None, read_mpp: float, _run: str) -> Raster:
    raster = open_slide(slide, mpp=mpp_given).raster(read_mpp)
    # Closed when it has left the cache and the last block that reads from it is over.
    weakref.finalize(raster, raster.slide.close)
    return raster


@lru_cache(maxsize=4)
def _open_store(path: Path, run: str) -> TileStore:
    return TileStore.open(path, writer=run)


@lru_cache(maxsize=1)
def _open_detector(model: Path, model_hash: str, compute: Compute, gpu: int) -> Detector:
    from wsi_suite.detector.detector import Detector
    from wsi_suite.detector.model_folder import find_model

    folder = find_model(model)
    if folder.hash != model_hash:
        raise WorkerError(f"{model}: differs from this run's model; give all workers the same")
    return Detector(folder, compute, gpu=gpu)


def open_raster(slide: Path, *, mpp_given: float | None, read_mpp: float, run: str) -> Raster:
    """Return a slide at its working resolution, opened once for a run."""
    with _opening:
        return _open_raster(slide, mpp_given, read_mpp, run)


def open_store(path: Path, *, run: str) -> TileStore:
    """Return a tile store, opened once for a run."""
    with _opening:
        return _open_store(path, run)


def open_detector(model: Path, *, model_hash: str, compute: Compute, gpu: int) -> Detector:
    """Return a detector, loaded once.

    Raises
    ------
    WorkerError
        The model here is another one than `model_hash` tells.
    """
    with _opening:
        return _open_detector(model, model_hash, compute, gpu)


def pools_of(threads: int, compute: Compute | None = None) -> Pools:
    """Return this worker's threads; `compute` is where nuclei are found, if any are."""
    key = threads, compute is not None and takes_turns(compute)
    with _opening:
        if key not in _pools:
            _pools[key] = _start_pools(*key)
        return _pools[key]


def _start_pools(threads: int, turns: bool) -> Pools:
    read = Threads(max(2, threads), "wsi-read")
    cores = Threads(threads, "wsi-compute", begin=_compute_on_one_core)
    if not turns:
        return Pools(read, detect=cores, measure=AtOnce(), compute=cores)
    return Pools(read, detect=Threads(2, "wsi-detect"), measure=cores, compute=cores)


def takes_turns(compute: Compute) -> bool:
    """Return whether threads share a device, a GPU; of a CPU each has a core."""
    return compute.device != "cpu"


@contextmanager
def device_turn(compute: Compute) -> Iterator[None]:
    """Hold the device for a forward pass: a GPU's memory has room for one."""
    if takes_turns(compute):
        with _forward:
            yield
    else:
        yield


def close_slides() -> None:
    """Let go of slides and stores; those that a block still reads are closed after it."""
    with _opening:
        _open_raster.cache_clear()
        _open_store.cache_clear()


def close_all(*, abandon: bool = False) -> None:
    """Let go of files and model.

    Parameters
    ----------
    abandon
        Drop all work that has not begun, too; blocks that are under way fail.
    """
    with _opening:
        close_slides()
        _open_detector.cache_clear()
        if abandon:
            for pools in _pools.values():
                for threads in (pools.read, pools.detect, pools.compute):
                    threads.drop()
            _pools.clear()


def usable_threads(workers: int) -> int:
    """Return how many threads each of `workers` on this machine can have, memory considered."""
    import psutil
    from dask.system import CPU_COUNT
    from distributed.system import MEMORY_LIMIT

    available = min(psutil.virtual_memory().available, MEMORY_LIMIT)
    fitting = int(available * _MEMORY_SHARE / workers / _FORWARD_BYTES)
    return max(1, min(CPU_COUNT // workers, fitting))


def _compute_on_one_core() -> None:
    """Keep forward passes of this thread on one core: the pool has one thread per core."""
    import torch

    torch.set_num_threads(1)
