"""The blocks in flight: those that are with the workers now."""

from __future__ import annotations

import time
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from wsi_suite.errors import WorkerError
from wsi_suite.runs.batch_state import ActiveSlide, Batch, BlockToDo
from wsi_suite.runs.slide_end import fail_slide

if TYPE_CHECKING:
    from distributed import Future

    from wsi_suite.runs.records import BlockResult
    from wsi_suite.runs.worker_task import Unfit

_WAIT_S = 0.5  # Windows hears of Ctrl-C, and clusters grow, between two waits only
_PATIENCE_S = 30.0  # with a cluster that has lost all workers that are of use


class InFlight:
    """The blocks that are with the workers: as many as the cluster has room for."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._roll = batch.cluster.roll
        self._sent: dict[object, tuple[BlockToDo, str | None]] = {}  # and the worker it went to
        # Blocks that are over; None ends the wait for another reason.
        self._over: SimpleQueue[Future[BlockResult | Unfit] | None] = SimpleQueue()
        self._able_s = time.monotonic()  # when a worker was there last that can do what waits
        self._told_none = False

    def __len__(self) -> int:
        return len(self._sent)

    def has_room(self, item: BlockToDo) -> bool:
        """Return whether a block may be sent now; one that no worker can do fails its slide."""
        if item.slide.failed or self._batch.stopped is not None:
            return True  # it is dropped
        if self._roll is None:
            return len(self._sent) < self._batch.cluster.window
        if self._roll.next(without=item.slide.unfit) is not None:
            return True
        self._look_for_workers(item.slide)
        return item.slide.failed

    def send(self, item: BlockToDo) -> None:
        """Send a block to a worker, unless its slide has failed in the meantime."""
        slide, cluster = item.slide, self._batch.cluster
        if slide.failed:
            return
        if self._batch.stopped is not None:
            fail_slide(self._batch, slide, self._batch.stopped(slide.run.request, "stopped"))
            return
        key = str(slide.run.request.slide)
        worker = None if self._roll is None else self._roll.next(without=slide.unfit)
        try:
            future = cluster.submit(key, item.job, item.block, check=slide.check, worker=worker)
        except Exception as error:
            fail_slide(self._batch, slide, error)
            return
        self._sent[future.key] = item, worker
        slide.sent += 1
        if self._roll is not None and worker is not None:
            self._roll.give(worker)
        future.add_done_callback(self._over.put)

    def wake(self) -> None:
        """End the wait for a block."""
        self._over.put(None)

    def wait(self) -> tuple[Future[BlockResult | Unfit], BlockToDo] | None:
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

    def drop(self) -> Iterator[BlockToDo]:
        """Forget the blocks that are with the workers, and yield them: they are lost."""
        while self._sent:
            item, _ = self._sent.popitem()[1]
            item.slide.sent -= 1
            yield item

    def _look_for_workers(self, slide: ActiveSlide) -> None:
        """Tell if all workers have left; fail a slide that none of those that stay can do."""
        assert self._roll is not None
        workers = self._roll.workers()
        if any(worker not in slide.unfit for worker in workers):
            self._able_s, self._told_none = time.monotonic(), False
        elif time.monotonic() - self._able_s < _PATIENCE_S:
            pass  # one that was restarted is back soon
        elif workers:
            fail_slide(self._batch, slide, WorkerError(slide.unfit[next(iter(workers))]))
        elif not self._told_none:
            self._told_none = True
            self._batch.tell("no worker is left; waiting for new ones")
