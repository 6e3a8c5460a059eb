"""Nuclei that people graded, matched with measured ones.

Grades come from what ``wsi-suite pull`` wrote, or from a table of points. A label is of the nucleus
that takes it: within 3.5 um, nearest free one, as evaluation matches them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wsi_suite.errors import DataError
from wsi_suite.files import file_names, name_key
from wsi_suite.geometry import Points
from wsi_suite.nuclei.table import NOT_MEASURABLE
from wsi_suite.qupath.labels import read_labels
from wsi_suite.qupath.rois import read_rois
from wsi_suite.runs.folder import NUCLEI_NAME, TABLE_NAME
from wsi_suite.scoring.intensity import intensity_grades
from wsi_suite.scoring.regions import nuclei_in_rois
from wsi_suite.studies.graded_points import (
    ONE_NUCLEUS_UM,
    Grades,
    each_nucleus_once,
    read_points,
)
from wsi_suite.studies.measured import MeasuredSlide, SlideTable, read_measured
from wsi_suite.studies.score_lists import key_of
from wsi_suite.training.matches import MATCH_UM, match_points

_FEW_TAKEN = 0.8  # share of the labels from which on nothing is said
_SHOWN = 3
_TOO_FEW_TAKEN = 0.5  # in dense tissue, labels at random places meet a nucleus in a third


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
        What ``wsi-suite pull`` wrote, or a table with slide, x, y and grade; places in level-0
        pixels, or in um where their columns are called so.
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
    slides: list[GradedSlide] = []
    notes: list[str] = []
    alone: list[str] = []
    misplaced: dict[str, str] = {}
    twice: dict[tuple[str, str], int] = {}
    if pulled:
        found = _read_pulled(source, reviewed=reviewed)
    else:
        found, notes = read_points(source)
    keys = {key_of(file_names([one.slide])[0])[0]: key for key, one in tables.items()}
    keys |= {key: key for key in tables}
    for name, given in found.items():
        key = keys.get(key_of(name)[0])
        if key is None:
            alone.append(name)
            continue
        measured = read_measured(tables[key].table)
        grades = given
        if not pulled:
            grades, left_out = each_nucleus_once(given, np.array(measured.provenance.mpp))
            twice.update({(measured.slide, how): number for how, number in left_out.items()})
        graded, taken = _match(grades, measured)
        if pulled and reviewed is None and not _changed(graded, measured):
            notes.append(
                f"{graded.slide}: no grade differs from the run's, so nobody seems to have "
                "reviewed it, and it is left out (--reviewed names annotations that were)."
            )
        elif taken < _TOO_FEW_TAKEN * graded.labels:
            misplaced[graded.slide] = f"{taken} of {graded.labels}{_other_unit(grades, measured)}"
        else:
            if taken < _FEW_TAKEN * graded.labels:
                notes.append(f"{graded.slide}: {taken} of {graded.labels} labels are at a nucleus.")
            slides += [graded] * bool(taken)
    notes += [*_labelled_twice(twice), *_misplaced(misplaced), *_without_results(alone)]
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


def _labelled_twice(numbers: Mapping[tuple[str, str], int]) -> list[str]:
    """Return notes on second labels of nuclei, by how many there are of each slide and kind."""
    notes = []
    for how, words in (
        ("repeated", "repeat another one of the same nucleus"),
        ("contradicted", "contradict another one of the same nucleus and are left out"),
    ):
        of = {slide: number for (slide, kind), number in numbers.items() if kind == how and number}
        if of:
            some = ", ".join(list(of)[:_SHOWN]) + (", ..." if len(of) > _SHOWN else "")
            notes.append(
                f"{sum(of.values())} labels {words} (within {ONE_NUCLEUS_UM:g} um; {some})."
            )
    return notes


def _other_unit(labels: Grades, measured: MeasuredSlide) -> str:
    """Return a hint if most labels fit in the other unit of length."""
    other = replace(labels, in_um=not labels.in_um)
    _, taken = _match(other, measured)
    unit = "um" if other.in_um else "level-0 pixels"
    fits = taken >= _FEW_TAKEN * len(labels.grades)
    return f" ({taken} if x and y are read as {unit})" if fits else ""


def _without_results(slides: Sequence[str]) -> list[str]:
    return [f"Labelled, but without results: {', '.join(sorted(slides))}."] if slides else []


def _misplaced(slides: Mapping[str, str]) -> list[str]:
    if not slides:
        return []
    some = "; ".join(f"{slide}: {share}" for slide, share in list(slides.items())[:_SHOWN])
    more = f"; and {len(slides) - _SHOWN} more" if len(slides) > _SHOWN else ""
    return [
        f"Labels that are not at the nuclei, so that the slide is left out ({some}{more} are "
        f"within {MATCH_UM:g} um of one): x and y are of another slide, level or unit than "
        "level-0 pixels."
    ]


def _match(labels: Grades, measured: MeasuredSlide) -> tuple[GradedSlide, int]:
    """Return the nuclei that took a label, and their number."""
    mpp = np.array(measured.provenance.mpp)
    taken = match_points(
        labels.points_um(mpp),
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
