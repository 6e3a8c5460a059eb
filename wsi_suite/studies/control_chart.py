"""Control chart of a slide that was scored again and again: the document, and the page."""

from __future__ import annotations

import re
from pathlib import Path

from wsi_suite.analysis.summary import Summary, read_summary
from wsi_suite.documents import Document, Part
from wsi_suite.errors import ConfigError, DataError
from wsi_suite.pages import inline, write_page
from wsi_suite.scoring.control import (
    BASELINE,
    ControlLimits,
    Rule,
    broken_rules,
    control_limits,
)
from wsi_suite.studies.pictures import draw_control_chart
from wsi_suite.studies.score_lists import H_SCORE, SCORES, key_of, result_folders


class ControlRun(Part):
    """A run of the control slide.

    Attributes
    ----------
    run
        Name of its folder.
    score
        Its score.
    z
        Standard deviations from the mean.
    broken
        Rules that it breaks.
    """

    run: str
    score: float
    z: float
    broken: tuple[Rule, ...]


class ControlChart(Document):
    """Scores of a control slide in the order of their runs.

    Attributes
    ----------
    slide, score, class_name
        The slide, and which score of which class of nuclei.
    limits
        Mean and standard deviation.
    runs
        The runs.
    warnings
        What makes runs differ that the stain does not.
    """

    slide: str
    score: str
    class_name: str
    limits: ControlLimits
    runs: tuple[ControlRun, ...]
    warnings: tuple[str, ...]


def chart_runs(
    folder: Path,
    *,
    slide: str | None = None,
    score: str = H_SCORE,
    class_name: str | None = None,
    baseline: int = BASELINE,
) -> ControlChart:
    """Return the control chart of a slide in a folder of runs.

    Parameters
    ----------
    folder
        Holds a results folder for each run; their order is that of their names, numbers in them by
        value, as in ``2026-11-30``.
    slide
        The control slide; may be left out if all results are of one.
    score, class_name
        ``h_score`` or ``positive_percent``, and the class; ``None``: the headline's.
    baseline
        Number of first runs that limits are set from.

    Raises
    ------
    ConfigError, DataError, OutputError
        Runs are too few, or a run has the slide twice or has no score of it.
    """
    if score not in SCORES:
        raise ConfigError(f"--score {score}: expected {' or '.join(SCORES)}")
    if not folder.is_dir():
        raise DataError(f"{folder}: no folder; expected one with a results folder for each run")
    found = _summaries(folder, slide)
    names = [name for name, _ in found]
    summaries = [summary for _, summary in found]
    classes = {class_name or summary.headline.class_name for summary in summaries}
    if len(classes) > 1:
        raise DataError(
            f"{folder}: headlines are of different classes ({', '.join(sorted(classes))}); name "
            "one with --class"
        )
    wanted = classes.pop()
    scores = [
        _score(summary, wanted, score, run=folder / name)
        for name, summary in zip(names, summaries, strict=True)
    ]
    try:
        limits = control_limits(scores, baseline=baseline)
    except DataError as error:
        raise DataError(f"{folder}: {error}") from None
    rows = zip(names, scores, broken_rules(scores, limits), strict=True)
    return ControlChart(
        slide=summaries[0].slide,
        score=score,
        class_name=wanted,
        limits=limits,
        runs=tuple(
            ControlRun(
                run=name, score=value, z=(value - limits.mean) / limits.deviation, broken=rules
            )
            for name, value, rules in rows
        ),
        warnings=_warnings(summaries, limits),
    )


def _summaries(folder: Path, slide: str | None) -> list[tuple[str, Summary]]:
    """Return the summary of the slide in each run that has one, in order."""
    runs = [path for path in folder.iterdir() if path.is_dir()]
    found: list[tuple[str, Summary]] = []
    for run in sorted(runs, key=_natural):
        here = [summary for place in result_folders(run) if (summary := read_summary(place))]
        if slide is not None:
            here = [one for one in here if key_of(one.slide) == key_of(slide)]
        if len(here) > 1:
            names = ", ".join(one.slide for one in here[:3])
            raise DataError(f"{run}: several slides ({names}); name the control with --slide")
        found += [(run.name, one) for one in here]
    if not found:
        raise DataError(f"{folder}: no run has results{f' of {slide}' if slide else ''}")
    slides = {key_of(one.slide): one.slide for _, one in found}
    if len(slides) > 1:
        raise DataError(
            f"{folder}: runs are of different slides ({', '.join(sorted(slides.values())[:3])}); "
            "name the control with --slide"
        )
    return found


def _natural(path: Path) -> list[tuple[int, str]]:
    return [
        (int(part), "") if part.isdecimal() else (-1, part)
        for part in re.split(r"(\d+)", path.name)
        if part
    ]


def _score(summary: Summary, class_name: str, score: str, *, run: Path) -> float:
    if class_name not in summary.scores:
        known = ", ".join(summary.scores)
        raise DataError(f"{run}: no class '{class_name}' (--class); expected {known}")
    figures = summary.scores[class_name]
    value = figures.h_score if score == H_SCORE else figures.positive_percent
    if value is None:
        raise DataError(f"{run}: {summary.slide} has no score ({figures.reason}); remove the run")
    return value


def _warnings(summaries: list[Summary], limits: ControlLimits) -> tuple[str, ...]:
    warnings = []
    for words, values in (
        ("model", {summary.model.hash for summary in summaries}),
        ("thresholds", {summary.thresholds_od for summary in summaries}),
        ("measurement", {summary.measurement for summary in summaries}),
    ):
        if len(values) > 1:
            warnings.append(f"Runs differ in their {words}: the chart shows that, too.")
    if limits.runs < BASELINE:
        warnings.append(
            f"Limits are set from {limits.runs} runs; {BASELINE} are usual, and fewer make them "
            "uncertain."
        )
    return tuple(warnings)


def write_control_page(path: Path, chart: ControlChart) -> None:
    """Write a control chart as one HTML file that needs no other."""
    write_page(
        path,
        "control_page.html",
        package="wsi_suite.studies",
        chart=chart,
        score="H-score" if chart.score == H_SCORE else "positive %",
        picture=inline(
            draw_control_chart(
                [run.score for run in chart.runs],
                [bool(run.broken) for run in chart.runs],
                limits=chart.limits,
            )
        ),
    )
