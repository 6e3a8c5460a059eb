"""Nuclei that come back from QuPath."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn import HOLE, SQUARE, collection, feature, polygon, saved

from wsi_suite.errors import DataError
from wsi_suite.nuclei.table import NOT_MEASURABLE, Nuclei
from wsi_suite.qupath.geojson import write_geojson
from wsi_suite.qupath.labels import (
    ADDED,
    CORRECTED,
    FOREIGN,
    UNTOUCHED,
    Labels,
    read_labels,
    split_class,
)

CORRECTION_CASES = Path(__file__).parents[1] / "correction_cases.json"
POINTS = {"type": "MultiPoint", "coordinates": [[1, 2], [3, 4], [5.5, 6]]}
ORIGIN = {"_source": "wsi-suite 0.1.0", "_run": "0123456789ab"}

Change = Callable[[dict[str, Any]], None]


def read(folder: Path, *features: Any, mpp: float | None = None, name: str = "n.geojson") -> Labels:
    return read_labels(saved(folder, collection(*features), name=name), mpp=mpp)


def ours(folder: Path, *, shape: Any = "polygon", x: float = 150_000.37) -> dict[str, Any]:
    """Return the feature of one nucleus of ours."""
    nuclei = Nuclei(
        x=np.array([x]),
        y=np.array([20.0]),
        confidence=np.ones(1, np.float32),
        label=np.zeros(1, np.uint8),
        classes=("Stroma",),
        outline=np.linspace(9, 12, 16, dtype=np.float32)[None],
    )
    grades = np.array([2], np.uint8)
    (path,) = write_geojson(nuclei, folder / "m.geojson", grades=grades, shape=shape, origin=ORIGIN)
    (written,) = json.loads(path.read_text())["features"]
    return written


def test_what_counts_as_corrected_is_the_same_in_groovy_and_python(tmp_path: Path) -> None:
    cases = json.loads(CORRECTION_CASES.read_text("utf-8"))
    features = [
        feature(
            polygon(case["ring"]),
            objectType="detection",
            classification=case["class"],
            name=case.get("name"),
            isLocked=case.get("locked", False),
            metadata=ORIGIN if case["pushed"] is None else ORIGIN | {"_pushed": case["pushed"]},
        )
        for case in cases
    ]
    states = read(tmp_path, *features).states
    assert {
        case["case"]: state == CORRECTED for case, state in zip(cases, states, strict=True)
    } == {case["case"]: case["corrected"] for case in cases}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Epithelium: 1+", ("Epithelium", 1)),
        ("Epithelium: Negative", ("Epithelium", 0)),
        ("Tumor: edge: 3+", ("Tumor: edge", 3)),
        ("Tumor: edge", ("Tumor: edge", NOT_MEASURABLE)),
        ("2+", (None, 2)),
        ("Positive", ("Positive", NOT_MEASURABLE)),
        (None, (None, NOT_MEASURABLE)),
    ],
)
def test_a_class_is_a_compartment_and_an_intensity(name: str | None, expected: Any) -> None:
    assert split_class(name) == expected


def test_what_is_a_nucleus(tmp_path: Path) -> None:
    line = {"type": "LineString", "coordinates": [[0, 0], [5, 5]]}
    cell = feature(polygon(SQUARE), objectType="cell") | {"nucleusGeometry": polygon(HOLE)}
    labels = read(
        tmp_path,
        feature(polygon(SQUARE), objectType="detection", classification="Stroma: 1+"),
        cell,
        feature(polygon(SQUARE), objectType="cell"),
        feature(POINTS, objectType="annotation", classification="Epithelium"),
        feature({"type": "Point", "coordinates": [7, 8]}),
        feature(polygon(SQUARE), objectType="annotation"),
        feature(polygon(SQUARE), objectType="tile"),
        feature(line, objectType="detection"),
        feature({"type": "MultiPoint", "coordinates": []}),
        {"type": "Feature", "geometry": None, "properties": {"objectType": "detection"}},
    )
    expected = [[5, 5], [3, 3], [5, 5], [1, 2], [3, 4], [5.5, 6], [7, 8]]
    np.testing.assert_allclose(labels.points, expected)
    assert labels.class_names == ("Stroma", None, None, *["Epithelium"] * 3, None)
    assert labels.grades.tolist() == [1] + [NOT_MEASURABLE] * 6
    assert labels.states.tolist() == [FOREIGN] * 3 + [ADDED] * 4
    assert [shape.area for shape in labels.shapes] == [100, 4, 100, 0, 0, 0, 0]


def test_an_annotation_as_large_as_a_nucleus_is_one(tmp_path: Path) -> None:
    drawn = feature(polygon(SQUARE), objectType="annotation", classification="Stroma")
    assert len(read(tmp_path, drawn)) == 0
    assert len(read(tmp_path, drawn, mpp=2.65)) == 0  # 702 um2
    labels = read(tmp_path, drawn, mpp=2.64)
    assert (labels.class_names, labels.states.tolist()) == (("Stroma",), [ADDED])


def test_other_shapes(tmp_path: Path) -> None:
    moved = [[x + 20, y] for x, y in SQUARE]
    labels = read(
        tmp_path,
        feature(polygon(SQUARE, HOLE), objectType="detection"),
        feature(
            {"type": "MultiPolygon", "coordinates": [[SQUARE], [moved]]}, objectType="detection"
        ),
        feature(polygon(SQUARE, isEllipse=True), objectType="detection"),
        feature(polygon([[0, 0], [9, 9], [9, 0], [0, 9], [0, 0]]), objectType="detection"),
    )
    assert [shape.area for shape in labels.shapes] == pytest.approx([96, 200, 78.5, 40.5], abs=0.1)
    np.testing.assert_allclose(labels.points[1:], [[15, 5], [5, 5], [4.5, 4.5]], atol=1e-9)


@pytest.mark.parametrize("name", ["n.geojson", "n.geojson.gz", "n.zip", "n.json"])
def test_old_forms(tmp_path: Path, name: str) -> None:
    old = feature(
        polygon(SQUARE),
        classification={"name": "1+", "parentClass": {"name": "Tumor", "colorRGB": -3670016}},
        isLocked=False,
        measurements=[{"name": "Nucleus: DAB OD mean", "value": 0.3}],
    ) | {"id": "PathDetectionObject"}
    newer = feature(
        polygon(SQUARE),
        object_type="detection",
        classification={"names": ["Tumor", "1+"], "color": [200, 0, 0]},
    )
    labels = read(tmp_path, old, newer, name=name)
    assert labels.class_names == ("Tumor", "Tumor")
    assert labels.grades.tolist() == [1, 1]
    assert labels.states.tolist() == [FOREIGN, FOREIGN]


@pytest.mark.parametrize("shape", ["polygon", "ellipse", "point"])
def test_in_single_precision_a_nucleus_of_ours_is_untouched(tmp_path: Path, shape: str) -> None:
    for x in (3.33, 131_072.01, 199_999.99):
        nucleus = ours(tmp_path, shape=shape, x=x)
        # QuPath keeps vertices in single precision and writes two decimals.
        single = np.array(nucleus["geometry"]["coordinates"], np.float32).astype(np.float64)
        nucleus["geometry"]["coordinates"] = np.round(single, 2).tolist()
        nucleus["properties"]["classification"]["name"] = "Stroma: Negative"
        assert read(tmp_path, nucleus).states.tolist() == [UNTOUCHED]


def shifted(dx: float) -> Change:
    def change(nucleus: dict[str, Any]) -> None:
        (ring,) = nucleus["geometry"]["coordinates"]
        nucleus["geometry"]["coordinates"] = [[[x + dx, y] for x, y in ring]]

    return change


def grown(share: float) -> Change:
    def change(nucleus: dict[str, Any]) -> None:
        ring = np.array(nucleus["geometry"]["coordinates"][0])
        centre = read_centre(nucleus)
        nucleus["geometry"]["coordinates"] = [(centre + (ring - centre) * share).tolist()]

    return change


def read_centre(nucleus: dict[str, Any]) -> np.ndarray:
    return np.array(nucleus["properties"]["metadata"]["_pushed"].split(",")[:2], float)


def with_property(name: str, value: Any) -> Change:
    return lambda nucleus: nucleus["properties"].update({name: value})


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (shifted(0.05), UNTOUCHED),
        (shifted(0.12), CORRECTED),
        (grown(1.001), UNTOUCHED),
        (grown(1.01), CORRECTED),
        (with_property("name", "mitosis"), CORRECTED),
        (with_property("isLocked", True), CORRECTED),
        (with_property("classification", None), CORRECTED),
        (with_property("classification", {"names": ["Epithelium", "2+"]}), CORRECTED),
        (with_property("classification", "Stroma"), UNTOUCHED),
        (with_property("metadata", ORIGIN), CORRECTED),
        (with_property("metadata", ORIGIN | {"_pushed": "damaged"}), CORRECTED),
        (with_property("metadata", {}), FOREIGN),
        (with_property("metadata", ["_source"]), FOREIGN),
        (with_property("name", ""), UNTOUCHED),
    ],
)
def test_states_of_ours(tmp_path: Path, change: Change, state: int) -> None:
    nucleus = ours(tmp_path)
    change(nucleus)
    assert read(tmp_path, nucleus).states.tolist() == [state]


def test_our_score_annotations_are_no_labels(tmp_path: Path) -> None:
    drawn = feature(polygon(SQUARE), objectType="annotation", metadata=ORIGIN)
    assert len(read(tmp_path, drawn, mpp=0.25)) == 0


@pytest.mark.parametrize(
    "geometry",
    [
        {"type": "Point", "coordinates": []},
        {"type": "Point", "coordinates": [1, float("nan")]},
        {"type": "MultiPoint", "coordinates": [[1, 2], [3]]},
        polygon([[0, 0], [1, "a"], [1, 1], [0, 0]]),
    ],
)
def test_damaged_objects_are_named(tmp_path: Path, geometry: Any) -> None:
    good = feature(polygon(SQUARE), objectType="detection")
    with pytest.raises(DataError, match=r"n\.geojson: object 2 is not as GeoJSON has it"):
        read(tmp_path, good, feature(geometry, objectType="detection"))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"n\.geojson: cannot be read"):
        read_labels(tmp_path / "n.geojson")


@pytest.mark.slow
def test_a_hundred_thousand_nuclei_take_seconds(tmp_path: Path) -> None:
    count, rng = 100_000, np.random.default_rng(0)
    nuclei = Nuclei(
        x=np.arange(count) % 400 * 40.0,
        y=np.arange(count) // 400 * 40.0,
        confidence=np.ones(count, np.float32),
        label=np.zeros(count, np.uint8),
        classes=("Stroma",),
        outline=rng.uniform(5, 12, (count, 16)).astype(np.float32),
    )
    (path,) = write_geojson(nuclei, tmp_path / "n.geojson", origin=ORIGIN, part_size=count)
    start = time.process_time()
    labels = read_labels(path)
    assert time.process_time() - start < 20, "CPU seconds, on a slow machine"
    assert np.count_nonzero(labels.states == UNTOUCHED) == count
