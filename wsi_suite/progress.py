"""Progress of long work, as callbacks receive it.

Functions that take long have a parameter `progress`, a callable that receives a :class:`Step`. It
may be called from any thread. An exception raised in it ends the work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from threading import Lock

AREA_MM2 = "mm2"
"""Figure of the step of a slide: the area of what is looked at, mm2."""


@dataclass(frozen=True)
class Step:
    """State of one piece of work.

    Attributes
    ----------
    name
        The slide, image or training.
    done, total
        Work done so far and work in all, in one unit (pixels, epochs or shares).
    message
        Current activity, for the user.
    figures
        Latest figures by name, such as the loss of a training.
    """

    name: str
    done: float
    total: float
    message: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def fraction(self) -> float:
        """Share of the work that is done, 0 - 1."""
        return min(1.0, self.done / self.total) if self.total else 1.0


Progress = Callable[[Step], None]


def no_progress(step: Step) -> None:
    """Ignore a step."""


class Meter:
    """Adds up work that is reported in parts, by name and from any thread.

    Parameters
    ----------
    progress
        Receives a step after each part.
    message
        Current activity, for the user.
    """

    def __init__(self, progress: Progress, *, message: str = "") -> None:
        self._progress, self._message = progress, message
        self._steps: dict[str, Step] = {}
        self._lock = Lock()

    def begin(
        self,
        name: str,
        *,
        total: float,
        done: float = 0,
        figures: Mapping[str, float] | None = None,
    ) -> None:
        """Begin a piece of work, some of which may be done already."""
        with self._lock:
            step = self._steps[name] = Step(name, done, total, self._message, figures or {})
        self._progress(step)

    def advance(self, name: str, part: float) -> None:
        """Add work that is done; of a name that was not begun it is ignored."""
        with self._lock:
            before = self._steps.get(name)
            if before is None:
                return
            step = self._steps[name] = replace(before, done=before.done + part)
        self._progress(step)
