"""Agreement of annotators about the nuclei of pictures, and their consensus.

The labels of all annotators of a picture are brought together into nuclei: a point belongs to the
nearest nucleus that another one has labelled within 3.5 um. An annotator who has labels in a
picture and no point in a nucleus missed it; "missed" counts as a class of its own, as in EndoNuke's
study (Naumov et al., Data 2022, 7, 75). How many places all annotators rightly left out is not
known, so that the cell "missed by both" is empty.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from wsi_suite.datasets.labelled_image import LabelledImage, nucleus_labels
from wsi_suite.datasets.matching import MATCH_UM, match_points
from wsi_suite.errors import DataError
from wsi_suite.geometry import Points

MISSED = "missed"
"""Class of a nucleus that an annotator did not label."""

CONSENSUS = "consensus"
"""Begin of the annotator's name of nuclei that were voted for."""

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
    """

    points: Points
    classes: Mapping[str, tuple[str, ...]]


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
    confusion: Mapping[tuple[str, str], int]
    kappa: float
    kappa_matched: float
    f1: float


def share_nuclei(image: LabelledImage, *, within_um: float = MATCH_UM) -> SharedNuclei:
    """Bring the labels of all annotators of a picture together.

    Parameters
    ----------
    image
        Its labels name their annotators; those without a name are one annotator's, "unnamed".
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
    who = np.array([name or "unnamed" for name in labels.annotators], np.object_)
    um = labels.points * image.mpp
    sums, counts = np.zeros((0, 2)), np.zeros(0)
    classes: dict[str, list[str]] = {}
    for name in sorted(set(who.tolist())):
        rows = np.flatnonzero(who == name)
        own = [labels.class_names[row] or "" for row in rows]
        pairs = match_points(sums / np.maximum(counts, 1)[:, None], um[rows], within=within_um)
        given = [MISSED] * len(sums)
        sums[pairs[:, 0]] += um[rows[pairs[:, 1]]]
        counts[pairs[:, 0]] += 1
        for nucleus, row in pairs.tolist():
            given[nucleus] = own[row]
        new = np.setdiff1d(np.arange(len(rows)), pairs[:, 1])
        classes = {other: [*theirs, *[MISSED] * len(new)] for other, theirs in classes.items()}
        classes[name] = [*given, *(own[row] for row in new)]
        sums, counts = np.vstack([sums, um[rows[new]]]), np.append(counts, np.ones(len(new)))
    return SharedNuclei(
        points=sums / np.maximum(counts, 1)[:, None] / image.mpp,
        classes={name: tuple(given) for name, given in classes.items()},
    )


def compare_annotators(
    images: Iterable[LabelledImage], *, within_um: float = MATCH_UM
) -> list[PairAgreement]:
    """Return the agreement of each pair of annotators, by their names.

    A picture counts for a pair if both have labels in it.
    """
    confusions: dict[tuple[str, str], Counter[tuple[str, str]]] = {}
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
    totals: Counter[str] = Counter()
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
) -> Iterator[LabelledImage]:
    """Yield the pictures with the nuclei that more than a share of their annotators labelled.

    The place is the mean of the points, the class that of most votes, without a class if several
    have as many. The annotator is ``consensus 2/3: ann, bob, eve``: votes, annotators of the
    picture, and who they are. Pictures of one annotator stay as they are.

    Parameters
    ----------
    images
        The pictures.
    least_share
        With 0.5 more than half must have labelled a nucleus; with two annotators, both.
    within_um
        Largest distance of two points of one nucleus.
    """
    for image in images:
        shared = share_nuclei(image, within_um=within_um)
        if len(shared.classes) < 2:
            yield image
            continue
        rows, names, annotators = [], [], []
        for row, given in enumerate(zip(*shared.classes.values(), strict=True)):
            votes = Counter(one for one in given if one != MISSED)
            found = votes.total()
            if found <= least_share * len(given):
                continue
            best = [name for name, count in votes.items() if count == max(votes.values())]
            rows.append(row)
            names.append((best[0] or None) if len(best) == 1 else None)
            who = ", ".join(shared.classes)
            annotators.append(f"{CONSENSUS} {found}/{len(given)}: {who}")
        labels = nucleus_labels(shared.points[rows], names, annotators=annotators)
        yield replace(image, labels=labels, labels_sha256=None)


def cohens_kappa(confusion: Mapping[tuple[str, str], int]) -> float:
    """Return Cohen's kappa of a table of counts; NaN if chance alone explains all of it.

    Source: Cohen, *Educational and Psychological Measurement* 1960, 20, 37.
    """
    total = sum(confusion.values())
    if not total:
        return float("nan")
    rows, columns = Counter[str](), Counter[str]()
    for (first, second), count in confusion.items():
        rows[first] += count
        columns[second] += count
    agreed = sum(count for (first, second), count in confusion.items() if first == second) / total
    chance = sum(rows[name] * columns[name] for name in rows) / total**2
    return (agreed - chance) / (1 - chance) if chance < 1 else float("nan")


def classes_of(confusions: Iterable[Mapping[tuple[str, str], int]]) -> list[str]:
    """Return all classes of confusions, "missed" last."""
    names = {name for one in confusions for pair in one for name in pair}
    return [*sorted(names - {MISSED}), MISSED]


def _pair_agreement(
    first: str, second: str, confusion: Counter[tuple[str, str]], *, pictures: int
) -> PairAgreement:
    matched = {pair: count for pair, count in confusion.items() if MISSED not in pair}
    both, single = sum(matched.values()), confusion.total() - sum(matched.values())
    return PairAgreement(
        first=first,
        second=second,
        pictures=pictures,
        confusion=dict(sorted(confusion.items())),
        kappa=cohens_kappa(confusion),
        kappa_matched=cohens_kappa(matched),
        f1=2 * both / (2 * both + single) if both + single else float("nan"),
    )
