"""Parts of a dataset that share no patient, no slide and no picture."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from wsi_suite.datasets.commits import commit_splits
from wsi_suite.datasets.likeness import alike_pairs
from wsi_suite.datasets.store import Dataset, read_image_rows
from wsi_suite.datasets.tables import read_pieces
from wsi_suite.errors import ConfigError, DataError

Row = Mapping[str, Any]

STRATA = ("stain", "laboratory")
"""Columns of pictures by which parts are balanced, beside the classes of nuclei."""


@dataclass(frozen=True)
class Leak:
    """Two pictures of different parts that must not be parted.

    Attributes
    ----------
    first, second
        Names of the pictures.
    parts
        Where they are.
    reason
        What they share, such as "patient P12".
    """

    first: str
    second: str
    parts: tuple[str, str]
    reason: str

    def __str__(self) -> str:
        return f"{self.first} ({self.parts[0]}) and {self.second} ({self.parts[1]}): {self.reason}"


def split_dataset(
    dataset: Dataset, *, shares: Mapping[str, float], seed: int = 0, message: str = ""
) -> Dataset:
    """Add a version in which each picture belongs to a part.

    Pictures of one patient or slide, that overlap in their slide, or that look alike stay
    together. The groups that are so made are shared out, the largest first, each to the part that
    it brings nearest to its share of nuclei of each class, of pictures, and of pictures of each
    stain and laboratory. This is the stratification of Sechidis et al. (ECML 2011) for groups.

    Parameters
    ----------
    dataset
        The version to split.
    shares
        Share of each part; brought to a sum of 1.
    seed
        Decides between groups of equal size.
    message
        For the log.

    Raises
    ------
    ConfigError
        A share is not above 0, or there are fewer groups than parts.
    """
    rows = read_image_rows(dataset)
    parts = assign_parts(rows, class_counts(dataset), shares=shares, seed=seed)
    told = ", ".join(f"{name} {share:g}" for name, share in shares.items())
    return commit_splits(dataset, parts, message=message or f"split into {told}, seed {seed}")


def assign_parts(
    rows: Sequence[Row],
    counts: Mapping[str, Mapping[str, int]],
    *,
    shares: Mapping[str, float],
    seed: int = 0,
) -> dict[str, str]:
    """Return the part of each picture; see :func:`split_dataset`.

    Parameters
    ----------
    rows
        Pictures, as :func:`~wsi_suite.datasets.store.read_image_rows` gives them.
    counts
        Nuclei by picture and class.
    shares, seed
        As in :func:`split_dataset`.
    """
    if not shares or min(shares.values()) <= 0:
        raise ConfigError(f"shares of parts {dict(shares)}: expected numbers above 0")
    amounts = _amounts(rows, counts)
    group = group_pictures(rows)
    groups = int(group.max(initial=-1)) + 1
    if groups < len(shares):
        raise ConfigError(
            f"{len(shares)} parts, but only {groups} groups of pictures that must stay together"
            " (patient, slide, overlap, likeness); ask for fewer parts"
        )
    # Every kind of thing counts alike, however many there are of it.
    totals = np.zeros((groups, amounts.shape[1]))
    np.add.at(totals, group, amounts / np.maximum(amounts.sum(axis=0), 1))
    wanted = np.array(list(shares.values())) / sum(shares.values())
    held = np.zeros((len(wanted), amounts.shape[1]))
    order = np.lexsort([np.random.default_rng(seed).random(groups), -totals.sum(axis=1)])
    chosen = np.zeros(groups, int)
    for turn, one in enumerate(order.tolist()):
        cost = _costs(held, totals[one], wanted)
        empty = ~held.any(axis=1)
        if groups - turn <= int(empty.sum()):  # each part gets something
            cost[~empty] = np.inf
        chosen[one] = int(np.argmin(cost))
        held[chosen[one]] += totals[one]
    names = list(shares)
    return {row["name"]: names[chosen[one]] for row, one in zip(rows, group, strict=True)}


def _costs(
    held: npt.NDArray[np.float64],
    added: npt.NDArray[np.float64],
    wanted: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return how far from its share each part comes to lie, over all parts, if it gets a group.

    Only an excess costs: every part lacks much at the beginning.
    """
    over = np.maximum(held - wanted[:, None], 0) / wanted[:, None]
    then = np.maximum(held + added - wanted[:, None], 0) / wanted[:, None]
    lack = ((wanted[:, None] - held) / wanted[:, None] * (added > 0)).sum(axis=1)
    cost: npt.NDArray[np.float64] = (then - over).sum(axis=1) - 1e-3 * lack
    return cost


def _amounts(
    rows: Sequence[Row], counts: Mapping[str, Mapping[str, int]]
) -> npt.NDArray[np.float64]:
    """Return the amounts to balance, a row a picture: itself, its nuclei by class, its strata."""
    classes = sorted({name for one in counts.values() for name in one})
    strata = [
        (column, value)
        for column in STRATA
        for value in sorted({row[column] for row in rows if row[column]})
    ]
    return np.array(
        [
            [
                1,
                *(counts.get(row["name"], {}).get(name, 0) for name in classes),
                *(row[column] == value for column, value in strata),
            ]
            for row in rows
        ],
        np.float64,
    ).reshape(len(rows), 1 + len(classes) + len(strata))


