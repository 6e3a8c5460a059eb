"""How sure a score is, in words for ``summary.json``, the terminal and the picture."""

from __future__ import annotations

from collections.abc import Sequence

from wsi_suite.scoring.certainty import DOUBTFUL_BELOW, REVIEW, Certainty
from wsi_suite.scoring.slide_scores import RegionScores, ScoreFigures
from wsi_suite.scoring.uncertainty import Interval

DOUBTFUL_SHARE, NOTABLE_CHANGE = 0.2, 10
"""Share of nuclei of doubtful class, and change of the H-score by them, from which there is a
warning."""


def with_interval(value: float | None, interval: Interval | None, *, digits: int) -> str | None:
    """Return a figure and its interval, such as ``128 (121 - 136)``; without one the figure.

    Limits from 10 on are told without digits.
    """
    if value is None:
        return None
    figure = f"{value:.{digits}f}"
    if interval is None or interval.low is None or interval.high is None:
        return figure
    low, high = (
        f"{limit:.{digits if limit < 10 else 0}f}" for limit in (interval.low, interval.high)
    )
    return f"{figure} ({low} - {high})"


def certainty_warnings(
    class_name: str, figures: ScoreFigures, *, regions: Sequence[RegionScores]
) -> list[str]:
    """Return what readers of the headline should know of how sure it is.

    Parameters
    ----------
    class_name
        The headline class.
    figures
        Its figures in all that is scored.
    regions
        The regions of interest.
    """
    told = _sentences(class_name, figures)
    if len(regions) < 2:
        return told
    return told + [
        f"{region.name}: {sentence}"
        for region in regions
        for sentence in _sentences(class_name, region.scores[class_name])
        if sentence not in told  # a region that holds all nuclei
    ]


def _sentences(class_name: str, figures: ScoreFigures) -> list[str]:
    certainty = figures.certainty
    if certainty is None or not figures.nuclei:
        return []
    return [
        *_few(class_name, figures, certainty),
        *_near_cut_off(class_name, figures, certainty),
        *_doubtful(class_name, figures, certainty),
    ]


def _few(class_name: str, figures: ScoreFigures, certainty: Certainty) -> list[str]:
    if certainty.enough:
        return []
    measured = figures.nuclei - figures.not_measurable
    return [
        f"Only {measured} nuclei ({class_name}) could be scored; a score should rest on "
        f"{certainty.minimum}."
    ]


def _near_cut_off(class_name: str, figures: ScoreFigures, certainty: Certainty) -> list[str]:
    near = certainty.cut_off
    if near is None or near.verdict != REVIEW:
        return []
    percent = with_interval(figures.positive_percent, certainty.positive_percent, digits=1)
    if near.held:
        cutoffs = " and ".join(f"{cutoff:g} %" for cutoff in near.held)
        why = f"the interval holds the cut-off {cutoffs}"
    else:
        why = (
            f"would be {certainty.doubt.positive_percent:.1f}, across a cut-off, if all nuclei of "
            "doubtful class were of the other class"
        )
    return [f"Positive % of {class_name} is {percent} and {why}: review by eye."]


def _doubtful(class_name: str, figures: ScoreFigures, certainty: Certainty) -> list[str]:
    doubt, now = certainty.doubt, figures.h_score
    if doubt.share is None or doubt.share < DOUBTFUL_SHARE or now is None:
        return []
    if doubt.h_score is not None and abs(doubt.h_score - now) < NOTABLE_CHANGE:
        return []
    then = "there would be none" if doubt.h_score is None else f"would be {doubt.h_score:.0f}"
    return [
        f"The class of {100 * doubt.share:.0f} % of the nuclei ({class_name}) is doubtful (class "
        f"probability below {DOUBTFUL_BELOW:g}): if all of them were of the other class, the "
        f"H-score of {now:.0f} {then}."
    ]
