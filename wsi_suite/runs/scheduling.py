"""Send the blocks of many slides to the workers, a bounded number at a time.

Workers are busy while the next slide is surveyed and the last one is written, and memory does not
grow with the batch. A slide that fails is reported and never stops the others; a full disk does.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from wsi_suite.analysis.blocks import pixels_to_do
from wsi_suite.errors import (
    BusyError,
    DiskError,
    OutputConflictError,
    OutputError,
    WorkerError,
    WsiSuiteError,
)
from wsi_suite.files import is_disk_full, output_error
from wsi_suite.progress import AREA_MM2, Meter
from wsi_suite.runs.cluster import Cluster, Unfit
from wsi_suite.runs.folder import unlock_folder
from wsi_suite.runs.outcome import Outcome, Tell
from wsi_suite.runs.probing import Check, probe_workers
from wsi_suite.runs.request import Refused, Request
from wsi_suite.runs.run_plan import SlideRun
from wsi_suite.runs.sharing import Sharing, taken_over
from wsi_suite.runs.slide_run import (
    fail_run,
    finish_run,
    pending_blocks,
    prepare_run,
    record_block,
    release_run,
)
from wsi_suite.runs.staging import Staging
from wsi_suite.runs.state import State
from wsi_suite.slides.grid import Block

if TYPE_CHECKING:
    from distributed import Future as DaskFuture

    from wsi_suite.analysis.blocks import SlideJob
    from wsi_suite.runs.records import BlockResult

log = logging.getLogger(__name__)

_WAIT_S = 0.5  # Windows hears of Ctrl-C, and clusters grow, between two waits only
_PATIENCE_S = 30.0  # with a cluster that has lost all workers that are of use


@dataclass
class Batch:
    """The state of a batch while it runs.

    Attributes
    ----------
    cluster
        Where blocks are done.
    finisher
        A thread that writes the results of slides while others are being done.
    locks
        Unlocks the folders at the end, whatever happens.
    meter
        Working pixels done and in all, by slide.
    tell
        Receives outcomes as slides end.
    outcomes
        How slides ended, by their file.
    stopped
        Set if nothing more can be done: returns the error of a slide, by how far it has come
        ("stopped", "not begun").
    sharing
        Set if other processes do slides of the same batch.
    staging
        Set if slides are copied before they are read.
    left_out
        Addresses of workers that were told to be of no use for a slide.
    """

    cluster: Cluster
    finisher: ThreadPoolExecutor
    locks: ExitStack
    meter: Meter
    tell: Tell
    outcomes: dict[Path, Outcome] = field(default_factory=dict)
    stopped: Callable[[Request, str], WsiSuiteError] | None = None
    sharing: Sharing | None = None
    staging: Staging | None = None
    left_out: set[str] = field(default_factory=set)

    def drop_copy(self, request: Request) -> None:
        """Remove the copy of a slide that is over."""
        if self.staging is not None:
            self.staging.release(request.slide)

    def end(self, outcome: Outcome, *, told: bool = False) -> None:
        """Note how a slide ended, and tell it unless it was told already."""
        self.outcomes[outcome.slide] = outcome
        if not told:
            self.tell(outcome)


@dataclass(eq=False)
class _ActiveSlide:
    """A slide whose blocks are being done.

    Attributes
    ----------
    run
        Its run.
    pending
        Blocks that were to do at its start.
    left
        How many of them are not recorded yet.
    sent
        How many are with the workers now; the folder stays locked until none is.
    failed
        Whether the slide has failed, so that no more blocks are sent.
    check
        What a worker of a cluster needs for it.
    unfit
        Why workers cannot do it, by their addresses.
    """

    run: SlideRun
    pending: list[tuple[SlideJob, Block]]
    left: int
    sent: int = 0
    failed: bool = False
    check: Check | None = None
    unfit: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Item:
    """A block to send; `alone` if no other is sent with it, because its worker died before."""

    slide: _ActiveSlide
    job: SlideJob
    block: Block
    alone: bool = False


class _Window:
    """The blocks that are with the workers."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._roll = batch.cluster.roll
        self._sent: dict[object, tuple[_Item, str | None]] = {}  # and the worker it went to
        # Blocks that are over; None ends the wait for another reason.
        self._over: SimpleQueue[DaskFuture[BlockResult | Unfit] | None] = SimpleQueue()
        self._able_s = time.monotonic()  # when a worker was there last that can do what waits
        self._told_none = False

    def __len__(self) -> int:
        return len(self._sent)

    def has_room(self, item: _Item) -> bool:
        """Return whether a block may be sent now; one that no worker can do fails its slide."""
        if item.slide.failed or self._batch.stopped is not None:
            return True  # it is dropped
        if self._roll is None:
            return len(self._sent) < self._batch.cluster.window
        if self._roll.next(without=item.slide.unfit) is not None:
            return True
        self._look_for_workers(item.slide)
        return item.slide.failed

    def send(self, item: _Item) -> None:
        """Send a block to a worker, unless its slide has failed in the meantime."""
        slide, cluster = item.slide, self._batch.cluster
        if slide.failed:
            return
        if self._batch.stopped is not None:
            _fail(self._batch, slide, self._batch.stopped(slide.run.request, "stopped"))
            return
        key = str(slide.run.request.slide)
        worker = None if self._roll is None else self._roll.next(without=slide.unfit)
        try:
            future = cluster.submit(key, item.job, item.block, check=slide.check, worker=worker)
        except Exception as error:
            _fail(self._batch, slide, error)
            return
        self._sent[future.key] = item, worker
        slide.sent += 1
        if self._roll is not None and worker is not None:
            self._roll.give(worker)
        future.add_done_callback(self._over.put)

    def wake(self) -> None:
        """End the wait for a block."""
        self._over.put(None)

    def wait(self) -> tuple[DaskFuture[BlockResult | Unfit], _Item] | None:
        """Wait until a block is over; ``None`` if there may be something else to do."""
        try:
            future = self._over.get(timeout=_WAIT_S)
        except Empty:
            return None
        if future is None or future.key not in self._sent:
            return None
        item, worker = self._sent.pop(future.key)
        if self._roll is not None and worker is not None:
            self._roll.take(worker)
        return future, item

    def drop(self) -> Iterator[_Item]:
        """Forget the blocks that are with the workers, and yield them: they are lost."""
        while self._sent:
            item, _ = self._sent.popitem()[1]
            item.slide.sent -= 1
            yield item

    def _look_for_workers(self, slide: _ActiveSlide) -> None:
        """Tell if all workers have left; fail a slide that none of those that stay can do."""
        assert self._roll is not None
        workers = self._roll.workers()
        if any(worker not in slide.unfit for worker in workers):
            self._able_s, self._told_none = time.monotonic(), False
        elif time.monotonic() - self._able_s < _PATIENCE_S:
            pass  # one that was restarted is back soon
        elif workers:
            _fail(self._batch, slide, WorkerError(slide.unfit[next(iter(workers))]))
        elif not self._told_none:
            self._told_none = True
            self._batch.tell("no worker is left; waiting for new ones")


