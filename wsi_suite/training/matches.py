"""Matches of detected with labelled nuclei, tile by tile.

A detection matches a labelled nucleus that lies within a given distance and that no more confident
detection has taken: greedy, confidences descending, nearest free nucleus first. Tiles do not touch
each other, so that the matches of any set of tiles are those of its tiles.

Source of the task's definition: Naumov et al., *EndoNuke*, Data 2022, 7, 75 (a similarity of 0.5
is a distance of 3.50 um).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

MATCH_UM = 3.5
"""Largest distance of a match, um."""


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
class Matches:
    """Detections of one or more tiles and whether they match.

    Attributes
    ----------
    hit
        ``(N,)`` whether a detection matches.
    confidence
        ``(N,)`` confidences.
    nuclei
        Number of labelled nuclei.
    """

    hit: BoolArray
    confidence: npt.NDArray[np.float32]
    nuclei: int


@dataclass(frozen=True)
class TileMatches:
    """All that the figures of one tile follow from.

    Attributes
    ----------
    ranked
        Per class, every detection ranked as one of this class (:meth:`Labelled.as_class`).
    classed
        Per class, the detections of this class.
    agnostic
        All detections, classes ignored.
    taken
        ``(N,)`` row of the labelled nucleus that each detection of `agnostic` takes, -1 for none.
    truth
        ``(N,)`` class of that nucleus, -1 for none.
    found
        ``(N,)`` class of each detection.
    class_probability
        ``(N,)`` probability of that class, NaN if it is not known.
    labels
        ``(M,)`` classes of the labelled nuclei.
    """

    ranked: tuple[Matches, ...]
    classed: tuple[Matches, ...]
    agnostic: Matches
    taken: npt.NDArray[np.int64]
    truth: npt.NDArray[np.int64]
    found: npt.NDArray[np.uint8]
    class_probability: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]

    def missed(self, min_confidence: float) -> BoolArray:
        """Return ``(M,)`` which labelled nuclei no detection from `min_confidence` up takes."""
        missed = np.ones(len(self.labels), bool)
        kept = self.agnostic.confidence >= min_confidence
        missed[self.taken[kept & (self.taken >= 0)]] = False
        return missed

    def classed_right(self, min_confidence: float) -> tuple[BoolArray, npt.NDArray[np.float32]]:
        """Return of each match from `min_confidence` up whether its class is right, and how likely.

        Matches without a class probability are left out.
        """
        rows = (self.truth >= 0) & (self.agnostic.confidence >= min_confidence)
        rows &= ~np.isnan(self.class_probability)
        return self.truth[rows] == self.found[rows], self.class_probability[rows]


def match_tile(
    truth: Labelled, found: Labelled, *, classes: int, match_um: float = MATCH_UM
) -> TileMatches:
    """Match the detections of one tile.

    Parameters
    ----------
    truth, found
        Labelled and detected nuclei; `found` down to low confidences.
    classes
        Number of classes.
    match_um
        Largest distance of a match.
    """
    there = [truth.of_class(index) for index in range(classes)]
    taken = match_points(truth.points, found.points, found.confidence, match_um=match_um)
    likely = found.class_probability
    return TileMatches(
        ranked=tuple(
            match_all([part], [found.as_class(index)], match_um) for index, part in enumerate(there)
        ),
        classed=tuple(
            match_all([part], [found.of_class(index)], match_um) for index, part in enumerate(there)
        ),
        agnostic=Matches(taken >= 0, found.confidence, len(truth.points)),
        taken=taken,
        truth=np.append(truth.label.astype(np.int64), -1)[taken],
        found=found.label,
        class_probability=np.full(len(found.label), np.nan, np.float32)
        if likely is None
        else np.take_along_axis(likely, found.label[:, None].astype(int), axis=1)[:, 0],
        labels=truth.label,
    )


def match_all(truth: Sequence[Labelled], found: Sequence[Labelled], match_um: float) -> Matches:
    """Match the detections of all tiles, classes ignored."""
    parts = []
    for there, tile in zip(truth, found, strict=True):
        taken = match_points(there.points, tile.points, tile.confidence, match_um=match_um)
        parts.append(Matches(taken >= 0, tile.confidence, len(there.points)))
    return join_matches(parts)


def join_matches(parts: Sequence[Matches]) -> Matches:
    """Return the matches of several tiles as one."""
    if not parts:
        return Matches(np.zeros(0, bool), np.zeros(0, np.float32), 0)
    return Matches(
        hit=np.concatenate([part.hit for part in parts]),
        confidence=np.concatenate([part.confidence for part in parts]),
        nuclei=sum(part.nuclei for part in parts),
    )


def match_points(
    truth: FloatArray, found: FloatArray, confidence: npt.NDArray[np.float32], *, match_um: float
) -> npt.NDArray[np.int64]:
    """Return for each detection of one tile the row of the nucleus that it takes, -1 for none.

    Parameters
    ----------
    truth, found
        ``(M, 2)`` and ``(N, 2)`` points in um.
    confidence
        ``(N,)`` confidences.
    """
    taken = np.full(len(found), -1, np.int64)
    if not len(truth) or not len(found):
        return taken
    free = np.ones(len(truth), bool)
    near = cKDTree(truth).query_ball_point(found, match_um)
    for i in np.argsort(-confidence, kind="stable"):
        candidates = [j for j in near[i] if free[j]]
        if candidates:
            distance = np.linalg.norm(truth[candidates] - found[i], axis=1)
            taken[i] = candidates[int(distance.argmin())]
            free[taken[i]] = False
    return taken
