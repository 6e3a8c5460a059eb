"""Counts, rates and time left of a batch, with a clock of our own."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from wsi_suite.cli.batch_totals import BatchTotals, span
from wsi_suite.errors import SlideError
from wsi_suite.progress import AREA_MM2, Step
from wsi_suite.runs.outcome import Outcome
from wsi_suite.runs.state import State


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def step(name: str, done: float) -> Step:
    return Step(name, done, 100, figures={AREA_MM2: 20.0})


def end(name: str, *, failed: bool = False) -> Outcome:
    error = SlideError("bad") if failed else None
    return Outcome(Path(name), None, State.FAILED if failed else State.DONE, error=error)


def test_rates_follow_from_what_was_done_here() -> None:
    clock = Clock()
    totals = BatchTotals(1200, clock=clock)
    assert str(totals) == "0 of 1,200 done"
    totals.step(step("a", 50))  # half of it an earlier start did
    clock.now_s = 1800
    totals.step(step("a", 100))
    totals.end(end("a"))
    totals.step(step("b", 0))
    totals.step(step("b", 50))
    totals.end(end("c", failed=True))
    totals.step(step("d", 100))  # which was done before
    totals.end(end("d"))
    assert str(totals) == ("2 of 1,200 done, 1 failed; 40 mm2/h, 2 slides/h; 24 d 22 h left"), (
        "1196.5 slides are left"
    )


def test_the_time_left_is_not_told_where_others_help() -> None:
    clock = Clock()
    totals = BatchTotals(4, shared=True, clock=clock)
    totals.step(step("a", 0))
    clock.now_s = 3600
    totals.step(step("a", 50))
    assert str(totals) == "0 of 4 done; 10 mm2/h, 0.5 slides/h"


def test_nothing_is_made_of_the_first_seconds() -> None:
    clock = Clock()
    totals = BatchTotals(4, clock=clock)
    totals.step(step("a", 0))
    totals.step(step("a", 50))
    clock.now_s = 5
    assert str(totals) == "0 of 4 done"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (59.4, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h 00 min"),
        (47 * 3600, "47 h 00 min"), (49 * 3600, "2 d 1 h"),
    ],
)  # fmt: skip
def test_lengths_of_time(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_many_slides_at_work_fit_on_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    from wsi_suite.cli import progress

    console = Console(width=80, height=24, force_terminal=True, file=io.StringIO())
    monkeypatch.setattr(progress, "stderr", console)
    bars = progress._Bars(BatchTotals(5000))
    with bars.shown():
        for number in range(40):
            bars.step(step(f"/slides/a very long name of a slide {number:04d}.svs", 3))
        screen = io.StringIO()
        Console(width=80, file=screen).print(bars._screen())
        bars.tell(end("/slides/a very long name of a slide 0000.svs"))
        assert len(bars._tasks) == 39
    plain = screen.getvalue().splitlines()
    assert len(plain) == 1 + progress._ROWS + 1
    assert max(map(len, plain)) <= 80
    assert "0 of 5,000 done" in plain[0]
    assert "and 28 more" in plain[-1]