def schedule(batch: Batch, requests: Iterator[Request | Refused]) -> None:
    """Keep the window of blocks full until all slides are over.

    The next slide is surveyed in a thread of its own. Blocks that come back meanwhile are recorded
    at once.

    A worker that dies takes all its blocks with it, and which of them killed it is unknown. They
    are sent again one at a time, with no other beside them: the one that kills again is to blame.
    A scheduler of others sends them again itself a few times first, since machines leave clusters.
    """
    planned = _plan_slides(batch, requests)
    window = _Window(batch)
    waiting: deque[_Item] = deque()
    lost: deque[_Item] = deque()  # with a worker that died
    with ThreadPoolExecutor(1, "wsi-prepare") as surveyor, ExitStack() as at_end:
        if batch.sharing is not None:
            at_end.callback(batch.sharing.end)
        if batch.staging is not None:
            at_end.callback(batch.staging.stop)

        def plan_next() -> Future[_ActiveSlide | None]:
            future = surveyor.submit(next, planned, None)
            future.add_done_callback(lambda _: window.wake())
            return future

        coming: Future[_ActiveSlide | None] | None = plan_next()
        while coming is not None or waiting or lost or window:
            if coming is not None and coming.done() and not waiting:
                slide = coming.result()
                coming = None if slide is None else plan_next()
                waiting.extend(() if slide is None else _begin(batch, slide))
            if _has_lost_scheduler(batch):
                waiting.extend(window.drop())
            blocks = len(window) + len(waiting) + len(lost)
            batch.cluster.demand.tell(blocks=blocks, more=coming is not None)
            if lost and not window and window.has_room(lost[0]):
                window.send(lost.popleft())
            while waiting and not lost and window.has_room(waiting[0]):
                window.send(waiting.popleft())
            if window or waiting or lost or (coming is not None and not coming.done()):
                over = window.wait()
                again = None if over is None else _keep_result(batch, *over)
                if again is not None:
                    (lost if again.alone else waiting).appendleft(again)
        _has_lost_scheduler(batch)


