"""Verdict and certainty of a slide's scores, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wsi_suite.analysis.summary import Summary
from wsi_suite.nuclei.familiarity import Familiarity
from wsi_suite.pages import as_text
from wsi_suite.report.quality_map import BUBBLES_SEEN, FEW_JUDGED, OFTEN_MISSED
from wsi_suite.report.words import percentage
from wsi_suite.scoring.certainty import DOUBTFUL_BELOW, REVIEW, Certainty, NearestCutOff
from wsi_suite.scoring.clinical_words import guideline_cautions
from wsi_suite.scoring.decimals import fixed
from wsi_suite.scoring.evenness import UNEVEN_LIMIT
from wsi_suite.scoring.familiarity_words import aspect_words
from wsi_suite.scoring.ki67 import Ki67Figures
from wsi_suite.scoring.names import short_name
from wsi_suite.scoring.quality import QUALITY_TOLD, ArtefactFigures, QualityFigures
from wsi_suite.scoring.receptors import ReceptorStatus
from wsi_suite.scoring.slide_scores import ScoreFigures
from wsi_suite.scoring.stain_check import (
    DAB_LIMIT_DEGREES,
    HEMATOXYLIN_LIMIT_DEGREES,
    StainFigures,
)
from wsi_suite.scoring.uncertainty import PATCH_UM, Interval
from wsi_suite.scoring.verdicts import NOT_TO_BE_USED

TOO_FEW = "too few blocks"
"""In place of an interval that covers most of the scale."""
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

    Results of earlier versions hold none. Where a slide gets no verdict, only that is said of its
    figures.
    """
    findings = list(_of_figures(summary) if summary.no_verdict is None else _none(summary))
    if summary.stains is not None:
        findings.append(_stains(summary.stains))
    if summary.dab_uneven_share is not None:
        findings.append(_evenness(summary.dab_uneven_share))
    if summary.quality is not None:
        findings += _quality(summary.quality)
    if summary.missing_cores:
        findings.append(_missing_cores(summary))
    if summary.familiarity is not None:
        findings.append(_familiarity(summary.familiarity))
    return findings


def _none(summary: Summary) -> Iterator[Finding]:
    text = f"{_sentence(summary.no_verdict or '')} The figures of this page are {NOT_TO_BE_USED}."
    yield Finding("Verdict", "no verdict", text, review=True)


def _of_figures(summary: Summary) -> Iterator[Finding]:
    """Yield the verdicts of guidelines and cut-offs on the headline, and its certainty."""
    figures = summary.scores[summary.headline.class_name]
    if summary.receptor is not None:
        yield _receptor(summary.receptor, figures)
    if summary.ki67 is not None:
        yield _ki67(summary.ki67, figures)
    certainty = figures.certainty
    if certainty is not None:
        if certainty.cut_off is not None:
            yield _cut_off(certainty.cut_off, figures, certainty)
        yield _interval(figures, certainty)
        yield _doubt(certainty)


def interval_text(interval: Interval | None, *, highest: float, digits: int) -> str:
    """Return the limits of an interval, such as ``121 – 136``; an empty text without one.

    Of an interval that covers most of the scale from 0 to `highest` that is told instead.
    """
    limits = None if interval is None else interval.limits()
    if interval is None or limits is None:
        return ""
    if interval.says_little(highest=highest):
        return TOO_FEW
    return " – ".join(fixed(limit, digits).replace("-", "−") for limit in limits)


def intervals_of(figures: ScoreFigures) -> dict[str, str]:
    """Return the intervals of a class as texts, by the figure that they belong to."""
    return {
        "h_score": interval_text(figures.h_score_interval, highest=300, digits=0),
        "positive_percent": interval_text(figures.positive_percent_interval, highest=100, digits=1),
    }


