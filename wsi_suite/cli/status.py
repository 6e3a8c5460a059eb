"""``status``: how far the slides of a batch are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsi_suite.cli.batch_totals import span
from wsi_suite.cli.options import Debug, Json

if TYPE_CHECKING:
    from rich.table import Table

    from wsi_suite.runs.status import SlideStatus

_EVERY_S = 5.0
_SHOWN = 5  # slides that wait, and on the screen of --watch finished ones

ResultsFolder = Annotated[
    Path,
    typer.Argument(help="The --out of 'wsi-suite run'.", metavar="DIR", show_default=False),
]
Watch = Annotated[
    bool,
    typer.Option("--watch", help="Look again every 5 s until no slide is running."),
]


def status(
    *, folder: ResultsFolder, watch: Watch = False, as_json: Json = False, debug: Debug = False
) -> None:
    """Show how far the slides of a batch are.

    It reads what runs leave in DIR and writes nothing, so it may be asked from another terminal or
    another machine while they are at work. Slides that a command named and none has begun are
    waiting; of many that wait the first are shown.
    """
    from wsi_suite.cli.terminal import print_json, say, show_table
    from wsi_suite.errors import ConfigError
    from wsi_suite.runs.status import read_status

    if watch and as_json:
        raise ConfigError("--watch: not with --json; call 'wsi-suite status --json' again instead")
    if watch:
        _watch(folder)
        return
    slides = read_status(folder)
    if as_json:
        print_json([asdict(one) for one in slides])
        return
    show_table(_COLUMNS, map(_row, _without_most_waiting(slides)))
    say(_totals(slides))


_COLUMNS = ("slide", "state", "done", "Mpx/s", "left", "error")


def _row(one: SlideStatus) -> tuple[object, ...]:
    return (
        one.slide,
        one.state,
        None if one.share is None else f"{100 * one.share:.0f} %",
        None if one.pixels_per_s is None else f"{one.pixels_per_s / 1e6:.2f}",
        None if one.seconds_left is None else span(one.seconds_left),
        one.error or "",
    )


def _totals(slides: Sequence[SlideStatus]) -> str:
    """Return the line on all slides, as '12 asked for: 10 done, 2 running; 1.2 Mpx/s'."""
    from wsi_suite.runs.status import seconds_left

    states = Counter(one.state for one in slides)
    counts = ", ".join(f"{count} {state}" for state, count in states.most_common())
    parts = [f"{len(slides)} asked for: {counts}"]
    if rate := sum(one.pixels_per_s or 0 for one in slides):
        parts.append(f"{rate / 1e6:.2f} Mpx/s")
    if (left := seconds_left(slides)) is not None:
        parts.append(f"{span(left)} left for those that are running")
    if states["stopped"]:
        parts.append("the same command goes on with what is stopped")
    elif states["waiting"] and not states["running"]:
        parts.append("no process is at work; the same command goes on")
    return "; ".join(parts)


def _watch(folder: Path) -> None:
    """Show the slides that are running, and how others ended, until none is running."""
    import time

    from rich.live import Live

    from wsi_suite.cli.terminal import stdout
    from wsi_suite.runs.status import read_status

    slides = read_status(folder)
    with Live(_screen(slides), console=stdout, auto_refresh=False) as live:
        while any(one.state == "running" for one in slides):
            time.sleep(_EVERY_S)
            slides = read_status(folder)
            live.update(_screen(slides), refresh=True)


def _without_most_waiting(slides: Sequence[SlideStatus]) -> list[SlideStatus]:
    """Return the slides; of those that wait only the first."""
    waiting = [one for one in slides if one.state == "waiting"]
    left_out = {id(one) for one in waiting[_SHOWN:]}
    return [one for one in slides if id(one) not in left_out]


def _screen(slides: Sequence[SlideStatus]) -> Table:
    """Return a table that fits on a screen: of finished slides only the last."""
    from rich.table import Table
    from rich.text import Text

    finished = [one for one in slides if one.state in ("done", "tiled")]
    left_out = {id(one) for one in finished[:-_SHOWN]}
    table = Table(box=None, pad_edge=False, caption=_totals(slides), caption_justify="left")
    for column in _COLUMNS:
        table.add_column(column, overflow="fold")
    for one in _without_most_waiting(slides):
        if id(one) not in left_out:
            table.add_row(*(Text("-" if cell is None else str(cell)) for cell in _row(one)))
    return table
