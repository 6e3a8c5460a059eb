"""Nuclei of blocks merged into those of a slide."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from shapely.geometry import MultiPolygon, box

from wsi_suite.analysis.merging import merge_nuclei
from wsi_suite.geometry import Roi, Scale
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.scoring.regions import IGNORED_CLASS

SIDE = 400.0


class _Files(Sequence[Nuclei]):
    """Tables that are made anew each time, as if read from files."""

    def __init__(self, tables: Sequence[Nuclei]) -> None:
        self.tables, self.given, self.most = tables, list[Any](), 0

    def __len__(self) -> int:
        return len(self.tables)

    def __getitem__(self, place: Any) -> Any:
        table = self.tables[place]
        copy = replace(table, x=table.x.copy())
        self.given.append(weakref.ref(copy))
        self.most = max(self.most, sum(ref() is not None for ref in self.given))
        return copy


def blocks(count: int = 8) -> list[Nuclei]:
    """Draw nuclei in bands of a slide, with two of one place on each seam, and an empty band."""
    rng = np.random.default_rng(3)
    tables = []
    for band in range(count):
        x = np.append(np.arange(12.0, SIDE, 24), [15.0 + band])
        y = np.append(rng.uniform(10, 40, len(x) - 1), [-0.2 if band else 49.9]) + 50 * band
        tables.append(
            Nuclei(
                x=x,
                y=y,
                confidence=rng.uniform(0.3, 1, len(x)).astype(np.float32),
                label=np.zeros(len(x), np.uint8),
                classes=("Nucleus",),
                measurements={"mark": (1000 * band + np.arange(len(x))).astype(np.float32)},
                outline=rng.uniform(3, 5, (len(x), 16)).astype(np.float32),
            )
        )
    return [*tables, Nuclei.empty(("Nucleus",))]


def analysis(rois: tuple[Roi, ...] | None = None) -> Any:
    """Return the parts of an analysis that merging looks at."""
    spec = SimpleNamespace(classes=("Nucleus",), min_distance_um=1.0)
    measure = SimpleNamespace(disc_radius_um=2.0)
    return SimpleNamespace(
        model=SimpleNamespace(spec=spec), settings=SimpleNamespace(measure=measure), rois=rois
    )


FACTS = cast(
    "Any",
    SimpleNamespace(
        mpp=(0.5, 0.5), scale=Scale(1.0, 1.0), tissue=MultiPolygon([box(0, 0, SIDE, 300)])
    ),
)


def test_nuclei_are_sorted_and_lie_in_the_tissue_with_their_own_measurements() -> None:
    tables = blocks()
    merged = merge_nuclei(tables, analysis(), facts=FACTS)
    assert len(merged)
    assert (merged.y < 300).all()
    assert list(zip(merged.y, merged.x, strict=True)) == sorted(
        zip(merged.y, merged.x, strict=True)
    )
    assert merged.detected is not None
    assert merged.outline is not None
    for row, mark in enumerate(merged.measurements["mark"].astype(int)):
        table, own = tables[mark // 1000], mark % 1000
        np.testing.assert_allclose(merged.detected[row], (table.x[own], table.y[own]), atol=0.006)
        np.testing.assert_array_equal(merged.outline[row], table.outline[own])
        np.testing.assert_allclose(merged.confidence[row], table.confidence[own], atol=6e-5)
        assert np.hypot(*(merged.points[row] - merged.detected[row])) < 2


def test_regions_choose_and_leave_out() -> None:
    def rows(*rois: Roi) -> set[float]:
        found = merge_nuclei(blocks(), analysis(rois or None), facts=FACTS)
        return set(found.measurements["mark"].tolist())

    left = MultiPolygon([box(0, 0, SIDE / 2, SIDE)])
    right = MultiPolygon([box(SIDE / 2, 0, SIDE, SIDE)])
    inside, outside = rows(Roi("left", None, left)), rows(Roi("left", IGNORED_CLASS, left))
    assert inside
    assert inside == rows() - outside
    assert outside == rows(Roi("right", None, right))


def test_tables_are_not_kept_in_memory() -> None:
    files = _Files(blocks())
    assert len(merge_nuclei(files, analysis(), facts=FACTS))
    assert files.most <= 2, "the last one and the one that is read"
