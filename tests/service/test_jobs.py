"""The queue of jobs, with work that does what the test wants."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from wsi_suite.errors import SlideError
from wsi_suite.progress import Progress, Step
from wsi_suite.service.analyst import Order
from wsi_suite.service.finding import Finding
from wsi_suite.service.jobs import JobQueue, Limits, QueueFullError

Work = Callable[[Progress], int]
"""Returns how many nuclei it found."""


class Hands:
    """Does what an order says, and counts."""

    def __init__(self) -> None:
        self.at_work = self.most_at_work = self.rests = 0

    def work(self, order: Any, progress: Progress) -> Finding:
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        try:
            count = order.work(progress)
        finally:
            self.at_work -= 1
        return SimpleNamespace(  # type: ignore[return-value]
            nuclei=range(count), summary={"marker": "ER"}, timings={"nuclei_s": 0.5}
        )

    def rest(self) -> None:
        self.rests += 1


def order(work: Work = lambda _progress: 7) -> Order:
    return SimpleNamespace(work=work, analysis=SimpleNamespace(slide=Path("/secret/B12.svs")))  # type: ignore[return-value]


@contextmanager
def queue_of(hands: Hands | None = None, **limits: float) -> Iterator[JobQueue]:
    queue = JobQueue(hands or Hands(), Limits(**limits))
    try:
        yield queue
    finally:
        queue.close(seconds=10)


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


def ended(queue: JobQueue, job_id: str) -> Any:
    wait_for(lambda: queue.job(job_id).state not in ("queued", "running"))
    return queue.job(job_id)


@contextmanager
def held(queue: JobQueue) -> Iterator[str]:
    """Keep the queue at work on a job while the block runs."""
    began, released = Event(), Event()

    def hold(progress: Progress) -> int:
        progress(Step("slide", 1, 4, "finding nuclei"))
        began.set()
        assert released.wait(10)
        progress(Step("slide", 2, 4, "finding nuclei"))
        return 7

    job = queue.submit(order(hold))
    assert began.wait(10)
    try:
        yield job.id
    finally:
        released.set()


def test_a_job_goes_its_way() -> None:
    with queue_of() as queue:
        with held(queue) as job_id:
            running = queue.job(job_id)
            assert (running.state, running.progress, running.message) == (
                "running", 0.25, "finding nuclei",
            )  # fmt: skip
            assert running.nuclei is running.summary is running.error is None
            assert queue.finding(job_id) is None
            assert queue.busy
        done = ended(queue, job_id)
        assert (done.state, done.progress, done.nuclei) == ("done", 1.0, 7)
        assert done.summary == {"marker": "ER"}
        assert set(done.timings) == {"queued_s", "nuclei_s", "total_s"}
        assert len(queue.finding(job_id).nuclei) == 7
        assert not queue.busy
        assert done.slide == "B12.svs", "its folder is nobody's business"


def test_jobs_compute_one_after_another_in_their_order() -> None:
    hands, begun = Hands(), []

    def noted(name: int) -> Work:
        return lambda _tell: begun.append(name) or time.sleep(0.01) or 0

    with queue_of(hands) as queue:
        submitted = [queue.submit(order(noted(number))) for number in range(8)]
        for job in submitted:
            assert ended(queue, job.id).state == "done"
        assert [job.id for job in queue.jobs()] == [job.id for job in submitted]
    assert begun == list(range(8))
    assert hands.most_at_work == 1


def test_a_waiting_job_is_cancelled_without_having_begun() -> None:
    with queue_of() as queue:
        begun = Event()
        with held(queue):
            waiting = queue.submit(order(lambda _tell: begun.set() or 0))
            assert queue.job(waiting.id).state == "queued"
            assert queue.cancel(waiting.id).state == "cancelled"
        assert ended(queue, queue.submit(order()).id).state == "done"
    assert not begun.is_set()


def test_a_job_at_work_is_cancelled_at_once_and_its_work_ends_when_it_tells() -> None:
    hands = Hands()
    with queue_of(hands) as queue:
        with held(queue) as job_id:
            cancelled = queue.cancel(job_id)
            assert (cancelled.state, cancelled.error) == ("cancelled", None)
            assert queue.job(job_id).state == "cancelled"
            assert hands.at_work == 1
        wait_for(lambda: hands.at_work == 0)
        assert queue.finding(job_id) is None
        assert queue.job(job_id).progress == 0.25
        assert ended(queue, queue.submit(order()).id).state == "done"


def test_a_job_that_was_cancelled_at_its_very_end_stays_so() -> None:
    with queue_of() as queue:
        began, released = Event(), Event()
        job = queue.submit(order(lambda _tell: began.set() or int(released.wait(10))))
        assert began.wait(10)
        queue.cancel(job.id)
        released.set()
        assert ended(queue, queue.submit(order()).id).state == "done"
        assert queue.job(job.id).state == "cancelled"


def test_a_finished_job_is_forgotten_when_deleted() -> None:
    with queue_of() as queue:
        job = queue.submit(order())
        assert ended(queue, job.id).state == "done"
        assert queue.cancel(job.id).state == "done"
        assert queue.job(job.id) is queue.cancel(job.id) is queue.finding(job.id) is None


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (SlideError("B12.svs: damaged at level 0"), "B12.svs: damaged at level 0"),
        (ValueError("two\n  lines"), "ValueError: two lines"),
        (RecursionError(), "RecursionError: "),
        (MemoryError(), "out of memory: draw smaller regions"),
        (
            RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
            "out of memory: draw smaller",
        ),
    ],
)
def test_a_failure_is_one_line_and_the_service_goes_on(error: Exception, told: str) -> None:
    def fail(_progress: Progress) -> int:
        raise error

    with queue_of() as queue:
        job = ended(queue, queue.submit(order(fail)).id)
        assert job.state == "failed"
        assert job.error.startswith(told)
        assert "\n" not in job.error
        assert job.summary is None
        assert ended(queue, queue.submit(order()).id).state == "done"


def test_only_so_many_may_wait() -> None:
    with queue_of(waiting=2) as queue:
        with held(queue):
            jobs = [queue.submit(order()) for _ in range(2)]
            with pytest.raises(QueueFullError, match="2 jobs are waiting"):
                queue.submit(order())
            queue.cancel(jobs[0].id)
            queue.submit(order())
        for job in queue.jobs():
            ended(queue, job.id)


def test_what_is_over_is_forgotten_beyond_a_number() -> None:
    with queue_of(finished=3) as queue:
        jobs = [queue.submit(order()) for _ in range(5)]
        wait_for(lambda: not queue.busy)
        assert [job.id for job in queue.jobs()] == [job.id for job in jobs[2:]]


def test_what_is_over_is_forgotten_beyond_so_many_nuclei_but_for_the_newest() -> None:
    with queue_of(nuclei=100) as queue:
        jobs = [queue.submit(order(lambda _tell, n=n: n)) for n in (30, 80, 30, 5000)]
        wait_for(lambda: not queue.busy)
        assert [job.id for job in queue.jobs()] == [job.id for job in jobs[2:]]


def test_what_is_over_is_forgotten_after_a_time() -> None:
    with queue_of(seconds=0.05) as queue:
        with held(queue) as job_id:
            time.sleep(0.1)
            assert queue.job(job_id) is not None, "what is at work is never forgotten"
        wait_for(lambda: queue.job(job_id) is None)
        assert queue.jobs() == []


def test_closing_cancels_all_and_waits_for_the_work() -> None:
    hands = Hands()
    with ExitStack() as stack:
        queue = JobQueue(hands)
        job_id = stack.enter_context(held(queue))
        waiting = queue.submit(order())
        queue.close(seconds=0.05)
        assert hands.at_work == 1
        assert queue.job(job_id).state == queue.job(waiting.id).state == "cancelled"
        stack.close()
        queue.close(seconds=10)
        assert hands.at_work == 0


def test_after_a_while_without_work_slides_are_closed() -> None:
    hands = Hands()
    with queue_of(hands, rest_seconds=0.02) as queue:
        wait_for(lambda: hands.rests == 1)
        time.sleep(0.1)
        assert hands.rests == 1, "once is enough"
        ended(queue, queue.submit(order()).id)
        wait_for(lambda: hands.rests == 2)