def _has_lost_scheduler(batch: Batch) -> bool:
    """Return whether no block can be done any more; tell it, once for all slides that are left."""
    if batch.cluster.lost and batch.stopped is None:
        batch.stopped = _without_scheduler
        batch.tell(
            "the connection to the Dask scheduler was lost; what is done is kept, and the same "
            "command goes on once there is a scheduler"
        )
    return batch.cluster.lost


def _plan_slides(batch: Batch, requests: Iterator[Request | Refused]) -> Iterator[_ActiveSlide]:
    """Plan slide after slide; the outcome of one that fails here is noted at once."""
    asked = 0
    for request in requests:
        asked += 1
        if isinstance(request, Refused):
            batch.end(Outcome(request.slide, request.folder, State.FAILED, error=request.error))
        else:
            yield from _plan_slide(batch, request)
    if batch.sharing is not None and len(batch.outcomes) < asked:
        for again in batch.sharing.rounds():
            for request in again:
                yield from _plan_slide(batch, request)
            if len(batch.outcomes) == asked:
                break


def _plan_slide(batch: Batch, request: Request) -> Iterator[_ActiveSlide]:
    """Plan a slide, and yield it if that works."""
    if batch.stopped is not None:  # which has been told
        error = batch.stopped(request, "not begun")
        batch.end(Outcome(request.slide, request.folder, State.FAILED, error=error), told=True)
        return
    ended = None if batch.sharing is None else batch.sharing.ended(request)
    if ended is not None:
        batch.end(ended)
        return
    run = None
    try:
        run = prepare_run(request, staging=batch.staging)
        if run.lease is not None:
            batch.locks.callback(unlock_folder, run.folder, run.lease)
        slide = _ActiveSlide(run, pending := pending_blocks(run), left=len(pending))
        if batch.cluster.remote and not run.done:
            slide.check = Check.of(run)
            _leave_out(batch, slide, probe_workers(batch.cluster.client, slide.check))
    except CancelledError:  # the batch is being ended
        return
    except Exception as error:
        _end_failed(batch, request, error, run=run)
        batch.drop_copy(request)
        if run is not None:
            release_run(run)
        return
    yield slide


def _leave_out(batch: Batch, slide: _ActiveSlide, unfit: Mapping[str, str]) -> None:
    """Send workers no more blocks of a slide, and tell why, once for each of them."""
    slide.unfit.update(unfit)
    for worker, reason in unfit.items():
        if worker not in batch.left_out:
            batch.left_out.add(worker)
            batch.tell(f"{reason}; it is left out")


def _begin(batch: Batch, slide: _ActiveSlide) -> Iterator[_Item]:
    """Tell that a slide is planned, and yield its blocks; one without any is finished."""
    all_pixels = sum(map(pixels_to_do, slide.run.grid.blocks))
    left = sum(pixels_to_do(block) for _, block in slide.pending)
    key = str(slide.run.request.slide)
    mm2 = all_pixels * math.prod(slide.run.facts.working_mpp) / 1e6
    batch.meter.begin(
        key, total=all_pixels, done=all_pixels - left, figures={AREA_MM2: round(mm2, 4)}
    )
    if not slide.pending:
        batch.finisher.submit(_finish, batch, slide)
    for job, block in slide.pending:
        yield _Item(slide, job, block)


