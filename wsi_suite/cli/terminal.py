"""What people see in a terminal: errors, progress, tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import TaskID

    from wsi_suite.batch import Outcome

stderr = Console(stderr=True, highlight=False)
stdout = Console(highlight=False)


def show_error(error: object) -> None:
    """Print one line to stderr, whole, however narrow the terminal."""
    stderr.print("[red]error:[/red] ", end="")
    stderr.print(str(error), markup=False, soft_wrap=True)


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table to stdout; the first column is left aligned, the others right."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*("-" if value is None else str(value) for value in row))
    stdout.print(table)


class SlideProgress:
    """A bar per slide on stderr, and a line where it ends; the batch's ``Progress``."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            console=stderr,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> SlideProgress:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def begin(self, key: str, *, pixels: int, done: int) -> None:
        """Show a bar; what an earlier start did is behind it already."""
        name = _shortened(key)
        if 0 < done < pixels:
            stderr.print(f"{name}: going on at {100 * done / pixels:.0f} %", markup=False)
        self._tasks[key] = self._progress.add_task(
            name, total=max(1, pixels), completed=done, rate=""
        )

    def advance(self, key: str, pixels: int) -> None:
        """Move a bar."""
        if key in self._tasks:
            task = self._tasks[key]
            speed = self._progress.tasks[self._progress.task_ids.index(task)].speed
            rate = f"{speed / 1e6:.2f} Mpx/s" if speed else ""
            self._progress.update(task, advance=pixels, rate=rate)

    def finish(self, outcome: Outcome) -> None:
        """Take a bar away and say how the slide ended."""
        task = self._tasks.pop(str(outcome.slide), None)
        if task is not None:
            self._progress.remove_task(task)
        if outcome.error is not None:
            show_error(outcome.error)
        else:
            stderr.print(f"{outcome.slide.name}: {outcome.state}, {outcome.folder}",
                         markup=False, soft_wrap=True)


def _shortened(path: str, length: int = 28) -> str:
    name = path.replace("\\", "/").rpartition("/")[2]
    return name if len(name) <= length else f"{name[: length - 9]}...{name[-6:]}"
