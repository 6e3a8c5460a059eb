"""Cache of a worker between blocks: open files, the loaded model, threads.

Several threads ask for the same things at once, and a worker of a cluster may outlive many runs:
whatever may change on disk is kept under the name of one run only.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock, RLock
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from wsi_suite.errors import WorkerError
from wsi_suite.patience import Readers, no_answer
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
        They read pixels. Each run has its own, so that a slide whose disk does not answer stops
        no other.
    detect
        They wait for pixels and find nuclei in them. Of a CPU there is one for each core; a GPU
        has two, so that one gets pixels ready while the other waits for the GPU.
    measure
        Has the nuclei measured that were found: on a CPU by the thread that found them, which has
        their pixels in its cache; beside a GPU by one thread for each core.
    compute
        One thread for each core: `detect` or `measure`.
    """

    read: Readers
    detect: Threads
    measure: Executor
    compute: Threads


_opening = RLock()
_forward = Lock()
_computing: dict[tuple[int, bool], tuple[Threads, Executor, Threads]] = {}
_reading: OrderedDict[tuple[str, int], Readers] = OrderedDict()
_opened: OrderedDict[tuple[Path, float | None, float, str], Future[Raster]] = OrderedDict()
_lent: dict[str, Raster] = {}  # by run

_RUNS_KEPT = 4


def _open_raster(slide: Path, mpp_given: float | None, read_mpp: float) -> Raster:
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


def open_raster(
    slide: Path,
    *,
    mpp_given: float | None,
    read_mpp: float,
    run: str,
    timeout_s: float | None = None,
) -> Raster:
    """Return a slide at its working resolution, opened once for a run, or lent to it.

    Raises
    ------
    NoAnswerError
        It could not be opened within `timeout_s` seconds.
    """
    key = (slide, mpp_given, read_mpp, run)
    with _opening:
        if run in _lent:
            return _lent[run]
        future = _opened.get(key)
        if future is None or (future.done() and future.exception() is not None):
            # In a thread of the run's own: while one slide hangs here, others are opened.
            future = _readers_of(run, 2).submit(_open_raster, slide, mpp_given, read_mpp)
            _opened[key] = future
        _opened.move_to_end(key)
        while len(_opened) > _RUNS_KEPT:
            _opened.popitem(last=False)
    try:
        return future.result(timeout=timeout_s)
    except TimeoutError:
        if timeout_s is None or future.done():
            raise
        with _opening:
            _opened.pop(key, None)
        raise no_answer(slide, timeout_s=timeout_s) from None


@contextmanager
def lent(raster: Raster, *, run: str) -> Iterator[None]:
    """Have a run read an open slide of this process, which may have no file."""
    with _opening:
        _lent[run] = raster
    try:
        yield
    finally:
        with _opening:
            del _lent[run]


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


def pools_of(threads: int, compute: Compute | None = None, *, run: str) -> Pools:
    """Return this worker's threads for a run; `compute` is where nuclei are found, if any are."""
    key = threads, compute is not None and takes_turns(compute)
    with _opening:
        if key not in _computing:
            _computing[key] = _start_computing(*key)
        detect, measure, cores = _computing[key]
        return Pools(_readers_of(run, max(2, threads)), detect, measure, cores)


def _start_computing(threads: int, turns: bool) -> tuple[Threads, Executor, Threads]:
    cores = Threads(threads, "wsi-compute", begin=_compute_on_one_core)
    if not turns:
        return cores, AtOnce(), cores
    return Threads(2, "wsi-detect"), cores, cores


def takes_turns(compute: Compute) -> bool:
    """Return whether threads share a device, a GPU; of a CPU each has a core."""
    return compute.device != "cpu"


def leave_readers(run: str) -> None:
    """Leave the threads that read for a run to themselves: some of them hang."""
    with _opening:
        for key in [key for key in _reading if key[0] == run]:
            _reading.pop(key).drop()


def _readers_of(run: str, count: int) -> Readers:
    key = (run, count)
    if key not in _reading:
        _reading[key] = Readers(count, "wsi-read")
    _reading.move_to_end(key)
    while len(_reading) > 2 * _RUNS_KEPT:
        _reading.popitem(last=False)[1].close()
    return _reading[key]


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
        _opened.clear()
        while _reading:
            _reading.popitem()[1].close()
        _open_store.cache_clear()


def close_all(*, abandon: bool = False) -> None:
    """Let go of files and model.

    Parameters
    ----------
    abandon
        Drop all work that has not begun, too; blocks that are under way fail.
    """
    with _opening:
        if abandon:
            for readers in _reading.values():
                readers.drop()
        close_slides()
        _open_detector.cache_clear()
        if abandon:
            for detect, _, cores in _computing.values():
                detect.drop()
                cores.drop()
            _computing.clear()


def usable_threads(workers: int) -> int:
    """Return how many threads each of `workers` on this machine can have, memory considered."""
    import psutil
    from dask.system import CPU_COUNT
    from distributed.system import MEMORY_LIMIT

    available = min(psutil.virtual_memory().available, MEMORY_LIMIT)
    return max(1, min(CPU_COUNT // workers, fitting_threads(available // workers)))


def fitting_threads(memory: int) -> int:
    """Return how many threads have room for a forward pass each in so many bytes; one or more."""
    return max(1, int(memory * _MEMORY_SHARE / _FORWARD_BYTES))


def _compute_on_one_core() -> None:
    """Keep forward passes of this thread on one core: the pool has one thread per core."""
    import torch

    torch.set_num_threads(1)
