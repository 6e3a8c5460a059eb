"""What follows from the scores of a slide, and how sure they are, in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from wsi_suite.analysis.summary import Summary
from wsi_suite.pages import as_text
from wsi_suite.report.words import percentage
from wsi_suite.scoring.certainty import DOUBTFUL_BELOW, REVIEW, Certainty, NearestCutOff
from wsi_suite.scoring.ki67 import Ki67Figures
from wsi_suite.scoring.quality import QUALITY_TOLD, QualityFigures
from wsi_suite.scoring.receptors import ReceptorStatus
from wsi_suite.scoring.slide_scores import ScoreFigures
from wsi_suite.scoring.stain_check import (
    DAB_LIMIT_DEGREES,
    HEMATOXYLIN_LIMIT_DEGREES,
    StainFigures,
)
from wsi_suite.scoring.uncertainty import Interval

LEVEL = "95 %"
"""Level of the intervals in ``summary.json``."""


@dataclass(frozen=True)
class Finding:
    """One thing that is said of a slide.

    Attributes
    ----------
    title
        What it is about.
    verdict
        In a word or two, or an empty text.
    text
        In sentences.
    review
        Whether somebody should look at the slide because of it.
    """

    title: str
    verdict: str
    text: str
    review: bool = False


def assess(summary: Summary) -> list[Finding]:
    """Return the findings of a slide, as far as its summary holds them.

    Results of earlier versions hold none.
    """
    findings: list[Finding] = []
    certainty = summary.scores[summary.headline.class_name].certainty
    if summary.receptor is not None:
        findings.append(_receptor(summary.receptor))
    if summary.ki67 is not None:
        findings.append(_ki67(summary.ki67))
    if certainty is not None:
        if certainty.cut_off is not None:
            findings.append(_cut_off(certainty.cut_off, certainty))
        findings.append(_interval(certainty))
        findings.append(_doubt(certainty))
    if summary.stains is not None:
        findings.append(_stains(summary.stains))
    if summary.quality is not None:
        findings.append(_focus(summary.quality))
    return findings


def interval_text(interval: Interval | None, *, digits: int) -> str:
    """Return the limits of an interval, such as ``121 – 136``; an empty text without one."""
    if interval is None or interval.low is None or interval.high is None:
        return ""
    return " – ".join(as_text(limit, f".{digits}f") for limit in (interval.low, interval.high))


def intervals_of(figures: ScoreFigures) -> dict[str, str]:
    """Return the intervals of a class as texts, by the figure that they belong to."""
    return {
        "h_score": interval_text(figures.h_score_interval, digits=0),
        "positive_percent": interval_text(figures.positive_percent_interval, digits=1),
    }


def _receptor(status: ReceptorStatus) -> Finding:
    title = f"{status.marker} by {status.guideline}"
    if status.status is None:
        return Finding(title, "no status", f"{_sentence(status.reason or 'no reason is known')}")
    parts = [f"{percentage(status.positive_percent)} of {status.class_name} positive"]
    if status.intensity is not None:
        parts.append(f"{status.intensity} on average")
    sentences = [_sentence(", ".join(parts))]
    if status.report_controls:
        sentences.append("The status of the controls is to be reported.")
    if status.comment:
        sentences.append(status.comment)
    return Finding(title, status.status, " ".join(sentences), status.report_controls)


def _ki67(figures: Ki67Figures) -> Finding:
    title = f"Ki-67 by {figures.guideline}"
    if figures.index_percent is None:
        return Finding(title, "no index", _sentence(figures.reason or "no reason is known"))
    sentences = [
        f"Labelling index of {figures.class_name} over all {figures.nuclei:,} nuclei, "
        f"{figures.range}: "
        + (
            "there observers agree well."
            if figures.reliable
            else "there observers agree too little for a decision."
        )
    ]
    fields = [
        f"{name} {percentage(value)}"
        for name, value in (
            ("each alike", figures.unweighted_percent),
            ("weighted", figures.weighted_percent),
        )
        if value is not None
    ]
    if fields:
        sentences.append(f"{len(figures.fields)} fields of 100 nuclei: {', '.join(fields)}.")
    if figures.hot_spot_percent is not None:
        sentences.append(f"Hottest spot: {percentage(figures.hot_spot_percent)}.")
    if figures.reason:
        sentences.append(_sentence(figures.reason))
    verdict = percentage(figures.index_percent)
    return Finding(title, verdict, " ".join(sentences), figures.reliable is False)


def _cut_off(near: NearestCutOff, certainty: Certainty) -> Finding:
    side = "above" if near.distance >= 0 else "below"
    text = f"Positive % lies {abs(near.distance):.1f} points {side} the nearest, {near.percent:g} %"
    other = certainty.doubt.positive_percent
    if near.held:
        held = " and ".join(f"{cutoff:g} %" for cutoff in near.held)
        text += f"; its interval holds {held}"
    elif near.verdict == REVIEW and other is not None:
        text += (
            f"; it would be {percentage(other)}, across a cut-off, if all nuclei of doubtful class "
            "were of the other class"
        )
    verdict = near.verdict or "no interval"
    return Finding("Clinical cut-offs", verdict, _sentence(text), near.verdict == REVIEW)


def _interval(certainty: Certainty) -> Finding:
    title, interval = f"Nuclei, {LEVEL} intervals", certainty.h_score
    limits = interval_text(interval, digits=0)
    share = interval_text(certainty.positive_percent, digits=1)
    enough = "enough nuclei" if certainty.enough else "too few nuclei"
    wanted = f" At least {certainty.minimum} nuclei are wanted."
    if not limits:
        text = _sentence(f"No interval: {interval.reason or 'no reason is known'}")
        return Finding(title, enough, text + wanted, not certainty.enough)
    text = (
        f"H-score {limits}, positive {share or 'not known'} %, from {interval.blocks} blocks of "
        f"{interval.block_um:g} µm: what other tissue of this slide would give. Missed nuclei, "
        "thresholds and stain are not in them."
    )
    return Finding(title, enough, text + wanted, not certainty.enough)


def _doubt(certainty: Certainty) -> Finding:
    doubt, title = certainty.doubt, "Nuclei of doubtful class"
    if doubt.nuclei is None or doubt.share is None:
        return Finding(title, "not known", _sentence(doubt.reason or "no reason is known"))
    text = (
        f"{doubt.nuclei:,} nuclei with a class probability below {DOUBTFUL_BELOW:g}. If all of "
        f"them were of the other class: H-score {as_text(doubt.h_score, '.0f')}, positive "
        f"{percentage(doubt.positive_percent)}."
    )
    return Finding(title, percentage(100 * doubt.share), text)


def _stains(figures: StainFigures) -> Finding:
    angles = [
        f"{name} by {degrees:.0f}°"
        for name, degrees in (
            ("hematoxylin", figures.hematoxylin_degrees),
            ("DAB", figures.dab_degrees),
        )
        if degrees is not None
    ]
    text = "No stain vectors could be estimated from the slide."
    if angles:
        text = f"Vectors estimated from the slide differ from those in use: {', '.join(angles)}" + (
            "."
            if figures.h_score is None
            else f"; with them the H-score would be {as_text(figures.h_score, '.0f')}."
        )
    far = (figures.dab_degrees or 0) > DAB_LIMIT_DEGREES
    far |= (figures.hematoxylin_degrees or 0) > HEMATOXYLIN_LIMIT_DEGREES
    return Finding("Stains", figures.kind, text, far or figures.kind != "H-DAB")


def _focus(figures: QualityFigures) -> Finding:
    focus = figures.artefacts["focus"]
    others = "Folds and bubbles are not looked for."
    if focus.found_share is None or focus.judged_share is None:
        return Finding(
            "Out of focus", "not known", f"{_sentence(focus.reason or 'no tissue')} {others}"
        )
    text = (
        f"{percentage(100 * focus.judged_share)} of the tissue could be judged; what is out of "
        f"focus was {'left out' if focus.excluded else 'scored, too'}. {others}"
    )
    verdict = percentage(100 * focus.found_share)
    return Finding("Out of focus", verdict, text, focus.found_share >= QUALITY_TOLD)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


@dataclass(frozen=True)
class ShownSpot:
    """A hot-spot in the table and on the map.

    Attributes
    ----------
    name
        Of the spot, such as "H1".
    kind
        What there is much of.
    x, y, radius
        Level-0 pixels.
    radius_um
        The same in um.
    figures
        Of the class of the headline in it.
    """

    name: str
    kind: str
    x: float
    y: float
    radius: float
    radius_um: float
    figures: ScoreFigures


def hot_spots_of(summary: Summary, *, mpp: tuple[float, float]) -> list[ShownSpot]:
    """Return the hot-spots of a slide, those with the largest share of positive nuclei first."""
    return [
        ShownSpot(
            name=f"{letter}{number}",
            kind=kind,
            x=spot.x_px0,
            y=spot.y_px0,
            radius=spot.radius_um / mpp[0],
            radius_um=spot.radius_um,
            figures=spot.figures,
        )
        for letter, kind, name in _kinds(summary)
        for number, spot in enumerate(summary.hot_spots[name].spots, start=1)
    ]


def no_hot_spots(summary: Summary) -> list[str]:
    """Return why there are no hot-spots of a kind."""
    return [
        f"{kind}: {summary.hot_spots[name].reason}"
        for _, kind, name in _kinds(summary)
        if summary.hot_spots[name].reason
    ]


def _kinds(summary: Summary) -> Iterator[tuple[str, str, str]]:
    """Yield letter, words and key of the kinds of hot-spots that a summary holds."""
    name = summary.headline.class_name
    for letter, kind, key in (
        ("P", "positive nuclei", f"{name}: Positive"),
        ("D", "density", name),
    ):
        if key in summary.hot_spots:
            yield letter, kind, key