def _receptor(status: ReceptorStatus, figures: ScoreFigures) -> Finding:
    title = f"{status.marker} by {status.guideline}"
    if status.status is None:
        return Finding(title, "no status", f"{_sentence(status.reason or 'no reason is known')}")
    parts = [_share(figures, status.class_name)]
    if status.intensity is not None:
        parts.append(f"{status.intensity} on average")
    sentences = [_sentence(", ".join(parts))]
    if status.report_controls:
        sentences.append("The status of the controls is to be reported.")
    if status.comment:
        sentences.append(status.comment)
    against = guideline_cautions(status.marker, figures)
    review = status.report_controls or bool(against)
    return Finding(title, status.status, " ".join([*sentences, *_against(against)]), review)


def _ki67(found: Ki67Figures, figures: ScoreFigures) -> Finding:
    title = f"Ki-67 by {found.guideline}"
    if found.index_percent is None:
        return Finding(title, "no index", _sentence(found.reason or "no reason is known"))
    sentences = [
        f"Labelling index: {_share(figures, found.class_name)}, {found.range}: "
        + (
            "there observers agree well."
            if found.reliable
            else "there observers agree too little for a decision."
        )
    ]
    fields = [
        f"{name} {percentage(value)}"
        for name, value in (
            ("each alike", found.unweighted_percent),
            ("weighted", found.weighted_percent),
        )
        if value is not None
    ]
    if fields:
        sentences.append(f"{len(found.fields)} fields of 100 nuclei: {', '.join(fields)}.")
    elif found.reason:
        sentences.append(f"No fields: {found.reason}.")
    if found.hot_spot_percent is not None:
        sentences.append(f"Hottest spot: {percentage(found.hot_spot_percent)}.")
    elif found.no_hot_spot is not None:
        sentences.append(f"No hottest spot: {found.no_hot_spot}.")
    against = guideline_cautions("Ki-67", figures)
    review = found.reliable is False or bool(against)
    text = " ".join([*sentences, *_against(against)])
    return Finding(title, percentage(found.index_percent), text, review)


def _share(figures: ScoreFigures, class_name: str) -> str:
    """Return positive % with its interval and its denominator."""
    limits = interval_text(figures.positive_percent_interval, highest=100, digits=1)
    interval = f" ({LEVEL}: {limits})" if limits else ""
    return (
        f"{percentage(figures.positive_percent)}{interval} of {figures.measured:,} measured nuclei "
        f"of {class_name} positive"
    )


def _against(cautions: Sequence[str]) -> list[str]:
    return [f"Review by eye: {'; '.join(cautions)}."] if cautions else []


def _cut_off(near: NearestCutOff, figures: ScoreFigures, certainty: Certainty) -> Finding:
    side = "above" if near.distance >= 0 else "below"
    away = f"{fixed(abs(near.distance), 1)} points {side}" if near.distance else "at"
    text = f"Positive % lies {away} the nearest, {near.percent:g} %"
    other = certainty.doubt.positive_percent
    if certainty.positive_percent.says_little(highest=100):
        text += "; there are too few blocks for an interval"
    elif near.held:
        held = " and ".join(f"{cutoff:g} %" for cutoff in near.held)
        text += f"; its interval holds {held}"
    elif near.crossed or (near.verdict == REVIEW and certainty.enough):
        text += (
            f"; it would be {percentage(other)}, across a cut-off, if all nuclei of doubtful class "
            "were of the other class"
        )
    elif near.verdict == REVIEW:
        text += f"; there are fewer than the {certainty.minimum} nuclei wanted"
    elif near.verdict is None:
        text += ", but nothing tells how far it may be off"
    verdict = figures.verdict or ""
    return Finding("Clinical cut-offs", verdict, _sentence(text), near.verdict != "clear")


