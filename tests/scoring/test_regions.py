"""Points inside regions, against shapely and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.affinity import translate
from shapely.geometry import MultiPolygon, Point, Polygon, box
from shapely.prepared import prep

from wsi_suite.errors import RegionError
from wsi_suite.geometry import Points, Roi
from wsi_suite.scoring.regions import ignored_area, nuclei_in_rois, rows_that_count, scored_rois


def roi(*polygons: Polygon, class_name: str | None = None) -> Roi:
    return Roi("", class_name, MultiPolygon(list(polygons)))


def star(corners: int, *, seed: int, size: float = 100) -> Polygon:
    rng = np.random.default_rng(seed)
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    radii = rng.uniform(0.3, 1, corners) * size
    return Polygon(np.column_stack([np.cos(angles) * radii, np.sin(angles) * radii]))


def scatter(count: int, *, seed: int, size: float = 110) -> Points:
    return np.random.default_rng(seed).uniform(-size, size, (count, 2))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_hole_and_several_parts(seed: int) -> None:
    outer = star(40, seed=seed)
    holed = outer.difference(Point(0, 0).buffer(20))
    area = roi(holed, translate(star(30, seed=seed + 7), 250, 0))
    points = scatter(2000, seed=seed, size=360)
    inside = prep(area.area)
    expected = [row for row, point in enumerate(points) if inside.contains(Point(*point))]
    (rows,) = nuclei_in_rois(points, [area])
    assert 50 < len(rows) < 1500
    np.testing.assert_array_equal(rows, expected)


def test_overlapping_regions_each_report_a_nucleus() -> None:
    points = np.array([[5.0, 5.0], [15.0, 5.0], [25.0, 5.0]])
    left, right, empty = nuclei_in_rois(
        points, [roi(box(0, 0, 20, 10)), roi(box(10, 0, 30, 10)), roi()]
    )
    assert left.tolist() == [0, 1]
    assert right.tolist() == [1, 2]
    assert empty.tolist() == []


@settings(max_examples=50)
@given(
    corner=st.tuples(st.integers(1, 19), st.integers(1, 19)),
    points=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=30),
)
def test_regions_that_touch_share_no_point_and_lose_none(
    corner: tuple[int, int], points: list[tuple[int, int]]
) -> None:
    # Four quadrilaterals about one corner tile a square of 20; points lie on a grid of half units.
    x, y = corner
    corners, middles = [(0, 0), (20, 0), (20, 20), (0, 20)], [(10, 0), (20, 10), (10, 20), (0, 10)]
    quarters = [roi(Polygon([corners[k], middles[k], (x, y), middles[k - 1]])) for k in range(4)]
    if not all(quarter.area.is_valid for quarter in quarters):
        return
    places = np.array(points) / 2.0
    found = np.concatenate(nuclei_in_rois(places, quarters))
    within = np.flatnonzero(((places >= 0) & (places < 20)).all(axis=1))
    assert sorted(found.tolist()) == within.tolist()


def test_regions_of_class_ignore_are_cut_out_of_the_others() -> None:
    drawn = [
        roi(box(0, 0, 10, 10)),
        roi(box(4, -1, 6, 11), class_name="Ignore*"),
        roi(box(20, 0, 30, 10), class_name="Tumor"),
        roi(box(5, 5, 8, 8), box(22, 2, 24, 4), class_name="Ignore*: fold"),
    ]
    halves, holed = scored_rois(drawn)
    assert (halves.class_name, holed.class_name) == (None, "Tumor")
    assert halves.area.area == 100 - 20 - 6
    assert holed.area.area == 100 - 4
    assert len(holed.area.geoms[0].interiors) == 1
    assert ignored_area(drawn).area == 24 + 6 + 4
    assert scored_rois(drawn[::2]) == tuple(drawn[::2])
    assert ignored_area(drawn[::2]).is_empty


def test_nuclei_in_ignored_areas_do_not_count() -> None:
    points = np.array([[1.0, 5], [5, 5], [7, 7], [9, 9], [50, 50]])
    tumour = roi(box(0, 0, 10, 10))
    ignored = [
        roi(box(4, 4, 6, 6), class_name="Ignore*"),
        roi(box(6, 6, 8, 8), class_name="Ignore*"),
    ]
    assert rows_that_count(points, [tumour, *ignored]).tolist() == [0, 3]
    assert rows_that_count(points, ignored).tolist() == [0, 3, 4]
    assert rows_that_count(points, [tumour]).tolist() == [0, 1, 2, 3]
    assert rows_that_count(points, []).tolist() == [0, 1, 2, 3, 4]


def test_region_of_which_nothing_is_left_is_refused() -> None:
    drawn = [
        Roi("Tumour", None, roi(box(1, 1, 2, 2)).area),
        roi(box(0, 0, 9, 9), class_name="Ignore*"),
    ]
    with pytest.raises(RegionError, match="'Tumour' lies wholly in regions of class 'Ignore"):
        scored_rois(drawn)


@settings(max_examples=50)
@given(
    ignored=st.lists(st.tuples(*[st.integers(-2, 20)] * 2, *[st.integers(1, 9)] * 2), max_size=4),
    points=st.lists(st.tuples(st.integers(0, 38), st.integers(0, 38)), min_size=1, max_size=30),
)
def test_each_nucleus_counts_in_the_region_or_is_ignored(
    ignored: list[tuple[int, ...]], points: list[tuple[int, int]]
) -> None:
    places = np.array(points) / 2.0
    square = roi(box(0, 0, 20, 20))
    drawn = [roi(box(x, y, x + w, y + h), class_name="Ignore*") for x, y, w, h in ignored]
    try:
        counting = rows_that_count(places, [square, *drawn])
    except RegionError:
        assert ignored_area(drawn).covers(square.area)
        return
    (left_out,) = nuclei_in_rois(places, [roi(*ignored_area(drawn).geoms)])
    assert sorted([*counting, *left_out]) == list(range(len(places)))
    assert rows_that_count(places, drawn).tolist() == counting.tolist()


def test_the_share_of_many_points_inside_is_that_of_the_area() -> None:
    points, area = scatter(300_000, seed=3), star(300, seed=3)
    (rows,) = nuclei_in_rois(points, [roi(area)])
    assert len(rows) / len(points) == pytest.approx(area.area / 220**2, rel=0.01)
