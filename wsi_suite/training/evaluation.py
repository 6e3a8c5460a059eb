"""How well a detector finds and classifies labelled nuclei.

A detection matches a nucleus of its class that lies within a given distance and that no more
confident detection has taken; greedy, confidences descending over all tiles, nearest free nucleus
first. Average precision is the area under the interpolated precision-recall curve.

Source of the task's definition: Naumov et al., *EndoNuke*, Data 2022, 7, 75 (a similarity of 0.5
is a distance of 3.50 um); Everingham et al., *PASCAL VOC*, 2010 (interpolated precision).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from wsi_suite.documents import Part

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Labelled:
    """Nuclei of one tile: labelled or detected ones.

    Attributes
    ----------
    points
        ``(N, 2)`` in um.
    label
        ``(N,)`` class indices.
    confidence
        ``(N,)`` confidences; of no meaning for the truth.
    class_probability
        ``(N, classes)``; ``None`` if it is not known.
    """

    points: FloatArray
    label: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.float32]
    class_probability: npt.NDArray[np.float32] | None = None

    def of_class(self, index: int) -> Labelled:
        """Return the nuclei of one class."""
        rows = self.label == index
        return Labelled(self.points[rows], self.label[rows], self.confidence[rows])

    def as_class(self, index: int) -> Labelled:
        """Return all nuclei with their confidence as nuclei of one class.

        It is the confidence times the probability of the class. Nuclei without probabilities
        count for their own class only.
        """
        if self.class_probability is None:
            return self.of_class(index)
        confidence = self.confidence * self.class_probability[:, index]
        return Labelled(self.points, np.full_like(self.label, index), confidence)


@dataclass(frozen=True)
class Counts:
    """Detections that match, detections that do not, nuclei that were missed."""

    matched: int
    spurious: int
    missed: int

    @property
    def precision(self) -> float:
        """Share of detections that match; NaN if there are none."""
        return _share(self.matched, self.matched + self.spurious)

    @property
    def recall(self) -> float:
        """Share of nuclei that were found; NaN if there are none."""
        return _share(self.matched, self.matched + self.missed)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; NaN without nuclei and detections."""
        return _share(2 * self.matched, 2 * self.matched + self.spurious + self.missed)

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.matched + other.matched,
            self.spurious + other.spurious,
            self.missed + other.missed,
        )


@dataclass(frozen=True)
class Evaluation:
    """The figures of one model on one set of tiles.

    Attributes
    ----------
    ap
        Average precision per class, over all confidences; NaN for a class without nuclei. A nucleus
        whose class is doubtful stands in the rankings of both classes (:meth:`Labelled.as_class`),
        as in VOC and COCO.
    counts
        Per class, of the detections from `min_confidence` up.
    agnostic
        The same, classes ignored.
    min_confidence, match_um
        The threshold, and the largest distance of a match.
    tiles, nuclei
        How much it was measured on.
    """

    ap: dict[str, float]
    counts: dict[str, Counts]
    agnostic: Counts
    min_confidence: float
    match_um: float
    tiles: int
    nuclei: int

    @property
    def map(self) -> float:
        """Mean of the average precisions of the classes that have nuclei; NaN if none has."""
        there = [value for value in self.ap.values() if not math.isnan(value)]
        return sum(there) / len(there) if there else math.nan

    @property
    def f1(self) -> float:
        """Micro F1 over the classes at the threshold."""
        return sum(self.counts.values(), Counts(0, 0, 0)).f1


class EvaluationFigures(Part):
    """Figures of an :class:`Evaluation` as they are reported; ``None`` for one that has no value.

    Attributes
    ----------
    ap, precision, recall
        Per class.
    map
        Mean of the average precisions of the classes that have nuclei.
    f1, f1_agnostic
        Micro F1 over the classes, and F1 without classes.
    """

    ap: dict[str, float | None]
    map: float | None
    f1: float | None
    f1_agnostic: float | None
    precision: dict[str, float | None]
    recall: dict[str, float | None]
    min_confidence: float
    match_um: float
    tiles: int
    nuclei: int

    @classmethod
    def of(cls, evaluation: Evaluation) -> EvaluationFigures:
        """Return the figures of an evaluation."""
        counts = evaluation.counts
        return cls(
            ap={name: _number(value) for name, value in evaluation.ap.items()},
            map=_number(evaluation.map),
            f1=_number(evaluation.f1),
            f1_agnostic=_number(evaluation.agnostic.f1),
            precision={name: _number(part.precision) for name, part in counts.items()},
            recall={name: _number(part.recall) for name, part in counts.items()},
            min_confidence=evaluation.min_confidence,
            match_um=evaluation.match_um,
            tiles=evaluation.tiles,
            nuclei=evaluation.nuclei,
        )


