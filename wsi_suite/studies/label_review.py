"""Doubtful labels for review: doubles, likely misses, likely wrong classes.

Doubles and lonely classes follow from the labels alone. With a model its detections are matched
with the labels: what it finds with certainty and nobody labelled was likely missed, what it does
not find at all is likely no nucleus, and where it is sure of another class, the label is suspicious
by confident learning (Northcutt et al., *J. Artif. Intell. Res.* 2021, 70, 1373; cleanlab). A model
repeats what it has learned: one that was trained on these labels finds few of their faults.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from wsi_suite.datasets.matching import MATCH_UM, match_points
from wsi_suite.errors import ConfigError
from wsi_suite.training.labelled import LabelledTile
from wsi_suite.training.tiles import LOWEST_CONFIDENCE, detect_tiles

if TYPE_CHECKING:
    from wsi_suite.detector.detector import Detector
    from wsi_suite.training.matches import Labelled

DOUBLE, MISSED, FALSE, CLASS = "double", "missed", "no nucleus", "class"
KINDS = {
    DOUBLE: "two labels nearer than half the radius of a small nucleus",
    MISSED: "found by the model with certainty, and not labelled",
    FALSE: "labelled, and not found by the model at the lowest confidence",
    CLASS: "the model is sure of another class",
}
"""Kinds of doubtful labels, in words."""

DOUBLE_UM = 1.0
SURE = 0.7
"""Least confidence of a detection that tells a missed nucleus."""

RARE_SHARE = 0.01

_FIELD_UM = 24.0
_PICTURE_PX = 120


@dataclass(frozen=True)
class Doubt:
    """A doubtful label, or a place where one may be missing.

    Attributes
    ----------
    tile
        Id of the tile.
    kind
        One of ``KINDS``.
    x, y
        Pixels of the tile's image.
    label
        Class as labelled; ``None`` where nothing is.
    suggestion
        The model's class; ``None`` without a model.
    strength
        How sure the doubt is, from 0 to 1.
    """

    tile: str
    kind: str
    x: float
    y: float
    label: str | None
    suggestion: str | None
    strength: float


def find_doubles(tiles: Iterable[LabelledTile], classes: Sequence[str]) -> list[Doubt]:
    """Return labels that are nearer than 1 um to another one, all but the first of each pair."""
    doubts = []
    for tile in tiles:
        um = tile.points * tile.mpp
        for first, second in sorted(cKDTree(um).query_pairs(DOUBLE_UM)) if len(um) else ():
            x, y = tile.points[second].tolist()
            distance = float(np.linalg.norm(um[first] - um[second]))
            name, other = classes[tile.label[second]], classes[tile.label[first]]
            strength = 1 - distance / DOUBLE_UM
            doubts.append(Doubt(tile.id, DOUBLE, x, y, name, other, strength))
    return doubts


def rare_classes(tiles: Iterable[LabelledTile], classes: Sequence[str]) -> dict[str, int]:
    """Return the classes that make up less than 1 % of all nuclei, with their counts."""
    counts = np.zeros(len(classes), int)
    for tile in tiles:
        counts += np.bincount(tile.label, minlength=len(classes))
    rare = counts < RARE_SHARE * counts.sum()
    return {classes[row]: int(counts[row]) for row in np.flatnonzero(rare).tolist()}


def find_doubts(
    detector: Detector, tiles: Sequence[LabelledTile], *, within_um: float = MATCH_UM
) -> list[Doubt]:
    """Return all doubtful labels of tiles, the surest doubts of each kind first.

    Parameters
    ----------
    detector
        Its classes are those of the tiles.
    tiles
        The tiles.
    within_um
        Largest distance of a label from its detection.

    Raises
    ------
    ConfigError
        cleanlab is not installed.
    """
    classes = detector.spec.classes
    truth, found = detect_tiles(detector.network, tiles, spec=detector.spec)
    doubts = find_doubles(tiles, classes)
    matched: list[tuple[LabelledTile, int, Labelled, int]] = []
    for tile, labels, detections in zip(tiles, truth, found, strict=True):
        pairs = match_points(labels.points, detections.points, within=within_um)
        alone = np.setdiff1d(np.arange(len(labels.points)), pairs[:, 0])
        doubts += [_no_nucleus(tile, row, classes) for row in alone.tolist()]
        free = np.setdiff1d(np.arange(len(detections.points)), pairs[:, 1])
        sure = free[detections.confidence[free] >= max(SURE, detector.spec.min_confidence)]
        doubts += [_missed(tile, detections, row, classes) for row in sure.tolist()]
        matched += [(tile, one, detections, other) for one, other in pairs.tolist()]
    doubts += _wrong_classes(matched, classes)
    order = list(KINDS)
    return sorted(doubts, key=lambda one: (order.index(one.kind), -one.strength, one.tile, one.y))


def _no_nucleus(tile: LabelledTile, row: int, classes: Sequence[str]) -> Doubt:
    x, y = tile.points[row].tolist()
    name = classes[tile.label[row]]
    return Doubt(tile.id, FALSE, x, y, name, None, 1 - LOWEST_CONFIDENCE)


def _missed(tile: LabelledTile, found: Labelled, row: int, classes: Sequence[str]) -> Doubt:
    x, y = (found.points[row] / tile.mpp).tolist()
    name = classes[found.label[row]]
    return Doubt(tile.id, MISSED, x, y, None, name, float(found.confidence[row]))


def _wrong_classes(
    matched: Sequence[tuple[LabelledTile, int, Labelled, int]], classes: Sequence[str]
) -> list[Doubt]:
    """Return the labels whose class confident learning takes for wrong."""
    labels = np.array([tile.label[row] for tile, row, _, _ in matched], int)
    if len(np.unique(labels)) < 2:
        return []
    probability = np.array(
        [
            found.class_probability[row]
            for _, _, found, row in matched
            if found.class_probability is not None
        ]
    )
    if len(probability) < len(labels):  # a model without a class map
        return []
    try:
        from cleanlab.filter import find_label_issues
    except ImportError:
        raise ConfigError(
            "suspicious classes need cleanlab: pip install 'wsi-suite[review]'"
        ) from None
    present = np.unique(labels)
    number = np.searchsorted(present, labels)
    shares = probability[:, present]
    shares = shares / shares.sum(axis=1, keepdims=True)
    rows = find_label_issues(number, shares, return_indices_ranked_by="self_confidence", n_jobs=1)
    doubts = []
    for row in rows.tolist():
        tile, place, _, _ = matched[row]
        x, y = tile.points[place].tolist()
        best = int(present[np.argmax(shares[row])])
        strength = float(1 - shares[row, number[row]])
        name = classes[tile.label[place]]
        doubts.append(Doubt(tile.id, CLASS, x, y, name, classes[best], strength))
    return doubts


def close_up(tile: LabelledTile, x: float, y: float) -> npt.NDArray[np.uint8]:
    """Return ``(120, 120, 3)`` pixels about a place of a tile, with a ring of a nucleus' size."""
    pixels = tile.read(tile.mpp).rgb
    side = max(2, round(_FIELD_UM / tile.mpp))
    pad = side
    padded = np.pad(pixels, ((pad, pad), (pad, pad), (0, 0)), constant_values=255)
    left, top = round(x - side / 2) + pad, round(y - side / 2) + pad
    cut = np.ascontiguousarray(padded[top : top + side, left : left + side])
    picture = cv2.resize(cut, (_PICTURE_PX, _PICTURE_PX), interpolation=cv2.INTER_CUBIC)
    centre = (_PICTURE_PX // 2, _PICTURE_PX // 2)
    radius = round(MATCH_UM * _PICTURE_PX / _FIELD_UM)
    for colour, thickness in (((255, 255, 255), 3), ((0, 0, 0), 1)):
        cv2.circle(picture, centre, radius, colour, thickness, cv2.LINE_AA)
    return picture.astype(np.uint8)
