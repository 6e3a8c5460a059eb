"""Figures as text, so that none is shown on the other side of a cut-off than it lies."""

from __future__ import annotations

_MOST = 4


def fixed(value: float | None, digits: int) -> str:
    """Return a figure with so many digits after the point, or more if it looked whole and is not.

    Cut-offs are whole percentages: 0.97 % positive nuclei, which are negative by ASCO/CAP, must not
    be shown as 1.0 %. At most four digits are given.

    Parameters
    ----------
    value
        The figure; ``None`` is a dash.
    digits
        The usual number; with 0 the figure is rounded to a whole one.

    Examples
    --------
    >>> [fixed(value, 1) for value in (19.44, 1, 0.97, 29.996, 0.03)]
    ['19.4', '1.0', '0.97', '29.996', '0.03']
    """
    if value is None:
        return "–"
    if digits and not float(value).is_integer():
        while digits < _MOST and float(f"{value:.{digits}f}").is_integer():
            digits += 1
    return f"{value:.{digits}f}"