def evaluate_detections(
    truth: Sequence[Labelled],
    found: Sequence[Labelled],
    *,
    classes: Sequence[str],
    min_confidence: float,
    match_um: float = 3.5,
) -> Evaluation:
    """Compare detected with labelled nuclei, tile by tile.

    Parameters
    ----------
    truth, found
        One entry per tile, in the same order; `found` down to low confidences.
    classes
        Class names by index.
    min_confidence
        Threshold of precision, recall and F1.
    match_um
        Largest distance of a match.
    """
    # Weaker detections never take a nucleus from stronger ones, so that one matching down to the
    # lowest confidence holds for every threshold.
    ap, counts = {}, {}
    for index, name in enumerate(classes):
        there = [tile.of_class(index) for tile in truth]
        nuclei = sum(len(tile.points) for tile in there)
        hit, confidence = match_all(there, [tile.as_class(index) for tile in found], match_um)
        ap[name] = average_precision(hit, confidence, nuclei)
        hit, confidence = match_all(there, [tile.of_class(index) for tile in found], match_um)
        counts[name] = count_matches(hit[confidence >= min_confidence], nuclei)
    nuclei = sum(len(tile.points) for tile in truth)
    hit, confidence = match_all(truth, found, match_um)
    return Evaluation(
        ap=ap,
        counts=counts,
        agnostic=count_matches(hit[confidence >= min_confidence], nuclei),
        min_confidence=min_confidence,
        match_um=match_um,
        tiles=len(truth),
        nuclei=nuclei,
    )


def best_threshold(
    truth: Sequence[Labelled], found: Sequence[Labelled], *, match_um: float = 3.5
) -> float:
    """Return the threshold in 0.1 - 0.7 with the highest F1 without classes, to 0.01.

    Of several the lowest is taken.
    """
    hit, confidence = match_all(truth, found, match_um)
    nuclei = sum(len(tile.points) for tile in truth)

    def f1(threshold: float) -> float:
        return count_matches(hit[confidence >= threshold], nuclei).f1

    return max((percent / 100 for percent in range(10, 71)), key=f1)


def count_matches(hit: BoolArray, nuclei: int) -> Counts:
    """Count true and false positives and the nuclei that were missed."""
    matched = int(hit.sum())
    return Counts(matched, len(hit) - matched, nuclei - matched)


def match_all(
    truth: Sequence[Labelled], found: Sequence[Labelled], match_um: float
) -> tuple[BoolArray, npt.NDArray[np.float32]]:
    """Return for every detection of all tiles whether it matches, and its confidence."""
    hits = [
        match_points(there.points, tile.points, tile.confidence, match_um=match_um)
        for there, tile in zip(truth, found, strict=True)
    ]
    if not hits:
        return np.zeros(0, bool), np.zeros(0, np.float32)
    return np.concatenate(hits), np.concatenate([tile.confidence for tile in found])


def match_points(
    truth: FloatArray, found: FloatArray, confidence: npt.NDArray[np.float32], *, match_um: float
) -> BoolArray:
    """Return for each detection of one tile whether it takes a nucleus.

    Parameters
    ----------
    truth, found
        ``(M, 2)`` and ``(N, 2)`` points in um.
    confidence
        ``(N,)`` confidences.
    """
    hit = np.zeros(len(found), bool)
    if not len(truth) or not len(found):
        return hit
    free = np.ones(len(truth), bool)
    near = cKDTree(truth).query_ball_point(found, match_um)
    for i in np.argsort(-confidence, kind="stable"):
        candidates = [j for j in near[i] if free[j]]
        if candidates:
            distance = np.linalg.norm(truth[candidates] - found[i], axis=1)
            free[candidates[int(distance.argmin())]] = False
            hit[i] = True
    return hit


def average_precision(hit: BoolArray, confidence: npt.NDArray[np.float32], nuclei: int) -> float:
    """Return the area under the interpolated precision-recall curve; NaN without nuclei."""
    if nuclei == 0:
        return float("nan")
    matched = np.cumsum(hit[np.argsort(-confidence, kind="stable")])
    recall = matched / nuclei
    precision = matched / np.arange(1, len(matched) + 1)
    # At each recall the best precision that is reached there or beyond.
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.diff(recall, prepend=0.0)
    return float((steps * envelope).sum())


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
