"""Arguments as they are given in Python: paths, numbers, one name or several."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import overload

from wsi_suite.errors import ConfigError, did_you_mean


@overload
def path_of(given: str | Path, *, option: str) -> Path: ...
@overload
def path_of(given: str | Path | None, *, option: str, optional: bool) -> Path | None: ...
def path_of(given: str | Path | None, *, option: str, optional: bool = False) -> Path | None:
    """Return a path; what is none is refused, but for ``None`` where it is optional."""
    if given is None and optional:
        return None
    if not isinstance(given, str | os.PathLike) or not str(given):
        raise ConfigError(f"{option}: {_shown(given)}: expected a path")
    return Path(given)


def numbers_of(given: Iterable[float], *, option: str, example: str) -> list[float]:
    """Return numbers; what is none is refused."""
    try:
        return [float(value) for value in given]
    except (TypeError, ValueError):
        raise ConfigError(f"{option} {given}: expected {example}") from None


def number_of(given: float, *, option: str, least: float = -math.inf) -> float:
    """Return a number of at least `least`; what is none is refused."""
    try:
        value = float(given)
    except (TypeError, ValueError):
        value = math.nan
    if not value >= least:
        limit = "" if least == -math.inf else f" of {least:g} or more"
        raise ConfigError(f"{option} {given}: expected a number{limit}")
    return value


def names_of(given: object) -> list[str]:
    """Return names or ids as texts; one stands for itself, and a text is not its letters."""
    if given is None:
        return []
    values = given if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    return [str(value) for value in values]


def check_choice(value: str, choices: Iterable[str], *, option: str) -> None:
    """Refuse a word that is none of those that an option takes."""
    known = list(choices)
    if value not in known:
        hint = did_you_mean(str(value), known) or f"; expected {', '.join(known)}"
        raise ConfigError(f"{option} {value}: unknown{hint}")


def _shown(given: object) -> str:
    return "an empty text" if given == "" else f"a {type(given).__name__}"
