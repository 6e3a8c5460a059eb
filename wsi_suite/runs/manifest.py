"""Manifests: tables of slides, with settings that are a slide's own."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import get_args

from wsi_suite.config import ScoreSettings, Settings, parse_settings
from wsi_suite.errors import ConfigError, DataError, did_you_mean
from wsi_suite.runs.entry import Entry
from wsi_suite.slides.sources import expand_slides, standing_for
from wsi_suite.tables import WORKBOOKS, Table, plain_key, read_table

MANIFEST_SUFFIXES = (".csv", ".tsv", *WORKBOOKS)
"""Endings of manifests, in lower case; no slide has one of them."""

COLUMNS = ("slide", "mpp", "roi", "marker", "case")

_MARKERS = {
    plain_key(marker): marker
    for kind in get_args(ScoreSettings.model_fields["marker"].annotation)
    for marker in get_args(kind)
}


def expand_entries(
    sources: Iterable[str | Path], *, tell: Callable[[str], None] | None = None
) -> list[Entry]:
    """Return the slides that files, folders, patterns and manifests name, each once.

    A slide that a manifest names has the settings there, wherever else it is named.

    Parameters
    ----------
    sources
        As in :func:`~wsi_suite.slides.sources.expand_slides`, and tables with the ending of one.
    tell
        Gets a line on what is left out of a folder.

    Raises
    ------
    InputError
        Something does not exist, a folder or pattern holds no slides, a manifest cannot be used, or
        two of them name a slide.
    """
    found: dict[str, Entry] = {}
    of_manifests: dict[str, Path] = {}
    for source in map(Path, sources):
        if source.suffix.lower() not in MANIFEST_SUFFIXES or not source.is_file():
            for slide in expand_slides([source], tell=tell):
                found.setdefault(_place(slide), Entry(slide))
            continue
        for entry in read_manifest(source):
            place = _place(entry.slide)
            if (other := of_manifests.setdefault(place, source)) != source:
                raise DataError(f"{source}: {entry.slide} is named in {other}, too; name it once")
            found[place] = entry
    return list(found.values()) or list(map(Entry, expand_slides([], tell=tell)))


def read_manifest(path: Path) -> list[Entry]:
    """Read a manifest: a row of column names, then a row for each slide.

    Parameters
    ----------
    path
        CSV with commas, semicolons or tabs, and with decimal points or commas, or a workbook. Of
        the columns only ``slide`` is needed. Paths in ``slide`` and ``roi`` count from the
        manifest's folder. ``mpp`` and ``marker`` are settings, ``case`` goes into ``summary.csv``.

    Raises
    ------
    DataError
        It cannot be read, has an unknown column or a value out of its limits, or names a slide
        twice. Whether slides exist is seen when they are run.
    """
    table = read_table(path)
    columns = _columns_of(table)
    if not table.rows:
        raise DataError(f"{path}: names no slide; expected a row for each below the names")
    mpps = table.numbers(columns["mpp"]).tolist() if "mpp" in columns else [math.nan]
    cells = {name: table.column(column) for name, column in columns.items()}
    entries: list[Entry] = []
    lines: dict[str, int] = {}
    for row, line in enumerate(table.lines):
        where = f"{path}: line {line}"
        given = {name: column[row] for name, column in cells.items()}
        if not given["slide"]:
            raise DataError(f"{where}: {columns['slide']} is empty; expected the path of a slide")
        slide = standing_for(path.parent / given["slide"])
        first = lines.setdefault(_place(slide), line)
        if first != line:
            raise DataError(
                f"{where}: {given['slide']} is named on line {first}, too; keep one of the lines"
            )
        mpp = mpps[row] if "mpp" in columns else math.nan
        settings = _settings(mpp, given.get("marker", ""), where=where)
        entries.append(
            Entry(
                slide,
                mpp=settings.mpp,
                marker=settings.score.marker,
                rois=path.parent / given["roi"] if given.get("roi") else None,
                case=given.get("case"),
            )
        )
    return entries


def _columns_of(table: Table) -> dict[str, str]:
    """Return the columns of a manifest by our names for them."""
    columns: dict[str, str] = {}
    for column in table.columns:
        name = plain_key(column)
        if name == "model":
            raise DataError(
                f"{table.path}: column '{column}': a batch has one model, which workers keep "
                "loaded; give --model, and a manifest for each model"
            )
        if name not in COLUMNS:
            raise DataError(
                f"{table.path}: unknown column '{column}'{did_you_mean(column, COLUMNS)}; known: "
                f"{', '.join(COLUMNS)}"
            )
        if name in columns:
            raise DataError(
                f"{table.path}: columns '{columns[name]}' and '{column}' are the same; keep one"
            )
        columns[name] = column
    if "slide" not in columns:
        raise DataError(
            f"{table.path}: no column 'slide' among {', '.join(table.columns)}; name the column of "
            "the slides' paths so"
        )
    return columns


def _settings(mpp: float, marker: str, *, where: str) -> Settings:
    """Return the settings that a row gives, checked as those of ``--set`` are."""
    values = {
        "mpp": None if math.isnan(mpp) else mpp,
        "score": {"marker": _MARKERS.get(plain_key(marker), marker) or None},
    }
    try:
        return parse_settings(Settings, values)
    except ConfigError as error:
        raise DataError(f"{where}: {str(error).removeprefix('score.')}") from None


def _place(slide: Path) -> str:
    """Return a key of a path that is equal for other ways to write it."""
    return os.path.normcase(os.path.abspath(slide))  # noqa: PTH100 - resolves '..', not links