def _keep_result(
    batch: Batch, future: DaskFuture[BlockResult | Unfit], item: _Item
) -> _Item | None:
    """Record the nuclei that a worker sent back; finish the slide after its last block.

    Returns
    -------
    _Item or None
        The block, if it is to be sent again.
    """
    from distributed import KilledWorker

    slide = item.slide
    slide.sent -= 1
    if slide.failed:
        _release(batch, slide)
        return None
    try:
        result = future.result()
        if isinstance(result, Unfit):
            _leave_out(batch, slide, {result.worker: result.reason})
            return item
        record_block(slide.run, item.job, item.block, result.nuclei, lost=result.lost)
    except KilledWorker:
        if not item.alone:
            return replace(item, alone=True)
        _fail(batch, slide, _deadly(slide.run.request, remote=batch.cluster.remote))
    except Exception as error:
        _fail(batch, slide, error)
    else:
        slide.left -= 1
        if slide.left == 0:
            batch.finisher.submit(_finish, batch, slide)
    return None


def _finish(batch: Batch, slide: _ActiveSlide) -> None:
    request = slide.run.request
    try:
        summary = finish_run(slide.run)
    except Exception as error:
        _fail(batch, slide, error)
        return
    batch.drop_copy(request)
    state = State.TILED if summary is None else State.DONE
    batch.end(Outcome(request.slide, request.folder, state, summary))


def _fail(batch: Batch, slide: _ActiveSlide, error: Exception) -> None:
    slide.failed = True
    _end_failed(batch, slide.run.request, error, run=slide.run)
    _release(batch, slide)


def _release(batch: Batch, slide: _ActiveSlide) -> None:
    """Unlock the folder of a slide that failed, once no worker writes there any more."""
    if slide.sent == 0:
        release_run(slide.run)
        batch.drop_copy(slide.run.request)


def _end_failed(batch: Batch, request: Request, error: Exception, *, run: SlideRun | None) -> None:
    if run is not None and run.lost and request.folder.exists():
        error = taken_over(request)
    if batch.sharing is not None and isinstance(error, BusyError):
        batch.sharing.put_off(request)
        return
    if batch.cluster.lost and not isinstance(error, WsiSuiteError):
        error = _without_scheduler(request, "stopped")
    told = _told(error, request)
    if run is not None and run.lease is not None and not request.folder.exists():
        told = OutputError(
            f"{request.slide.name}: {request.folder} was removed or renamed meanwhile; run again"
        )
    # Folders that are given one by one may be on different disks.
    if isinstance(told, DiskError) and request.stage != "detect" and batch.stopped is None:
        batch.stopped = _without_disk
        told = DiskError(
            f"{told}; no other slide is begun, the same command goes on once it can be written"
        )
    if run is not None:
        fail_run(run, str(told))
    known = isinstance(told, _SchedulerLostError)
    batch.end(Outcome(request.slide, request.folder, State.FAILED, error=told), told=known)


def _without_disk(request: Request, how: str) -> DiskError:
    return DiskError(
        f"{request.slide.name}: {how}, as the disk cannot be written; the same command goes on "
        "once it can be"
    )


def _deadly(request: Request, *, remote: bool) -> WorkerError:
    if remote:
        return WorkerError(
            f"{request.slide}: workers died on it again and again, at last on one block alone; the "
            "file is damaged, or memory too small: give workers more memory or fewer threads"
        )
    return WorkerError(
        f"{request.slide}: a worker process died on it twice, the second time on one block alone; "
        "the file is damaged, or memory too small: give fewer --workers"
    )


class _SchedulerLostError(WorkerError):
    """A slide is not done because there is no scheduler; told once for all of them."""


def _without_scheduler(request: Request, how: str) -> _SchedulerLostError:
    return _SchedulerLostError(
        f"{request.slide}: {how}, as the connection to the Dask scheduler was lost; the same "
        "command goes on once there is a scheduler"
    )


def _told(error: Exception, request: Request) -> WsiSuiteError:
    """Return an error that can be shown: ours, or another in our words; it names the slide."""
    log.debug("%s failed", request.slide, exc_info=error)
    if isinstance(error, OSError) and is_disk_full(error):  # which a library has met
        error = output_error(Path(error.filename or request.folder), error)
    if isinstance(error, OutputError) and not isinstance(error, OutputConflictError):
        named = request.slide.name in str(error)
        return error if named else type(error)(f"{request.slide.name}: {error}")
    if isinstance(error, WsiSuiteError):
        text = request.in_original(str(error))
        return error if text == str(error) else type(error)(text)
    reason = " ".join(request.in_original(str(error)).split())[:300]
    told = WsiSuiteError(
        f"{request.slide}: {type(error).__name__}: {reason}; run again to go on, with --debug "
        "for the traceback"
    )
    told.__cause__ = error
    return told
