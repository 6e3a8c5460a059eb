"""Figures as text, so that none is shown on the other side of a cut-off than it lies."""

from __future__ import annotations

_MOST = 9
_SAME = 1e-9  # 7 of 100 nuclei are 7.000000000000001 %; of 10 million one more is 1e-5 % more


def fixed(value: float | None, digits: int) -> str:
    """Return a figure with so many digits after the point, or more if it looked whole and is not.

    Cut-offs are whole percentages: 0.97 % positive nuclei, which are negative by ASCO/CAP, must not
    be shown as 1.0 %. At most nine digits are given.

    Parameters
    ----------
    value
        The figure; ``None`` is a dash.
    digits
        The usual number; with 0 the figure is rounded to a whole one.

    Examples
    --------
    >>> [fixed(value, 1) for value in (19.44, 1, 0.97, 29.996, 0.03, 0.999999)]
    ['19.4', '1.0', '0.97', '29.996', '0.03', '0.999999']
    """
    if value is None:
        return "–"
    if digits and abs(value - round(value)) > _SAME:
        while digits < _MOST and float(f"{value:.{digits}f}").is_integer():
            digits += 1
    return f"{value:.{digits}f}"


def rounded_percent(value: float | None) -> float | None:
    """Return a percentage as :func:`fixed` shows it, as a number for tables.

    Examples
    --------
    >>> [rounded_percent(value) for value in (19.44, 0.97, 10.04, None)]
    [19.4, 0.97, 10.04, None]
    """
    return None if value is None else float(fixed(value, 1))
