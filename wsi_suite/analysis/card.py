"""Scores of a slide and analyses in words and as cards."""

from __future__ import annotations

from wsi_suite.analysis.analysed import Analysed
from wsi_suite.analysis.summary import Summary
from wsi_suite.cards import Row, card, first_few
from wsi_suite.nuclei.card import class_rows, picture_of
from wsi_suite.scoring.certainty_words import with_interval
from wsi_suite.scoring.clinical_words import clinical_lines
from wsi_suite.scoring.verdicts import NOT_TO_BE_USED

_REMARKS = 4


def headline_in_words(summary: Summary, *, interval: bool = True) -> str:
    """Return the H-score that stands first, such as ``H-score 128 (121 - 136) of Epithelium``."""
    headline = summary.headline
    if headline.value is None:
        return f"no H-score of {headline.class_name}: {headline.reason}"
    figures = summary.scores[headline.class_name]
    shown = figures.h_score_interval if interval and summary.no_verdict is None else None
    value = with_interval(headline.value, shown, highest=300, digits=0)
    text = f"H-score {value} of {headline.class_name}"
    return text if summary.no_verdict is None else f"[{text}] {NOT_TO_BE_USED}"


def summary_rows(summary: Summary) -> list[Row]:
    """Return the lines of a card that tell the scores of a slide."""
    name = summary.headline.class_name
    figures = summary.scores[name]
    usable = summary.no_verdict is None
    percent = with_interval(
        figures.positive_percent,
        figures.positive_percent_interval if usable else None,
        highest=100,
        digits=1,
        unit=" %",
    )
    rows = [Row("score", headline_in_words(summary))]
    if percent is not None:
        rows.append(Row("positive", f"{percent if usable else f'[{percent}]'} of {name}"))
    rows.append(
        Row("nuclei", ", ".join(f"{one.nuclei:,} {key}" for key, one in summary.scores.items()))
    )
    if summary.scored_tissue_mm2 is not None:
        where = f" in {len(summary.regions)} regions" if summary.regions else ""
        rows.append(Row("tissue", f"{summary.scored_tissue_mm2:.3g} mm²{where}"))
    values = " / ".join(f"{value:g}" for value in summary.thresholds_od)
    return [
        *rows,
        Row("marker", summary.marker or "not set"),
        Row("thresholds", f"{values} ({summary.thresholds_said})"),
        Row("model", summary.model.name),
    ]


def summary_remarks(summary: Summary) -> list[str]:
    """Return the sentences below these lines: the guideline's, and the first warnings."""
    remarks = [*clinical_lines(summary), *summary.warnings]
    return first_few(remarks, most=_REMARKS, rest="{} more in summary.warnings")


def in_words(analysed: Analysed) -> str:
    """Return an analysis as ``repr`` shows it."""
    summary = analysed.summary
    nuclei = f"{len(analysed):,} nucle{'us' if len(analysed) == 1 else 'i'}"
    return f"<Analysed: {summary.slide}, {nuclei}, {headline_in_words(summary, interval=False)}>"


def as_card(analysed: Analysed) -> str:
    """Return an analysis as notebooks show it."""
    summary = analysed.summary
    rows = [row for row in summary_rows(summary) if row.name != "nuclei"]
    rows[2:2] = class_rows(analysed.nuclei)
    return card(
        summary.slide,
        rows,
        picture=picture_of(analysed.nuclei),
        remarks=summary_remarks(summary),
    )
