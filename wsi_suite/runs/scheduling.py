"""Flow of a batch: slides are planned, their blocks sent to workers, results recorded and merged.

Workers are busy while the next slide is surveyed and the last one is written, and memory does not
grow with the batch. A slide that fails is reported and never stops the others; a full disk does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from wsi_suite.runs.batch_state import Batch, BlockToDo, leave_out
from wsi_suite.runs.in_flight import InFlight
from wsi_suite.runs.request import Refused, Request
from wsi_suite.runs.slide_begin import begin_slide, plan_ahead
from wsi_suite.runs.slide_end import (
    fail_slide,
    finish_slide,
    release_slide,
    stop_without_scheduler,
)
from wsi_suite.runs.slide_errors import deadly
from wsi_suite.runs.slide_run import record_block
from wsi_suite.runs.worker_task import Unfit

if TYPE_CHECKING:
    from distributed import Future

    from wsi_suite.runs.records import BlockResult


def schedule(batch: Batch, requests: Iterator[Request | Refused]) -> None:
    """Keep workers busy with blocks until all slides are over.

    The next slide is surveyed in a thread of its own. Blocks that come back meanwhile are recorded
    at once.

    A worker that dies takes all its blocks with it, and which of them killed it is unknown. They
    are sent again one at a time, with no other beside them: the one that kills again is to blame.
    A scheduler of others sends them again itself a few times first, since machines leave clusters.
    """
    flying = InFlight(batch)
    waiting: deque[BlockToDo] = deque()
    lost: deque[BlockToDo] = deque()  # with a worker that died
    with plan_ahead(batch, requests, wake=flying.wake) as coming:
        while not coming.over or waiting or lost or flying:
            if coming.ready and not waiting:
                slide = coming.take()
                waiting.extend(() if slide is None else begin_slide(batch, slide))
            if stop_without_scheduler(batch):
                waiting.extend(flying.drop())
            blocks = len(flying) + len(waiting) + len(lost)
            batch.cluster.demand.tell(blocks=blocks, more=not coming.over)
            if lost and not flying and flying.has_room(lost[0]):
                flying.send(lost.popleft())
            while waiting and not lost and flying.has_room(waiting[0]):
                flying.send(waiting.popleft())
            if flying or waiting or lost or not (coming.over or coming.ready):
                over = flying.wait()
                again = None if over is None else _keep_result(batch, *over)
                if again is not None:
                    (lost if again.alone else waiting).appendleft(again)
        stop_without_scheduler(batch)


def _keep_result(
    batch: Batch, future: Future[BlockResult | Unfit], item: BlockToDo
) -> BlockToDo | None:
    """Record the nuclei that a worker sent back; finish the slide after its last block.

    Returns
    -------
    BlockToDo or None
        The block, if it is to be sent again.
    """
    from distributed import KilledWorker

    slide = item.slide
    slide.sent -= 1
    if slide.failed:
        release_slide(batch, slide)
        return None
    try:
        result = future.result()
        if isinstance(result, Unfit):
            leave_out(batch, slide, {result.worker: result.reason})
            return item
        record_block(slide.run, item.job, item.block, result.nuclei, lost=result.lost)
    except KilledWorker:
        if not item.alone:
            return replace(item, alone=True)
        fail_slide(batch, slide, deadly(slide.run.request, remote=batch.cluster.remote))
    except Exception as error:
        fail_slide(batch, slide, error)
    else:
        slide.left -= 1
        if slide.left == 0:
            batch.finisher.submit(finish_slide, batch, slide)
    return None
