"""Colours of classes, the same in pages, pictures and cards."""

from __future__ import annotations

import colorsys

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
"""Colours of classes, apart for the colour-blind too (Okabe and Ito, 2008)."""


def class_colour(index: int) -> str:
    """Return the colour of the class of an index, as ``#rrggbb``.

    The first ones are `COLOURS`; further ones are hues as far apart as they go (golden angle).

    Examples
    --------
    >>> class_colour(0)
    '#0072b2'
    """
    if index < len(COLOURS):
        return COLOURS[index]
    further = index - len(COLOURS)
    rgb = colorsys.hsv_to_rgb((0.75 + 0.618034 * further) % 1, 0.55, (0.9, 0.65)[further % 2])
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgb)
