"""The page of a batch: all its slides, and how their scores are distributed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np

from wsi_suite.analysis.summary import Summary
from wsi_suite.nuclei.table import INTENSITIES
from wsi_suite.pages import content_policy, page_part, write_page
from wsi_suite.report.assessment import LEVEL, intervals_of
from wsi_suite.report.words import FILTERS
from wsi_suite.scoring.quality import mostly_bad
from wsi_suite.scoring.slide_scores import ScoreFigures
from wsi_suite.scoring.verdicts import NOT_TO_BE_USED

_PACKAGE = "wsi_suite.report"
_DISTRIBUTIONS = (("H-score", "h_score", 300, 15), ("Positive %", "positive_percent", 100, 10))


@dataclass(frozen=True, kw_only=True)
class BatchSlide:
    """A slide of a batch.

    Attributes
    ----------
    name, folder, state
        Name of the slide, of its results folder if it has one, and the state of its run.
    has_report
        Whether there is a page of its own in the folder.
    summary
        Its scores, if it has some.
    error
        Why it failed.
    """

    name: str
    folder: str | None
    state: str
    has_report: bool = False
    summary: Summary | None = None
    error: str | None = None

    @property
    def link(self) -> str | None:
        """Address of the slide's own page."""
        if self.folder is None or not self.has_report:
            return None
        return f"./{quote(self.folder, safe='')}/report.html"

    @property
    def verdict(self) -> str | None:
        """The prevailing artefact, the receptor status, and cautions about cut-offs, if any."""
        summary = self.summary
        if summary is None:
            return None
        if summary.no_verdict is not None:  # why stands first among its warnings
            kind = "" if summary.stains is None else f" (stain: {summary.stains.kind})"
            return f"no verdict{kind}: {NOT_TO_BE_USED}"
        status = None if summary.receptor is None else summary.receptor.status
        bad, said = mostly_bad(summary.quality), summary.verdict
        if status is not None and said == "clear":
            said = None  # it adds nothing to the status
        return ", ".join(filter(None, (bad, status, said))) or None

    @property
    def usable(self) -> bool:
        """Whether its figures may be used: it shows the stain that they are made for."""
        return self.summary is not None and self.summary.no_verdict is None

    @property
    def figures(self) -> ScoreFigures | None:
        """Of the class of the headline."""
        summary = self.summary
        return None if summary is None else summary.scores[summary.headline.class_name]


@dataclass(frozen=True)
class Distribution:
    """A histogram over the slides: its bars as a path of SVG, 100 wide and high."""

    title: str
    path: str
    top: int
    slides: int
    highest: int
    median: float | None


def write_batch_page(
    path: Path, slides: Sequence[BatchSlide], *, name: str, tables: Sequence[str]
) -> None:
    """Write the page of a batch as one HTML file; only the slides' own pages are linked from it.

    Parameters
    ----------
    path
        The file, in the folder that holds the slides' folders.
    slides
        All slides, in the order in which they are to stand.
    name
        What to call the batch.
    tables
        Names of tables beside the page.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    style, script = page_part(_PACKAGE, "page.css"), page_part(_PACKAGE, "batch_page.js")
    names = Counter(slide.name for slide in slides)
    write_page(
        path,
        "batch_page.html",
        package=_PACKAGE,
        filters=FILTERS,
        policy=content_policy(styles=[style], scripts=[script]),
        style=style,
        script=script,
        name=name,
        slides=slides,
        states=sorted({slide.state for slide in slides}),
        doubled={slide.name for slide in slides if names[slide.name] > 1},
        failed=[slide for slide in slides if slide.error],
        grades=INTENSITIES,
        level=LEVEL,
        intervals=intervals_of,
        distributions=[_distribution(slides, *kind) for kind in _DISTRIBUTIONS],
        tables=[(table, quote(table)) for table in tables],
    )


def _distribution(
    slides: Sequence[BatchSlide], title: str, figure: str, top: int, bins: int
) -> Distribution:
    figures = [slide.figures for slide in slides if slide.figures and slide.usable]
    known = [value for value in (getattr(each, figure) for each in figures) if value is not None]
    counts, _ = np.histogram(known, bins=bins, range=(0, top))
    highest = max(1, int(counts.max()))
    width = 100 / bins
    bars = (
        f"M{place * width:.2f},100V{100 - 100 * count / highest:.1f}H{(place + 1) * width:.2f}V100Z"
        for place, count in enumerate(counts.tolist())
        if count
    )
    median = float(np.median(known)) if known else None
    return Distribution(title, "".join(bars), top, len(known), highest, median)
