"""Outcomes of runs in words and as cards: state, scores, and the picture of the results folder."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from wsi_suite.analysis.card import headline_in_words, summary_remarks, summary_rows
from wsi_suite.cards import PICTURE_PX, Row, card, cut, table_card
from wsi_suite.runs.folder import OVERVIEW_NAME
from wsi_suite.runs.outcome import Outcome
from wsi_suite.scoring.certainty_words import with_interval

_LINES = 50


def in_words(outcome: Outcome) -> str:
    """Return an outcome as ``repr`` shows it."""
    parts = [outcome.slide.name, str(outcome.state)]
    if outcome.error is not None:
        parts.append(_why(outcome))
    elif outcome.summary is not None:
        parts.append(headline_in_words(outcome.summary, interval=False))
    return f"<Outcome: {', '.join(parts)}>"


def as_card(outcome: Outcome) -> str:
    """Return an outcome as notebooks show it."""
    rows = [Row("state", str(outcome.state))]
    if outcome.folder is not None:
        rows.append(Row("results", str(outcome.folder)))
    remarks = [] if outcome.error is None else [_why(outcome)]
    if outcome.summary is not None:
        rows += summary_rows(outcome.summary)
        remarks += summary_remarks(outcome.summary)
    return card(outcome.slide.name, rows, picture=_overview_of(outcome), remarks=remarks)


def as_table(outcomes: Sequence[Outcome]) -> str:
    """Return outcomes as notebooks show them, a line a slide."""
    states = [str(outcome.state) for outcome in outcomes]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    title = f"{len(outcomes)} slide{'s' * (len(outcomes) != 1)}" + (f": {counts}" if counts else "")
    lines = [_line(outcome) for outcome in outcomes[:_LINES]]
    if more := outcomes[_LINES:]:
        lines.append([f"{len(more)} more", "", "", "", "", ""])
    header = ("slide", "state", "class", "nuclei", "positive %", "H-score")
    return table_card(title, header, lines)


def _line(outcome: Outcome) -> list[str]:
    summary = outcome.summary
    start = [outcome.slide.name, str(outcome.state)]
    if summary is None:
        why = "" if outcome.error is None else cut(_why(outcome), longest=160)
        return [*start, why, "", "", ""]
    figures = summary.scores[summary.headline.class_name]
    usable = summary.no_verdict is None
    percent, h_score = figures.positive_percent_interval, figures.h_score_interval
    values = [
        with_interval(figures.positive_percent, percent if usable else None, highest=100, digits=1),
        with_interval(figures.h_score, h_score if usable else None, highest=300, digits=0),
    ]
    shown = [value if usable or value is None else f"[{value}]" for value in values]
    cells = [value or "–" for value in shown]
    return [*start, summary.headline.class_name, f"{figures.nuclei:,}", *cells]


def _why(outcome: Outcome) -> str:
    """Return the error of an outcome; of the slide's path, which may tell more, the name only."""
    return str(outcome.error).replace(str(outcome.slide), outcome.slide.name)


def _overview_of(outcome: Outcome) -> Image.Image | None:
    """Return the picture of a results folder, small; ``None`` where there is none to be read."""
    if outcome.folder is None:
        return None
    try:
        with Image.open(outcome.folder / OVERVIEW_NAME) as image:
            image.thumbnail((2 * PICTURE_PX, 2 * PICTURE_PX), reducing_gap=2.0)
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
