"""Annotations as QuPath and people write them, and what is refused."""

from __future__ import annotations

import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import pytest
from drawn import HOLE, SQUARE, collection, feature, polygon, saved
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import Point, Polygon, mapping

from wsi_suite.errors import RegionError
from wsi_suite.qupath.rois import check_rois_inside, missing_cores, read_rois


def packed(name: str) -> bytes:
    """Return a zip archive that holds one empty file."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(name, "")
    return content.getvalue()


@pytest.mark.parametrize("name", ["rois.geojson", "rois.geojson.gz", "rois.zip", "räume 1.geojson"])
@pytest.mark.parametrize(
    "wrap", [collection, lambda one: one, lambda one: [one], lambda one: [collection(one)]]
)
def test_ways_to_hold_a_feature(tmp_path: Path, wrap, name: str) -> None:
    path = saved(tmp_path, wrap(feature(polygon(SQUARE), objectType="annotation")), name=name)
    (roi,) = read_rois(path)
    assert roi.area.area == 100
    assert (roi.name, roi.class_name) == ("Region 1", None)


def test_a_byte_order_mark_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "rois.geojson"
    path.write_text(json.dumps(feature(polygon(SQUARE))), encoding="utf-8-sig")
    assert len(read_rois(path)) == 1


@pytest.mark.parametrize(
    ("geometry", "area"),
    [
        (polygon(SQUARE, HOLE), 96),
        ({"type": "MultiPolygon", "coordinates": [[SQUARE, HOLE], [HOLE]]}, 100),
        (
            {
                "type": "GeometryCollection",
                "geometries": [polygon(SQUARE), {"type": "Point", "coordinates": [50, 50]}],
            },
            100,
        ),
        (polygon([[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]), 50),
        (polygon([[x, y, 7] for x, y in SQUARE]), 100),
        (polygon(SQUARE[:-1]), 100),
        (polygon(SQUARE, [[x + 20, y] for x, y in SQUARE]), 100),
        (polygon(SQUARE, [[x + 5, y] for x, y in SQUARE]), 50),
        (polygon(SQUARE, [[2, 2], [8, 8], [8, 2], [2, 8], [2, 2]]), 82),
        (polygon(SQUARE, plane={"c": -1, "z": 0, "t": 0}), 100),
    ],
    ids=[
        *("hole", "multi", "collection", "bow tie", "z", "open ring"),
        *("hole outside", "hole across the border", "hole that crosses itself", "plane"),
    ],
)
def test_areas(tmp_path: Path, geometry: dict[str, Any], area: float) -> None:
    (roi,) = read_rois(saved(tmp_path, feature(geometry)))
    assert roi.area.geom_type == "MultiPolygon"
    assert roi.area.is_valid
    assert roi.area.area == pytest.approx(area)


@pytest.mark.parametrize("vertices", [4, 60])
def test_an_ellipse_fills_its_bounds(tmp_path: Path, vertices: int) -> None:
    # QuPath itself writes many vertices; its rule is: the ellipse that fills their bounds.
    drawn = (
        polygon([[0, 0], [20, 0], [20, 10], [0, 10], [0, 0]], isEllipse=True)
        if vertices == 4
        else polygon(
            [
                [10 + 10 * math.cos(k * math.tau / 60), 5 + 5 * math.sin(k * math.tau / 60)]
                for k in range(61)
            ],
            isEllipse=True,
        )
    )
    (roi,) = read_rois(saved(tmp_path, feature(drawn)))
    assert roi.area.area == pytest.approx(math.pi * 10 * 5, rel=1e-3)
    assert roi.area.bounds == pytest.approx((0, 0, 20, 10))


@pytest.mark.parametrize("bounds", [(100.25, 50.5, 20, 12), (33333.3, 22222.2, 10000, 8000)])
def test_ellipse_is_the_polygon_by_which_qupath_counts(
    tmp_path: Path, bounds: tuple[float, float, float, float]
) -> None:
    """QuPath 0.6 gives an ellipse 100 vertices, from its right end on, rounded to 0.01 px."""
    x, y, width, height = bounds
    corners = [[x, y], [x + width, y], [x + width, y + height], [x, y + height], [x, y]]
    (roi,) = read_rois(saved(tmp_path, feature(polygon(corners, isEllipse=True))))
    angles = [k * math.tau / 100 for k in range(100)]
    vertices = [
        (round(x + width / 2 * (1 + math.cos(a)), 2), round(y + height / 2 * (1 + math.sin(a)), 2))
        for a in angles
    ]
    assert roi.area.hausdorff_distance(Polygon(vertices)) < 0.0101


@pytest.mark.parametrize(("plane", "named"), [({"z": 2}, "z = 2, t = 0"), ({"t": 1}, "t = 1")])
def test_regions_on_other_planes_are_refused(
    tmp_path: Path, plane: dict[str, int], named: str
) -> None:
    path = saved(tmp_path, feature(polygon(SQUARE, plane={"c": -1, **plane}), name="Hot spot"))
    with pytest.raises(RegionError, match=f"'Hot spot' lies on the plane .*{named}"):
        read_rois(path)


@pytest.mark.parametrize(
    ("classification", "expected"),
    [
        ("Tumor", "Tumor"),
        ({"name": "Tumor", "color": [200, 0, 0]}, "Tumor"),
        ({"names": ["Tumor", "edge"], "color": [200, 0, 0]}, "Tumor: edge"),
        ({"name": "Ignore*", "colorRGB": -1}, "Ignore*"),
        ({"name": "edge", "parentClass": {"name": "Tumor", "colorRGB": -1}}, "Tumor: edge"),
        ({"name": "edge", "parentClass": {"name": None}}, "edge"),
        ({}, None),
        (None, None),
        ("", None),
        ("  ", None),
        ([], None),
        ({"name": None, "colorRGB": -1}, None),
        ({"name": "", "color": [1, 2, 3]}, None),
        ({"colorRGB": -377282}, None),
        ({"names": [], "name": "Tumor"}, "Tumor"),
        ({"names": [None]}, None),
        (["Tumor", "edge"], "Tumor: edge"),
        ('{"name": "Tumor", "colorRGB": -1}', "Tumor"),
        ('{"name": null, "colorRGB": -1}', None),
        ("{odd", "{odd"),
        (7, "7"),
    ],
)
def test_classes(tmp_path: Path, classification: object, expected: str | None) -> None:
    path = saved(tmp_path, feature(polygon(SQUARE), classification=classification))
    assert read_rois(path)[0].class_name == expected


def test_names_are_the_authors_or_numbers(tmp_path: Path) -> None:
    document = collection(
        feature(polygon(SQUARE), name="Hot spot"),
        feature(polygon(SQUARE)),
        feature({"type": "Point", "coordinates": [1, 1]}),
        {"type": "Feature", "geometry": polygon(SQUARE), "properties": None},
    )
    rois = read_rois(saved(tmp_path, document))
    assert [roi.name for roi in rois] == ["Hot spot", "Region 2", "Region 3"]


def test_a_bare_geometry_is_an_annotation(tmp_path: Path) -> None:
    (roi,) = read_rois(saved(tmp_path, polygon(SQUARE)))
    assert (roi.name, roi.locked, roi.area.area) == ("Region 1", False, 100)


def test_locked_annotations_and_children_of_others(tmp_path: Path) -> None:
    inner = feature(polygon(HOLE), name="inner", isLocked=True)
    outer = feature(polygon(SQUARE), name="outer", isLocked=False, childObjects=[inner])
    rois = read_rois(saved(tmp_path, collection(outer)))
    assert [(roi.name, roi.locked) for roi in rois] == [("outer", False), ("inner", True)]


def test_our_own_annotations_do_not_become_regions_again(tmp_path: Path) -> None:
    ours = feature(polygon(SQUARE), name="ours", metadata={"_source": "wsi-suite 0.1.0"})
    other = feature(polygon(SQUARE), name="theirs", metadata={"_source": "elsewhere"})
    assert [roi.name for roi in read_rois(saved(tmp_path, [ours, other]))] == ["theirs"]
    with pytest.raises(RegionError, match="no annotation with an area"):
        read_rois(saved(tmp_path, [ours]))


def test_what_is_no_annotation_is_left_out(tmp_path: Path) -> None:
    old = feature(polygon(SQUARE), name="old detection") | {"id": "PathDetectionObject"}
    line = {"type": "LineString", "coordinates": [[0, 0], [5, 5]]}
    document = collection(
        feature(polygon(SQUARE), objectType="detection"),
        feature(polygon(SQUARE), objectType="cell"),
        feature(polygon(SQUARE), objectType="tile"),
        feature(polygon(SQUARE), object_type="detection"),
        feature(line, objectType="annotation"),
        old,
        feature(polygon(SQUARE), objectType="annotation", name="kept"),
        feature(polygon(SQUARE), objectType="something", name="kept too"),
    )
    rois = read_rois(saved(tmp_path, document))
    assert [roi.name for roi in rois] == ["kept", "kept too"]


def tma_core(name: str | None, x: float, y: float, *, missing: bool) -> dict[str, Any]:
    """Return a core of 100 px as QuPath 0.4 to 0.7 exports it: its ellipse as a polygon."""
    angles = [k * math.tau / 60 for k in range(61)]
    ring = [[round(x + 50 * math.cos(a), 2), round(y + 50 * math.sin(a), 2)] for a in angles]
    named = {} if name is None else {"name": name}
    return {
        "type": "Feature",
        "id": "f2f4b5f4-0c2e-4b6f-9a0f-54a8ec1b2a6d",
        "geometry": polygon(ring, isEllipse=True),
        "properties": {"objectType": "tmaCore", "isMissing": missing, **named},
    }


def test_cores_of_qupath_are_regions_and_missing_ones_are_named(tmp_path: Path) -> None:
    nucleus = feature(polygon(SQUARE), objectType="detection")
    tumour = feature(polygon([[x + 100, y + 100] for x, y in SQUARE]), name="Tumour")
    in_missing = feature(polygon([[x + 295, y + 95] for x, y in SQUARE]), name="Drawn there")
    document = collection(
        tma_core("A-1", 100, 100, missing=False),
        tumour,
        nucleus,
        tma_core("A-2", 300, 100, missing=True),
        in_missing,
        tma_core("B-1", 100, 300, missing=False),
        tma_core("B-2", 300, 300, missing=True),
        tma_core(None, 100, 500, missing=False),
    )
    path = saved(tmp_path, document)
    rois = read_rois(path)
    assert [roi.name for roi in rois] == ["A-1", "Tumour", "B-1", "Core 4"]
    assert rois[0].area.bounds == pytest.approx((50, 50, 150, 150))
    assert rois[0].area.area == pytest.approx(math.pi * 50**2, rel=1e-3)
    assert missing_cores(path) == ("A-2", "B-2")


def test_missing_cores_that_a_file_lists_are_named_until_somebody_draws_them(
    tmp_path: Path,
) -> None:
    """As ``wsi-suite cores`` writes them."""
    document = collection(tma_core("A-1", 100, 100, missing=False))
    document["missing_cores"] = ["A-2", "A-1", 7]
    assert missing_cores(saved(tmp_path, document)) == ("A-2",)
    document["missing_cores"] = "A-2"
    assert missing_cores(saved(tmp_path, document)) == ()


def test_a_core_is_round_whatever_its_geometry(tmp_path: Path) -> None:
    for kind in ("tma_core", "tmaCore", "TMACoreObject"):
        (roi,) = read_rois(saved(tmp_path, feature(polygon(SQUARE), objectType=kind, name="A-1")))
        assert roi.area.area == pytest.approx(math.pi * 25, rel=1e-3)
        assert not missing_cores(tmp_path / "rois.geojson")


def test_a_file_of_missing_cores_alone_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, [tma_core(f"A-{k}", 100 * k, 0, missing=True) for k in (1, 2)])
    with pytest.raises(RegionError, match="all 2 TMA cores are marked as missing"):
        read_rois(path)


@given(
    centre=st.tuples(st.floats(-100, 1e5), st.floats(-100, 1e5)),
    radius=st.floats(1, 1000),
    hole=st.booleans(),
)
def test_any_valid_polygon_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    centre: tuple[float, float],
    radius: float,
    hole: bool,
) -> None:
    drawn = Point(centre).buffer(radius)
    if hole:
        drawn = drawn.difference(Point(centre).buffer(radius / 2))
    path = saved(tmp_path_factory.mktemp("trip"), feature(mapping(drawn)))
    (roi,) = read_rois(path)
    assert roi.area.symmetric_difference(drawn).area == pytest.approx(0, abs=1e-6 * radius**2)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "cannot be read"),
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        (b"\x1f\x8b\x08truncated", "cannot be read"),
        (b"PK\x03\x04truncated", "cannot be read"),
        (packed("notes.txt"), "an archive without a .geojson file"),
        (b"[" * 900 + b"]" * 900, "annotation with an area|recursion"),
        (b"\xff\xfe{\x00", "not JSON"),
        (b'{"type": "FeatureColl', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a": 1}', "not GeoJSON"),
        (b"[1, 2]", "not GeoJSON"),
        (b'"text"', "not GeoJSON"),
        (b'{"type": "FeatureCollection"}', "not GeoJSON"),
        (b'{"type": "FeatureCollection", "features": []}', "no annotation with an area"),
        (b'[{"type": "Feature"}]', "no annotation with an area"),
    ],
)
def test_what_cannot_be_used_is_refused(
    tmp_path: Path, content: bytes | None, expected: str
) -> None:
    path = tmp_path / "rois.geojson"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RegionError, match=expected) as caught:
        read_rois(path)
    assert "rois.geojson" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "geometry",
    [
        polygon([[0, 0], [1, "a"], [1, 1], [0, 0]]),
        polygon([[0, 0], [float("nan"), 0], [1, 1], [0, 0]]),
        polygon([[0, 0], [10**400, 0], [1, 1], [0, 0]]),
        polygon([[0, 0], [1e300, 0], [1, 1], [0, 0]]),
        polygon(SQUARE, [[0, 0], [-3e9, 0], [1, 1], [0, 0]]),
        polygon([0, 0, 1, 1]),
        {"type": "Polygon"},
        "POLYGON ((0 0, 1 1, 1 0, 0 0))",
    ],
)
def test_damaged_objects_are_named(tmp_path: Path, geometry: Any) -> None:
    path = saved(tmp_path, collection(feature(polygon(SQUARE)), feature(geometry)))
    with pytest.raises(RegionError, match=r"rois\.geojson: object 2 is not as GeoJSON has it"):
        read_rois(path)


@pytest.mark.parametrize("geometry", [polygon(), polygon([]), polygon([[0, 0], [1, 1], [0, 0]])])
def test_shapes_without_area_are_left_out(tmp_path: Path, geometry: dict[str, Any]) -> None:
    path = saved(tmp_path, collection(feature(geometry), feature(polygon(SQUARE))))
    assert len(read_rois(path)) == 1


def test_regions_must_touch_the_slide(tmp_path: Path) -> None:
    path = saved(tmp_path, feature(polygon(SQUARE), name="Hot spot"))
    rois = read_rois(path)
    check_rois_inside(rois, width=100, height=100, path=path)
    check_rois_inside(rois, width=5, height=5, path=path)
    outside = [type(roi)(roi.name, roi.class_name, shifted(roi.area, 100)) for roi in rois]
    with pytest.raises(RegionError, match=r"'Hot spot' \(x 100 to 110, y 0 to 10\) lies outside"):
        check_rois_inside(outside, width=100, height=100, path=path)


def shifted(area: Any, dx: float) -> Any:
    (part,) = area.geoms
    return type(area)([Polygon([(x + dx, y) for x, y in part.exterior.coords])])
