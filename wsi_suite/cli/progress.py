"""Progress of long work: bars in a terminal, occasional lines elsewhere."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from wsi_suite.cli.terminal import (
    INTERRUPTED,
    INTERRUPTED_CODE,
    INTERRUPTED_TRAINING,
    say,
    show_error,
    shows_bars,
    stderr,
)
from wsi_suite.files import passing_folders

if TYPE_CHECKING:
    from rich.console import Group
    from rich.progress import TaskID

    from wsi_suite.cli.batch_totals import BatchTotals
    from wsi_suite.errors import WsiSuiteError
    from wsi_suite.progress import Progress, Step
    from wsi_suite.runs.outcome import Outcome

_NAME_LENGTH = 26
_SECONDS_BETWEEN_LINES = 30.0
_ROWS = 12  # of slides at work, on the screen


@contextmanager
def slide_progress(
    *, interrupted: str = INTERRUPTED, totals: BatchTotals | None = None
) -> Iterator[_Lines | _Bars]:
    """Show the progress and outcome of slides on stderr; exit at once on Ctrl-C.

    Parameters
    ----------
    interrupted
        What to say then.
    totals
        Counts slides and rates, which are shown, too.
    """
    if not shows_bars():
        with _leaving_at_once(interrupted):
            yield _Lines(totals)
        return
    bars = _Bars(totals)
    with _leaving_at_once(interrupted, first=bars.stop), bars.shown():
        yield bars


@contextmanager
def _leaving_at_once(said: str, *, first: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Let Ctrl-C end the program now.

    Waiting for the blocks under way would take minutes, and nothing is lost without: whatever is
    written is written whole or not at all.
    """

    def leave() -> None:
        first()
        show_error(said)
        sys.stdout.flush()
        _remove_passing_folders()
        os._exit(INTERRUPTED_CODE)

    before = signal.signal(signal.SIGINT, lambda *_: leave())
    try:
        with _kept_from_children(leave):
            yield
    finally:
        signal.signal(signal.SIGINT, before)


def _remove_passing_folders() -> None:
    """End the program and all its threads, then remove its temporary folders.

    A thread that still reads there might take what is gone for empty. On Windows, where files in
    use cannot be removed, the next run does it.
    """
    if passing_folders and sys.platform != "win32":
        remove = (
            "import os, shutil, sys\n"
            "for folder in sys.argv[2:]: shutil.rmtree(folder, ignore_errors=True)\n"
            "os._exit(int(sys.argv[1]))"
        )
        folders = map(str, passing_folders)
        with suppress(OSError):  # it is left to the next run
            command = [sys.executable, "-I", "-S", "-c", remove, str(INTERRUPTED_CODE), *folders]
            os.execv(sys.executable, command)


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
    if not shows_bars():
        say(text)
        yield
        return
    with stderr.status(text):
        yield


@contextmanager
def messages() -> Iterator[Progress]:
    """Show the messages of steps as :func:`working` shows a text, one after the other."""
    shown = ""
    with stderr.status("") if shows_bars() else nullcontext() as status:

        def show(step: Step) -> None:
            nonlocal shown
            if not step.message or step.message == shown:
                return
            shown = step.message
            if status is None:
                say(shown)
            else:
                status.update(shown)

        yield show


