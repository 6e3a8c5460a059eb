"""The histogram of DAB: how its bars are made of binned counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wsi_suite.report.binned import STEP_OD, BinnedCounts

_SPANS = ((500, 5), (5000, 2))  # up to so many nuclei, a bar spans so many steps
_TICKS_OD = 0.2


@dataclass(frozen=True)
class Histogram:
    """Bars of a histogram.

    Attributes
    ----------
    steps
        Length of the axis in steps of ``STEP_OD``; it starts at 0.
    path
        The bars of one class, or of all, as a path of SVG: x in steps, y from 100 down to 0.
    ticks_od
        Labels of the axis.
    """

    steps: int
    path: str
    ticks_od: tuple[float, ...]


def draw_histogram(binned: BinnedCounts, *, part: int, label: int | None) -> Histogram:
    """Return the histogram of a part, of one class or of all.

    What is below 0 stands in the first bar, and what is above the axis in the last.
    """
    counts = binned.parts[part].counts
    row = counts.sum(axis=0) if label is None else counts[label]
    steps = round(binned.top_od / STEP_OD)
    span = next((span for limit, span in _SPANS if row.sum() <= limit), 1)
    # The step in which a bin starts; the bin below all edges goes to the first.
    starts = np.floor(np.array([0.0, *binned.edges_od]) / STEP_OD + 1e-6).astype(int)
    bars = np.bincount(
        np.minimum(starts, steps - 1) // span, row, minlength=-(-steps // span)
    ).astype(int)
    ticks = int(binned.top_od / _TICKS_OD + 1e-6)
    return Histogram(
        steps=steps,
        path=_bars_path(bars.tolist(), span=span, steps=steps),
        ticks_od=tuple(round(tick * _TICKS_OD, 1) for tick in range(ticks + 1)),
    )


def _bars_path(bars: list[int], *, span: int, steps: int) -> str:
    highest = max([*bars, 1])
    return "".join(
        f"M{place * span},100V{100 - 100 * count / highest:.1f}"
        f"H{min((place + 1) * span, steps)}V100Z"
        for place, count in enumerate(bars)
        if count
    )
