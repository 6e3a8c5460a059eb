"""Nuclei that people graded, matched with measured ones.

Grades come from what ``wsi-suite pull`` wrote, or from a table of points. A label is of the nucleus
that takes it: within 3.5 um, nearest free one, as evaluation matches them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wsi_suite.errors import DataError
from wsi_suite.files import file_names, name_key
from wsi_suite.geometry import Points
from wsi_suite.nuclei.table import INTENSITIES, NOT_MEASURABLE
from wsi_suite.qupath.labels import read_labels, split_class
from wsi_suite.qupath.rois import read_rois
from wsi_suite.runs.folder import NUCLEI_NAME, TABLE_NAME
from wsi_suite.scoring.intensity import intensity_grades
from wsi_suite.scoring.regions import nuclei_in_rois
from wsi_suite.studies.measured import MeasuredSlide, SlideTable, read_measured
from wsi_suite.studies.score_lists import Key, key_of, slide_column_of
from wsi_suite.tables import find_column, read_table
from wsi_suite.training.matches import MATCH_UM, match_points

_FEW_TAKEN = 0.8  # share of the labels from which on nothing is said
_NAMES = {
    **{name.casefold(): grade for grade, name in enumerate(INTENSITIES)},
    **{str(grade): grade for grade in range(4)},
    "neg": 0,
}


@dataclass(frozen=True)
class Grades:
    """Graded points of a slide: ``(M, 2)`` level-0 pixels and ``(M,)`` grades 0 to 3."""

    points: npt.NDArray[np.float64]
    grades: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class GradedSlide:
    """Graded nuclei of a slide.

    Attributes
    ----------
    slide
        Its name.
    dab_od, grades
        ``(N,)`` of the nuclei that took a label: density, and grade as labelled.
    labels
        Number of labels, those that no nucleus took too.
    all_od
        ``(M,)`` densities of all nuclei of the slide.
    """

    slide: str
    dab_od: npt.NDArray[np.float32]
    grades: npt.NDArray[np.uint8]
    labels: int
    all_od: npt.NDArray[np.float32]


@dataclass(frozen=True)
class GradedSet:
    """Graded slides.

    Attributes
    ----------
    slides
        Those with labels that nuclei took.
    notes
        What was left out, in sentences.
    """

    slides: tuple[GradedSlide, ...]
    notes: tuple[str, ...]


def read_graded(
    source: Path, tables: Mapping[str, SlideTable], *, reviewed: str | None = None
) -> GradedSet:
    """Read grades and match them with the measured nuclei of results.

    Parameters
    ----------
    source
        What ``wsi-suite pull`` wrote, or a table with slide, x, y (level-0 pixels) and grade.
    tables
        Of the results, by slide; see :func:`~wsi_suite.studies.measured.measured_tables`.
    reviewed
        Of what was pulled: name or class of the annotations in which every nucleus was reviewed.
        ``None``: all nuclei of the images in which some grade was changed.

    Raises
    ------
    DataError, RegionError
        The labels cannot be used.
    """
    pulled = source.is_dir()
    if reviewed is not None and not pulled:
        raise DataError(f"{source}: a table of points has no annotations; leave out --reviewed")
    found = _read_pulled(source, reviewed=reviewed) if pulled else _read_points(source)
    keys = {key_of(file_names([one.slide])[0])[0]: key for key, one in tables.items()}
    keys |= {key: key for key in tables}
    slides, notes, alone = [], [], []
    for name, grades in found.items():
        key = keys.get(key_of(name)[0])
        if key is None:
            alone.append(name)
            continue
        measured = read_measured(tables[key].table)
        graded, taken = _match(grades, measured)
        if pulled and reviewed is None and not _changed(graded, measured):
            notes.append(
                f"{graded.slide}: no grade differs from the run's, so nobody seems to have "
                "reviewed it, and it is left out (--reviewed names annotations that were)."
            )
            continue
        if taken < _FEW_TAKEN * graded.labels:
            notes.append(f"{graded.slide}: {taken} of {graded.labels} labels are at a nucleus.")
        if taken:
            slides.append(graded)
    if alone:
        notes.append(f"Labelled, but without results: {', '.join(sorted(alone))}.")
    if not slides:
        why = " ".join(notes) or "It has no label."
        raise DataError(f"{source}: no labels to calibrate on. {why}")
    return GradedSet(tuple(slides), tuple(notes))


def _read_pulled(folder: Path, *, reviewed: str | None) -> dict[str, Grades]:
    """Return the grades in the folders that ``wsi-suite pull`` wrote, by their names."""
    inside = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    folders = [path for path in inside if (path / NUCLEI_NAME).is_file()]
    if not folders:
        raise DataError(f"{folder}: no {NUCLEI_NAME} in it; expected the --out of 'wsi-suite pull'")
    found = {}
    for place in folders:
        if (place / TABLE_NAME).exists():
            raise DataError(
                f"{place}: results of a run, whose grades nobody reviewed; expected the --out of "
                "'wsi-suite pull'"
            )
        labels = read_labels(place / NUCLEI_NAME)
        rows = labels.grades != NOT_MEASURABLE
        if reviewed is not None:
            rows &= _reviewed(place / "annotations.geojson", reviewed, labels.points)
        found[place.resolve().name] = Grades(labels.points[rows], labels.grades[rows])
    return found


def _reviewed(path: Path, name: str, points: Points) -> npt.NDArray[np.bool_]:
    """Return which points lie in the annotations of a name or class."""
    wanted = name_key(name)
    said = [
        roi
        for roi in read_rois(path)
        if wanted in (name_key(roi.name), name_key(roi.class_name or ""))
    ]
    inside = np.zeros(len(points), bool)
    for rows in nuclei_in_rois(points, said):
        inside[rows] = True
    return inside


def _read_points(path: Path) -> dict[str, Grades]:
    """Return the grades in a table of points, by slide."""
    table = read_table(path)
    option = "the heading '{}' in the first row"
    x, y, grade = (
        find_column(table, None, known=known, meant=what, option=option.format(known[0]))
        for what, known in (
            ("x in level-0 pixels", ("x", "x_px0", "x_px")),
            ("y in level-0 pixels", ("y", "y_px0", "y_px")),
            ("the grade", ("grade", "intensity", "class", "classification")),
        )
    )
    points = np.column_stack([table.numbers(x), table.numbers(y)])
    grades = []
    for line, cell, point in zip(table.lines, table.column(grade), points, strict=True):
        if np.isnan(point).any():
            raise DataError(f"{path}: line {line} has no place; expected x and y")
        known = _NAMES.get(cell.casefold().replace(" ", ""), split_class(cell)[1])
        if known == NOT_MEASURABLE:
            raise DataError(
                f"{path}: line {line}: {grade} = '{cell}': expected {', '.join(INTENSITIES)}, a "
                "class such as 'Epithelium: 2+', or 0 to 3"
            )
        grades.append(known)
    first: dict[Key, str] = {}  # 'B12' and 'b12.svs' are one slide
    names = table.column(slide_column_of(table))
    slides = np.array([first.setdefault(key_of(name), name) for name in names], np.str_)
    codes = np.array(grades, np.uint8)
    return {
        str(slide): Grades(points[slides == slide], codes[slides == slide])
        for slide in dict.fromkeys(slides)
    }


def _match(labels: Grades, measured: MeasuredSlide) -> tuple[GradedSlide, int]:
    """Return the nuclei that took a label, and their number."""
    mpp = np.array(measured.provenance.mpp)
    taken = match_points(
        labels.points * mpp,
        measured.nuclei.points * mpp,
        measured.nuclei.confidence,
        match_um=MATCH_UM,
    )
    rows = np.flatnonzero(taken >= 0)
    graded = GradedSlide(
        measured.slide,
        dab_od=measured.dab_od[rows],
        grades=labels.grades[taken[rows]],
        labels=len(labels.grades),
        all_od=measured.dab_od,
    )
    return graded, len(rows)


def _changed(graded: GradedSlide, measured: MeasuredSlide) -> bool:
    """Return whether some grade is not the one that the run gave."""
    given = intensity_grades(graded.dab_od, measured.provenance.score.thresholds_od)
    return bool((given != graded.grades).any())
