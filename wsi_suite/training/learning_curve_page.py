"""The page of a learning curve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from wsi_suite.colours import COLOURS
from wsi_suite.pages import PLOT_STYLE, inline, png_of, write_page
from wsi_suite.training.crossvalidation import Spread
from wsi_suite.training.learning_answer import answer_rows
from wsi_suite.training.learning_curve_document import FIGURES, LearningCurve, VariantCurve
from wsi_suite.training.outlook import TIMES, WORTHWHILE
from wsi_suite.training.trial import LEVEL, RESAMPLES

PAGE_FILE = "learning_curve.html"

_MARKS = "os^DvP"


def write_curve_page(path: Path, curve: LearningCurve) -> None:
    """Write a learning curve as one HTML file that needs no other.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    write_page(
        path,
        "learning_curve_page.html",
        package="wsi_suite.training",
        curve=curve,
        figures={name: words for name, (words, _) in FIGURES.items()},
        answers={
            variant.name: {name: answer_rows(variant, name) for name in ("map", "f1")}
            for variant in curve.variants
        },
        measured={variant.name: measured_rows(variant) for variant in curve.variants},
        pictures={name: inline(draw_curves(curve.variants, name)) for name in ("map", "f1")},
        times=(1, *TIMES),
        tested=_tested(curve),
        worthwhile=f"{WORTHWHILE:g}",
        level=f"{100 * LEVEL:g} %",
        resamples=RESAMPLES,
    )


def measured_rows(variant: VariantCurve) -> list[dict[str, object]]:
    """Return a line for each number of cases: how much is labelled, mean and range of figures.

    With each mean goes the number of its repeats, which is below that of all where some failed.
    """
    rows = []
    for cases in variant.cases:
        points = [point for point in variant.points if point.cases == cases]
        figures = {}
        for name in FIGURES:
            values = variant.values(name, cases)
            figures[name] = (Spread.of(values), len(values)) if values else None
        rows.append(
            {
                "cases": cases,
                "share": points[0].share,
                "planned": len({point.repeat for point in variant.points}),
                "trainings": sum(point.figures is not None for point in points),
                "tiles": sum(point.tiles for point in points) / len(points),
                "nuclei": sum(point.nuclei for point in points) / len(points),
                "figures": figures,
            }
        )
    return rows


def _tested(curve: LearningCurve) -> dict[int, tuple[str, ...]]:
    """Return the test cases of each repeat."""
    return {point.repeat: point.test_runs for part in curve.variants for point in part.points}


def draw_curves(variants: Sequence[VariantCurve], figure: str) -> bytes:
    """Draw a figure over the number of cases: each training, means, fit and interval (PNG).

    Parameters
    ----------
    variants
        The curves.
    figure
        One of :data:`~wsi_suite.training.learning_curve_document.FIGURES`.
    """
    with style.context(PLOT_STYLE):
        picture = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = picture.add_subplot()
        places = {cases for variant in variants for cases in variant.cases}
        for number, variant in enumerate(variants):
            places |= _draw_variant(axes, variant, figure, number=number, of=len(variants))
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(sorted(places)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.set(xlabel="cases of training", ylabel=FIGURES[figure][0])
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, -0.02), min(high, 1.02))
        if len(variants) > 1:
            axes.legend(frameon=False)
        return png_of(picture)


def _draw_variant(
    axes: Axes, variant: VariantCurve, figure: str, *, number: int, of: int
) -> set[int]:
    """Draw one curve; return the numbers of cases that it is extrapolated to."""
    colour, mark = COLOURS[number % len(COLOURS)], _MARKS[number % len(_MARKS)]
    outlook = variant.outlooks[figure]
    aside = 1.02 ** (number - (of - 1) / 2)  # so that points of variants do not hide each other
    for cases in variant.cases:
        values = variant.values(figure, cases)
        here = [cases * aside] * len(values)
        axes.plot(here, values, mark, color=colour, alpha=0.45, ms=5, mew=0)
    for row in answer_rows(variant, figure):
        if row.mean is not None:
            axes.plot(row.cases * aside, row.mean, mark, color=colour, ms=8, mec="white")
    axes.plot([], [], mark, color=colour, ls="-", label=variant.name)
    if not outlook.curve:
        return set()
    last = outlook.cases[-1]
    inside = [part for part in outlook.curve if part.cases <= last]
    beyond = [part for part in outlook.curve if part.cases >= last]
    for parts, line in ((inside, "-"), (beyond, "--")):
        axes.plot([p.cases for p in parts], [p.value for p in parts], line, color=colour)
    axes.fill_between(
        [part.cases for part in outlook.curve],
        [part.low for part in outlook.curve],
        [part.high for part in outlook.curve],
        color=colour,
        alpha=0.13,
        linewidth=0,
    )
    if not outlook.gains:
        return set()
    axes.axvline(last, color="0.75", ls=":", zorder=0)
    return {last * gain.times for gain in outlook.gains}
