"""Agreement of annotators about the nuclei of pictures, and their consensus.

The labels of all annotators of a picture are brought together into nuclei: a point belongs to the
nearest nucleus that another one has labelled within 3.5 um. An annotator who has labels in a
picture and no point in a nucleus missed it; that counts as a class of its own, as in EndoNuke's
study (Naumov et al., Data 2022, 7, 75). How many places all annotators rightly left out is not
known, so that the cell "missed by both" is empty.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from wsi_suite.datasets.labelled_image import (
    UNGRADED,
    LabelledImage,
    NucleusLabels,
    nucleus_labels,
)
from wsi_suite.datasets.matching import MATCH_UM, match_points
from wsi_suite.errors import DataError
from wsi_suite.geometry import Points

log = logging.getLogger(__name__)

MISSED = None
"""Class of a nucleus that an annotator did not label; one labelled without class has ""."""

CONSENSUS = "consensus"
"""Begin of the annotator's name of nuclei that were voted for."""

Confusion = Mapping[tuple[str | None, str | None], int]
"""Nuclei by the class of a first and of a second annotator, ``MISSED`` where one has none."""

_VOTED = re.compile(rf"{CONSENSUS} \d+/\d+: .*")
_UNNAMED = "unnamed"
_NONE = -1
_Value = TypeVar("_Value", str, int)

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SharedNuclei:
    """Nuclei of a picture, and the class that each annotator gave them.

    Attributes
    ----------
    points
        ``(N, 2)`` float64, means of the points, pixels of the picture.
    classes
        For each annotator who labelled the picture N classes, ``MISSED`` where there is none.
    rows
        For each annotator the rows of the labels, -1 where there is none.
    """

    points: Points
    classes: Mapping[str, tuple[str | None, ...]]
    rows: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class PairAgreement:
    """Agreement of two annotators over the pictures that both labelled.

    Attributes
    ----------
    pictures
        How many.
    confusion
        Nuclei by the class of the first and that of the second.
    kappa
        Cohen's kappa with missed nuclei as a class; NaN without nuclei.
    kappa_matched
        Cohen's kappa of the nuclei that both labelled.
    f1
        Of finding nuclei, whatever their class.
    """

    first: str
    second: str
    pictures: int
    confusion: Confusion
    kappa: float
    kappa_matched: float
    f1: float


def share_nuclei(image: LabelledImage, *, within_um: float = MATCH_UM) -> SharedNuclei:
    """Bring the labels of all annotators of a picture together.

    Parameters
    ----------
    image
        Its labels name their annotators; those without a name are one annotator's, "unnamed", and
        nuclei that were voted for are of one annotator, "consensus".
    within_um
        Largest distance of two points of one nucleus.

    Raises
    ------
    DataError
        The pixel size is not known.
    """
    if image.mpp is None:
        raise DataError(f"'{image.name}': no pixel size, so that no distance is known")
    labels = image.labels
    who = np.array([_annotator(name) for name in labels.annotators], np.object_)
    um = labels.points * image.mpp
    sums, counts = np.zeros((0, 2)), np.zeros(0)
    members: dict[str, list[int]] = {}
    for name in sorted(set(who.tolist())):
        rows = np.flatnonzero(who == name)
        pairs = match_points(sums / np.maximum(counts, 1)[:, None], um[rows], within=within_um)
        given = [_NONE] * len(sums)
        sums[pairs[:, 0]] += um[rows[pairs[:, 1]]]
        counts[pairs[:, 0]] += 1
        for nucleus, row in pairs.tolist():
            given[nucleus] = int(rows[row])
        new = np.setdiff1d(np.arange(len(rows)), pairs[:, 1])
        members = {other: [*theirs, *[_NONE] * len(new)] for other, theirs in members.items()}
        members[name] = [*given, *rows[new].tolist()]
        sums, counts = np.vstack([sums, um[rows[new]]]), np.append(counts, np.ones(len(new)))
    return SharedNuclei(
        points=sums / np.maximum(counts, 1)[:, None] / image.mpp,
        classes={
            name: tuple(MISSED if row < 0 else labels.class_names[row] or "" for row in given)
            for name, given in members.items()
        },
        rows={name: tuple(given) for name, given in members.items()},
    )


