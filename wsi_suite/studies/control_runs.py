"""Runs of a control slide: their order, and their differences in settings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from wsi_suite.analysis.summary import Summary, read_summary
from wsi_suite.errors import DataError
from wsi_suite.nuclei.parquet import read_provenance
from wsi_suite.runs.folder import TABLE_NAME
from wsi_suite.studies.score_lists import key_of, result_folders

_DAY_FIRST = re.compile(r"(^|\D)\d{1,2}[.\-_ ]\d{1,2}[.\-_ ]\d{4}(\D|$)")


@dataclass(frozen=True)
class ScoredRun:
    """The control slide in a run.

    Attributes
    ----------
    name
        Name of the run's folder.
    summary
        Scores of the slide.
    settings
        What scores depend on beside the stain: model, thresholds, measurement, vectors.
    scan
        Hash of the slide's file; ``None`` if it is not known.
    """

    name: str
    summary: Summary
    settings: dict[str, str]
    scan: str | None


@dataclass(frozen=True)
class FoundRuns:
    """Runs of a control slide in order, and folders without a score of it, by the reason."""

    runs: tuple[ScoredRun, ...]
    without: dict[str, str]


def find_runs(folder: Path, slide: str | None) -> FoundRuns:
    """Return the runs in a folder that have the control slide.

    Their order is that of their names, numbers by value.

    Parameters
    ----------
    folder
        Holds a results folder for each run.
    slide
        The control slide; ``None``: the only one that the results are of.

    Raises
    ------
    DataError
        No run has the slide, a run has several, or names are dates that do not sort.
    """
    names = sorted((path for path in folder.iterdir() if _is_run(path)), key=_natural)
    runs: list[ScoredRun] = []
    without: dict[str, str] = {}
    for run in names:
        try:
            places = result_folders(run)
        except DataError:
            without[run.name] = "no results"
            continue
        there = [(place, summary) for place in places if (summary := read_summary(place))]
        here = [one for one in there if slide is None or key_of(one[1].slide) == key_of(slide)]
        if len(here) > 1:
            several = ", ".join(summary.slide for _, summary in here[:3])
            raise DataError(f"{run}: several slides ({several}); name the control with --slide")
        if here:
            runs.append(_scored_run(run.name, *here[0]))
        else:
            without[run.name] = f"only {', '.join(summary.slide for _, summary in there[:3])}"
    if not runs:
        raise DataError(f"{folder}: no run has results{f' of {slide}' if slide else ''}")
    slides = {key_of(run.summary.slide): run.summary.slide for run in runs}
    if len(slides) > 1:
        raise DataError(
            f"{folder}: runs are of different slides ({', '.join(sorted(slides.values())[:3])}); "
            "name the control with --slide"
        )
    day_first = [run.name for run in names if _DAY_FIRST.search(run.name)]
    if len(day_first) > 1:
        raise DataError(
            f"{folder}: runs are named by dates that do not sort ({day_first[0]}, {day_first[1]}), "
            "and their order is that of their names; name them by year-month-day, as 2026-11-30"
        )
    return FoundRuns(tuple(runs), without)


def _is_run(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _natural(path: Path) -> list[tuple[int, str]]:
    return [
        (int(part), "") if part.isdecimal() else (-1, part)
        for part in re.split(r"(\d+)", path.name)
        if part
    ]


def _scored_run(name: str, place: Path, summary: Summary) -> ScoredRun:
    settings = {
        "model": f"{summary.model.name} {summary.model.hash[:8]}",
        "thresholds": " / ".join(f"{value:g}" for value in summary.thresholds_od),
        "measurement": summary.measurement or "",
    }
    scan = None
    if (place / TABLE_NAME).is_file():  # scores of 'wsi-suite score' stand alone
        provenance = read_provenance(place / TABLE_NAME)
        scan = provenance.slide_sha256
        settings["stain vectors"] = provenance.stain_vectors
        settings["nucleus masks"] = provenance.measure.model_dump_json()
        settings["version of measuring"] = str(provenance.results_version)
        settings["regions"] = str([region.name for region in provenance.rois or ()])
    return ScoredRun(name, summary, settings, scan)
