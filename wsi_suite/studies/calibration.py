"""Calibration of intensity thresholds to a laboratory's labels, with held-out errors."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wsi_suite.errors import ConfigError, DataError
from wsi_suite.runs.folder import NUCLEI_NAME
from wsi_suite.scoring.agreement import (
    weighted_kappa,
)
from wsi_suite.scoring.calibration import (
    Fit,
    Thresholds,
    candidate_grid,
    fit_grades,
    fit_h_scores,
    fit_positive_percent,
    grade_intervals,
    survival,
)
from wsi_suite.scoring.intensity import intensity_grades
from wsi_suite.studies.calibration_document import (
    CalibratedSlide,
    Calibration,
    HeldOut,
)
from wsi_suite.studies.calibration_figures import Ods, compose_calibration, held_out_of
from wsi_suite.studies.graded import GradedSlide, read_graded
from wsi_suite.studies.measured import SlideTable, measured_tables, read_measured
from wsi_suite.studies.score_lists import H_SCORE, SCORES, Key, ScoreList, is_regional, read_scores


def calibrate_on_grades(
    results: Sequence[Path], labels: Path, *, reviewed: str | None = None
) -> Calibration:
    """Fit thresholds to graded nuclei.

    Parameters
    ----------
    results
        Results folders.
    labels, reviewed
        See :func:`~wsi_suite.studies.graded.read_graded`.

    Raises
    ------
    DataError, RegionError
        The labels cannot be used, or are too few.
    """
    tables = measured_tables(results)
    graded = read_graded(labels, tables, reviewed=reviewed)
    slides = graded.slides
    with _named(labels, graded.notes):
        fit = _fit_graded(slides)
    fit = replace(
        fit,
        ranges_od=grade_intervals([(slide.dab_od, slide.grades) for slide in slides]),
    )
    thresholds = _all_of(fit.thresholds_od)
    parts = _leave_out(range(len(slides)), lambda rows: _fit_graded([slides[row] for row in rows]))
    held = [
        None if fold is None else intensity_grades(slide.dab_od, _all_of(fold.thresholds_od))
        for slide, fold in zip(slides, parts, strict=True)
    ]
    rows = tuple(
        CalibratedSlide(
            slide=slide.slide,
            nuclei=len(slide.grades),
            labelled=_h(slide.grades),
            fitted=_h(intensity_grades(slide.dab_od, thresholds)),
            held_out=None if grades is None else _h(grades),
        )
        for slide, grades in zip(slides, held, strict=True)
    )
    pairs = [
        (slide.grades, grades)
        for slide, grades in zip(slides, held, strict=True)
        if grades is not None
    ]
    return compose_calibration(
        "grades",
        fit,
        source=_source(labels),
        tables=tables,
        all_od=np.concatenate([slide.all_od for slide in slides]),
        graded=slides,
        rows=rows,
        held_out=_held_out_grades(pairs, rows, parts) if pairs else None,
        notes=graded.notes,
    )


def _fit_graded(slides: Sequence[GradedSlide]) -> Fit:
    return fit_grades(
        np.concatenate([slide.dab_od for slide in slides]),
        np.concatenate([slide.grades for slide in slides]),
    )


def _held_out_grades(
    pairs: Sequence[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]],
    rows: Sequence[CalibratedSlide],
    folds: Sequence[Fit | None],
) -> HeldOut:
    labelled, found = (np.concatenate(part).astype(int) for part in zip(*pairs, strict=True))
    confusion = np.zeros((4, 4), int)
    np.add.at(confusion, (labelled, found), 1)
    return held_out_of(
        rows,
        folds,
        error=math.sqrt(float(((labelled - found) ** 2).mean())),
        confusion=tuple(map(tuple, confusion.tolist())),
        kappa=weighted_kappa(confusion),
    )


def calibrate_on_scores(
    results: Sequence[Path],
    labels: Path,
    *,
    score: str = H_SCORE,
    column: str | None = None,
    class_name: str | None = None,
) -> Calibration:
    """Fit thresholds to scores of slides, or of regions if the table has a column of them.

    Parameters
    ----------
    results
        Results folders.
    labels
        A table of scores; see :func:`~wsi_suite.studies.score_lists.read_scores`.
    score
        ``h_score`` for all thresholds, ``positive_percent`` for that of 1+.
    column
        Column with the scores.
    class_name
        Class of nuclei that the scores are of; ``None``: the headline's.

    Raises
    ------
    ConfigError, DataError
        The labels cannot be used, or are too few.
    """
    if score not in SCORES:
        raise ConfigError(f"--score {score}: expected {' or '.join(SCORES)}")
    if labels.is_dir():
        raise DataError(f"{labels}: a folder; expected a table of scores (CSV, XLSX)")
    tables = measured_tables(results)
    listed = read_scores(labels, score=score, column=column, regions=is_regional(labels))
    ods, notes = _scored_densities(listed, tables, class_name=class_name)
    grid = candidate_grid(max((float(od.max()) for od in ods.values()), default=1.0))
    shares = np.array([survival(od, grid) for od in ods.values()]).reshape(-1, len(grid))
    wanted = np.array([listed.values[key] for key in ods])
    fitter = fit_h_scores if score == H_SCORE else fit_positive_percent
    with _named(labels, notes):
        fit = fitter(shares, wanted, grid)
        _refuse_no_fit(fit, wanted)
    slides = [slide for slide, _ in ods]
    folds = _leave_out(slides, lambda kept: fitter(shares[kept], wanted[kept], grid))
    rows = tuple(
        CalibratedSlide(
            slide=listed.labels[key],
            nuclei=len(od),
            labelled=listed.values[key],
            fitted=_scored(od, fit),
            held_out=None if fold is None else _scored(od, fold),
        )
        for (key, od), fold in zip(ods.items(), folds, strict=True)
    )
    errors = [row.held_out - row.labelled for row in rows if row.held_out is not None]
    error = math.sqrt(float(np.mean(np.square(errors)))) if errors else math.nan
    return compose_calibration(
        "h_score" if score == H_SCORE else "positive_percent",
        fit,
        source=_source(labels),
        tables=tables,
        class_name=class_name,
        all_od=np.concatenate(list(ods.values())),
        rows=rows,
        held_out=held_out_of(rows, folds, error=error) if errors else None,
        notes=notes,
    )


def _scored_densities(
    listed: ScoreList, tables: Mapping[str, SlideTable], *, class_name: str | None
) -> tuple[dict[Key, Ods], list[str]]:
    """Return the densities that each score is of, and notes on the scores without any."""
    ods: dict[Key, Ods] = {}
    empty, alone = [], []
    for key in sorted(listed.values):
        slide, region = key
        if slide not in tables:
            alone.append(listed.labels[key])
            continue
        od = read_measured(tables[slide].table).scored(class_name, region=region)
        if len(od):
            ods[key] = od
        else:
            empty.append(listed.labels[key])
    notes = []
    if listed.missing:
        without = ", ".join(listed.labels[key] for key in listed.missing)
        notes.append(f"Without a score: {without}.")
    if alone:
        notes.append(f"Labelled, but without results: {', '.join(alone)}.")
    if empty:
        notes.append(f"Without measured nuclei of the class: {', '.join(empty)}.")
    return ods, notes


def _refuse_no_fit(fit: Fit, scores: npt.NDArray[np.float64]) -> None:
    """Refuse thresholds that foretell scores no better than the mean of the scores does."""
    spread = float(scores.std())
    if fit.error < spread:
        return
    if spread == 0:
        raise DataError(
            f"all {len(scores)} scores are {scores[0]:g}, and no threshold follows from that; "
            "expected weak and strong slides"
        )
    raise DataError(
        f"no thresholds fit the {len(scores)} scores: the best ones are {fit.error:.3g} off (root "
        f"mean square), while all scores are within {spread:.3g} of their own mean; check their "
        "unit, and whether they are of these slides and of this class (--class)"
    )


@contextmanager
def _named(labels: Path, notes: Sequence[str]) -> Iterator[None]:
    """Name the labels, and those left out, in errors of a fit."""
    try:
        yield
    except DataError as error:
        raise DataError(" ".join([f"{labels}: {error}", *notes])) from None


def _leave_out(groups: Sequence[object], fit: Callable[[Sequence[int]], Fit]) -> list[Fit | None]:
    """Return for each row the fit to the rows of all other groups; ``None`` if there is none."""
    fits: dict[object, Fit | None] = {}
    for group in dict.fromkeys(groups):
        rest = [row for row, other in enumerate(groups) if other != group]
        try:
            fits[group] = fit(rest) if rest else None
        except DataError:
            fits[group] = None
    return [fits[group] for group in groups]


def _all_of(thresholds: Sequence[float | None]) -> Thresholds:
    low, middle, high = (value for value in thresholds if value is not None)
    return low, middle, high


def _h(grades: npt.NDArray[np.uint8]) -> float:
    return 100 * float(grades.mean())


def _scored(dab_od: Ods, fit: Fit) -> float:
    """Return the score of densities: H-score, or positive percent if only 1+ is fitted."""
    limits = [value for value in fit.thresholds_od if value is not None]
    reached = survival(dab_od, np.array(limits))
    return 100 * float(reached.sum())


def _source(labels: Path) -> str:
    """Return the name of labels, and the first digits of a hash over their files."""
    files = sorted(labels.rglob(NUCLEI_NAME)) if labels.is_dir() else [labels]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return f"{labels.resolve().name} {digest.hexdigest()[:12]}"
