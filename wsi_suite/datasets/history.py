"""Differences between versions of a dataset, and the check of its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from wsi_suite.datasets.matching import MATCH_UM, match_points
from wsi_suite.datasets.pictures import list_all_pictures
from wsi_suite.datasets.splitting import class_counts
from wsi_suite.datasets.store import (
    IMAGES,
    Dataset,
    digest_of,
    list_versions,
    open_dataset,
    read_image_rows,
)
from wsi_suite.datasets.tables import rows_by_image
from wsi_suite.files import hash_file

_FACTS = (
    *("sha256", "mpp_x", "mpp_y", "patient", "slide", "laboratory", "stain", "split"),
    *("corner_x_px0", "corner_y_px0", "annotated"),
)


@dataclass(frozen=True)
class Change:
    """Change of a picture between two versions.

    Attributes
    ----------
    name
        Of the picture.
    kind
        ``added``, ``removed`` or ``changed``.
    facts
        Columns of the picture that differ, such as ``split``.
    nuclei
        How many nuclei were added, removed, moved, renamed (got another class) or otherwise
        changed, by these words.
    """

    name: str
    kind: str
    facts: tuple[str, ...]
    nuclei: dict[str, int]


def diff_versions(before: Dataset, after: Dataset) -> list[Change]:
    """Return the changes between two versions, picture by picture, in the order of their names.

    A nucleus that has no counterpart at the same place is the one that moved there from at most
    3.5 um, or else was added or removed.
    """
    old, new = _contents(before), _contents(after)
    changes = []
    left, right = next(old, None), next(new, None)
    while left or right:
        if left is not None and (right is None or left[0]["name"] < right[0]["name"]):
            changes.append(_whole(left, "removed"))
            left = next(old, None)
        elif right is not None and (left is None or right[0]["name"] < left[0]["name"]):
            changes.append(_whole(right, "added"))
            right = next(new, None)
        elif left is not None and right is not None:
            change = _compare(left, right)
            if change.facts or change.nuclei:
                changes.append(change)
            left, right = next(old, None), next(new, None)
    return changes


_Content = tuple[dict[str, Any], pa.Table]


def _contents(dataset: Dataset) -> Iterator[_Content]:
    rows = read_image_rows(dataset)
    nuclei = rows_by_image(dataset.nucleus_table, rows)
    return zip(rows, nuclei, strict=True)


def _whole(content: _Content, kind: str) -> Change:
    row, nuclei = content
    return Change(row["name"], kind, (), {kind: len(nuclei)} if len(nuclei) else {})


def _compare(left: _Content, right: _Content) -> Change:
    row = right[0]
    facts = tuple(fact for fact in _FACTS if left[0][fact] != row[fact])
    if left[1].equals(right[1]):
        return Change(row["name"], "changed", facts, {})
    points = [np.column_stack([table["x"], table["y"]]) for _, table in (left, right)]
    scale = np.sqrt(row["mpp_x"] * row["mpp_y"])
    pairs = match_points(*points, within=MATCH_UM / scale)
    counts = Counter(
        added=len(points[1]) - len(pairs),
        removed=len(points[0]) - len(pairs),
    )
    moved = (points[0][pairs[:, 0]] != points[1][pairs[:, 1]]).any(axis=1)
    paired = [table.drop_columns(["image", "x", "y"]).to_pylist() for _, table in (left, right)]
    for (one, other), is_moved in zip(pairs.tolist(), moved.tolist(), strict=True):
        first, second = paired[0][one], paired[1][other]
        counts["moved"] += is_moved
        counts["renamed"] += first["class"] != second["class"]
        counts["otherwise changed"] += {**first, "class": None} != {**second, "class": None}
    return Change(row["name"], "changed", facts, {name: n for name, n in counts.items() if n})


def verify_dataset(dataset: Dataset) -> list[str]:
    """Return the faults of a dataset, in sentences; none if all is as it was written.

    All versions and all pictures are read. Pictures that no version names are told, too: they are
    left of an import that failed, and may be deleted.
    """
    faults: list[str] = []
    known: dict[str, str] = {}
    parent: str | None = None
    for version in list_versions(dataset.folder):
        opened = open_dataset(dataset.folder, version=version.number)
        if digest_of(opened.image_table.parent) != version.digest:
            faults.append(f"version {version.number}: its tables are not those that were written")
        elif version.parent != parent:
            faults.append(f"version {version.number}: is not of the version before it")
        parent = version.digest
        rows = read_image_rows(opened)
        if not _is_counted(opened, rows):
            faults.append(f"version {version.number}: counts other pictures or nuclei than it has")
        known |= {row["name"]: row["sha256"] for row in rows}
    there = list_all_pictures(dataset.folder / IMAGES)
    for name, sha256 in sorted(known.items()):
        if name not in there:
            faults.append(f"{IMAGES}/{name}: missing")
        elif hash_file(there[name]) != sha256:
            faults.append(f"{IMAGES}/{name}: not the picture that was added")
    faults += [
        f"{IMAGES}/{name}: in no version; delete it" for name in sorted(there.keys() - known.keys())
    ]
    return faults


def _is_counted(dataset: Dataset, rows: list[dict[str, Any]]) -> bool:
    """Return whether the numbers that a version tells are those of its tables."""
    classes: Counter[str] = Counter()
    for counts in class_counts(dataset).values():
        classes.update(counts)
    version, nuclei = dataset.version, sum(row["nuclei"] for row in rows)
    return (version.images, version.nuclei, version.classes) == (len(rows), nuclei, classes) and (
        nuclei == classes.total()
    )
