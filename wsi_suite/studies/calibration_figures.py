"""The figures of a calibration: held-out errors, histogram, cuts to compare with, warnings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from wsi_suite.errors import DataError
from wsi_suite.nuclei.parquet import read_provenance
from wsi_suite.nuclei.provenance import Provenance
from wsi_suite.nuclei.table import INTENSITIES
from wsi_suite.scoring.agreement import (
    Figure,
    concordance_correlation,
    limits_of_agreement,
)
from wsi_suite.scoring.calibration import (
    Fit,
    Range,
    Thresholds,
    otsu_cuts,
    quantile_cuts,
)
from wsi_suite.scoring.remarks import SATURATED_SHARE
from wsi_suite.studies.calibration_document import (
    CalibratedSlide,
    Calibration,
    HeldOut,
    Histogram,
    Kind,
)
from wsi_suite.studies.graded import GradedSlide
from wsi_suite.studies.measured import SlideTable, stain_settings

Ods = npt.NDArray[np.float32]

_BIN_OD = 0.02
_DIGITS = 9  # an error of nothing is 0, not 1e-14

POOR_KAPPA = 0.4
"""Below this the grades of labels and thresholds agree fairly at best (Landis and Koch, Biometrics
1977, 33, 159)."""

WIDE_OD = 0.1
"""A threshold whose interval is wider than this is told to be uncertain."""


def held_out_of(
    rows: Sequence[CalibratedSlide],
    folds: Sequence[Fit | None],
    *,
    error: float,
    confusion: tuple[tuple[int, ...], ...] | None = None,
    kappa: Figure | None = None,
) -> HeldOut:
    """Return how well thresholds do on slides that were left out.

    Parameters
    ----------
    rows
        The slides or regions, with their scores.
    folds
        For each, the fit without its slide; ``None`` if there was none.
    error, confusion, kappa
        As in :class:`~wsi_suite.studies.calibration_document.HeldOut`.
    """
    pairs = [(row.held_out, row.labelled) for row in rows if row.held_out is not None]
    found, labelled = np.array(pairs, np.float64).T
    fitted = [fold.thresholds_od for fold in folds if fold is not None]
    return HeldOut(
        error=round(error, _DIGITS),
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


def compose_calibration(
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
    """Return the document of a calibration.

    Parameters
    ----------
    kind, source, class_name
        As in the document.
    fit
        Of all labels.
    tables
        Of the results.
    all_od
        ``(N,)`` densities of all nuclei of the slides.
    graded
        Graded slides, if that is what was labelled.
    rows, held_out
        Slides, and the errors on those that were left out.
    notes
        What was left out of the labels.

    Raises
    ------
    DataError
        Thresholds that were not fitted do not follow from the runs.
    """
    provenances = [read_provenance(one.table) for one in tables.values()]
    given = {provenance.score.thresholds_od for provenance in provenances}
    of_runs = given.pop() if len(given) == 1 else None
    thresholds = _completed(fit, of_runs)
    strong = float((all_od >= thresholds[2]).mean())
    warnings = (
        *notes,
        *_unlike(provenances),
        *_warnings(fit, thresholds, strong, held_out=held_out, slides=len(rows)),
    )
    return Calibration(
        kind=kind,
        source=source,
        measure=provenances[0].measure,
        stain=stain_settings(next(iter(tables.values())).table),
        class_name=class_name,
        thresholds_od=thresholds,
        ranges_od=fit.ranges_od,
        run_thresholds_od=of_runs,
        error=round(fit.error, _DIGITS),
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
    """Return all three thresholds; those not fitted are as in the runs."""
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


def _unlike(provenances: Sequence[Provenance]) -> Iterator[str]:
    """Return warnings of runs that see other nuclei, or another stain."""
    for what, names in (
        ("models", {run.model.name + " " + run.model.hash[:8] for run in provenances}),
        ("markers", {run.score.marker or "none named" for run in provenances}),
    ):
        if len(names) > 1:
            yield (
                f"The runs are of different {what} ({', '.join(sorted(names))}): thresholds hold "
                "for one of them."
            )


def _warnings(
    fit: Fit, thresholds: Thresholds, strong: float, *, held_out: HeldOut | None, slides: int
) -> Iterator[str]:
    for name, threshold, inside in zip(INTENSITIES[1:], thresholds, fit.ranges_od, strict=True):
        if inside is None:
            yield f"The threshold of {name} ({threshold:g}) is the runs' own, and is not fitted."
        elif inside[1] - inside[0] > WIDE_OD:
            yield (
                f"The threshold of {name} ({threshold:g}) is uncertain, with a 95 % interval from "
                f"{inside[0]:.2g} to {inside[1]:.2g}: give more slides, weak and strong ones."
            )
    if strong > SATURATED_SHARE:
        yield (
            f"{100 * strong:.0f} % of the nuclei are 3+ with these thresholds: the stain "
            "saturates, and scores tell strong slides apart only poorly."
        )
    kappa = None if held_out is None or held_out.kappa is None else held_out.kappa.value
    if kappa is not None and kappa < POOR_KAPPA:
        yield (
            f"The grades hardly follow the density of DAB (kappa {kappa:.2f} on slides that were "
            "left out): check the labels before these thresholds are used."
        )
    if held_out is None:
        yield "There is no error on slides that were left out: that needs labels of more slides."
    elif held_out.failed:
        yield (
            f"Without {', '.join(held_out.failed)} the labels are too few to fit: the error on "
            f"slides that were left out is of the other {slides - len(held_out.failed)}."
        )
