"""Control pictures: of known truth, hidden among those to annotate, and how annotators did on them.

A key, kept from the annotators, tells which pictures are controls, what is right in them, and where
the others come from.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from wsi_suite.datasets.agreement import MISSED, Confusion, cohens_kappa, sorted_confusion
from wsi_suite.datasets.labelled_image import LabelledImage
from wsi_suite.datasets.matching import MATCH_UM, match_points
from wsi_suite.documents import Document, Part, read_document
from wsi_suite.errors import DataError

UNNAMED = "unnamed"
"""Annotator of labels that name none."""


class KeyPicture(Part):
    """A picture of a round of annotation.

    Attributes
    ----------
    name
        As annotators see it.
    source
        The slide, or the picture of the dataset that a control was cut out of.
    corner_px0
        Place of its top left corner there, pixels of the source.
    mpp
        um per pixel in x and y.
    control
        Whether it is a control.
    points, classes
        Of a control its nuclei, pixels of the picture, and their classes.
    """

    name: str
    source: str
    corner_px0: tuple[float, float]
    mpp: tuple[float, float]
    control: bool = False
    points: tuple[tuple[float, float], ...] = ()
    classes: tuple[str | None, ...] = ()


class ControlKey(Document):
    """Content of a key: the pictures of a round in the order of their names."""

    kind: Literal["wsi-suite control key"] = "wsi-suite control key"
    controls_from: str
    pictures: tuple[KeyPicture, ...]

    @property
    def controls(self) -> dict[str, KeyPicture]:
        """The controls by their names."""
        return {one.name: one for one in self.pictures if one.control}


@dataclass(frozen=True)
class ControlScore:
    """How an annotator did on the controls.

    Attributes
    ----------
    annotator
        Name.
    pictures
        Controls that have labels of this annotator.
    confusion
        Nuclei by the true class and that of the annotator, ``MISSED`` where one has none.
    """

    annotator: str
    pictures: int
    confusion: Confusion

    @property
    def precision(self) -> float:
        """Share of the annotator's nuclei that are there, whatever their class; NaN without any."""
        return _share(self._both, self._false)

    @property
    def recall(self) -> float:
        """Share of the nuclei that the annotator has, whatever their class."""
        return _share(self._both, self._missed)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return _share(2 * self._both, self._false + self._missed)

    @property
    def kappa(self) -> float:
        """Cohen's kappa with the truth, with missed nuclei as a class."""
        return cohens_kappa(self.confusion)

    @property
    def kappa_matched(self) -> float:
        """Cohen's kappa of the nuclei that both have."""
        both = {pair: count for pair, count in self.confusion.items() if MISSED not in pair}
        return cohens_kappa(both)

    @property
    def _both(self) -> int:
        return sum(count for pair, count in self.confusion.items() if MISSED not in pair)

    @property
    def _false(self) -> int:
        return sum(count for (true, _), count in self.confusion.items() if true is MISSED)

    @property
    def _missed(self) -> int:
        return sum(count for (_, given), count in self.confusion.items() if given is MISSED)


def read_key(path: Path) -> ControlKey:
    """Read a key.

    Raises
    ------
    DataError
        There is none, or it has no control.
    """
    remedy = "give the key that 'wsi-suite dataset sample --control' wrote"
    key = read_document(ControlKey, path, fault="is no key of controls", remedy=remedy)
    if key is None or not key.controls:
        why = "no such file" if key is None else "holds no control"
        raise DataError(f"{path}: {why}; {remedy}")
    return key


def score_annotators(
    images: Iterable[LabelledImage], key: ControlKey, *, within_um: float = MATCH_UM
) -> list[ControlScore]:
    """Compare each annotator with the truth of the controls, by their names.

    A control counts for an annotator who has labels in it. If there is one annotator only, all
    controls count that are there: where nothing is labelled, all is missed.

    Raises
    ------
    DataError
        None of the pictures is a control of this key.
    """
    controls = key.controls
    found: list[LabelledImage] = []
    everybody: set[str] = set()
    for image in images:
        everybody |= {who or UNNAMED for who in image.labels.annotators}
        if image.name in controls:
            found.append(image)
    if not found:
        raise DataError(
            f"none of the {len(controls)} controls of the key, such as {next(iter(controls))}, is"
            " in the dataset; pictures must have the names that annotators were given"
        )
    confusions: dict[str, Counter[tuple[str | None, str | None]]] = {}
    pictures: Counter[str] = Counter()
    for image in found:
        names = {who or UNNAMED for who in image.labels.annotators}
        for annotator in everybody if len(everybody) == 1 else names:
            counts = confusions.setdefault(annotator, Counter())
            counts.update(_confusion(image, controls[image.name], annotator, within_um=within_um))
            pictures[annotator] += 1
    return [
        ControlScore(name, pictures[name], sorted_confusion(confusion))
        for name, confusion in sorted(confusions.items())
    ]


def _confusion(
    image: LabelledImage, truth: KeyPicture, annotator: str, *, within_um: float
) -> Counter[tuple[str | None, str | None]]:
    labels = image.labels
    rows = [row for row, who in enumerate(labels.annotators) if (who or UNNAMED) == annotator]
    own = [labels.class_names[row] or "" for row in rows]
    true = [name or "" for name in truth.classes]
    scale = np.array(truth.mpp)
    at = np.array(truth.points, np.float64).reshape(-1, 2) * scale
    pairs = match_points(at, labels.points[rows] * scale, within=within_um)
    counts: Counter[tuple[str | None, str | None]] = Counter(
        (true[first], own[second]) for first, second in pairs.tolist()
    )
    counts.update((true[row], MISSED) for row in _others(len(true), pairs[:, 0].tolist()))
    counts.update((MISSED, own[row]) for row in _others(len(own), pairs[:, 1].tolist()))
    return counts


def _others(count: int, rows: Sequence[int]) -> list[int]:
    return sorted(set(range(count)) - set(rows))


def _share(right: int, wrong: int) -> float:
    return right / (right + wrong) if right + wrong else math.nan
