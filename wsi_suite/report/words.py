"""Numbers of a report in words; the page's script writes them in the same way."""

from __future__ import annotations

from collections.abc import Callable, Mapping

NONE = "–"


def one_digit(value: float | None) -> str:
    """Return a figure with one digit after the point, or a dash."""
    return NONE if value is None else _minus(f"{value:.1f}")


def whole(value: float | None) -> str:
    """Return a figure without digits after the point, or a dash."""
    return NONE if value is None else _minus(f"{value:,.0f}")


def percent(value: float | None) -> str:
    """Return a percentage with its sign, or a dash."""
    return NONE if value is None else f"{one_digit(value)} %"


def mm2(value: float | None) -> str:
    """Return an area in three digits, or a dash."""
    return NONE if value is None else f"{value:.3g}"


def thresholds(values: tuple[float, ...]) -> str:
    """Return thresholds as they stand in captions: ``0.2 / 0.4 / 0.6``."""
    return " / ".join(f"{value:g}" for value in values)


def _minus(text: str) -> str:
    return text.replace("-", "−")


FILTERS: Mapping[str, Callable[..., str]] = {
    "one_digit": one_digit,
    "whole": whole,
    "percent": percent,
    "mm2": mm2,
    "thresholds": thresholds,
}
"""Filters of the templates."""