def _annotator(name: str | None) -> str:
    return CONSENSUS if name and _VOTED.fullmatch(name) else name or _UNNAMED


def compare_annotators(
    images: Iterable[LabelledImage], *, within_um: float = MATCH_UM
) -> list[PairAgreement]:
    """Return the agreement of each pair of annotators, by their names.

    A picture counts for a pair if both have labels in it.
    """
    confusions: dict[tuple[str, str], Counter[tuple[str | None, str | None]]] = {}
    pictures: Counter[tuple[str, str]] = Counter()
    for image in images:
        shared = share_nuclei(image, within_um=within_um)
        names = sorted(shared.classes)
        for place, first in enumerate(names):
            for second in names[place + 1 :]:
                pair = zip(shared.classes[first], shared.classes[second], strict=True)
                both = Counter(one for one in pair if one != (MISSED, MISSED))
                confusions.setdefault((first, second), Counter()).update(both)
                pictures[first, second] += 1
    return [
        _pair_agreement(first, second, confusion, pictures=pictures[first, second])
        for (first, second), confusion in sorted(confusions.items())
    ]


def fleiss_kappa(images: Iterable[LabelledImage], *, within_um: float = MATCH_UM) -> float:
    """Return Fleiss' kappa of all annotators over pictures that two or more labelled.

    The number of annotators may differ from picture to picture. Source: Fleiss, *Psychological
    Bulletin* 1971, 76, 378, with the agreement of each nucleus weighted alike.
    """
    agreement: list[float] = []
    totals: Counter[str | None] = Counter()
    for image in images:
        classes = share_nuclei(image, within_um=within_um).classes
        if len(classes) < 2:
            continue
        for given in zip(*classes.values(), strict=True):
            counts, raters = Counter(given), len(given)
            agreeing = sum(count * (count - 1) for count in counts.values())
            agreement.append(agreeing / (raters * (raters - 1)))
            totals.update(counts)
    if not agreement:
        return float("nan")
    shares = np.array(list(totals.values()), float) / sum(totals.values())
    chance = float((shares**2).sum())
    return (float(np.mean(agreement)) - chance) / (1 - chance) if chance < 1 else float("nan")


def vote(
    images: Iterable[LabelledImage],
    *,
    least_share: float = 0.5,
    within_um: float = MATCH_UM,
    tell: Callable[[str], None] = log.warning,
) -> Iterator[LabelledImage]:
    """Yield the pictures with the nuclei that more than a share of their annotators labelled.

    The place is the mean of the points, the class and the grade are those of most votes, none if
    several have as many, and the radius is the median of those that are known. Outlines have no
    mean and are left out. The annotator is ``consensus 2/3: ann, bob, eve``: votes, annotators of
    the picture, and who they are. Pictures of one annotator, or of a consensus, stay as they are.

    Parameters
    ----------
    images
        The pictures.
    least_share
        With 0.5 more than half must have labelled a nucleus; with two annotators, both.
    within_um
        Largest distance of two points of one nucleus.
    tell
        Receives how many nuclei lost an outline.

    Raises
    ------
    DataError
        A picture has a consensus and other labels beside it.
    """
    without_outline = 0
    for image in images:
        shared = share_nuclei(image, within_um=within_um)
        if len(shared.classes) < 2:
            yield image
            continue
        if CONSENSUS in shared.classes:
            others = ", ".join(sorted(shared.classes.keys() - {CONSENSUS}))
            raise DataError(
                f"'{image.name}': has a consensus and labels of {others}; import all annotators'"
                " labels again with --replace, so that all are asked"
            )
        labels, outlined = _voted(image.labels, shared, least_share=least_share)
        without_outline += outlined
        yield replace(image, labels=labels, labels_sha256=None)
    if without_outline:
        tell(f"{without_outline:,} nuclei lost their outlines, as a consensus has points only")


