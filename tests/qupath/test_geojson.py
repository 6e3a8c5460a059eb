"""What QuPath imports: its rules, our promises, and a way back."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from qupath_rules import read_objects
from shapely.geometry import Polygon, shape

from wsi_suite.errors import ConfigError, OutputError
from wsi_suite.nuclei.table import NOT_MEASURABLE, Nuclei
from wsi_suite.qupath.geojson import write_geojson
from wsi_suite.qupath.labels import UNTOUCHED, Labels, read_labels
from wsi_suite.qupath.objects import INTENSITY_COLOURS, NAMESPACE, PUSHED, Shape, at_centroids

CLASSES = ("Stroma", "Epithelium")
ODD_CLASSES = ("Stroma", "Tumour: edge", 'a, "b" µ')
ORIGIN = {"_source": "wsi-suite 0.1.0", "_model": 'endonuke "µ"', "_run": "0123456789ab"}


def make_nuclei(count: int, *, outlines: bool = True, seed: int = 0) -> Nuclei:
    rng = np.random.default_rng(seed)
    return Nuclei(
        x=np.round(rng.uniform(0, 1e5, count), 2),
        y=np.round(rng.uniform(0, 1e5, count), 2),
        confidence=np.round(rng.uniform(0, 1, count), 4).astype(np.float32),
        label=(np.arange(count) % 2).astype(np.uint8),
        classes=CLASSES,
        measurements={"Nucleus: DAB OD mean": rng.uniform(0, 1, count).astype(np.float32)},
        outline=rng.uniform(5, 12, (count, 16)).astype(np.float32) if outlines else None,
    )


finite = st.floats(-10, 2e5, width=64)
radii = st.floats(0, 200, width=32) | st.just(float("nan"))


@st.composite
def nuclei_and_grades(draw: st.DrawFn) -> tuple[Nuclei, np.ndarray]:
    # A nucleus has its place for itself: on a grid, each within its cell.
    cells = draw(st.lists(st.integers(0, 399), max_size=6, unique=True))
    count, corner = len(cells), 500.0 * np.array([divmod(cell, 20) for cell in cells])
    corner = corner.reshape(-1, 2) + draw(st.sampled_from([0.0, 190_000.0]))
    offsets = draw(arrays.arrays(np.float64, (count, 2), elements=st.floats(0, 499)))
    nuclei = Nuclei(
        x=(corner + offsets)[:, 0],
        y=(corner + offsets)[:, 1],
        confidence=draw(arrays.arrays(np.float32, count, elements=st.floats(0, 1, width=32))),
        label=draw(arrays.arrays(np.uint8, count, elements=st.integers(0, 2))),
        classes=ODD_CLASSES,
        measurements={
            'a "quoted" µ': draw(arrays.arrays(np.float32, count, elements=st.floats(width=32)))
        },
        outline=draw(st.none() | arrays.arrays(np.float32, (count, 16), elements=radii)),
    )
    grades = draw(
        arrays.arrays(np.uint8, count, elements=st.sampled_from([0, 1, 2, 3, NOT_MEASURABLE]))
    )
    return nuclei, grades


@given(
    made=nuclei_and_grades(),
    form=st.sampled_from(["polygon", "ellipse", "point"]),
    radius=st.none() | st.floats(1, 20),
)
def test_round_trip_within_the_rules(
    tmp_path_factory: pytest.TempPathFactory,
    made: tuple[Nuclei, np.ndarray],
    form: Shape,
    radius: float | None,
) -> None:
    nuclei, grades = made
    path = tmp_path_factory.mktemp("trip") / "nuclei.geojson"
    (written,) = write_geojson(
        nuclei, path, grades=grades, shape=form, radius_px0=radius, origin=ORIGIN
    )
    features = read_objects(written)
    labels = read_labels(written)

    assert len(features) == len(labels) == len(nuclei)
    assert labels.class_names == tuple(ODD_CLASSES[label] for label in nuclei.label)
    np.testing.assert_array_equal(labels.grades, grades)
    assert (labels.states == UNTOUCHED).all()
    counted = at_centroids(nuclei, shape=form, radius_px0=radius)
    for row, feature in enumerate(features):
        properties, drawn = feature["properties"], feature["geometry"]
        check_measured(properties["measurements"], nuclei.measurements['a "quoted" µ'][row])
        check_pushed(properties["metadata"][PUSHED], labels, row)
        # Here in double, in QuPath in single precision.
        limit = 0.0051 if drawn["type"] == "Point" or drawn.get("isEllipse") else 0.05
        where = counted.points[row]
        assert np.abs(labels.points[row] - where).max() <= limit + np.spacing(np.float32(2e5))


def check_measured(written: dict[str, float], expected: np.float32) -> None:
    if np.isfinite(expected):
        assert written['a "quoted" µ'] == pytest.approx(float(expected), abs=6e-5)
    else:
        assert 'a "quoted" µ' not in written, "QuPath 0.4 knows no NaN"


def check_pushed(text: str, labels: Labels, row: int) -> None:
    x, y, area, compartment = text.split(",", 3)
    assert [float(x), float(y)] == pytest.approx(labels.points[row].tolist(), abs=0.07)
    # A circle is read as a polygon of 100 vertices, and QuPath's vertices have single precision.
    seen, border = labels.shapes[row].area, labels.shapes[row].length
    assert float(area) == pytest.approx(seen, abs=0.1 + 0.01 * border + 1e-3 * seen)
    assert compartment == labels.class_names[row]


def test_polygon_is_the_outline(tmp_path: Path) -> None:
    nuclei = make_nuclei(20)
    (path,) = write_geojson(nuclei, tmp_path / "n.geojson")
    angle = 2 * np.pi * np.arange(16) / 16
    for row, feature in enumerate(read_objects(path)):
        ring = np.array(feature["geometry"]["coordinates"][0])
        x = nuclei.x[row] + nuclei.outline[row] * np.cos(angle)
        y = nuclei.y[row] + nuclei.outline[row] * np.sin(angle)
        np.testing.assert_allclose(ring[:-1], np.stack([x, y], axis=-1), atol=0.0051)


def test_ellipse_has_the_area_of_the_outline(tmp_path: Path) -> None:
    nuclei = make_nuclei(20)
    polygons = read_objects(write_geojson(nuclei, tmp_path / "p.geojson")[0])
    circles = read_objects(write_geojson(nuclei, tmp_path / "e.geojson", shape="ellipse")[0])
    for polygon, circle in zip(polygons, circles, strict=True):
        assert circle["geometry"]["isEllipse"] is True
        ring = np.array(circle["geometry"]["coordinates"][0])
        width, height = np.ptp(ring, axis=0)
        area = Polygon(polygon["geometry"]["coordinates"][0]).area
        assert np.pi / 4 * width * height == pytest.approx(area, rel=0.01)


def test_a_nucleus_without_outline_is_a_point_or_a_circle(tmp_path: Path) -> None:
    nuclei = make_nuclei(3)
    nuclei.outline[1, 4] = np.nan
    points = read_objects(write_geojson(nuclei, tmp_path / "p.geojson")[0])
    assert [feature["geometry"]["type"] for feature in points] == ["Polygon", "Point", "Polygon"]
    circles = read_objects(write_geojson(nuclei, tmp_path / "c.geojson", radius_px0=4)[0])
    assert [feature["geometry"].get("isEllipse") for feature in circles] == [None, True, None]
    assert shape(circles[1]["geometry"]).bounds == pytest.approx(
        (nuclei.x[1] - 4, nuclei.y[1] - 4, nuclei.x[1] + 4, nuclei.y[1] + 4), abs=0.01
    )


def test_classes_carry_their_colours(tmp_path: Path) -> None:
    nuclei = make_nuclei(10)
    grades = np.array([0, 0, 1, 1, 2, 2, 3, 3, 255, 255], np.uint8)
    (path,) = write_geojson(nuclei, tmp_path / "n.geojson", grades=grades)
    found = [feature["properties"]["classification"] for feature in read_objects(path)]
    assert found[3] == {"name": "Epithelium: 1+", "color": [255, 215, 0]}
    assert [tuple(one["color"]) for one in found[1:8:2]] == list(INTENSITY_COLOURS)
    assert [one["name"] for one in found[8:]] == ["Stroma", "Epithelium"]
    assert found[8]["color"] != found[9]["color"]


def test_a_file_names_the_classes_that_corrections_need(tmp_path: Path) -> None:
    grades = np.zeros(3, np.uint8)  # nothing but negatives: the other classes stand there, too
    (path,) = write_geojson(make_nuclei(3), tmp_path / "n.geojson", grades=grades)
    told = json.loads(path.read_bytes())["classes"]
    assert [one["name"] for one in told] == [
        *("Stroma: Negative", "Stroma: 1+", "Stroma: 2+", "Stroma: 3+", "Stroma"),
        *("Epithelium: Negative", "Epithelium: 1+", "Epithelium: 2+", "Epithelium: 3+"),
        "Epithelium",
    ]
    assert all(len(one["color"]) == 3 for one in told)


def test_ids_are_uuid5_of_the_position(tmp_path: Path) -> None:
    nuclei = make_nuclei(4)
    (path,) = write_geojson(nuclei, tmp_path / "n.geojson")
    expected = [
        str(uuid.uuid5(NAMESPACE, f"{x:.2f},{y:.2f}"))
        for x, y in zip(nuclei.x, nuclei.y, strict=True)
    ]
    assert [feature["id"] for feature in read_objects(path)] == expected


def test_objects_tell_their_origin(tmp_path: Path) -> None:
    (path,) = write_geojson(make_nuclei(2), tmp_path / "n.geojson", origin=ORIGIN)
    for feature in read_objects(path):
        metadata = feature["properties"]["metadata"]
        assert list(metadata) == [*ORIGIN, PUSHED]
        assert ORIGIN.items() <= metadata.items()
        assert feature["properties"]["measurements"].keys() == {
            "Detection probability",
            "Nucleus: DAB OD mean",
        }


@pytest.mark.parametrize("name", ["nuclei.geojson", "nuclei.geojson.gz"])
def test_same_nuclei_give_the_same_bytes(tmp_path: Path, name: str) -> None:
    nuclei = make_nuclei(100)
    (first,) = write_geojson(nuclei, tmp_path / name)
    before = first.read_bytes()
    (second,) = write_geojson(nuclei, tmp_path / name)
    assert second.read_bytes() == before
    assert len(read_objects(second)) == 100


def test_large_sets_come_in_parts(tmp_path: Path) -> None:
    nuclei = make_nuclei(105, outlines=False)
    paths = write_geojson(nuclei, tmp_path / "nuclei.geojson", part_size=10)
    assert [path.name for path in paths[:2]] == [
        "nuclei-01-of-11.geojson",
        "nuclei-02-of-11.geojson",
    ]
    found = [f["geometry"]["coordinates"] for path in paths for f in read_objects(path)]
    np.testing.assert_allclose(found, nuclei.points, atol=0.0051)


def test_files_of_an_earlier_run_are_removed(tmp_path: Path) -> None:
    strangers = {"nuclei-2024.geojson", "other.geojson", "nuclei-1-of-2.geojson.gz"}
    for name in strangers:
        (tmp_path / name).touch()
    for count in (35, 15, 5):
        written = write_geojson(make_nuclei(count), tmp_path / "nuclei.geojson", part_size=10)
        names = {path.name for path in tmp_path.iterdir()}
        assert names == strangers | {path.name for path in written}
    assert names == strangers | {"nuclei.geojson"}


def test_a_failure_leaves_the_earlier_files(tmp_path: Path) -> None:
    (path,) = write_geojson(make_nuclei(5), tmp_path / "nuclei.geojson")
    before = path.read_bytes()
    (tmp_path / "nuclei-2-of-2.geojson").mkdir()  # in the way of the second part
    with pytest.raises(OutputError, match=r"nuclei-2-of-2\.geojson: cannot be written"):
        write_geojson(make_nuclei(15), tmp_path / "nuclei.geojson", part_size=10)
    assert path.read_bytes() == before
    assert not (tmp_path / "nuclei-1-of-2.geojson").exists()


def test_other_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nuclei\.json: expected a name that ends in"):
        write_geojson(make_nuclei(1), tmp_path / "nuclei.json")


def test_no_nuclei_make_an_empty_collection(tmp_path: Path) -> None:
    (path,) = write_geojson(Nuclei.empty(CLASSES), tmp_path / "nuclei.geojson")
    told = json.loads(path.read_text())
    assert told["type"] == "FeatureCollection"
    assert told["features"] == []
