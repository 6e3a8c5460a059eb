"""Corrections made in QuPath, as figures of how good the detections were.

Read is what ``wsi-suite pull`` writes: for each image a table of all nuclei that were pushed or
added, with their state. Only images in which something was corrected tell how good detections are;
where nobody looked, all is untouched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from wsi_suite.errors import DataError
from wsi_suite.nuclei.parquet import read_nuclei
from wsi_suite.qupath.labels import split_class
from wsi_suite.tables import Table, read_table

COLUMNS = ("x", "y", "state", "pushed_class", "class")

NO_CLASS = ""
"""Class of a nucleus that has none, or whose class is not known."""

_SAME_PLACE_PX0 = 1.0


@dataclass(frozen=True)
class Corrections:
    """Counts of kept, changed, deleted and added nuclei of an image, or of several.

    Attributes
    ----------
    image
        Name of its folder.
    untouched
        Nuclei as they were pushed, by class.
    false
        Deleted ones, by their class if it is known: they were no nuclei.
    missed
        Added ones, by class.
    renamed
        Nuclei by class then and class now, that differ.
    reshaped
        Nuclei that were moved, outlined again or locked, by class.
    """

    image: str
    untouched: Mapping[str, int]
    false: Mapping[str, int]
    missed: Mapping[str, int]
    renamed: Mapping[tuple[str, str], int]
    reshaped: Mapping[str, int]

    @property
    def found(self) -> int:
        """Nuclei that were found rightly, whatever their class."""
        return sum(sum(part.values()) for part in (self.untouched, self.renamed, self.reshaped))

    @property
    def precision(self) -> float | None:
        """Share of detections that are nuclei; ``None`` without detections."""
        return _share(self.found, sum(self.false.values()))

    @property
    def recall(self) -> float | None:
        """Share of nuclei that were detected; ``None`` without nuclei."""
        return _share(self.found, sum(self.missed.values()))

    @property
    def class_accuracy(self) -> float | None:
        """Share of nuclei found rightly that had the right class."""
        wrong = sum(self.renamed.values())
        return _share(self.found - wrong, wrong)

    @property
    def is_corrected(self) -> bool:
        """Whether anything was corrected at all."""
        return any((self.false, self.missed, self.renamed, self.reshaped))


def read_corrections(pulled: Path, *, results: Path | None = None) -> list[Corrections]:
    """Return the corrections of each image in a folder of ``pull``.

    Parameters
    ----------
    pulled
        Holds ``<image>/nuclei.csv``.
    results
        Results folder of the run that was pushed; it tells the class of deleted nuclei whose
        ``pushed_class`` is empty, as in projects that an earlier version pushed to.

    Raises
    ------
    DataError
        There is no such table, or it is of another kind.
    """
    paths = sorted(pulled.glob("*/nuclei.csv"))
    if not paths:
        raise DataError(f"{pulled}: no <image>/nuclei.csv in it, as 'wsi-suite pull' writes it")
    return [_corrections(path, results=results) for path in paths]


def total(corrections: list[Corrections]) -> Corrections:
    """Return the sum over those images in which something was corrected."""
    seen = [one for one in corrections if one.is_corrected]
    summed: dict[str, Counter[object]] = {}
    for part in ("untouched", "false", "missed", "renamed", "reshaped"):
        summed[part] = Counter()
        for one in seen:
            summed[part].update(getattr(one, part))
    empty = Corrections("corrected images", {}, {}, {}, {}, {})
    return replace(empty, **{part: dict(counts) for part, counts in summed.items()})  # type: ignore[arg-type]


def _corrections(path: Path, *, results: Path | None) -> Corrections:
    table = read_table(path)
    for column in COLUMNS:
        if column not in table.columns:
            raise DataError(f"{path}: no column '{column}', as 'wsi-suite pull' writes it")
    untouched, missed, reshaped = Counter[str](), Counter[str](), Counter[str]()
    renamed = Counter[tuple[str, str]]()
    rows = zip(*(table.column(name) for name in COLUMNS[2:]), strict=True)
    for line, (state, pushed, now) in zip(table.lines, rows, strict=True):
        name = split_class(now)[0] or NO_CLASS
        match state:
            case "untouched":
                untouched[name] += 1
            case "added":
                missed[name] += 1
            case "corrected" if pushed != name:
                renamed[pushed, name] += 1
            case "corrected":
                reshaped[name] += 1
            case "deleted":
                pass
            case _:
                raise DataError(
                    f"{path}: line {line}: state '{state}'; expected untouched, corrected,"
                    " deleted or added"
                )
    image = path.parent.name
    false = _deleted_classes(table, image=image, results=results)
    return Corrections(
        image, dict(untouched), dict(false), dict(missed), dict(renamed), dict(reshaped)
    )


def _deleted_classes(table: Table, *, image: str, results: Path | None) -> Counter[str]:
    """Return the deleted nuclei by the class that they were pushed with."""
    states, pushed = np.array(table.column("state")), np.array(table.column("pushed_class"))
    deleted = states == "deleted"
    classes = Counter[str](map(str, pushed[deleted & (pushed != NO_CLASS)]))
    unknown = deleted & (pushed == NO_CLASS)
    at = np.column_stack([table.numbers("x"), table.numbers("y")])[unknown]
    if len(at):
        classes.update(_classes_at(at, None if results is None else _results_of(image, results)))
    return classes


def _classes_at(at: npt.NDArray[np.float64], source: Path | None) -> list[str]:
    """Return the classes of the nuclei of a run at ``(N, 2)`` places."""
    if source is None:
        return [NO_CLASS] * len(at)
    nuclei, _ = read_nuclei(source)
    if not len(nuclei):
        return [NO_CLASS] * len(at)
    near: Any = cKDTree(nuclei.points).query_ball_point(at, _SAME_PLACE_PX0)
    return [nuclei.classes[nuclei.label[rows[0]]] if rows else NO_CLASS for rows in near]


def _results_of(image: str, results: Path) -> Path | None:
    """Return the table of nuclei of an image in a results folder."""
    names = (image, Path(image).stem)
    found = [results / name / "nuclei.parquet" for name in names]
    return next((path for path in found if path.is_file()), None)


def _share(right: int, wrong: int) -> float | None:
    return right / (right + wrong) if right + wrong else None
