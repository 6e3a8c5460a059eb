"""Graded nuclei in a table of points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from wsi_suite.errors import DataError
from wsi_suite.nuclei.table import INTENSITIES, NOT_MEASURABLE
from wsi_suite.qupath.labels import split_class
from wsi_suite.studies.score_lists import Key, key_of, slide_column_of
from wsi_suite.tables import MISSING, Table, find_column, name_is, read_table

ONE_NUCLEUS_UM = 2.0
"""Labels that are nearer to each other are of one nucleus: of centres in tissue 0.4 % are."""

_NAMES = {
    **{name.casefold(): grade for grade, name in enumerate(INTENSITIES)},
    **{f"{grade}{zero}": grade for grade in range(4) for zero in ("", ".0", ",0")},
    "neg": 0,
}
_GRADE_COLUMNS = ("grade", "intensity", "class", "classification")


@dataclass(frozen=True)
class Grades:
    """Graded points of a slide.

    Attributes
    ----------
    points
        ``(M, 2)`` level-0 pixels, or um.
    grades
        ``(M,)`` 0 to 3.
    in_um
        Whether points are in um.
    """

    points: npt.NDArray[np.float64]
    grades: npt.NDArray[np.uint8]
    in_um: bool = False

    def points_um(self, mpp: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the points in um, on a slide of `mpp` um per level-0 pixel."""
        return self.points if self.in_um else self.points * mpp


def read_points(path: Path) -> tuple[dict[str, Grades], list[str]]:
    """Return the grades in a table of points, by slide, and notes on those that were left out.

    Raises
    ------
    DataError
        A column is not there, or a grade or place cannot be read.
    """
    table = read_table(path)
    grade = find_column(
        table,
        None,
        known=_GRADE_COLUMNS,
        meant="the grade",
        option="the heading 'grade' in the first row",
    )
    in_um = not any(name_is(name, _place_columns("x", "px")) for name in table.columns) and any(
        name_is(name, _place_columns("x", "um")) for name in table.columns
    )
    unit = "um" if in_um else "px"
    places = [
        find_column(
            table,
            None,
            known=_place_columns(axis, unit),
            meant=f"{axis} in level-0 pixels",
            option=f"the heading '{axis}' ('{axis}_um' if it is in um) in the first row",
        )
        for axis in ("x", "y")
    ]
    points = np.column_stack([table.numbers(name) for name in places])
    codes = _codes(table, grade, points)
    there = codes != NOT_MEASURABLE
    first: dict[Key, str] = {}  # 'B12' and 'b12.svs' are one slide
    names = table.column(slide_column_of(table))
    slides = np.array([first.setdefault(key_of(name), name) for name in names], np.str_)
    found = {
        str(slide): Grades(points[rows], codes[rows], in_um)
        for slide in dict.fromkeys(slides[there])
        if (rows := there & (slides == slide)).any()
    }
    empty = int(np.count_nonzero(~there))
    return found, [f"{empty} points have no grade and are left out."] if empty else []


def _place_columns(axis: str, unit: str) -> Sequence[str]:
    """Return the names of columns of coordinates; QuPath's are ``Centroid X µm`` and ``px``."""
    if unit == "um":
        return tuple(
            f"{start}{axis}_{mark}" for start in ("", "centroid_") for mark in ("um", "µm")
        )
    return (axis, f"{axis}_px0", f"{axis}_px", f"centroid_{axis}_px", f"centroid_{axis}")


def _codes(table: Table, column: str, points: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """Return ``(N,)`` grades, NOT_MEASURABLE where a cell says that there is none."""
    codes = []
    for line, cell, point in zip(table.lines, table.column(column), points, strict=True):
        if cell.casefold() in MISSING:
            codes.append(NOT_MEASURABLE)
            continue
        if np.isnan(point).any():
            raise DataError(f"{table.path}: line {line} has no place; expected x and y")
        code = _NAMES.get(cell.casefold().replace(" ", ""), split_class(cell)[1])
        if code == NOT_MEASURABLE:
            raise DataError(
                f"{table.path}: line {line}: {column} = '{cell}': expected "
                f"{', '.join(INTENSITIES)}, a class such as 'Epithelium: 2+', or 0 to 3"
            )
        codes.append(code)
    return np.array(codes, np.uint8)


def each_nucleus_once(
    grades: Grades, mpp: npt.NDArray[np.float64]
) -> tuple[Grades, Mapping[str, int]]:
    """Return grades without the second label of a nucleus.

    Labels of one nucleus that differ contradict each other, and none of them is kept.

    Returns
    -------
    Grades
        One label a nucleus.
    Mapping
        Number of labels that were left out: ``repeated``, ``contradicted``.
    """
    points = grades.points_um(mpp)
    repeated, contradicted = np.zeros(len(points), bool), np.zeros(len(points), bool)
    for first, second in sorted(cKDTree(points).query_pairs(ONE_NUCLEUS_UM)):
        if grades.grades[first] == grades.grades[second]:
            repeated[second] = True
        else:
            contradicted[[first, second]] = True
    keep = ~(repeated | contradicted)
    left_out = {
        "repeated": int(np.count_nonzero(repeated & ~contradicted)),
        "contradicted": int(np.count_nonzero(contradicted)),
    }
    return Grades(grades.points[keep], grades.grades[keep], grades.in_um), left_out
