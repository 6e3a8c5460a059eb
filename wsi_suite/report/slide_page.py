"""The page of one slide."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wsi_suite.analysis.summary import Summary
from wsi_suite.errors import OutputError
from wsi_suite.geometry import Roi, Scale
from wsi_suite.nuclei.provenance import Provenance
from wsi_suite.nuclei.table import INTENSITIES, Nuclei
from wsi_suite.overview.insets import ReadBox
from wsi_suite.pages import content_policy, page_part, write_page
from wsi_suite.report.assessment import LEVEL, assess, intervals_of
from wsi_suite.report.binned import BinnedCounts, bin_nuclei
from wsi_suite.report.close_ups import show_doubtful, show_fields
from wsi_suite.report.histogram import draw_histogram
from wsi_suite.report.origin import describe_origin
from wsi_suite.report.slide_maps import show_maps
from wsi_suite.report.spots import hot_spots_of, no_hot_spots
from wsi_suite.report.words import FILTERS
from wsi_suite.scoring.hscore import Score, pooled_name
from wsi_suite.scoring.intensity import grade_nuclei
from wsi_suite.scoring.regions import nuclei_in_rois, rows_that_count, scored_rois
from wsi_suite.scoring.slide_scores import ScoreFigures

Thumbnail = tuple[npt.NDArray[np.uint8], Scale]
"""``(H, W, 3)`` uint8 RGB of a whole slide, and level-0 pixels per pixel of it."""

_PACKAGE = "wsi_suite.report"
_SAFE_IN_QUOTES = set('"$`\\!%')


@dataclass(frozen=True, kw_only=True, eq=False)
class SlideResult:
    """Everything that the page of a slide is made from.

    Attributes
    ----------
    folder
        Name of the results folder.
    summary, nuclei, provenance
        As stored there.
    read
        Gives pixels of a level-0 box; ``None`` if neither the slide nor its tiles are at hand.
    thumbnail
        The whole slide, if there is a picture of it.
    pictures_from
        Where the pictures come from, in words.
    versions, settings
        Of the libraries that made the result, and of the run as ``run.json`` holds them, if they
        are known.
    """

    folder: str
    summary: Summary
    nuclei: Nuclei
    provenance: Provenance
    read: ReadBox | None = None
    thumbnail: Thumbnail | None = None
    pictures_from: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] | None = None

    @property
    def drawn(self) -> tuple[Roi, ...]:
        """Regions of interest as drawn, those of class ``Ignore*`` among them."""
        return self.provenance.regions() or ()

    @property
    def rois(self) -> tuple[Roi, ...]:
        """Regions of interest that were scored; none if the whole slide was."""
        return scored_rois(self.drawn)


def write_slide_page(path: Path, result: SlideResult) -> None:
    """Write the report of a slide as one HTML file that needs no other.

    Raises
    ------
    InputError
        The table lacks a measurement of DAB.
    OutputError
        Table and summary disagree, or the file cannot be written.
    """
    nuclei, summary = result.nuclei, result.summary
    inside = nuclei_in_rois(nuclei.points, result.rois)
    scored = rows_that_count(nuclei.points, result.drawn)
    names = [roi.name for roi in result.rois]
    binned = bin_nuclei(
        nuclei,
        thresholds_od=summary.thresholds_od,
        parts=[("", scored), *zip(names, inside, strict=True)],
    )
    _check(binned, summary, place=path.parent)
    grades = grade_nuclei(nuclei, summary.thresholds_od)
    style, script = page_part(_PACKAGE, "page.css"), page_part(_PACKAGE, "slide_page.js")
    spots = hot_spots_of(summary, mpp=result.provenance.mpp)
    fields = show_fields(result, grades, scored=scored, spots=spots)
    values: dict[str, Any] = {
        "policy": content_policy(styles=[style], scripts=[script]),
        "style": style,
        "script": script,
        "summary": summary,
        "headline": summary.scores[summary.headline.class_name],
        "findings": assess(summary),
        "level": LEVEL,
        "intervals": intervals_of,
        "spots": spots,
        "no_spots": no_hot_spots(summary),
        "grades": (*INTENSITIES, "not measurable"),
        "classes": nuclei.classes,
        "pooled": pooled_name(nuclei.classes),
        "not_measurable": any(part.not_measurable.any() for part in binned.parts),
        "parts": _table(summary, classes=len(nuclei.classes)),
        "histogram": draw_histogram(binned, part=0, label=_headline_index(result)),
        "live": _live(binned, result),
        "maps": show_maps(
            result,
            grades,
            scored=scored,
            fields=[shown.field for shown in fields],
            spots=spots,
        ),
        "fields": fields,
        "doubtful": show_doubtful(result, grades, scored=scored),
        "pictures_from": result.pictures_from,
        "origin": describe_origin(
            summary, result.provenance, versions=result.versions, settings=result.settings
        ),
    }
    write_page(path, "slide_page.html", package=_PACKAGE, filters=FILTERS, **values)


def _headline_index(result: SlideResult) -> int | None:
    """Return which class the headline is of; ``None``: all."""
    name, classes = result.summary.headline.class_name, result.nuclei.classes
    return classes.index(name) if name in classes else None


def _check(binned: BinnedCounts, summary: Summary, *, place: Path) -> None:
    """Refuse a summary that is none of this table: figures and pictures would disagree."""
    stored = [summary.scores, *(region.scores for region in summary.regions)]
    if len(stored) != len(binned.parts):
        raise OutputError(
            f"{place}: summary.json has {len(stored) - 1} regions and nuclei.parquet "
            f"{len(binned.parts) - 1}; expected those of one run, run again with --overwrite"
        )
    for number, figures in enumerate(stored):
        counted = binned.score(number, summary.thresholds_od)
        for name, score in counted.items():
            if name not in figures or _counts(score) != _counts(figures[name]):
                raise OutputError(
                    f"{place}: summary.json and nuclei.parquet disagree on '{name}'; expected "
                    "those of one run, run again with --overwrite"
                )


def _counts(score: Score | ScoreFigures) -> tuple[int, ...]:
    return score.negative, score.one, score.two, score.three, score.not_measurable


@dataclass(frozen=True)
class _TablePart:
    """A part of the table of scores: its name, area, and a line a class and one for all."""

    name: str
    area_mm2: float | None
    rows: list[tuple[int, tuple[str, ScoreFigures]]]


def _table(summary: Summary, *, classes: int) -> list[_TablePart]:
    whole = "All regions" if summary.regions else "Slide"
    parts = [(whole, summary.scored_tissue_mm2, summary.scores)]
    parts += [(part.name, part.tissue_area_mm2, part.scores) for part in summary.regions]
    lines = 1 if classes == 1 else None  # all classes are that one
    return [
        _TablePart(name, area_mm2, list(enumerate(scores.items()))[:lines])
        for name, area_mm2, scores in parts
    ]


def _live(binned: BinnedCounts, result: SlideResult) -> dict[str, Any]:
    """Return the data of the page's script."""
    before, after = _command(result.folder)
    headline = _headline_index(result)
    return {
        **binned.as_json(),
        "thresholds": list(result.summary.thresholds_od),
        "headline": len(binned.classes) if headline is None else headline,
        "command": [before, after],
    }


def _command(folder: str) -> tuple[str, str]:
    """Return the command that scores a folder again, before and after the thresholds."""
    folder = f"./{folder}" if folder.startswith("-") else folder
    quoted = shlex.quote(folder) if _SAFE_IN_QUOTES & set(folder) else f'"{folder}"'
    return f'wsi-suite score {quoted} --set "score.thresholds_od=[', ']"'
