"""The report of an evaluation: its figures as a document, and as a page with pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wsi_suite import pages
from wsi_suite.colours import class_colour
from wsi_suite.documents import Part
from wsi_suite.pages import inline
from wsi_suite.training.evaluation import EvaluationFigures
from wsi_suite.training.evaluation_pictures import (
    draw_counts,
    draw_curves,
    draw_reliability,
    draw_rocs,
    draw_tile,
)
from wsi_suite.training.roc import class_areas, class_rocs
from wsi_suite.training.trial import (
    LEVEL,
    RESAMPLES,
    FigureDifference,
    FigureInterval,
    Trial,
    compare_models,
    find_intervals,
)

DISTANCES_UM = (2.0, 3.5, 5.0)
"""Largest distances of a match at which mAP is told."""

SHOWN_TILES = 12
"""Tiles that a page shows, the worst first."""


class CountError(Part):
    """How far numbers of detections per tile are from those of labelled nuclei.

    Attributes
    ----------
    bias
        Detections in all tiles less labelled nuclei, as a share of the latter.
    mean_absolute
        Mean over the tiles with nuclei of the error without sign, as a share of their nuclei.
    """

    bias: float | None
    mean_absolute: float | None


class ModelComparison(Part):
    """Another model on the same tiles."""

    model: str
    model_hash: str
    figures: EvaluationFigures
    differences: dict[str, FigureDifference]


class EvaluationReport(EvaluationFigures):
    """The figures of a model on labelled tiles, and how sure they are.

    Attributes
    ----------
    model, model_hash
        Its name and hash.
    intervals
        Of ``map``, ``f1`` and ``f1_agnostic``, from tiles drawn again.
    map_at_um
        mAP by the largest distance of a match.
    by_run
        The figures of each run.
    confusion
        ``confusion[a][b]`` labelled nuclei of class a that a detection of class b takes, at the
        threshold; of the labelled nuclei *missed* were not found, and under *spurious* are the
        detections that take none.
    count_error
        Per class, and under *all*, at the threshold.
    class_area
        Per class, the area under the ROC curve of its probability among matches at the threshold.
    against
        Another model, if one was asked for; ``differences`` are this model's figures less its.
    """

    model: str
    model_hash: str
    intervals: dict[str, FigureInterval]
    map_at_um: dict[str, float | None]
    by_run: dict[str, EvaluationFigures]
    confusion: dict[str, dict[str, int]]
    count_error: dict[str, CountError]
    class_area: dict[str, float | None]
    against: ModelComparison | None = None


def report_trial(trial: Trial, *, against: Trial | None = None) -> EvaluationReport:
    """Return the figures of a trial, and of another model on the same tiles.

    Raises
    ------
    DataError
        The classes of the models differ.
    """
    comparison = None
    if against is not None:
        comparison = ModelComparison(
            model=against.model,
            model_hash=against.model_hash,
            figures=EvaluationFigures.of(against.evaluate()),
            differences=compare_models(trial, against),
        )
    at_um = {um: EvaluationFigures.of(trial.within(um).evaluate()).map for um in DISTANCES_UM}
    return EvaluationReport(
        **EvaluationFigures.of(trial.evaluate()).model_dump(),
        model=trial.model,
        model_hash=trial.model_hash,
        intervals=find_intervals(trial),
        map_at_um={f"{um:g}": value for um, value in at_um.items()},
        by_run={run: EvaluationFigures.of(trial.evaluate(trial.of_run(run))) for run in trial.runs},
        confusion=_confusion(trial),
        count_error=_count_errors(trial),
        class_area=class_areas(trial),
        against=comparison,
    )


def _confusion(trial: Trial) -> dict[str, dict[str, int]]:
    """Count labelled nuclei by their class and that of the detection that takes them."""
    classes = len(trial.classes)
    table = np.zeros((classes + 1, classes + 1), int)
    for tile in trial.matches:
        kept = tile.agnostic.confidence >= trial.min_confidence
        np.add.at(table, (tile.truth[kept], tile.found[kept]), 1)  # row -1 holds the spurious
        taken = tile.truth[kept & (tile.truth >= 0)]
        labels = np.bincount(tile.labels, minlength=classes)
        table[:-1, -1] += labels - np.bincount(taken, minlength=classes)
    rows = dict(zip((*trial.classes, "spurious"), table.tolist(), strict=True))
    confusion = {
        name: dict(zip((*trial.classes, "missed"), row, strict=True)) for name, row in rows.items()
    }
    del confusion["spurious"]["missed"]
    return confusion


def count_tile(trial: Trial, row: int, index: int | None) -> tuple[int, int]:
    """Return numbers of labelled nuclei and detections of a class in a tile, ``None``: of all."""
    tile = trial.matches[row]
    kept = tile.agnostic.confidence >= trial.min_confidence
    if index is None:
        return len(tile.labels), int(kept.sum())
    return int((tile.labels == index).sum()), int((tile.found[kept] == index).sum())


def _count_errors(trial: Trial) -> dict[str, CountError]:
    parts: list[tuple[str, int | None]] = [("all", None)]
    parts += [(name, index) for index, name in enumerate(trial.classes)]
    errors = {}
    for name, index in parts:
        counts = np.array([count_tile(trial, row, index) for row in range(len(trial.tiles))])
        counts = counts.reshape(-1, 2)
        there = counts[counts[:, 0] > 0]
        if not len(there):
            errors[name] = CountError(bias=None, mean_absolute=None)
            continue
        off = np.abs(there[:, 1] - there[:, 0]) / there[:, 0]
        total = counts.sum(axis=0)
        errors[name] = CountError(
            bias=float((total[1] - total[0]) / total[0]), mean_absolute=float(off.mean())
        )
    return errors


def write_page(path: Path, report: EvaluationReport, trial: Trial, *, read_mpp: float) -> None:
    """Write a report as one HTML file that needs no other.

    Parameters
    ----------
    path
        The file.
    report, trial
        The figures and what they are of.
    read_mpp
        Resolution of the pictures of tiles, um per pixel.
    """
    this, other = model_names(report)
    classes: Sequence[int | None] = (None, *range(len(trial.classes)))
    rows = range(len(trial.tiles))
    rocs = class_rocs(trial)
    counts = [np.array([count_tile(trial, row, index) for row in rows]) for index in classes]
    pages.write_page(
        path,
        "evaluation_page.html",
        package="wsi_suite.training",
        report=report,
        this=this,
        other=other,
        level=f"{100 * LEVEL:g} %",
        resamples=RESAMPLES,
        colours=[class_colour(index) for index in range(len(trial.classes))],
        curves=inline(draw_curves(trial)),
        rocs=inline(draw_rocs(rocs, trial.classes)) if rocs else None,
        reliability=inline(draw_reliability(trial)),
        counts=inline(draw_counts(("all", *trial.classes), counts)),
        worst=[
            {
                "id": trial.tiles[row].id,
                "run": trial.tiles[row].run,
                "figures": EvaluationFigures.of(trial.evaluate([row])),
                "picture": inline(draw_tile(trial, row, mpp=read_mpp), "jpeg"),
            }
            for row in worst_tiles(trial)[:SHOWN_TILES]
        ],
    )


def model_names(report: EvaluationReport) -> tuple[str, str]:
    """Return the names of the model and the other one, with their hashes if they are the same."""
    against = report.against
    if against is None:
        return report.model, ""
    if report.model != against.model:
        return report.model, against.model
    return (
        f"{report.model} ({report.model_hash[:8]})",
        f"{against.model} ({against.model_hash[:8]})",
    )


def worst_tiles(trial: Trial) -> list[int]:
    """Return the rows of the tiles by their F1 over the classes, lowest first, empty ones last."""
    f1 = [trial.evaluate([row]).f1 for row in range(len(trial.tiles))]
    return sorted(range(len(f1)), key=lambda row: (bool(np.isnan(f1[row])), f1[row]))
