"""Numbers of a report in words; the page's script writes them in the same way."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from wsi_suite.pages import as_text
from wsi_suite.scoring.decimals import fixed
from wsi_suite.scoring.names import short_name


def whole(value: float | None) -> str:
    """Return a figure without digits after the point, or a dash."""
    return as_text(value, ",.0f")


def percentage(value: float | None) -> str:
    """Return a percentage with its sign, or a dash; none looks whole that is not."""
    return "–" if value is None else fixed(value, 1).replace("-", "−") + " %"


def mm2(value: float | None) -> str:
    """Return an area in three digits, or a dash."""
    return as_text(value, ".3g")


def hundredths(value: float | None) -> str:
    """Return a figure with two digits after the point, never a negative zero; or a dash."""
    return as_text(None if value is None else round(value, 2) + 0.0, ".2f")


def thresholds(values: tuple[float, ...]) -> str:
    """Return thresholds as they stand in captions: ``0.2 / 0.4 / 0.6``."""
    return " / ".join(f"{value:g}" for value in values)


FILTERS: Mapping[str, Callable[..., str]] = {
    "whole": whole,
    "percentage": percentage,
    "hundredths": hundredths,
    "mm2": mm2,
    "short": short_name,
    "thresholds": thresholds,
}
"""Filters of the templates, beside those of :mod:`wsi_suite.pages`."""
