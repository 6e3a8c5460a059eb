"""Totals of a batch while it runs: slides done and failed, throughput and time left."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wsi_suite.progress import AREA_MM2, Step

if TYPE_CHECKING:
    from wsi_suite.runs.outcome import Outcome

_SETTLED_S = 20.0  # rates before that are those of the start


@dataclass
class BatchTotals:
    """Counts and rates of the slides of a batch.

    Work that an earlier start or another process has done counts as done, never as throughput.

    Attributes
    ----------
    slides
        Number of slides in all.
    shared
        Whether other processes do some of them, so that the time left is not known here.
    clock
        Returns the time, seconds.
    """

    slides: int
    shared: bool = False
    clock: Callable[[], float] = time.monotonic
    _first: dict[str, Step] = field(default_factory=dict)
    _now: dict[str, Step] = field(default_factory=dict)
    _done: int = 0
    _failed: int = 0
    _own_slides: float = 0.0  # of those that have ended
    _own_mm2: float = 0.0
    _began: float | None = None

    def step(self, step: Step) -> None:
        """Note the progress of a slide."""
        if self._began is None:
            self._began = self.clock()
        self._first.setdefault(step.name, step)
        self._now[step.name] = step

    def end(self, outcome: Outcome) -> None:
        """Note how a slide ended."""
        name = str(outcome.slide)
        self._done, self._failed = (
            (self._done, self._failed + 1) if outcome.error else (self._done + 1, self._failed)
        )
        share, mm2 = self._own(name)
        self._own_slides, self._own_mm2 = self._own_slides + share, self._own_mm2 + mm2
        self._first.pop(name, None)
        self._now.pop(name, None)

    def __str__(self) -> str:
        """Return the totals, as '12 of 90 done, 1 failed; 45.2 mm2/h, 3.1 slides/h; 25 h left'."""
        counts = f"{self._done:,} of {self.slides:,} done"
        if self._failed:
            counts += f", {self._failed:,} failed"
        return "; ".join((counts, *self._rates()))

    def _own(self, name: str) -> tuple[float, float]:
        """Return the share of a slide that was done here since the start, and its area in mm2."""
        first, now = self._first.get(name), self._now.get(name)
        if first is None or now is None:
            return 0.0, 0.0
        share = now.fraction - first.fraction
        return share, share * now.figures.get(AREA_MM2, 0.0)

    def _rates(self) -> list[str]:
        seconds = 0.0 if self._began is None else self.clock() - self._began
        at_work = dict(self._now)  # other threads change it meanwhile
        running = [self._own(name) for name in at_work]
        slides = self._own_slides + sum(share for share, _ in running)
        mm2 = self._own_mm2 + sum(area for _, area in running)
        if seconds < _SETTLED_S or not slides:
            return []
        rates = [f"{3600 * mm2 / seconds:.3g} mm2/h"] if mm2 else []
        rates.append(f"{3600 * slides / seconds:.3g} slides/h")
        left = self.slides - self._done - self._failed
        left_share = left - sum(step.fraction for step in at_work.values())
        told = [", ".join(rates)]
        if left_share > 0 and not self.shared:
            told.append(f"{span(left_share * seconds / slides)} left")
        return told


def span(seconds: float) -> str:
    """Return a length of time as people say it: '2 d 5 h', '3 h 20 min', '7 min', '40 s'."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min" if minutes else f"{seconds:.0f} s"
