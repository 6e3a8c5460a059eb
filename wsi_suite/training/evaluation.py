"""How well a detector finds and classifies labelled nuclei.

Average precision is the area under the interpolated precision-recall curve.

Source: Everingham et al., *PASCAL VOC*, 2010 (interpolated precision); Guo et al., *On Calibration
of Modern Neural Networks*, 2017 (expected calibration error).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wsi_suite.documents import Part
from wsi_suite.training.matches import (
    MATCH_UM,
    BoolArray,
    Labelled,
    Matches,
    TileMatches,
    join_matches,
    match_all,
    match_tile,
)


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
    calibration_error
        Expected calibration error of the confidences: how far, on average, a confidence is from
        the share of such detections that match, classes ignored. NaN without detections.
    class_calibration_error
        The same of the class probabilities, of matches from `min_confidence` up; NaN if there are
        none.
    min_confidence, match_um
        The threshold, and the largest distance of a match.
    tiles, nuclei
        How much it was measured on.
    """

    ap: dict[str, float]
    counts: dict[str, Counts]
    agnostic: Counts
    calibration_error: float
    class_calibration_error: float
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
    calibration_error, class_calibration_error
        Expected calibration errors; ``None`` in files of before too.
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
    calibration_error: float | None = None
    class_calibration_error: float | None = None

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
            calibration_error=_number(evaluation.calibration_error),
            class_calibration_error=_number(evaluation.class_calibration_error),
        )


def evaluate_detections(
    truth: Sequence[Labelled],
    found: Sequence[Labelled],
    *,
    classes: Sequence[str],
    min_confidence: float,
    match_um: float = MATCH_UM,
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
    tiles = [
        match_tile(there, here, classes=len(classes), match_um=match_um)
        for there, here in zip(truth, found, strict=True)
    ]
    return evaluate_matches(
        tiles, classes=classes, min_confidence=min_confidence, match_um=match_um
    )


def evaluate_matches(
    tiles: Sequence[TileMatches],
    *,
    classes: Sequence[str],
    min_confidence: float,
    match_um: float = MATCH_UM,
) -> Evaluation:
    """Return the figures of tiles whose detections are matched.

    Parameters
    ----------
    tiles
        The matches of each tile; a tile may be there more than once.
    classes, min_confidence, match_um
        As in :func:`evaluate_detections`.
    """
    # Weaker detections never take a nucleus from stronger ones, so that one matching down to the
    # lowest confidence holds for every threshold.
    ranked = [join_matches([tile.ranked[i] for tile in tiles]) for i in range(len(classes))]
    classed = [join_matches([tile.classed[i] for tile in tiles]) for i in range(len(classes))]
    agnostic = join_matches([tile.agnostic for tile in tiles])
    return Evaluation(
        ap={
            name: average_precision(part.hit, part.confidence, part.nuclei)
            for name, part in zip(classes, ranked, strict=True)
        },
        counts={
            name: _count(part, min_confidence) for name, part in zip(classes, classed, strict=True)
        },
        agnostic=_count(agnostic, min_confidence),
        calibration_error=expected_calibration_error(agnostic.hit, agnostic.confidence),
        class_calibration_error=expected_calibration_error(*classed_right(tiles, min_confidence)),
        min_confidence=min_confidence,
        match_um=match_um,
        tiles=len(tiles),
        nuclei=agnostic.nuclei,
    )


def classed_right(
    tiles: Sequence[TileMatches], min_confidence: float
) -> tuple[BoolArray, npt.NDArray[np.float32]]:
    """Return whether the class of each match is right, and its probability; of all tiles."""
    parts = [tile.classed_right(min_confidence) for tile in tiles]
    if not parts:
        return np.zeros(0, bool), np.zeros(0, np.float32)
    right, likely = zip(*parts, strict=True)
    return np.concatenate(right), np.concatenate(likely)


def expected_calibration_error(
    right: BoolArray, probability: npt.NDArray[np.float32], *, bins: int = 15
) -> float:
    """Return the mean distance between probabilities and how often they are right, NaN of none.

    Probabilities are taken together in `bins` of equal width; each counts by its number.

    Parameters
    ----------
    right
        ``(N,)`` whether each was right.
    probability
        ``(N,)`` in [0, 1].
    """
    if not len(right):
        return math.nan
    place = np.minimum((probability * bins).astype(int), bins - 1)
    excess = np.bincount(place, weights=probability.astype(np.float64) - right, minlength=bins)
    return float(np.abs(excess).sum() / len(right))


def _count(matches: Matches, min_confidence: float) -> Counts:
    return count_matches(matches.hit[matches.confidence >= min_confidence], matches.nuclei)


FLAT_F1 = 0.005
"""F1 may be lower than the best by this for the sake of a lower threshold."""


def best_threshold(
    truth: Sequence[Labelled], found: Sequence[Labelled], *, match_um: float = MATCH_UM
) -> float:
    """Return the lowest threshold in 0.1 - 0.7 with almost the highest F1 without classes, to 0.01.

    F1 is flat about its maximum. The lowest threshold of the flat part (:data:`FLAT_F1`) is taken
    because confidences are lower on slides unlike those that the threshold is chosen on, and
    because a nucleus that is not shown cannot be corrected.
    """
    matches = match_all(truth, found, match_um)
    thresholds = np.arange(10, 71) / 100
    f1 = np.array([_count(matches, threshold).f1 for threshold in thresholds])
    enough = np.nan_to_num(f1).max() - FLAT_F1
    return float(thresholds[np.argmax(np.nan_to_num(f1) >= enough)])


def count_matches(hit: BoolArray, nuclei: int) -> Counts:
    """Count true and false positives and the nuclei that were missed."""
    matched = int(hit.sum())
    return Counts(matched, len(hit) - matched, nuclei - matched)


def average_precision(hit: BoolArray, confidence: npt.NDArray[np.float32], nuclei: int) -> float:
    """Return the area under the interpolated precision-recall curve; NaN without nuclei."""
    if nuclei == 0:
        return float("nan")
    recall, precision = precision_recall(Matches(hit, confidence, nuclei))
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def precision_recall(matches: Matches) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return recall and interpolated precision, ``(N,)`` each, by falling confidence.

    The interpolated precision at a recall is the best that is reached there or beyond. There must
    be nuclei.
    """
    matched = np.cumsum(matches.hit[np.argsort(-matches.confidence, kind="stable")])
    precision = matched / np.arange(1, len(matched) + 1)
    return matched / matches.nuclei, np.maximum.accumulate(precision[::-1])[::-1]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
