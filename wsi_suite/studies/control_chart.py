"""Control chart of a slide that was scored again and again: the document, and the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from wsi_suite.analysis.summary import Summary
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
from wsi_suite.studies.control_runs import FoundRuns, ScoredRun, find_runs
from wsi_suite.studies.pictures import draw_control_chart
from wsi_suite.studies.score_lists import H_SCORE, SCORES

_SHOWN = 5


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
    changed
        Settings that are not those of the run before it.
    """

    run: str
    score: float
    z: float
    broken: tuple[Rule, ...]
    changed: tuple[str, ...] = ()


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
    found = find_runs(folder, slide)
    summaries = [run.summary for run in found.runs]
    classes = {class_name or summary.headline.class_name for summary in summaries}
    if len(classes) > 1:
        raise DataError(
            f"{folder}: headlines are of different classes ({', '.join(sorted(classes))}); name "
            "one with --class"
        )
    wanted = classes.pop()
    scores = [_score(run.summary, wanted, score, run=folder / run.name) for run in found.runs]
    try:
        limits = control_limits(scores, baseline=baseline)
    except DataError as error:
        raise DataError(f"{folder}: {error}") from None
    rows = zip(found.runs, scores, broken_rules(scores, limits), _changes(found.runs), strict=True)
    return ControlChart(
        slide=summaries[0].slide,
        score=score,
        class_name=wanted,
        limits=limits,
        runs=tuple(
            ControlRun(
                run=run.name,
                score=value,
                z=(value - limits.mean) / limits.deviation,
                broken=rules,
                changed=changed,
            )
            for run, value, rules, changed in rows
        ),
        warnings=tuple(_warnings(found, limits, slide=summaries[0].slide)),
    )


def _score(summary: Summary, class_name: str, score: str, *, run: Path) -> float:
    if class_name not in summary.scores:
        known = ", ".join(summary.scores)
        raise DataError(f"{run}: no class '{class_name}' (--class); expected {known}")
    figures = summary.scores[class_name]
    value = figures.h_score if score == H_SCORE else figures.positive_percent
    if value is None:
        raise DataError(f"{run}: {summary.slide} has no score ({figures.reason}); remove the run")
    return value


def _changes(runs: Sequence[ScoredRun]) -> list[tuple[str, ...]]:
    """Return for each run which settings are not those of the run before it."""
    return [
        (),
        *(
            tuple(
                name
                for name, value in run.settings.items()
                if before.settings.get(name, value) != value
            )
            for before, run in pairwise(runs)
        ),
    ]


def _warnings(found: FoundRuns, limits: ControlLimits, *, slide: str) -> Iterator[str]:
    for place, (run, changed) in enumerate(zip(found.runs, _changes(found.runs), strict=True)):
        if changed:
            within = " Limits are set from runs before and after that." * (place < limits.runs)
            yield (
                f"From {run.name} on, other settings were used ({', '.join(changed)}): what the "
                f"chart shows from there is not of the stain alone.{within}"
            )
    if found.without:
        some = [f"{name} ({lack})" for name, lack in list(found.without.items())[:_SHOWN]]
        more = ", ..." if len(found.without) > _SHOWN else ""
        yield f"Runs without a score of {slide} are not in the chart: {', '.join(some)}{more}."
    scans: dict[str, list[str]] = {}
    for run in found.runs:
        if run.scan is not None:
            scans.setdefault(run.scan, []).append(run.name)
    for names in scans.values():
        if len(names) > 1:
            yield (
                f"{', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''} are of one "
                "and the same scan: a chart of staining needs slides that were stained anew."
            )
    for run in found.runs:
        if run.summary.no_verdict is not None:
            yield f"{run.name} gets no verdict: {run.summary.no_verdict}."
    if limits.runs < BASELINE:
        yield (
            f"Limits are set from {limits.runs} runs; {BASELINE} are usual, and fewer make them "
            "uncertain."
        )


def write_control_page(path: Path, chart: ControlChart) -> None:
    """Write a control chart as one HTML file that needs no other."""
    score = "H-score" if chart.score == H_SCORE else "positive %"
    write_page(
        path,
        "control_page.html",
        package="wsi_suite.studies",
        chart=chart,
        score=score,
        picture=inline(
            draw_control_chart(
                [run.score for run in chart.runs],
                [bool(run.broken) for run in chart.runs],
                name=score,
                changed=[bool(run.changed) for run in chart.runs],
                limits=chart.limits,
            )
        ),
    )