def _voted(
    labels: NucleusLabels, shared: SharedNuclei, *, least_share: float
) -> tuple[NucleusLabels, int]:
    """Return the nuclei that were voted for, and how many of them an annotator had outlined."""
    kept: list[list[int]] = []  # rows of the labels of each nucleus
    points = []
    raters = len(shared.rows)
    for point, given in zip(shared.points, zip(*shared.rows.values(), strict=True), strict=True):
        found = [row for row in given if row != _NONE]
        if len(found) > least_share * raters:
            kept.append(found)
            points.append(point)
    who = ", ".join(shared.rows)
    known = [radii[~np.isnan(radii)] for radii in (labels.radii_px[rows] for rows in kept)]
    grades = [
        _most_voted([grade for grade in labels.grades[rows].tolist() if grade != UNGRADED])
        for rows in kept
    ]
    voted = nucleus_labels(
        np.array(points),
        [_most_voted([labels.class_names[row] or "" for row in rows]) or None for rows in kept],
        radii_px=[np.median(radii) if len(radii) else np.nan for radii in known],
        annotators=[f"{CONSENSUS} {len(rows)}/{raters}: {who}" for rows in kept],
        grades=[UNGRADED if grade is None else grade for grade in grades],
    )
    outlined = sum(any(labels.outlines[row] is not None for row in rows) for rows in kept)
    return voted, outlined


def _most_voted(values: Sequence[_Value]) -> _Value | None:
    """Return the value of most votes; ``None`` if there is none, or several have as many."""
    votes = Counter(values)
    best = [value for value, count in votes.items() if count == max(votes.values())]
    return best[0] if len(best) == 1 else None


def cohens_kappa(confusion: Confusion) -> float:
    """Return Cohen's kappa of a table of counts; NaN if chance alone explains all of it.

    Source: Cohen, *Educational and Psychological Measurement* 1960, 20, 37.
    """
    total = sum(confusion.values())
    if not total:
        return float("nan")
    rows, columns = Counter[str | None](), Counter[str | None]()
    for (first, second), count in confusion.items():
        rows[first] += count
        columns[second] += count
    agreed = sum(count for (first, second), count in confusion.items() if first == second) / total
    chance = sum(rows[name] * columns[name] for name in rows) / total**2
    return (agreed - chance) / (1 - chance) if chance < 1 else float("nan")


def classes_of(confusions: Iterable[Confusion]) -> list[str | None]:
    """Return all classes of confusions, ``MISSED`` last."""
    names = {name for one in confusions for pair in one for name in pair if name is not MISSED}
    return [*sorted(names), MISSED]


def sorted_confusion(confusion: Confusion) -> dict[tuple[str | None, str | None], int]:
    """Return a confusion in the order of its classes, ``MISSED`` last."""
    return dict(
        sorted(
            confusion.items(),
            key=lambda one: [(name is MISSED, name or "") for name in one[0]],
        )
    )


def _pair_agreement(
    first: str,
    second: str,
    confusion: Counter[tuple[str | None, str | None]],
    *,
    pictures: int,
) -> PairAgreement:
    matched = {pair: count for pair, count in confusion.items() if MISSED not in pair}
    both, single = sum(matched.values()), confusion.total() - sum(matched.values())
    return PairAgreement(
        first=first,
        second=second,
        pictures=pictures,
        confusion=sorted_confusion(confusion),
        kappa=cohens_kappa(confusion),
        kappa_matched=cohens_kappa(matched),
        f1=2 * both / (2 * both + single) if both + single else float("nan"),
    )
