"""Final report of the commands that score."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from wsi_suite.analysis.summary import Summary
    from wsi_suite.errors import WsiSuiteError
    from wsi_suite.runs.outcome import Outcome
    from wsi_suite.scoring.slide_scores import ScoreFigures


def show_outcomes(
    outcomes: Sequence[Outcome],
    *,
    as_json: bool,
    table: Path | None = None,
    beside: Sequence[WsiSuiteError] = (),
) -> None:
    """Print the results, and leave with the right exit code.

    Parameters
    ----------
    outcomes
        How slides ended.
    as_json
        Print JSON.
    table
        The file with a line a slide, if it was written.
    beside
        What went wrong beside the slides, and was told already.
    """
    from wsi_suite.cli.terminal import print_json, say

    scored = [outcome for outcome in outcomes if outcome.summary is not None]
    if as_json:
        print_json([_as_json(outcome) for outcome in outcomes])
    elif scored:
        show_scores(scored)
        if table is not None:
            say(f"One line a slide: {table}")
    leave([outcome.error for outcome in outcomes if outcome.error], of=len(outcomes))
    partial = [outcome for outcome in outcomes if outcome.is_partial]
    if partial and len(outcomes) > 1:
        say(f"{len(partial)} of {len(outcomes)} could not be read whole")
    if beside or partial:
        raise typer.Exit(1)


def leave(errors: Sequence[WsiSuiteError], *, of: int) -> None:
    """Exit with the right code if some of the `of` pieces of work failed."""
    from wsi_suite.cli.terminal import say

    if not errors:
        return
    if of > 1:
        rest = "; the others are finished" if len(errors) < of else ""
        say(f"{len(errors)} of {of} failed{rest}")
        raise typer.Exit(1)
    raise typer.Exit(errors[0].exit_code)


def show_scores(outcomes: Sequence[Outcome]) -> None:
    """Print one line per slide and region, and the warnings below."""
    from wsi_suite.cli.terminal import say, show_table, warn
    from wsi_suite.scoring.clinical_words import clinical_lines
    from wsi_suite.scoring.verdicts import NOT_TO_BE_USED

    rows: list[tuple[object, ...]] = []
    remarks: defaultdict[str, list[str]] = defaultdict(list)  # and the slides that they are about
    for summary in [outcome.summary for outcome in outcomes if outcome.summary is not None]:
        rows += _score_rows(summary)
        headline = summary.headline
        why = (
            []
            if headline.value is not None
            else [f"no H-score of {headline.class_name}: {headline.reason}"]
        )
        for remark in (*why, *summary.notes, *summary.warnings):
            remarks[remark].append(summary.slide)
    show_table(("slide", "tissue mm2", "class", "nuclei", "positive %", "H-score"), rows)
    if any(one.summary is not None and one.summary.no_verdict for one in outcomes):
        warn(f"figures in brackets are {NOT_TO_BE_USED}")
    if len(outcomes) == 1 and outcomes[0].summary is not None:
        for line in clinical_lines(outcomes[0].summary):
            say(line)
    for remark, slides in remarks.items():
        some = ", ".join(slides[:3]) + (", ..." if len(slides) > 3 else "")
        warn(remark if len(slides) == len(outcomes) else f"{some}: {remark}")


def _score_rows(summary: Summary) -> list[tuple[object, ...]]:
    """Return the line of a slide, and one of each of its regions, of the headline class."""
    from wsi_suite.scoring.names import short_name

    whole = summary.scores[summary.headline.class_name]
    row = partial(
        _score_row, class_name=summary.headline.class_name, usable=summary.no_verdict is None
    )
    return [
        row(summary.slide, whole, tissue_mm2=summary.scored_tissue_mm2),
        *(
            row(
                f"  {short_name(region.name)}",
                region.scores[summary.headline.class_name],
                tissue_mm2=region.tissue_area_mm2,
            )
            for region in summary.regions
        ),
    ]


def _score_row(
    place: str,
    score: ScoreFigures,
    *,
    class_name: str,
    tissue_mm2: float | None,
    usable: bool,
) -> tuple[object, ...]:
    """Return the line of a slide or of one of its regions."""
    from wsi_suite.scoring.certainty_words import with_interval

    percent, h_score = score.positive_percent_interval, score.h_score_interval
    figures = [
        with_interval(score.positive_percent, percent if usable else None, highest=100, digits=1),
        with_interval(score.h_score, h_score if usable else None, highest=300, digits=0),
    ]
    if not usable:
        figures = [figure and f"[{figure}]" for figure in figures]
    area = None if tissue_mm2 is None else round(tissue_mm2, 4)
    return place, area, class_name, score.nuclei, *figures


def _as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "slide": str(outcome.slide),
        "folder": str(outcome.folder) if outcome.folder else None,
        "state": outcome.state,
        "error": str(outcome.error) if outcome.error else None,
        "summary": None if outcome.summary is None else outcome.summary.as_json(),
    }
