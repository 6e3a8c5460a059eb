"""What GeoJSON and pushes have in common."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from shapely import contains_xy
from shapely.geometry import MultiPolygon, Point, Polygon

from wsi_suite.nuclei.parquet import read_nuclei, write_nuclei
from wsi_suite.nuclei.table import NOT_MEASURABLE, Nuclei
from wsi_suite.qupath.geojson import write_geojson
from wsi_suite.qupath.objects import (
    ELLIPSE,
    NAMESPACE,
    POINT,
    POLYGON,
    Detections,
    Shape,
    at_centroids,
    circle_radius_px0,
    detections,
    is_ours,
    origin_of,
    pushed_texts,
)
from wsi_suite.scoring.regions import points_in_areas

PROVENANCE = {
    "wsi_suite": "0.1.0",
    "model": {"name": "endonuke-resnet18", "hash": "0123456789abcdef"},
    "mpp": [0.25, 0.2501],
    "measure": {"disc_radius_um": 1.5},
    "rois": None,
}


def nuclei_with(outline: np.ndarray | None, *, x: float = 100.0) -> Nuclei:
    count = 1 if outline is None else len(outline)
    return Nuclei(
        x=x + 50.0 * np.arange(count),
        y=np.full(count, 20.004),
        confidence=np.full(count, 0.123456, np.float32),
        label=(np.arange(count) % 2).astype(np.uint8),
        classes=("Stroma", "Epithelium"),
        measurements={"od": np.array([0.12344, np.nan, np.inf, 2.0], np.float32)[:count]},
        outline=outline,
    )


def rays(*lengths: float) -> np.ndarray:
    return np.repeat(np.array(lengths, np.float32)[:, None], 16, axis=1)


@given(
    outline=arrays.arrays(np.float32, (3, 16), elements=st.floats(0, 200, width=32)),
    x=st.floats(-100, 2e5),
)
def test_centroid_and_area_are_the_polygon_s(outline: np.ndarray, x: float) -> None:
    made = detections(nuclei_with(outline, x=x))
    assert made.kind.tolist() == [POLYGON] * 3
    for ring, centroid, area in zip(made.rings, made.centroid, made.area_px0, strict=True):
        assert Polygon(ring).is_valid
        expected = Polygon(ring.astype(np.float32) - ring[0])  # as QuPath holds it
        assert area == pytest.approx(expected.area, abs=0.0051)
        exact = np.add(expected.centroid.coords[0], ring[0])
        assert np.abs(centroid - exact).max() <= np.spacing(np.float32(2e5)) + 0.005 * (
            expected.area < 0.1
        )
        assert (centroid == centroid.astype(np.float32)).all()


def as_qupath_reads(geometry: dict[str, Any]) -> tuple[float, float]:
    """Return the centroid that QuPath 0.6 gives a shape in a GeoJSON file.

    Coordinates are rounded to 0.01 px and held in single precision; so is a polygon's centroid, and
    that of an ellipse is the middle of its bounds.
    """
    positions = geometry["coordinates"]
    if geometry["type"] == "Polygon":
        positions = positions[0]
    held = np.round(np.reshape(positions, (-1, 2)), 2).astype(np.float32).astype(float)
    if geometry.get("isEllipse"):
        held = np.stack([held.min(axis=0), held.max(axis=0)])
    if geometry["type"] == "Point" or geometry.get("isEllipse"):
        return tuple(held.mean(axis=0))
    middle = np.add(Polygon(held - held[0]).centroid.coords[0], held[0])
    return tuple(middle.astype(np.float32).astype(float))


@pytest.mark.parametrize("shape", ["polygon", "ellipse", "point"])
@pytest.mark.parametrize("corner", [0.0, 60_000.0, 190_000.0])
@pytest.mark.parametrize("outlined", [True, False])
def test_regions_count_the_nuclei_whose_shapes_qupath_counts(
    tmp_path: Path, shape: Shape, corner: float, outlined: bool
) -> None:
    rng = np.random.default_rng(3)
    count = 4000
    found = Nuclei(
        x=np.round(rng.uniform(0, 400, count), 2) + corner,
        y=np.round(rng.uniform(0, 400, count), 2) + corner,
        confidence=np.ones(count, np.float32),
        label=np.zeros(count, np.uint8),
        classes=("Stroma",),
        outline=rng.uniform(1, 12, (count, 16)).astype(np.float32) if outlined else None,
    )
    nuclei = at_centroids(found, radius_px0=4.0)  # as in the table of a run
    np.testing.assert_array_equal(detections(nuclei).ids, detections(found).ids)
    (file,) = write_geojson(nuclei, tmp_path / "n.geojson", shape=shape, radius_px0=4.0)
    features = json.loads(file.read_text("utf-8"))["features"]
    theirs = np.array([as_qupath_reads(feature["geometry"]) for feature in features])

    counted = at_centroids(nuclei, shape=shape, radius_px0=4.0)
    np.testing.assert_array_equal(counted.points, theirs)
    if shape == "polygon":
        np.testing.assert_array_equal(nuclei.points, theirs)
    area = MultiPolygon([Point(corner + 200, corner + 200).buffer(140)])
    (rows,) = points_in_areas(counted.points, [area])
    assert rows.tolist() == np.flatnonzero(contains_xy(area, *theirs.T)).tolist()


def test_kinds_of_shapes() -> None:
    outline = rays(10.0, np.nan, 6.0)
    outline[2, 3] = np.nan

    def kinds(**wanted: object) -> list[int]:
        return detections(nuclei_with(outline), **wanted).kind.tolist()  # type: ignore[arg-type]

    assert kinds() == [POLYGON, POINT, POINT]
    assert kinds(radius_px0=3.0) == [POLYGON, ELLIPSE, ELLIPSE]
    assert kinds(radius_px0=3.0, shape="ellipse") == [ELLIPSE, ELLIPSE, ELLIPSE]
    assert kinds(shape="ellipse") == [ELLIPSE, POINT, POINT]
    assert kinds(radius_px0=3.0, shape="point") == [POINT, POINT, POINT]


def test_columns() -> None:
    outline = rays(10.0, np.nan, np.nan, 2.0)
    made = detections(
        nuclei_with(outline),
        grades=np.array([2, NOT_MEASURABLE, 0, 3], np.uint8),
        radius_px0=3.0,
    )
    assert len(made) == 4
    np.testing.assert_array_equal(made.points, [[100, 20], [150, 20], [200, 20], [250, 20]])
    np.testing.assert_allclose(made.bounds[0], [[147, 17], [153, 23]])
    assert made.rings.shape == (2, 16, 2)
    assert made.area_px0[1] == pytest.approx(np.pi * 9, abs=0.005)
    assert [made.path_classes[code].name for code in made.path_class] == [
        "Stroma: 2+",
        "Epithelium",
        "Stroma: Negative",
        "Epithelium: 3+",
    ]
    assert made.measurements["Detection probability"].tolist() == [0.1235] * 4
    np.testing.assert_array_equal(made.measurements["od"], [0.1234, np.nan, np.nan, 2.0])
    assert pushed_texts(made).to_pylist()[1] == "150.00,20.00,28.27,Epithelium"


def test_ids_are_uuid5_of_the_position() -> None:
    made: Detections = detections(nuclei_with(rays(1.0, 2.0)))
    expected = [uuid.uuid5(NAMESPACE, "100.00,20.00"), uuid.uuid5(NAMESPACE, "150.00,20.00")]
    assert [uuid.UUID(bytes=one.tobytes()) for one in made.ids] == expected


def test_nuclei_without_any_outline() -> None:
    made = detections(nuclei_with(None), shape="polygon", radius_px0=2.0)
    assert (made.kind.tolist(), len(made.rings), len(made.bounds)) == ([ELLIPSE], 0, 1)
    assert len(detections(Nuclei.empty(("Stroma",)))) == 0


def test_the_origin_is_the_same_when_it_was_read_back(tmp_path: Path) -> None:
    nuclei = nuclei_with(rays(1.0))
    write_nuclei(nuclei, tmp_path / "n.parquet", intensity=nuclei.label, metadata=PROVENANCE)
    _, metadata = read_nuclei(tmp_path / "n.parquet")
    origin = origin_of(PROVENANCE)
    assert origin_of(metadata) == origin
    assert origin["_source"] == "wsi-suite 0.1.0"
    assert origin["_model"] == "endonuke-resnet18 0123456789ab"
    assert len(origin["_run"]) == 12
    assert origin_of(PROVENANCE | {"rois": []})["_run"] != origin["_run"]
    assert json.loads(json.dumps(origin)) == origin


def test_whose_an_object_is() -> None:
    assert is_ours(origin_of(PROVENANCE))
    assert not is_ours({})
    assert not is_ours({"source": "wsi-suite 0.1.0"})
    assert not is_ours({"_source": None})


def test_radius_of_circles() -> None:
    assert circle_radius_px0(PROVENANCE) == 6.0
