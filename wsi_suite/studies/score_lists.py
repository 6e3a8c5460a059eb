"""Scores of slides, or of their regions, by name: from results folders and from readers' tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsi_suite.analysis.summary import Summary, read_summary
from wsi_suite.errors import DataError
from wsi_suite.files import name_key
from wsi_suite.runs.summary_csv import TABLE_FILE
from wsi_suite.scoring.slide_scores import ScoreFigures
from wsi_suite.slides.identity import slide_stem
from wsi_suite.slides.listing import SLIDE_SUFFIXES
from wsi_suite.tables import Table, find_column, name_is, read_table

H_SCORE, POSITIVE_PERCENT = "h_score", "positive_percent"

SCORES = (H_SCORE, POSITIVE_PERCENT)
"""Scores that results folders have."""

HIGHEST: Mapping[str, float] = {H_SCORE: 300.0, POSITIVE_PERCENT: 100.0}
"""The highest value of each score; the lowest is 0."""

_SLIDE_COLUMNS = ("slide", "slide_id", "slide name", "image", "image name", "file", "filename",
                  "case", "case_id", "sample", "specimen", "id", "name")  # fmt: skip
_REGION_COLUMNS = ("region", "roi", "annotation", "core")
_SCORE_COLUMNS = {
    H_SCORE: ("h_score", "score"),
    POSITIVE_PERCENT: ("positive_percent", "positive", "percent", "labelling index"),
}
Key = tuple[str, str]
"""What a slide and a region are known by; the region of a whole slide is empty."""


@dataclass(frozen=True)
class ScoreList:
    """Scores by slide or region.

    Attributes
    ----------
    name
        What to call it.
    score
        What was read: ``h_score``, ``positive_percent``, or the name of a column.
    labels
        By key, slide and region as they stand there.
    values
        By key, the scores.
    missing
        Keys of slides and regions without a score, or with one that is not to be used.
    """

    name: str
    score: str
    labels: Mapping[Key, str]
    values: Mapping[Key, float]
    missing: tuple[Key, ...]


def read_scores(
    source: Path,
    *,
    score: str = H_SCORE,
    class_name: str | None = None,
    column: str | None = None,
    option: str = "--column",
    regions: bool = False,
) -> ScoreList:
    """Read scores from a results folder or a table.

    Parameters
    ----------
    source
        A folder of a batch or of one slide, or a table (CSV, XLSX and others).
    score
        ``h_score`` or ``positive_percent``; of a class of nuclei, see `class_name`.
    class_name
        Class of the results; ``None``: that of the headline.
    column
        Column of the table with the scores; ``None``: the one that is called like the score.
    option
        What the user names the column with, for errors.
    regions
        Read the regions of slides, not whole slides.

    Raises
    ------
    DataError
        There are no scores, a slide comes twice, or something can be read in two ways.
    OutputError
        A ``summary.json`` is damaged.
    """
    if source.is_dir():
        if column is not None:
            raise DataError(f"{source}: a results folder has no columns; {option} is for tables")
        entries = _of_folder(source, score=score, class_name=class_name, regions=regions)
        return _listed(source, score, entries)
    table = read_table(source)
    slide_column, region_column = slide_column_of(table), region_column_of(table)
    if regions != (region_column is not None):
        raise DataError(
            f"{source}: {'no column' if regions else 'has a column'} 'region', unlike the other "
            "table; compare slides with slides, or regions with regions"
        )
    rest = [name for name in table.columns if name not in (slide_column, region_column)]
    if column is None and len(rest) == 1:
        column = rest[0]
        _refuse_other_score(source, column, score=score, option=option)
    score_column = find_column(
        table, column, known=_SCORE_COLUMNS[score], meant=f"the score ({score})", option=option
    )
    return _listed(source, score_column, _of_table(table, score_column, score=score))


def is_regional(source: Path) -> bool:
    """Return whether a source is a table with a column of regions that is filled."""
    return not source.is_dir() and region_column_of(read_table(source)) is not None


def region_column_of(table: Table) -> str | None:
    """Return the column of regions in a table, ``None`` if it has none."""
    known = {name_key(name) for name in _REGION_COLUMNS}
    found = [name for name in table.columns if name_key(name) in known]
    if len(found) > 1:
        raise DataError(f"{table.path}: {' and '.join(found)} may both name the region; rename one")
    return found[0] if found and any(table.column(found[0])) else None


def slide_column_of(table: Table) -> str:
    """Return the column of slides in a table."""
    return find_column(
        table,
        None,
        known=_SLIDE_COLUMNS,
        meant="the slide",
        option="the heading 'slide' in the first row",
    )


def key_of(slide: str, region: str = "") -> Key:
    """Return the key of a slide: its name without folder and ending, in lower case."""
    name = slide.replace("\\", "/").rstrip("/").rpartition("/")[2]
    path = Path(name)
    # Only what is an ending: 'B12.3' is a slide of its own.
    stem = slide_stem(path) if path.suffix.lower() in SLIDE_SUFFIXES else name
    return name_key(stem.strip()), name_key(region.strip())


def result_folders(folder: Path) -> list[Path]:
    """Return the folders of slides in a results folder, which may be one itself.

    Raises
    ------
    DataError
        There are none.
    """
    if (folder / "summary.json").is_file():
        return [folder]
    found = sorted(path for path in folder.iterdir() if (path / "summary.json").is_file())
    if not found:
        hint = f" (its {TABLE_FILE} alone can be given)" if (folder / TABLE_FILE).is_file() else ""
        raise DataError(
            f"{folder}: no results in it; expected the folder that 'wsi-suite run' or 'wsi-suite "
            f"score' was given as --out{hint}"
        )
    return found


_Entry = tuple[str, str, float | None, str]
"""Slide, region, score, and where it stands: the folder of the slide, or the line of the table."""


def _of_folder(
    folder: Path, *, score: str, class_name: str | None, regions: bool
) -> Iterator[_Entry]:
    for place in result_folders(folder):
        summary = read_summary(place)
        assert summary is not None
        if regions:
            for region in summary.regions:
                figures = _figures(summary, region.scores, class_name=class_name, place=place)
                yield summary.slide, region.name, _value(summary, figures, score), place.name
        else:
            figures = _figures(summary, summary.scores, class_name=class_name, place=place)
            yield summary.slide, "", _value(summary, figures, score), place.name


def _figures(
    summary: Summary, scores: Mapping[str, ScoreFigures], *, class_name: str | None, place: Path
) -> ScoreFigures:
    wanted = summary.headline.class_name if class_name is None else class_name
    if wanted not in scores:
        raise DataError(f"{place}: no class '{wanted}' (--class); expected {', '.join(scores)}")
    return scores[wanted]


def _value(summary: Summary, figures: ScoreFigures, score: str) -> float | None:
    """Return a score; none if the slide shows another stain, so that it is not to be used."""
    if summary.no_verdict is not None:
        return None
    return figures.h_score if score == H_SCORE else figures.positive_percent


def _of_table(table: Table, score_column: str, *, score: str) -> Iterator[_Entry]:
    slide_column, region_column = slide_column_of(table), region_column_of(table)
    slides, values = table.column(slide_column), table.numbers(score_column)
    for line, value in zip(table.lines, values, strict=True):
        if not (math.isnan(value) or 0 <= value <= HIGHEST[score]):
            raise DataError(
                f"{table.path}: line {line}: {score_column} = {value:g}: expected a score from 0 "
                f"to {HIGHEST[score]:g} ({score})"
            )
    if score == POSITIVE_PERCENT:
        _refuse_fractions(table, score_column)
    else:
        _refuse_percentages(table, score_column)
    regions = [""] * len(slides) if region_column is None else table.column(region_column)
    for line, slide, region, value in zip(table.lines, slides, regions, values, strict=True):
        if not slide:
            raise DataError(f"{table.path}: line {line} names no slide in column '{slide_column}'")
        yield slide, region, None if math.isnan(value) else float(value), f"line {line}"


def _refuse_other_score(source: Path, column: str, *, score: str, option: str) -> None:
    """Refuse the only column of a table if it is called like the other score."""
    other = POSITIVE_PERCENT if score == H_SCORE else H_SCORE
    names = (other,) if other == H_SCORE else _SCORE_COLUMNS[other]
    if name_is(column, names):
        raise DataError(
            f"{source}: column '{column}' is {other} by its name, expected {score}; give --score "
            f"{other}, or name the column with {option}"
        )


def _refuse_percentages(table: Table, column: str) -> None:
    """Refuse percentages in place of H-scores."""
    for line, cell in zip(table.lines, table.column(column), strict=True):
        if cell.rstrip().endswith("%"):
            raise DataError(
                f"{table.path}: line {line}: {column} = '{cell}': an H-score is no percentage; "
                f"give --score {POSITIVE_PERCENT}, or remove the percent sign"
            )


def _refuse_fractions(table: Table, column: str) -> None:
    """Refuse shares of 1 in place of percentages: a workbook keeps 45 % as 0.45."""
    values = table.numbers(column)
    signed = any(cell.endswith("%") for cell in table.column(column))
    if signed or not (values > 0).any() or np.nanmax(values) > 1:
        return
    if ((values > 0) & (values < 1)).any():
        raise DataError(
            f"{table.path}: column '{column}' has no number above 1, as if they were shares of 1 "
            "(a workbook keeps 45 % as 0.45); multiply them by 100, or write them with a percent "
            "sign if they are percentages"
        )


def _listed(source: Path, score: str, entries: Iterable[_Entry]) -> ScoreList:
    labels: dict[Key, str] = {}
    values: dict[Key, float] = {}
    places: dict[Key, str] = {}
    for slide, region, value, place in entries:
        key = key_of(slide, region)
        label = f"{slide}, {region}" if region else slide
        if key in labels:
            both = f"'{label}'" if label == labels[key] else f"'{labels[key]}' and '{label}'"
            more = "folder" if source.is_dir() else "line"
            raise DataError(
                f"{source}: {both} stand{'s' * (label == labels[key])} there for one slide twice, "
                f"in {places[key]} and {place}; keep one score a slide, and move the other {more} "
                "away"
            )
        labels[key], places[key] = label, place
        if value is not None:
            values[key] = value
    if not labels:
        raise DataError(f"{source}: no {'regions' if source.is_dir() else 'slides'} in it")
    missing = tuple(sorted(labels.keys() - values.keys()))
    return ScoreList(source.name or str(source), score, labels, values, missing)