def _interval(figures: ScoreFigures, certainty: Certainty) -> Finding:
    title, interval = f"Nuclei, {LEVEL} intervals", certainty.h_score
    limits = interval_text(interval, highest=300, digits=0)
    share = interval_text(certainty.positive_percent, highest=100, digits=1)
    share += " %" if share and share != TOO_FEW else ""
    enough = "enough nuclei" if certainty.enough else "too few nuclei"
    nuclei = "nucleus was" if figures.measured == 1 else "nuclei were"
    counted = f" {figures.measured:,} {nuclei} measured; at least {certainty.minimum} are wanted."
    if not limits:
        text = _sentence(f"No interval: {interval.reason or 'no reason is known'}")
        return Finding(title, enough, text + counted, not certainty.enough)
    text = (
        f"H-score {limits}, positive {share or 'not known'}, from {interval.blocks} blocks of "
        f"{interval.block_um:g} µm: what other tissue of this slide would give. Missed nuclei, "
        "thresholds and stain are not in them."
    )
    if "binomial" in (interval.method, certainty.positive_percent.method):
        text += (
            " Where nuclei are all negative or all of one extreme, limits are of an exact binomial "
            f"in which each {PATCH_UM:g} µm of tissue count as one trial."
        )
    return Finding(title, enough, text + counted, not certainty.enough)


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


def _evenness(share: float) -> Finding:
    return Finding(
        "Uneven stain",
        percentage(100 * share),
        "of the nuclei with DAB, in which it varies by more than half its mean, as where a "
        "membranous or cytoplasmic stain crosses them; a nuclear marker fills them. From "
        f"{100 * UNEVEN_LIMIT:.0f} % on a nuclear score means little.",
        share > UNEVEN_LIMIT,
    )


def _missing_cores(summary: Summary) -> Finding:
    missing, names = len(summary.missing_cores), map(short_name, summary.missing_cores)
    text = f"{', '.join(names)}. They are scored nowhere and have no line among the scores."
    return Finding("Missing cores", f"{missing} of {missing + len(summary.regions)}", text)


def _quality(figures: QualityFigures) -> Iterator[Finding]:
    focus, folds, bubbles = (figures.artefacts.get(n) for n in ("focus", "folds", "bubbles"))
    if focus is not None:
        yield _artefact("Out of focus", "what is out of focus", focus, name="focus")
    if folds is not None and folds.looked_for:
        yield _artefact("Folds", "folds that were found", folds, name="folds")
    if bubbles is not None and bubbles.looked_for:
        yield _artefact("Bubbles", "bubbles that were found", bubbles, name="bubbles")


def _artefact(title: str, words: str, figures: ArtefactFigures, *, name: str) -> Finding:
    judged = 1.0 if name == "bubbles" else figures.judged_share
    if figures.found_share is None or judged is None:
        return Finding(title, "not known", _sentence(figures.reason or "no tissue"))
    text = f"{percentage(100 * judged)} of the tissue could be judged"
    if name == "bubbles":
        text = BUBBLES_SEEN
    if figures.found_share:
        verb = "was" if name == "focus" else "were"
        text += f"; {words} {verb} {'left out' if figures.excluded else 'scored, too'}"
    verdict = percentage(100 * figures.found_share)
    if not figures.found_share and judged < FEW_JUDGED:
        verdict = "hardly judged"
    text = _sentence(text)
    if not figures.found_share and name in OFTEN_MISSED:
        text += f" {OFTEN_MISSED[name]}"
    return Finding(title, verdict, text, figures.found_share >= QUALITY_TOLD[name])


def _familiarity(found: Familiarity) -> Finding:
    title = "Distance to training"
    if found.verdict is None:
        return Finding(title, "not known", _sentence(found.reason or "no reason is known"))
    out = [
        f"{name}: {aspect_words(figures)}"
        for name, figures in found.aspects.items()
        if figures.verdict != "inside"
    ]
    told = _sentence("; ".join(out) or f"{', '.join(found.aspects)}: inside")
    text = f"{told} From 1 on a distance is far; {found.fields} fields of {found.field_um:g} µm."
    return Finding(title, found.verdict, text, found.verdict == "far")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