def group_pictures(rows: Sequence[Row]) -> npt.NDArray[np.int_]:
    """Return ``(N,)`` the group of each picture; those of one group must not be parted.

    Pictures that overlap are of one slide, and so of one group.
    """
    return _connected(len(rows), [(first, second) for first, second, _ in _bonds(rows)])


def find_leaks(rows: Sequence[Row]) -> list[Leak]:
    """Return pictures that must not be parted and are in different parts.

    Pictures of no part connect others: where a picture of one part and a picture of another one
    both belong with it, that is a leak as well.
    """
    bonds, parts = _bonds(rows), [row.get("split") for row in rows]
    found = [bond for bond in bonds if parts[bond[0]] and parts[bond[1]]]
    loose = [bond[:2] for bond in bonds if not (parts[bond[0]] and parts[bond[1]])]
    group = _connected(len(rows), loose)
    between: dict[int, int] = {}
    for number, part in enumerate(parts):
        if not part:
            between.setdefault(int(group[number]), number)
    first: dict[int, int] = {}
    for number, part in enumerate(parts):
        one = int(group[number])
        if part and one in between and first.setdefault(one, number) != number:
            name = rows[between[one]]["name"]
            reason = f"both belong with {name}, which is in no part"
            found.append((first[one], number, reason))
    return [
        Leak(
            rows[first]["name"],
            rows[second]["name"],
            parts=(rows[first]["split"], rows[second]["split"]),
            reason=reason,
        )
        for first, second, reason in found
        if parts[first] != parts[second]
    ]


def _connected(count: int, pairs: Sequence[tuple[int, int]]) -> npt.NDArray[np.int_]:
    """Return ``(count,)`` the group of each number; those of a pair are of one group."""
    ends = np.array(pairs, int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(pairs), np.int8), (ends[0], ends[1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], int)


def _bonds(rows: Sequence[Row]) -> list[tuple[int, int, str]]:
    """Return pairs of pictures that must not be parted, and why; a pair once only.

    Of many that belong together each is paired with the first of them, or with the first that is
    in a part, so that whoever is in another part is named.
    """
    bonds: dict[tuple[int, int], str] = {}
    leading = sorted(range(len(rows)), key=lambda number: not rows[number].get("split"))
    for column in ("patient", "slide", "sha256"):
        first: dict[str, int] = {}
        for number in leading:
            value = rows[number][column]
            if value and first.setdefault(value, number) != number:
                reason = "the same file" if column == "sha256" else f"{column} {value}"
                bonds.setdefault((first[value], number), reason)
    for pair in alike_pairs([row["dhash"] for row in rows]):
        bonds.setdefault(pair, "they look alike")
    return [(*pair, reason) for pair, reason in bonds.items()]


def class_counts(dataset: Dataset) -> dict[str, Counter[str]]:
    """Return the nuclei by picture and class, those without class under an empty name.

    The table is read in pieces, so that memory does not grow with it.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    columns = ["image", "class"]
    for piece in read_pieces(dataset.nucleus_table, columns=columns, rows=1_000_000):
        table = piece.group_by(columns).aggregate([([], "count_all")])
        rows = zip(*(table[name].to_pylist() for name in (*columns, "count_all")), strict=True)
        for image, name, count in rows:
            counts[image][name or ""] += count
    return dict(counts)


@dataclass(frozen=True)
class PartFigures:
    """Figures of a part of a split, or of all pictures.

    Attributes
    ----------
    part
        Its name, or ``all``.
    pictures, patients, slides
        How many.
    nuclei
        Nuclei by class; those without one under an empty name.
    strata
        Pictures by stain and laboratory, as ``stain ER``.
    """

    part: str
    pictures: int
    patients: int
    slides: int
    nuclei: dict[str, int]
    strata: dict[str, int]


def balance(dataset: Dataset) -> list[PartFigures]:
    """Return the figures of each part, and at the end those of all pictures.

    Raises
    ------
    DataError
        The version has no split.
    """
    rows, counts = read_image_rows(dataset), class_counts(dataset)
    parts = sorted({row["split"] for row in rows if row["split"]})
    if not parts:
        raise DataError(f"{dataset.folder}: version {dataset.version.number} has no split")
    table = []
    for part in (*parts, None):
        inside = [row for row in rows if part is None or row["split"] == part]
        nuclei: Counter[str] = Counter()
        for row in inside:
            nuclei.update(counts.get(row["name"], {}))
        strata = Counter(
            f"{column} {row[column]}" for column in STRATA for row in inside if row[column]
        )
        table.append(
            PartFigures(
                part=part or "all",
                pictures=len(inside),
                patients=len({row["patient"] for row in inside if row["patient"]}),
                slides=len({row["slide"] for row in inside if row["slide"]}),
                nuclei=dict(sorted(nuclei.items())),
                strata=dict(sorted(strata.items())),
            )
        )
    return table
