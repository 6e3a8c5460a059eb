"""Send the blocks of many slides to the workers, a bounded number at a time.

Workers are busy while the next slide is surveyed and the last one is written, and memory does not
grow with the batch. A slide that fails is reported and never stops the others; a full disk does.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Iterator
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
from wsi_suite.runs.cluster import Cluster, probe_workers
from wsi_suite.runs.folder import unlock_folder
from wsi_suite.runs.outcome import Outcome, Tell
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

_WAIT_S = 0.5  # Windows hears of Ctrl-C between two waits only


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
    disk_full
        Whether the disk cannot be written, so that no other slide is begun.
    sharing
        Set if other processes do slides of the same batch.
    staging
        Set if slides are copied before they are read.
    """

    cluster: Cluster
    finisher: ThreadPoolExecutor
    locks: ExitStack
    meter: Meter
    tell: Tell
    outcomes: dict[Path, Outcome] = field(default_factory=dict)
    disk_full: bool = False
    sharing: Sharing | None = None
    staging: Staging | None = None

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
    """

    run: SlideRun
    pending: list[tuple[SlideJob, Block]]
    left: int
    sent: int = 0
    failed: bool = False


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
        self._items: dict[object, _Item] = {}
        # Blocks that are over; None ends the wait for another reason.
        self._over: SimpleQueue[DaskFuture[BlockResult] | None] = SimpleQueue()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def has_room(self) -> bool:
        """Whether another block may be sent."""
        return len(self._items) < self._batch.cluster.window

    def send(self, item: _Item) -> None:
        """Send a block to a worker, unless its slide has failed in the meantime."""
        if item.slide.failed:
            return
        if self._batch.disk_full:
            _fail(self._batch, item.slide, _given_up(item.slide.run.request, "stopped"))
            return
        key = str(item.slide.run.request.slide)
        try:
            future = self._batch.cluster.submit(key, item.job, item.block)
        except Exception as error:
            _fail(self._batch, item.slide, error)
            return
        self._items[future.key] = item
        item.slide.sent += 1
        future.add_done_callback(self._over.put)

    def wake(self) -> None:
        """End the wait for a block."""
        self._over.put(None)

    def wait(self) -> tuple[DaskFuture[BlockResult], _Item] | None:
        """Wait until a block is over; ``None`` if :meth:`wake` was called before."""
        while True:
            try:
                future = self._over.get(timeout=_WAIT_S)
            except Empty:
                continue
            return None if future is None else (future, self._items.pop(future.key))


def schedule(batch: Batch, requests: Iterator[Request | Refused]) -> None:
    """Keep the window of blocks full until all slides are over.

    The next slide is surveyed in a thread of its own. Blocks that come back meanwhile are recorded
    at once.

    A worker that dies takes all its blocks with it, and which of them killed it is unknown. They
    are sent again one at a time, with no other beside them: the one that kills again is to blame.
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
            if lost and not window:
                window.send(replace(lost.popleft(), alone=True))
            while waiting and window.has_room and not lost:
                window.send(waiting.popleft())
            if window or (coming is not None and not coming.done()):
                over = window.wait()
                lost.extend(() if over is None else _keep_result(batch, *over))


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
    if batch.disk_full:  # which has been told
        error = _given_up(request, "not begun")
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
        if batch.cluster.remote and not run.done:
            probe_workers(
                batch.cluster.client,
                slide=run.job.slide,
                identity=request.identity,
                folder=request.folder.resolve(),
                model=request.model,
            )
        pending = pending_blocks(run)
    except CancelledError:  # the batch is being ended
        return
    except Exception as error:
        _end_failed(batch, request, error, run=run)
        batch.drop_copy(request)
        if run is not None:
            release_run(run)
        return
    yield _ActiveSlide(run, pending, left=len(pending))


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


def _keep_result(batch: Batch, future: DaskFuture[BlockResult], item: _Item) -> list[_Item]:
    """Record the nuclei that a worker sent back; finish the slide after its last block.

    Returns
    -------
    list of _Item
        The block, if it is to be sent again.
    """
    from distributed import KilledWorker

    slide = item.slide
    slide.sent -= 1
    if slide.failed:
        _release(batch, slide)
        return []
    try:
        result = future.result()
        record_block(slide.run, item.job, item.block, result.nuclei, lost=result.lost)
    except KilledWorker:
        if not item.alone:
            return [item]
        _fail(batch, slide, _deadly(slide.run.request))
    except Exception as error:
        _fail(batch, slide, error)
    else:
        slide.left -= 1
        if slide.left == 0:
            batch.finisher.submit(_finish, batch, slide)
    return []


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
    told = _told(error, request)
    if run is not None and run.lease is not None and not request.folder.exists():
        told = OutputError(
            f"{request.slide.name}: {request.folder} was removed or renamed meanwhile; run again"
        )
    # Folders that are given one by one may be on different disks.
    if isinstance(told, DiskError) and request.stage != "detect" and not batch.disk_full:
        batch.disk_full = True
        told = DiskError(
            f"{told}; no other slide is begun, the same command goes on once it can be written"
        )
    if run is not None:
        fail_run(run, str(told))
    batch.end(Outcome(request.slide, request.folder, State.FAILED, error=told))


def _given_up(request: Request, how: str) -> DiskError:
    return DiskError(
        f"{request.slide.name}: {how}, as the disk cannot be written; the same command goes on "
        "once it can be"
    )


def _deadly(request: Request) -> WorkerError:
    return WorkerError(
        f"{request.slide}: a worker process died on it twice, the second time on one block alone; "
        "the file is damaged, or memory too small: give fewer --workers"
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
