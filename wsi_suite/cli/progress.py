"""How far the work is: bars in a terminal, now and then a line anywhere else."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from wsi_suite.cli.terminal import INTERRUPTED, INTERRUPTED_CODE, say, show_error, stderr

if TYPE_CHECKING:
    from rich.progress import TaskID

    from wsi_suite.errors import WsiSuiteError
    from wsi_suite.runs.outcome import Outcome

_NAME_LENGTH = 26
_SECONDS_BETWEEN_LINES = 30.0


@contextmanager
def slide_progress() -> Iterator[_Lines | _Bars]:
    """Show on stderr how far slides are, and how each one ended; leave at once on Ctrl-C."""
    if not stderr.is_terminal:
        with _leaving_at_once():
            yield _Lines()
        return
    bars = _Bars()
    with _leaving_at_once(first=bars.stop), bars.shown():
        yield bars


@contextmanager
def _leaving_at_once(first: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Let Ctrl-C end the program now.

    Waiting for the blocks under way would take minutes, and nothing is lost without: whatever is
    written is written whole or not at all.
    """

    def leave() -> None:
        first()
        show_error(INTERRUPTED)
        sys.stdout.flush()
        os._exit(INTERRUPTED_CODE)

    before = signal.signal(signal.SIGINT, lambda *_: leave())
    try:
        with _kept_from_children(leave):
            yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _kept_from_children(leave: Callable[[], None]) -> Iterator[None]:
    """Keep Ctrl-C from worker processes, which would all show a traceback.

    What is blocked here is blocked in all threads and processes that are started from here on; one
    thread waits for it in their stead.
    """
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    over = Event()

    def watch() -> None:
        signal.sigwait({signal.SIGINT})
        if not over.is_set():
            leave()

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        signal.pthread_kill(watcher.ident or 0, signal.SIGINT)
        watcher.join()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def working(text: str) -> Iterator[None]:
    """Show the current step, with a spinner in a terminal."""
    if not stderr.is_terminal:
        say(text)
        yield
        return
    with stderr.status(text):
        yield


@contextmanager
def epoch_progress() -> Iterator[Callable[[int, int, dict[str, float]], None]]:
    """Show how far a training is, with its latest figures; leave at once on Ctrl-C."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    def plain(epoch: int, epochs: int, metrics: dict[str, float]) -> None:
        say(f"epoch {epoch}/{epochs}  {_figures(metrics)}")

    if not stderr.is_terminal:
        with _leaving_at_once():
            yield plain
        return
    columns = (
        TextColumn("epoch"),
        MofNCompleteColumn(),
        BarColumn(bar_width=16),
        TextColumn("{task.description}"),
        TimeRemainingColumn(compact=True),
    )
    progress = RichProgress(*columns, console=stderr)
    with _leaving_at_once(first=progress.stop), progress:
        task = progress.add_task("starting", total=None)

        def bar(epoch: int, epochs: int, metrics: dict[str, float]) -> None:
            progress.update(task, completed=epoch, total=epochs, description=_figures(metrics))

        yield bar


class _Complaints:
    """Shows errors of the batch at once and keeps them for the exit code."""

    def __init__(self) -> None:
        self.complaints: list[WsiSuiteError] = []

    def complain(self, error: WsiSuiteError) -> None:
        """Say it."""
        self.complaints.append(error)
        show_error(error)


class _Lines(_Complaints):
    """Plain lines, for log files."""

    def __init__(self) -> None:
        super().__init__()
        self._slides: dict[str, tuple[int, int]] = {}  # pixels in all, pixels done
        self._already: set[str] = set()
        self._told = time.monotonic()
        self._lock = Lock()

    def begin(self, key: str, *, pixels: int, done: int) -> None:
        """Say where an earlier start is gone on from."""
        _tell_resumed(key, pixels=pixels, done=done)
        with self._lock:
            self._slides[key] = pixels, done
            if 0 < done == pixels:
                self._already.add(key)

    def advance(self, key: str, pixels: int) -> None:
        """Say how far a slide is, if nothing was said for a while."""
        with self._lock:
            if key not in self._slides:
                return
            in_all, done = self._slides[key]
            self._slides[key] = in_all, done + pixels
            if time.monotonic() - self._told < _SECONDS_BETWEEN_LINES:
                return
            self._told = time.monotonic()
        say(f"{_file_name(key)}: {_percent(done + pixels, in_all)}")

    def finish(self, outcome: Outcome) -> None:
        """Say how a slide ended."""
        _tell_end(outcome, already=str(outcome.slide) in self._already)


class _Bars(_Complaints):
    """A bar per slide that is under way."""

    def __init__(self) -> None:
        super().__init__()
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(compact=True),
            console=stderr,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._already: set[str] = set()
        self._lock = Lock()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the bars, and something that moves while there is none yet."""
        with self._progress:
            self._waiting = self._progress.add_task("getting ready", total=None, state="")
            yield

    def stop(self) -> None:
        """Take everything away and give the terminal back as it was."""
        self._progress.stop()

    def begin(self, key: str, *, pixels: int, done: int) -> None:
        """Show a progress bar that includes the work of an earlier start."""
        _tell_resumed(key, pixels=pixels, done=done)
        with self._lock:
            if 0 < done == pixels:
                self._already.add(key)
            self._progress.update(self._waiting, visible=False)
            self._tasks[key] = self._progress.add_task(
                _shortened(_file_name(key)),
                total=max(1, pixels),
                completed=done,
                state=_percent(done, max(1, pixels)),
            )

    def advance(self, key: str, pixels: int) -> None:
        """Move a bar."""
        with self._lock:
            if key not in self._tasks:
                return
            number = self._tasks[key]
            self._progress.update(number, advance=pixels)
            task = next(task for task in self._progress.tasks if task.id == number)
            state = _percent(int(task.completed), int(task.total or 1))
            if task.finished:
                state += "  writing"
            elif task.speed:
                state += f"  {task.speed / 1e6:.1f} Mpx/s"
            self._progress.update(number, state=state)

    def finish(self, outcome: Outcome) -> None:
        """Take a bar away and say how the slide ended."""
        key = str(outcome.slide)
        with self._lock:
            if key in self._tasks:
                self._progress.remove_task(self._tasks.pop(key))
            self._progress.update(self._waiting, visible=not self._tasks)
        _tell_end(outcome, already=key in self._already)


def _tell_resumed(key: str, *, pixels: int, done: int) -> None:
    if 0 < done < pixels:
        say(f"{_file_name(key)}: going on at {_percent(done, pixels)}")


def _tell_end(outcome: Outcome, *, already: bool) -> None:
    if outcome.error is not None:
        show_error(outcome.error)
        return
    before = "already " if already else ""
    stderr.print(
        f"{outcome.slide.name}: {before}{outcome.state}, {outcome.folder}",
        markup=False,
        soft_wrap=True,
    )


def _percent(done: int, pixels: int) -> str:
    return f"{100 * done / pixels:.0f} %"


def _figures(metrics: dict[str, float]) -> str:
    shown = {"train/loss": "loss", "validation/map": "mAP", "validation/f1": "F1"}
    return "  ".join(
        f"{short} {metrics[name]:.3f}" for name, short in shown.items() if name in metrics
    )


def _file_name(path: str) -> str:
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _shortened(name: str) -> str:
    """Return a name that fits beside a bar; both of its ends tell slides apart."""
    if len(name) <= _NAME_LENGTH:
        return name
    return f"{name[: _NAME_LENGTH - 13]}...{name[-10:]}"
