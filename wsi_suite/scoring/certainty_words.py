"""How sure a score is, in words for ``summary.json``, the terminal and the picture."""

from __future__ import annotations

from collections.abc import Sequence

from wsi_suite.scoring.certainty import (
    DOUBTFUL_BELOW,
    REVIEW,
    crossed_cutoffs,
    held_cutoffs,
)
from wsi_suite.scoring.decimals import fixed
from wsi_suite.scoring.names import of_regions
from wsi_suite.scoring.slide_scores import NO_INTERVAL, RegionScores, ScoreFigures
from wsi_suite.scoring.uncertainty import Interval

DOUBTFUL_SHARE, NOTABLE_CHANGE = 0.2, 10
"""Share of nuclei of doubtful class, and change of the H-score by them, from which there is a
warning."""

TOO_FEW_BLOCKS = "too few blocks for an interval"
"""In place of an interval that covers most of the scale."""


def with_interval(
    value: float | None, interval: Interval | None, *, highest: float, digits: int, unit: str = ""
) -> str | None:
    """Return a figure and its 95 % interval, if there is one, such as ``128 (121 - 136)``.

    Of an interval that covers most of the scale from 0 to `highest` that is told instead. With
    digits after the point no figure looks whole that is not (:func:`fixed`).
    """
    if value is None:
        return None
    figure = f"{fixed(value, digits)}{unit}"
    limits = None if interval is None else interval.limits()
    if interval is None or limits is None:
        return figure
    if interval.says_little(highest=highest):
        return f"{figure} ({TOO_FEW_BLOCKS})"
    return f"{figure} ({fixed(limits[0], digits)} - {fixed(limits[1], digits)})"


def certainty_warnings(
    class_name: str, figures: ScoreFigures, *, regions: Sequence[RegionScores]
) -> list[str]:
    """Return warnings about the certainty of the headline.

    Of several regions each kind of warning tells how many, and names some.

    Parameters
    ----------
    class_name
        The headline class.
    figures
        Its figures in all that is scored.
    regions
        The regions of interest.
    """
    warnings = []
    for sentence, said in _KINDS:
        if figures.nuclei and (told := sentence(class_name, figures)):
            warnings.append(told)
        alike = [one.name for one in regions if sentence(class_name, one.scores[class_name])]
        if alike and len(regions) > 1:
            words = said.format(class_name=class_name)
            warnings.append(f"In {of_regions(alike, of=len(regions))} {words}.")
    return warnings


def cautions(figures: ScoreFigures, *, cutoffs: Sequence[float]) -> list[str]:
    """Return the cautions against a verdict by some cut-offs of positive %, as phrases.

    Parameters
    ----------
    figures
        Of a class.
    cutoffs
        Percentages at which the verdict changes.
    """
    certainty, percent = figures.certainty, figures.positive_percent
    if certainty is None or percent is None:
        return []
    share, doubt = certainty.positive_percent, certainty.doubt
    phrases = []
    if share.says_little(highest=100):
        phrases.append(TOO_FEW_BLOCKS)
    elif held := held_cutoffs(share, cutoffs):
        phrases.append(f"the 95 % interval holds {_percents(held)}")
    if crossed := crossed_cutoffs(percent, doubt, cutoffs):
        phrases.append(
            f"{fixed(doubt.positive_percent, 1)} %, across {_percents(crossed)}, if all nuclei of "
            "doubtful class were of the other class"
        )
    if share.low is None:
        phrases.append(NO_INTERVAL)
    if not certainty.enough:
        phrases.append(f"{figures.measured} of the {certainty.minimum} nuclei wanted")
    return phrases


def _few(class_name: str, figures: ScoreFigures) -> str | None:
    certainty = figures.certainty
    if certainty is None or certainty.enough:
        return None
    nuclei = "nucleus" if figures.measured == 1 else "nuclei"
    return (
        f"Only {figures.measured} {nuclei} ({class_name}) could be scored; a score should rest on "
        f"{certainty.minimum}."
    )


def _wide(class_name: str, figures: ScoreFigures) -> str | None:
    for name, interval, highest in (
        ("the H-score", figures.h_score_interval, 300),
        ("positive %", figures.positive_percent_interval, 100),
    ):
        if interval is not None and interval.says_little(highest=highest):
            return (
                f"The 95 % interval of {name} of {class_name} covers most of the scale "
                f"({interval.low:.0f} to {interval.high:.0f}): {interval.blocks} blocks of "
                f"{interval.block_um:g} um are too few to tell how much other tissue would differ."
            )
    return None


def _near_cut_off(class_name: str, figures: ScoreFigures) -> str | None:
    certainty = figures.certainty
    near = None if certainty is None else certainty.cut_off
    if certainty is None or near is None or near.verdict != REVIEW:
        return None
    share = certainty.positive_percent
    percent = with_interval(figures.positive_percent, share, highest=100, digits=1)
    if share.says_little(highest=100):
        why = "nothing tells on which side of a cut-off it would be elsewhere"
    elif near.held:
        why = f"the interval holds the cut-off {_percents(near.held)}"
    elif near.crossed or certainty.enough:  # earlier results do not tell what was crossed
        why = (
            f"would be {fixed(certainty.doubt.positive_percent, 1)}, across a cut-off, if all "
            "nuclei of doubtful class were of the other class"
        )
    else:
        return None  # too few nuclei, which has a warning of its own
    return f"Positive % of {class_name} is {percent} and {why}: review by eye."


def _doubtful(class_name: str, figures: ScoreFigures) -> str | None:
    doubt, now = None if figures.certainty is None else figures.certainty.doubt, figures.h_score
    if doubt is None or doubt.share is None or doubt.share < DOUBTFUL_SHARE or now is None:
        return None
    if doubt.h_score is not None and abs(doubt.h_score - now) < NOTABLE_CHANGE:
        return None
    then = "there would be none" if doubt.h_score is None else f"would be {doubt.h_score:.0f}"
    return (
        f"The class of {100 * doubt.share:.0f} % of the nuclei ({class_name}) is doubtful (class "
        f"probability below {DOUBTFUL_BELOW:g}): if all of them were of the other class, the "
        f"H-score of {now:.0f} {then}."
    )


def _percents(values: Sequence[float]) -> str:
    return " and ".join(f"{value:g} %" for value in values)


_KINDS = (
    (_few, "fewer nuclei of {class_name} could be scored than a score should rest on"),
    (
        _wide,
        "there are too few blocks of {class_name} for an interval: what was computed covers most "
        "of the scale",
    ),
    (_near_cut_off, "positive % of {class_name} cannot be told from a cut-off: review by eye"),
    (
        _doubtful,
        f"the class of {100 * DOUBTFUL_SHARE:.0f} % or more of the nuclei ({{class_name}}) is "
        f"doubtful, and the H-score changes by {NOTABLE_CHANGE} or more if all of them are of the "
        "other class",
    ),
)
"""Warnings of one class as a sentence, and what is said of the regions that have it."""