@contextmanager
def epoch_progress() -> Iterator[Progress]:
    """Show the progress of a training with its latest figures; exit at once on Ctrl-C."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    def plain(step: Step) -> None:
        say(f"{step.name}: epoch {step.done:g}/{step.total:g}  {_figures(step.figures)}")

    if not shows_bars():
        with _leaving_at_once(INTERRUPTED_TRAINING):
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
    with _leaving_at_once(INTERRUPTED_TRAINING, first=progress.stop), progress:
        task = progress.add_task("starting", total=None)

        def bar(step: Step) -> None:
            progress.update(
                task,
                completed=step.done,
                total=step.total,
                description=f"{_shortened(step.name)}  {_figures(step.figures)}",
            )

        yield bar


class _Shown:
    """Base of both ways to show the progress of a batch.

    Attributes
    ----------
    complaints
        Errors of the batch as a whole, for the exit code.
    """

    def __init__(self, totals: BatchTotals | None = None) -> None:
        self.complaints: list[WsiSuiteError] = []
        self._totals = totals
        self._first: dict[str, Step] = {}  # the first step of each slide
        self._lock = Lock()

    def step(self, step: Step) -> None:
        """Show the progress of a slide."""
        with self._lock:
            if self._totals is not None:
                self._totals.step(step)
            if self._first.setdefault(step.name, step) is step:
                self._begin(step)
            self._advance(step)

    def tell(self, news: Outcome | WsiSuiteError | str) -> None:
        """Print the outcome of a slide, or an error of the batch or a remark on it."""
        if isinstance(news, str):
            say(news)
            return
        if isinstance(news, Exception):
            self.complaints.append(news)
            show_error(news)
            return
        with self._lock:
            if self._totals is not None:
                self._totals.end(news)
            first = self._first.pop(str(news.slide), None)
            self._end(str(news.slide))
        _tell_end(news, already=first is not None and 0 < first.done == first.total)

    def _begin(self, step: Step) -> None:
        if 0 < step.done < step.total:
            say(f"{_file_name(step.name)}: going on at {_percent(step)}")

    def _advance(self, step: Step) -> None:
        raise NotImplementedError

    def _end(self, name: str) -> None:
        pass


class _Lines(_Shown):
    """Plain lines, for log files."""

    def __init__(self, totals: BatchTotals | None = None) -> None:
        super().__init__(totals)
        self._told = time.monotonic()

    def _advance(self, step: Step) -> None:
        if time.monotonic() - self._told >= _SECONDS_BETWEEN_LINES:
            self._told = time.monotonic()
            totals = "" if self._totals is None else f"; {self._totals}"
            say(f"{_file_name(step.name)}: {_percent(step)}{totals}")


class _Bars(_Shown):
    """Totals, and a bar for each slide that is under way; outcomes are lines above them.

    Of many slides the first are shown, so that all fits on a screen however many there are.
    """

    def __init__(self, totals: BatchTotals | None = None) -> None:
        super().__init__(totals)
        from rich.live import Live
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._tasks: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(compact=True),
            console=stderr,
        )
        self._live = Live(
            console=stderr,
            refresh_per_second=4,
            transient=True,
            get_renderable=self._screen,
        )

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the bars; before the first slide is planned, a moving one."""
        self._waiting = self._progress.add_task("getting ready", total=None, state="")
        with self._live:
            yield

    def stop(self) -> None:
        """Remove the bars and restore the terminal."""
        self._live.stop()

    def _screen(self) -> Group:
        from rich.console import Group
        from rich.text import Text

        above = [] if self._totals is None else [Text(str(self._totals), "bold")]
        hidden = len(self._tasks) - _ROWS
        below = [Text(f"and {hidden} more", "dim")] if hidden > 0 else []
        return Group(*above, self._progress, *below)

    def _begin(self, step: Step) -> None:
        super()._begin(step)
        self._tasks[step.name] = self._progress.add_task(
            _shortened(_file_name(step.name)),
            total=max(1, step.total),
            completed=int(step.done),
            state=_percent(step),
        )
        self._choose_rows()

    def _advance(self, step: Step) -> None:
        number = self._tasks.get(step.name)
        if number is None:
            return
        self._progress.update(number, completed=step.done)
        task = next(task for task in self._progress.tasks if task.id == number)
        state = _percent(step)
        if task.finished:
            state += "  writing"
        elif task.speed:
            state += f"  {task.speed / 1e6:.1f} Mpx/s"
        self._progress.update(number, state=state)

    def _end(self, name: str) -> None:
        if name in self._tasks:
            self._progress.remove_task(self._tasks.pop(name))
        self._choose_rows()

    def _choose_rows(self) -> None:
        said = "getting ready" if self._tasks else "the next slide, or the table"
        self._progress.update(self._waiting, visible=not self._tasks, description=said)
        for row, task in enumerate(self._tasks.values()):
            self._progress.update(task, visible=row < _ROWS)


def _tell_end(outcome: Outcome, *, already: bool) -> None:
    if outcome.error is not None:
        show_error(outcome.error)
        return
    before = "already " if already else ""
    say(f"{outcome.slide.name}: {before}{outcome.state}, {outcome.folder}")


def _percent(step: Step) -> str:
    return f"{100 * step.fraction:.0f} %"


def _figures(metrics: Mapping[str, float]) -> str:
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
