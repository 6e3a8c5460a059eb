"""Calibration of intensity thresholds to a laboratory's labels, with held-out errors."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wsi_suite.errors import ConfigError, DataError
from wsi_suite.nuclei.parquet import read_provenance
from wsi_suite.nuclei.table import INTENSITIES
from wsi_suite.runs.folder import NUCLEI_NAME
from wsi_suite.scoring.agreement import (
    Figure,
    concordance_correlation,
    limits_of_agreement,
    weighted_kappa,
)
from wsi_suite.scoring.calibration import (
    Fit,
    Range,
    Thresholds,
    candidate_grid,
    fit_grades,
    fit_h_scores,
    fit_positive_percent,
    grade_intervals,
    otsu_cuts,
    quantile_cuts,
    survival,
)
from wsi_suite.scoring.intensity import intensity_grades
from wsi_suite.scoring.summary import SATURATED_SHARE
from wsi_suite.studies.calibration_document import (
    CalibratedSlide,
    Calibration,
    HeldOut,
    Histogram,
    Kind,
)
from wsi_suite.studies.graded import GradedSlide, read_graded
from wsi_suite.studies.measured import SlideTable, measured_tables, read_measured
from wsi_suite.studies.score_lists import H_SCORE, SCORES, is_regional, read_scores

Ods = npt.NDArray[np.float32]

_BIN_OD = 0.02

WIDE_OD = 0.1
"""A threshold whose interval is wider than this is told to be uncertain."""


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
    fit = replace(
        _fit_graded(slides),
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
    return _calibration(
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
    return _held_out(
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
    _refuse_out_of_range(
        labels, score, listed.values.values(), top=300 if score == H_SCORE else 100
    )
    keys, ods = [], []
    notes = []
    for key in sorted(listed.values):
        if key[0] not in tables:
            notes.append(f"Without results: {listed.labels[key]}.")
            continue
        od = read_measured(tables[key[0]].table).scored(class_name, region=key[1])
        if len(od):
            keys.append(key)
            ods.append(od)
        else:
            notes.append(f"{listed.labels[key]}: no measured nuclei of the class.")
    grid = candidate_grid(max((float(od.max()) for od in ods), default=1.0))
    shares = np.array([survival(od, grid) for od in ods]).reshape(-1, len(grid))
    wanted = np.array([listed.values[key] for key in keys])
    fitter = fit_h_scores if score == H_SCORE else fit_positive_percent
    fit = fitter(shares, wanted, grid)
    folds = _leave_out(
        [key[0] for key in keys], lambda rows: fitter(shares[rows], wanted[rows], grid)
    )
    rows = tuple(
        CalibratedSlide(
            slide=listed.labels[key],
            nuclei=len(od),
            labelled=listed.values[key],
            fitted=_scored(od, fit),
            held_out=None if fold is None else _scored(od, fold),
        )
        for key, od, fold in zip(keys, ods, folds, strict=True)
    )
    there = [row for row in rows if row.held_out is not None]
    error = [(row.held_out - row.labelled) ** 2 for row in there if row.held_out is not None]
    return _calibration(
        "h_score" if score == H_SCORE else "positive_percent",
        fit,
        source=_source(labels),
        tables=tables,
        class_name=class_name,
        all_od=np.concatenate(ods),
        rows=rows,
        held_out=_held_out(rows, folds, error=math.sqrt(float(np.mean(error)))) if there else None,
        notes=notes,
    )


def _refuse_out_of_range(labels: Path, score: str, values: Iterable[float], *, top: float) -> None:
    for value in values:
        if not 0 <= value <= top:
            raise DataError(f"{labels}: {score} = {value:g}: expected 0 to {top:g}")


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


def _held_out(
    rows: Sequence[CalibratedSlide],
    folds: Sequence[Fit | None],
    *,
    error: float,
    confusion: tuple[tuple[int, ...], ...] | None = None,
    kappa: Figure | None = None,
) -> HeldOut:
    pairs = [(row.held_out, row.labelled) for row in rows if row.held_out is not None]
    found, labelled = np.array(pairs, np.float64).T
    fitted = [fold.thresholds_od for fold in folds if fold is not None]
    return HeldOut(
        error=error,
        thresholds_od=tuple(map(_span, zip(*fitted, strict=True))),
        limits=limits_of_agreement(found, labelled),
        concordance=concordance_correlation(found, labelled),
        confusion=confusion,
        kappa=kappa,
        failed=tuple(row.slide for row in rows if row.held_out is None),
    )


def _span(values: Iterable[float | None]) -> Range | None:
    there = [value for value in values if value is not None]
    return (min(there), max(there)) if there else None


def _calibration(
    kind: Kind,
    fit: Fit,
    *,
    source: str,
    tables: Mapping[str, SlideTable],
    all_od: Ods,
    graded: Sequence[GradedSlide] = (),
    rows: tuple[CalibratedSlide, ...],
    held_out: HeldOut | None,
    notes: Sequence[str],
    class_name: str | None = None,
) -> Calibration:
    provenances = [read_provenance(one.table) for one in tables.values()]
    given = {provenance.score.thresholds_od for provenance in provenances}
    of_runs = given.pop() if len(given) == 1 else None
    thresholds = _completed(fit, of_runs)
    strong = float((all_od >= thresholds[2]).mean())
    warnings = (*notes, *_warnings(fit, thresholds, strong, held_out=held_out, slides=len(rows)))
    return Calibration(
        kind=kind,
        source=source,
        measure=provenances[0].measure,
        class_name=class_name,
        thresholds_od=thresholds,
        ranges_od=fit.ranges_od,
        run_thresholds_od=of_runs,
        error=fit.error,
        held_out=held_out,
        slides=rows,
        histogram=_histogram(all_od, graded),
        strong_share=strong,
        otsu_od=otsu_cuts(all_od),
        quartiles_od=quantile_cuts(all_od),
        warnings=warnings,
    )


def _histogram(all_od: Ods, graded: Sequence[GradedSlide]) -> Histogram:
    start = _BIN_OD * math.floor(min(0.0, float(all_od.min())) / _BIN_OD)
    bins = math.ceil((float(all_od.max()) - start) / _BIN_OD + 1e-6)
    edges = start + _BIN_OD * np.arange(bins + 1)

    def counted(od: Ods) -> tuple[int, ...]:
        return tuple(np.histogram(od, edges)[0].tolist())

    by_grade = [
        np.concatenate([slide.dab_od[slide.grades == grade] for slide in graded])
        for grade in range(len(INTENSITIES))
        if graded
    ]
    return Histogram(
        start_od=round(start, 6),
        step_od=_BIN_OD,
        nuclei=counted(all_od),
        by_grade=tuple(map(counted, by_grade)) if graded else None,
    )


def _completed(fit: Fit, of_runs: Thresholds | None) -> Thresholds:
    """Return all three thresholds; what was not fitted is as in the runs."""
    low, middle, high = fit.thresholds_od
    assert low is not None
    if middle is not None and high is not None:
        return low, middle, high
    if of_runs is None:
        raise DataError(
            "the runs have different thresholds, and positive percentages say nothing of 2+ and "
            "3+: run them with the same thresholds, or give H-scores"
        )
    if low >= of_runs[1]:
        raise DataError(
            f"the threshold of 1+ would be {low:g}, not below that of 2+ in the runs "
            f"({of_runs[1]:g}), and positive percentages say nothing of 2+: give H-scores or "
            "graded nuclei"
        )
    return low, of_runs[1], of_runs[2]


def _warnings(
    fit: Fit, thresholds: Thresholds, strong: float, *, held_out: HeldOut | None, slides: int
) -> Iterator[str]:
    for name, threshold, inside in zip(INTENSITIES[1:], thresholds, fit.ranges_od, strict=True):
        if inside is None:
            yield f"The threshold of {name} ({threshold:g}) is the runs' own, and is not fitted."
        elif inside[1] - inside[0] > WIDE_OD:
            yield (
                f"The threshold of {name} ({threshold:g}) is uncertain, with an interval of 95 % from "
                f"{inside[0]:.2g} to {inside[1]:.2g}: give more slides, weak and strong ones."
            )
    if strong > SATURATED_SHARE:
        yield (
            f"{100 * strong:.0f} % of the nuclei are 3+ with these thresholds: the stain "
            "saturates, and scores tell strong slides apart only poorly."
        )
    if held_out is None:
        yield "There is no error on slides that were left out: that needs labels of more slides."
    elif held_out.failed:
        yield (
            f"Without {', '.join(held_out.failed)} the labels are too few to fit: the error on "
            f"slides that were left out is of the other {slides - len(held_out.failed)}."
        )


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
