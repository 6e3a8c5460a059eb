"""The status of a receptor and Ki-67 in one line each, with cautions against it."""

from __future__ import annotations

from wsi_suite.scoring.certainty import CUTOFFS_PERCENT
from wsi_suite.scoring.certainty_words import cautions, with_interval
from wsi_suite.scoring.decimals import fixed
from wsi_suite.scoring.ki67 import Ki67Figures
from wsi_suite.scoring.receptors import ReceptorStatus
from wsi_suite.scoring.slide_scores import NO_INTERVAL, ScoreFigures, SlideScores


def clinical_lines(scores: SlideScores) -> list[str]:
    """Return the lines of the marker's guideline about a slide.

    Nothing without a guideline, without nuclei, and on slides that get no verdict.
    """
    lines = []
    if scores.receptor is not None and scores.receptor.status is not None:
        figures = scores.scores[scores.receptor.class_name]
        lines.append(_receptor(scores.receptor, figures))
    if scores.ki67 is not None and scores.ki67.range is not None:
        lines.append(_ki67(scores.ki67, scores.scores[scores.ki67.class_name]))
    return lines


def guideline_cautions(marker: str | None, figures: ScoreFigures) -> list[str]:
    """Return the cautions against the verdict of a marker's guideline, as phrases.

    Parameters
    ----------
    marker
        ER, PR or Ki-67.
    figures
        Of the class that the verdict is about.
    """
    return cautions(figures, cutoffs=CUTOFFS_PERCENT.get(marker, ()))


def _receptor(found: ReceptorStatus, figures: ScoreFigures) -> str:
    intensity = f", {found.intensity} on average" if found.intensity else ""
    line = f"{found.status}: {_share(figures, found.class_name)}{intensity} ({found.guideline})"
    return line + _review(found.marker, figures)


def _ki67(found: Ki67Figures, figures: ScoreFigures) -> str:
    parts = [f"Ki-67: {_share(figures, found.class_name)}"]
    if found.weighted_percent is not None and found.unweighted_percent is not None:
        parts.append(
            f"{fixed(found.unweighted_percent, 1)} % in {len(found.fields)} fields of 100, "
            f"{fixed(found.weighted_percent, 1)} % weighted"
        )
    elif found.reason is not None:
        parts.append(f"no fields: {found.reason}")
    if found.hot_spot_percent is not None:
        parts.append(f"{fixed(found.hot_spot_percent, 1)} % in the hottest spot")
    elif found.no_hot_spot is not None:
        parts.append(f"no hottest spot: {found.no_hot_spot}")
    agree = "well" if found.reliable else "too little for a decision"
    line = f"{'; '.join(parts)} ({found.guideline}; {found.range}, where observers agree {agree})"
    return line + _review("Ki-67", figures)


def _share(figures: ScoreFigures, class_name: str) -> str:
    percent = with_interval(
        figures.positive_percent,
        figures.positive_percent_interval,
        highest=100,
        digits=1,
        unit=" %",
    )
    return f"{percent} of {figures.measured:,} measured nuclei of {class_name}"


def _review(marker: str, figures: ScoreFigures) -> str:
    against = guideline_cautions(marker, figures)
    interval = figures.positive_percent_interval
    if interval is not None and interval.reason is not None:
        why = {NO_INTERVAL: f"{NO_INTERVAL}: {interval.reason}"}
        against = [why.get(each, each) for each in against]
    return f"; review by eye: {'; '.join(against)}" if against else ""
