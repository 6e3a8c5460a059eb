"""Names of regions in sentences: a few of many, and none that is a page long."""

from __future__ import annotations

from collections.abc import Sequence

_SHOWN = 3


def short_name(name: str, *, longest: int = 40) -> str:
    """Return a name in one line of at most so many characters, cut in the middle if need be."""
    name = " ".join(name.split())
    if len(name) <= longest:
        return name
    tail = longest // 3
    return f"{name[: longest - tail - 1].rstrip()}…{name[-tail:].lstrip()}"


def some_of(names: Sequence[str]) -> str:
    """Return the first three names, and how many more there are: ``A-1, A-2, A-3 and 9 more``."""
    shown = ", ".join(map(short_name, names[:_SHOWN]))
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


def of_regions(names: Sequence[str], *, of: int) -> str:
    """Return how many regions are meant, and some of them: ``12 of 100 regions (A-1, ...)``.

    The only region there is goes by its name alone.
    """
    return some_of(names) if of == 1 else f"{len(names)} of {of} regions ({some_of(names)})"
