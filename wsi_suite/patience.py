"""Waiting for files that may never answer, as on a share whose server is gone.

A read that hangs in the system cannot be cancelled. It is left to a thread of its own, which no
other thread waits for, not even at the end of the process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from contextvars import ContextVar, copy_context
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Generic, ParamSpec, TypeVar

from wsi_suite.errors import NoAnswerError

P = ParamSpec("P")
T = TypeVar("T")

POLL_S = 0.5


def no_answer(path: Path, *, timeout_s: float) -> NoAnswerError:
    """Return the error of a file that does not answer."""
    return NoAnswerError(
        f"{path}: no answer for {timeout_s / 60:.3g} min while it was read (run.read_timeout_min);"
        " check its disk or share, the same command goes on once it answers"
    )


class _Call(Generic[T]):
    """A call in a thread of its own, and when it last showed that it lives."""

    def __init__(self, function: Callable[[], T]) -> None:
        self.latest = time.monotonic()
        self.over: Future[T] = Future()
        context = copy_context()
        context.run(_call.set, self)

        def work() -> None:
            try:
                result = context.run(function)
            except BaseException as error:
                self.over.set_exception(error)
            else:
                self.over.set_result(result)

        threading.Thread(target=work, name="wsi-patience", daemon=True).start()


_call: ContextVar[_Call[Any] | None] = ContextVar("wsi_suite_patience", default=None)


def alive() -> None:
    """Tell :func:`with_patience`, if it waits for this thread, that a read has begun or ended."""
    call = _call.get()
    if call is not None:
        call.latest = time.monotonic()


def with_patience(function: Callable[[], T], *, path: Path, timeout_s: float) -> T:
    """Call a function and return its result, unless it is silent for too long.

    Parameters
    ----------
    function
        Reads a file; called in a thread of its own. It calls :func:`alive` between reads.
    path
        The file, to name in the error.
    timeout_s
        How long a single read may take, seconds.

    Raises
    ------
    NoAnswerError
        It was silent for `timeout_s`. It may go on, and what it returns then is lost.
    """
    call = _Call(function)
    while True:
        try:
            return call.over.result(timeout=min(POLL_S, timeout_s))
        except TimeoutError:
            if call.over.done():
                raise  # its own
            if time.monotonic() - call.latest > timeout_s:
                raise no_answer(path, timeout_s=timeout_s) from None


class Readers:
    """Threads that read one slide. The process does not wait for them at its end.

    Python waits for the threads of a ThreadPoolExecutor.

    Parameters
    ----------
    count
        Number of threads.
    name
        What they are called.

    Attributes
    ----------
    dropped
        Whether waiting work is not done any more.
    """

    def __init__(self, count: int, name: str) -> None:
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._count = count
        self.dropped = False
        for number in range(count):
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True).start()

    def submit(
        self, function: Callable[P, T], /, *arguments: P.args, **named: P.kwargs
    ) -> Future[T]:
        """Have a thread call a function."""
        future: Future[T] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                if self.dropped:
                    raise CancelledError
                result = function(*arguments, **named)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        self._work.put(work)
        return future

    def drop(self) -> None:
        """Finish running work; waiting work raises CancelledError."""
        self.dropped = True
        self.close()

    def close(self) -> None:
        """End the threads once their work is done."""
        for _ in range(self._count):
            self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()
            del work  # it holds the pixels of a block
