"""Plots of paired scores, and of densities with their thresholds (PNG)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from wsi_suite.colours import COLOURS
from wsi_suite.nuclei.table import INTENSITIES
from wsi_suite.pages import PLOT_STYLE, as_text, png_of
from wsi_suite.scoring.agreement import Limits, Scores
from wsi_suite.scoring.calibration import Thresholds
from wsi_suite.scoring.control import ControlLimits
from wsi_suite.studies.calibration_document import Histogram

_NAME_LENGTH = 40
_GRADE_COLOURS = ("#56b4e9", "#e69f00", "#d55e00", "#7a2b00")  # pale to strong, as DAB


def draw_scatter(
    first: Scores, second: Scores, *, names: tuple[str, str], tolerance: float
) -> bytes:
    """Draw the first score over the second, with the line of equality and the tolerance about it.

    Parameters
    ----------
    first, second
        ``(N,)`` scores.
    names
        What to call them.
    tolerance
        Tolerated difference.
    """
    with style.context(PLOT_STYLE):
        figure = Figure(figsize=(4.6, 4.4), layout="constrained")
        axes = figure.add_subplot()
        both = np.concatenate([first, second])
        pad = max(1.0, float(np.ptp(both)) * 0.05)
        low, high = float(both.min()) - pad, float(both.max()) + pad
        ends = np.array([low, high])
        axes.fill_between(ends, ends - tolerance, ends + tolerance, color="0.94", linewidth=0)
        axes.plot(ends, ends, color="0.7", zorder=1)
        _points(axes, second, first)
        axes.set(xlabel=_short(names[1]), ylabel=_short(names[0]), xlim=ends, ylim=ends)
        axes.set_aspect("equal")
        return png_of(figure)


def draw_difference(
    first: Scores, second: Scores, *, names: tuple[str, str], limits: Limits
) -> bytes:
    """Draw a Bland-Altman plot: differences over means, bias and limits with their intervals.

    Parameters
    ----------
    first, second
        ``(N,)`` scores; the difference is first less second.
    names
        What to call them.
    limits
        Of their differences.
    """
    with style.context(PLOT_STYLE):
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        axes = figure.add_subplot()
        axes.axhline(0, color="0.85", zorder=0)
        lines = ((limits.upper, "+1.96 s"), (limits.bias, "bias"), (limits.lower, "−1.96 s"))
        for limit, words in lines:
            if limit.value is None or limit.low is None or limit.high is None:
                continue
            middle = limit is limits.bias
            colour = COLOURS[0] if middle else COLOURS[1]
            axes.axhline(limit.value, color=colour, ls="-" if middle else "--", zorder=1)
            axes.axhspan(limit.low, limit.high, color=colour, alpha=0.1, linewidth=0, zorder=0)
            axes.annotate(
                f"{words}: {as_text(limit.value, '.1f')}",
                (1, limit.value),
                xycoords=("axes fraction", "data"),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                color=colour,
            )
        _points(axes, (first + second) / 2, first - second)
        axes.set(xlabel="mean of the two", ylabel=f"{_short(names[0])} less\n{_short(names[1])}")
        return png_of(figure)


def draw_densities(
    histogram: Histogram, thresholds_od: Thresholds, *, runs_od: Thresholds | None
) -> bytes:
    """Draw numbers of nuclei over density, by the grade of their label if they have one.

    Parameters
    ----------
    histogram
        The numbers.
    thresholds_od, runs_od
        Fitted thresholds (drawn through), and those of the runs (dashed).
    """
    parts = histogram.by_grade
    names = ("all nuclei",) if parts is None else INTENSITIES
    with style.context(PLOT_STYLE):
        figure = Figure(figsize=(6.4, 3.2), layout="constrained")
        axes = figure.add_subplot()
        edges = histogram.start_od + histogram.step_od * np.arange(len(histogram.nuclei) + 1)
        colours = ("0.75",) if parts is None else _GRADE_COLOURS
        for name, counts, colour in zip(names, parts or (histogram.nuclei,), colours, strict=True):
            axes.stairs(counts, edges, fill=True, alpha=0.55, color=colour, label=name)
        for place in runs_od or ():
            axes.axvline(place, color="0.5", ls=":", zorder=3)
        for name, place in zip(INTENSITIES[1:], thresholds_od, strict=True):
            axes.axvline(place, color="0.1", zorder=3)
            axes.annotate(
                name,
                (place, 1),
                xycoords=("data", "axes fraction"),
                xytext=(2, -2),
                textcoords="offset points",
                va="top",
            )
        axes.set(xlabel="DAB optical density", ylabel="nuclei", xlim=(edges[0], edges[-1]))
        axes.legend(frameon=False, loc="upper right")
        return png_of(figure)


def draw_control_chart(
    scores: Sequence[float],
    broken: Sequence[bool],
    *,
    name: str,
    changed: Sequence[bool],
    limits: ControlLimits,
) -> bytes:
    """Draw a Levey-Jennings chart: scores in order, mean, and limits at 2 and 3 deviations.

    Parameters
    ----------
    scores, broken
        Scores, and which of them break a rule.
    name
        What to call the score.
    changed
        Which have other settings than the one before; a dotted line stands there.
    limits
        Mean and standard deviation.
    """
    with style.context(PLOT_STYLE):
        figure = Figure(figsize=(7.2, 3.4), layout="constrained")
        axes = figure.add_subplot()
        for times, line in ((0, "-"), (2, "--"), (-2, "--"), (3, "-"), (-3, "-")):
            place = limits.mean + times * limits.deviation
            axes.axhline(
                place, color="0.3" if times == 0 else COLOURS[1], ls=line, lw=0.9, zorder=0
            )
            axes.annotate(
                f"{times:+d} s".replace("-", "−") if times else "mean",
                (1, place),
                xycoords=("axes fraction", "data"),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
            )
        places = np.arange(1, len(scores) + 1)
        axes.plot(places, scores, color="0.6", lw=0.8, zorder=1)
        for place in places[np.array(changed, bool)]:
            axes.axvline(place - 0.5, color="0.3", ls=":", lw=1, zorder=0)
        first, bad = places <= limits.runs, np.array(broken, bool)
        values = np.array(scores)
        for rows, fill, marker in (
            (first & ~bad, "white", "o"),
            (~first & ~bad, COLOURS[0], "o"),
            (bad, "#c00000", "s"),
        ):
            axes.scatter(
                places[rows], values[rows], s=26, c=fill, marker=marker, edgecolors="0.2",
                linewidths=0.8, zorder=2,
            )  # fmt: skip
        axes.set(xlabel="number of the run", ylabel=name, xlim=(0.4, len(scores) + 0.6))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        return png_of(figure)


def _points(axes: Axes, x: Scores, y: Scores) -> None:
    alpha = 0.75 if len(x) < 100 else max(0.2, 0.75 * math.sqrt(100 / len(x)))
    axes.plot(x, y, "o", ms=5, mew=0, color="0.2", alpha=alpha)


def _short(name: str) -> str:
    short = name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…"
    return short.replace("$", r"\$")  # else matplotlib takes it for mathematics
