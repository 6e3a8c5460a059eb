"""The document of a learning curve, and its table."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wsi_suite.documents import Document, Part
from wsi_suite.files import whole_file
from wsi_suite.training.crossvalidation import Figures
from wsi_suite.training.outlook import MIN_SHARES, Outlook, look_ahead
from wsi_suite.training.settings import TrainSettings

CURVE_FILE = "learning_curve.json"
TABLE_FILE = "learning_curve.csv"

FEW_REPEATS = 5
"""Intervals of fewer repeats are wide for their small number."""

FIGURES: Mapping[str, tuple[str, Callable[[Figures], float | None]]] = {
    "map": ("mAP", lambda figures: figures.map),
    "f1": ("F1", lambda figures: figures.f1),
    "f1_agnostic": ("F1 without classes", lambda figures: figures.f1_without_classes),
}
"""The figures that a curve is told of: what they are called, and their values."""


class CurvePoint(Part):
    """One training of a learning curve.

    Attributes
    ----------
    repeat, share, seed
        Which it is.
    train_runs, test_runs
        Its cases.
    tiles, nuclei
        How much of them is labelled for training.
    model_hash, figures
        Of its model on the test cases; ``None`` if the training failed.
    error
        Why it failed.
    """

    repeat: int
    share: float
    seed: int
    train_runs: tuple[str, ...]
    test_runs: tuple[str, ...]
    tiles: int
    nuclei: int
    model_hash: str | None = None
    figures: Figures | None = None
    error: str | None = None

    @property
    def cases(self) -> int:
        """Number of cases of training."""
        return len(self.train_runs)


class VariantCurve(Part):
    """The learning curve of one of several settings.

    Attributes
    ----------
    name
        What the user calls it.
    changes
        Settings that differ from those of the first, by their dotted names.
    points
        Its trainings.
    outlooks
        What they say of more cases, by the names of :data:`FIGURES`.
    """

    name: str
    changes: dict[str, Any]
    points: tuple[CurvePoint, ...]
    outlooks: dict[str, Outlook]

    def values(self, figure: str, cases: int) -> list[float]:
        """Return a figure of all repeats with some number of cases."""
        value = FIGURES[figure][1]
        parts = [point.figures for point in self.points if point.cases == cases]
        known = [value(part) for part in parts if part is not None]
        return [number for number in known if number is not None]

    @property
    def cases(self) -> list[int]:
        """The numbers of cases, rising."""
        return sorted({point.cases for point in self.points})


class LearningCurve(Document):
    """Content of ``learning_curve.json``.

    Attributes
    ----------
    data
        The labelled tiles.
    steps
        Of each training.
    validation_runs
        Cases that calibrate each model, and are counted neither for training nor for test.
    settings
        Of the first variant.
    variants
        The curves.
    planned
        Number of trainings; fewer are in a curve that was stopped.
    warnings
        What to know before the figures are used.
    """

    data: str
    steps: int
    validation_runs: tuple[str, ...]
    settings: dict[str, Any]
    variants: tuple[VariantCurve, ...]
    planned: int
    warnings: tuple[str, ...]

    @property
    def failed(self) -> list[tuple[str, CurvePoint]]:
        """The trainings that failed, with the name of their variant."""
        return [
            (variant.name, point)
            for variant in self.variants
            for point in variant.points
            if point.error is not None
        ]


def outlook_of(figure: str, points: Sequence[CurvePoint]) -> Outlook:
    """Return the outlook of a figure with more cases."""
    words, value = FIGURES[figure]
    cases = sorted({point.cases for point in points})
    repeats = sorted({point.repeat for point in points})
    values = np.full((len(repeats), len(cases)), np.nan)
    for point in points:
        number = None if point.figures is None else value(point.figures)
        if number is not None:
            values[repeats.index(point.repeat), cases.index(point.cases)] = number
    return look_ahead(words, cases, values)


def warnings_of(
    curves: Iterable[VariantCurve], variants: Mapping[str, TrainSettings]
) -> Iterable[str]:
    """Return the warnings about the figures."""
    steps = {
        (s.optimiser.epochs, s.optimiser.epoch_crops, s.optimiser.step_crops)
        for s in variants.values()
    }
    if len(steps) > 1:
        yield "Variants have different numbers of steps or crops: they differ in more than names."
    curves = list(curves)
    points = [point for curve in curves for point in curve.points]
    repeats = {point.repeat for point in points}
    cases = {run for point in points for run in (*point.train_runs, *point.test_runs)}
    numbers = {point.cases for point in points}
    if len(numbers) < MIN_SHARES:
        yield (
            f"There are {len(numbers)} different numbers of cases: nothing is extrapolated from "
            f"fewer than {MIN_SHARES}. Give more --shares, or annotate more cases."
        )
    if len(repeats) < FEW_REPEATS:
        yield (
            f"{len(repeats)} repeat{'s' if len(repeats) > 1 else ''}: intervals are widened for so "
            f"few; {FEW_REPEATS} or more --repeats narrow them."
        )
    if len(cases) < 10:
        yield (
            f"{len(cases)} cases in all: repeats share most of them, so that how other patients "
            "would differ is not in the intervals."
        )
    tested = {point.repeat: set(point.test_runs) for point in points}
    if sum(len(runs) for runs in tested.values()) > len(set().union(*tested.values())):
        yield "Some cases are test cases of more than one repeat."
    for curve in curves:
        yield from _gaps(curve)


def _gaps(curve: VariantCurve) -> Iterable[str]:
    """Tell which repeats are not in the fit."""
    for point in curve.points:
        place = f"{curve.name}: repeat {point.repeat} with {point.cases} cases"
        if point.error is not None:
            yield f"{place} failed, and its repeat is not in the fit: {point.error}"
        elif point.figures is not None and point.figures.map is None:
            yield f"{place} has no nuclei to be tested on; the repeat is not in the fit."


def write_table(path: Path, curve: LearningCurve) -> None:
    """Write one line for each training."""
    with whole_file(path) as written, written.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        plain = ("variant", "repeat", "share", "cases", "tiles", "nuclei", "seed")
        writer.writerow((*plain, *FIGURES, "model_hash", "train_runs", "test_runs", "error"))
        for variant in curve.variants:
            for point in variant.points:
                figures = [
                    None if point.figures is None else value(point.figures)
                    for _, value in FIGURES.values()
                ]
                writer.writerow(
                    (
                        variant.name,
                        point.repeat,
                        f"{point.share:g}",
                        point.cases,
                        point.tiles,
                        point.nuclei,
                        point.seed,
                        *("" if value is None else f"{value:.6f}" for value in figures),
                        point.model_hash or "",
                        " ".join(point.train_runs),
                        " ".join(point.test_runs),
                        point.error or "",
                    )
                )
