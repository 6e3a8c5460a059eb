"""How well a detector finds and classifies labelled nuclei.

A detection matches a nucleus of its class that lies within a given distance and that no more
confident detection has taken; greedy, confidences descending over all tiles, nearest free nucleus
first. Average precision is the area under the interpolated precision-recall curve.

Source of the task's definition: Naumov et al., *EndoNuke*, Data 2022, 7, 75 (a similarity of 0.5
is a distance of 3.50 um); Everingham et al., *PASCAL VOC*, 2010 (interpolated precision).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Labelled:
    """Nuclei of one tile: what is there, or what was found.

    Attributes
    ----------
    points
        ``(N, 2)`` in um.
    label
        ``(N,)`` class indices.
    score
        ``(N,)`` confidences; of no meaning for the truth.
    """

    points: FloatArray
    label: npt.NDArray[np.uint8]
    score: npt.NDArray[np.float32]

    def of_class(self, index: int | None) -> Labelled:
        """Return the nuclei of one class, or all for ``None``."""
        if index is None:
            return self
        rows = self.label == index
        return Labelled(self.points[rows], self.label[rows], self.score[rows])


@dataclass(frozen=True)
class Counts:
    """Detections that match, detections that do not, nuclei that were missed."""

    matched: int
    spurious: int
    missed: int

    @property
    def precision(self) -> float:
        """Share of detections that match; 0 where there are none."""
        return self.matched / max(1, self.matched + self.spurious)

    @property
    def recall(self) -> float:
        """Share of nuclei that were found; 0 where there are none."""
        return self.matched / max(1, self.matched + self.missed)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.matched / max(1, 2 * self.matched + self.spurious + self.missed)

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
        Average precision per class, over all scores; NaN for a class without nuclei.
    counts
        Per class at the model's threshold.
    agnostic
        At the model's threshold, classes ignored.
    tiles, nuclei
        How much it was measured on.
    """

    ap: dict[str, float]
    counts: dict[str, Counts]
    agnostic: Counts
    tiles: int
    nuclei: int

    @property
    def map(self) -> float:
        """Mean of the classes' average precisions."""
        return float(np.nanmean(list(self.ap.values())))

    @property
    def f1(self) -> float:
        """Micro F1 over the classes at the threshold."""
        return sum(self.counts.values(), Counts(0, 0, 0)).f1


def evaluate_detections(
    truth: Sequence[Labelled],
    found: Sequence[Labelled],
    *,
    classes: Sequence[str],
    min_score: float,
    match_um: float = 3.5,
) -> Evaluation:
    """Compare what was found with what is there, tile by tile.

    Parameters
    ----------
    truth, found
        One entry per tile, in the same order; `found` down to low scores.
    classes
        Class names by index.
    min_score
        Threshold of precision, recall and F1.
    match_um
        Largest distance of a match.
    """
    kept = [_above(tile, min_score) for tile in found]
    ap, counts = {}, {}
    for index, name in enumerate(classes):
        there = [tile.of_class(index) for tile in truth]
        hit, score = match_all(there, [tile.of_class(index) for tile in found], match_um)
        ap[name] = average_precision(hit, score, sum(len(tile.points) for tile in there))
        counts[name] = count_matches(there, [tile.of_class(index) for tile in kept], match_um)
    return Evaluation(
        ap=ap,
        counts=counts,
        agnostic=count_matches(truth, kept, match_um),
        tiles=len(truth),
        nuclei=sum(len(tile.points) for tile in truth),
    )


def best_threshold(
    truth: Sequence[Labelled], found: Sequence[Labelled], *, match_um: float = 3.5
) -> float:
    """Return the score threshold with the highest micro F1 over the classes, to 0.01."""
    classes = range(1 + max((int(tile.label.max(initial=0)) for tile in truth), default=0))

    def f1(threshold: float) -> float:
        kept = [_above(tile, threshold) for tile in found]
        total = Counts(0, 0, 0)
        for index in classes:
            total += count_matches(
                [tile.of_class(index) for tile in truth],
                [tile.of_class(index) for tile in kept],
                match_um,
            )
        return total.f1

    return max((round(t, 2) for t in np.arange(0.1, 0.71, 0.02)), key=f1)


def count_matches(
    truth: Sequence[Labelled], found: Sequence[Labelled], match_um: float
) -> Counts:
    """Count matches, spurious detections and missed nuclei over all tiles."""
    hit, _ = match_all(truth, found, match_um)
    matched = int(hit.sum())
    return Counts(matched, len(hit) - matched, sum(len(t.points) for t in truth) - matched)


def match_all(
    truth: Sequence[Labelled], found: Sequence[Labelled], match_um: float
) -> tuple[BoolArray, npt.NDArray[np.float32]]:
    """Return for every detection of all tiles whether it matches, and its score."""
    hits = [match_points(a.points, b.points, b.score, match_um=match_um)
            for a, b in zip(truth, found, strict=True)]
    if not hits:
        return np.zeros(0, bool), np.zeros(0, np.float32)
    return np.concatenate(hits), np.concatenate([tile.score for tile in found])


def match_points(
    truth: FloatArray, found: FloatArray, score: npt.NDArray[np.float32], *, match_um: float
) -> BoolArray:
    """Return for each detection of one tile whether it takes a nucleus.

    Parameters
    ----------
    truth, found
        ``(M, 2)`` and ``(N, 2)`` points in um.
    score
        ``(N,)`` confidences.
    """
    hit = np.zeros(len(found), bool)
    if not len(truth) or not len(found):
        return hit
    free = np.ones(len(truth), bool)
    near = cKDTree(truth).query_ball_point(found, match_um)
    for i in np.argsort(-score, kind="stable"):
        candidates = [j for j in near[i] if free[j]]
        if candidates:
            distance = np.linalg.norm(truth[candidates] - found[i], axis=1)
            free[candidates[int(distance.argmin())]] = False
            hit[i] = True
    return hit


def average_precision(hit: BoolArray, score: npt.NDArray[np.float32], nuclei: int) -> float:
    """Return the area under the interpolated precision-recall curve; NaN without nuclei."""
    if nuclei == 0:
        return float("nan")
    matched = np.cumsum(hit[np.argsort(-score, kind="stable")])
    recall = matched / nuclei
    precision = matched / np.arange(1, len(matched) + 1)
    # At each recall the best precision that is reached there or beyond.
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.diff(recall, prepend=0.0)
    return float((steps * envelope).sum())


def _above(tile: Labelled, min_score: float) -> Labelled:
    rows = tile.score >= min_score
    return Labelled(tile.points[rows], tile.label[rows], tile.score[rows])
