"""Begin of the slides of a batch: each is planned while the blocks of the one before are done."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from wsi_suite.analysis.blocks import pixels_to_do
from wsi_suite.progress import AREA_MM2
from wsi_suite.runs.batch_state import ActiveSlide, Batch, BlockToDo, leave_out
from wsi_suite.runs.folder import unlock_folder
from wsi_suite.runs.outcome import Outcome
from wsi_suite.runs.probing import Check, probe_workers
from wsi_suite.runs.request import Refused, Request
from wsi_suite.runs.slide_end import end_failed, finish_slide
from wsi_suite.runs.slide_run import pending_blocks, prepare_run, release_run
from wsi_suite.runs.state import State


class NextSlide:
    """The next slide of a batch, which is planned in a thread of its own.

    Parameters
    ----------
    planned
        Plans slide after slide.
    surveyor
        The thread.
    wake
        Called when a slide is planned, from that thread.
    """

    def __init__(
        self,
        planned: Iterator[ActiveSlide],
        surveyor: ThreadPoolExecutor,
        *,
        wake: Callable[[], object],
    ) -> None:
        self._planned, self._surveyor, self._wake = planned, surveyor, wake
        self._coming: Future[ActiveSlide | None] | None = None
        self._plan()

    @property
    def over(self) -> bool:
        """Whether all slides were taken."""
        return self._coming is None

    @property
    def ready(self) -> bool:
        """Whether :meth:`take` has an answer."""
        return self._coming is not None and self._coming.done()

    def take(self) -> ActiveSlide | None:
        """Return the slide that is planned, and have the next one planned; ``None`` at the end."""
        assert self._coming is not None
        slide = self._coming.result()
        self._coming = None
        if slide is not None:
            self._plan()
        return slide

    def _plan(self) -> None:
        self._coming = self._surveyor.submit(next, self._planned, None)
        self._coming.add_done_callback(lambda _: self._wake())


@contextmanager
def plan_ahead(
    batch: Batch, requests: Iterator[Request | Refused], *, wake: Callable[[], object]
) -> Iterator[NextSlide]:
    """Plan the slides of a batch in a thread of its own, one ahead."""
    with ThreadPoolExecutor(1, "wsi-prepare") as surveyor, ExitStack() as at_end:
        if batch.sharing is not None:
            at_end.callback(batch.sharing.end)
        if batch.staging is not None:
            at_end.callback(batch.staging.stop)
        yield NextSlide(_plan_slides(batch, requests), surveyor, wake=wake)


def begin_slide(batch: Batch, slide: ActiveSlide) -> Iterator[BlockToDo]:
    """Tell that a slide is planned, and yield its blocks; one without any is finished."""
    all_pixels = sum(map(pixels_to_do, slide.run.grid.blocks))
    left = sum(pixels_to_do(block) for _, block in slide.pending)
    key = str(slide.run.request.slide)
    mm2 = all_pixels * math.prod(slide.run.facts.working_mpp) / 1e6
    batch.meter.begin(
        key, total=all_pixels, done=all_pixels - left, figures={AREA_MM2: round(mm2, 4)}
    )
    if not slide.pending:
        batch.finisher.submit(finish_slide, batch, slide)
    for job, block in slide.pending:
        yield BlockToDo(slide, job, block)


def _plan_slides(batch: Batch, requests: Iterator[Request | Refused]) -> Iterator[ActiveSlide]:
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


def _plan_slide(batch: Batch, request: Request) -> Iterator[ActiveSlide]:
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
        slide = ActiveSlide(run, pending := pending_blocks(run), left=len(pending))
        if batch.cluster.remote and not run.done:
            slide.check = Check.of(run)
            leave_out(batch, slide, probe_workers(batch.cluster.client, slide.check))
    except CancelledError:  # the batch is being ended
        return
    except Exception as error:
        end_failed(batch, request, error, run=run)
        batch.drop_copy(request)
        if run is not None:
            release_run(run)
        return
    yield slide
