"""Nuclei on disk: what goes in comes out, and nothing else is taken for it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import box

from wsi_suite.errors import DataError, LaterFormatError, OutputError
from wsi_suite.nuclei.parquet import read_grades, read_nuclei, read_provenance, write_nuclei
from wsi_suite.nuclei.provenance import parse_provenance
from wsi_suite.nuclei.table import NOT_MEASURABLE, Nuclei

METADATA = {"model": {"name": "endonuke-resnet18", "hash": "ab12"}, "mpp": [0.25, 0.25]}


def make_nuclei(count: int, *, outlines: bool = True, seed: int = 0) -> Nuclei:
    rng = np.random.default_rng(seed)
    dab = rng.uniform(0, 1.5, count).astype(np.float32)
    dab[::7] = np.nan
    return Nuclei(
        x=np.round(rng.uniform(0, 1e5, count), 2),
        y=np.round(rng.uniform(0, 1e5, count), 2),
        confidence=rng.uniform(0, 1, count).astype(np.float32),
        label=rng.integers(0, 3, count).astype(np.uint8),
        classes=("Stroma", "Epithelium", "Other"),
        measurements={"Nucleus: DAB OD mean": dab, "Nucleus: Area µm^2": dab * 20},
        outline=rng.uniform(2, 12, (count, 16)).astype(np.float32) if outlines else None,
    )


def make_grades(count: int) -> np.ndarray:
    return np.resize(np.array([0, 1, 2, 3, NOT_MEASURABLE], np.uint8), count)


def assert_same(found: Nuclei, expected: Nuclei) -> None:
    for name in ("x", "y", "confidence", "label"):
        column = getattr(found, name)
        assert column.dtype == getattr(expected, name).dtype
        np.testing.assert_array_equal(column, getattr(expected, name))
    assert found.classes == expected.classes
    assert list(found.measurements) == list(expected.measurements)
    for name, values in expected.measurements.items():
        assert found.measurements[name].dtype == np.float32
        np.testing.assert_array_equal(found.measurements[name], values)
    if expected.outline is None:
        assert found.outline is None
    else:
        assert found.outline is not None
        assert found.outline.dtype == np.float32
        np.testing.assert_array_equal(found.outline, expected.outline)


@given(count=st.integers(0, 40), outlines=st.booleans(), seed=st.integers(0, 99))
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, count: int, outlines: bool, seed: int
) -> None:
    path = tmp_path_factory.mktemp("trip") / "nuclei.parquet"
    nuclei = make_nuclei(count, outlines=outlines, seed=seed)

    write_nuclei(nuclei, path, intensity=make_grades(count), metadata=METADATA)
    found, metadata = read_nuclei(path)

    assert_same(found, nuclei)
    assert metadata == METADATA


def test_classes_keep_their_order_where_some_have_no_nucleus(tmp_path: Path) -> None:
    nuclei = make_nuclei(30)
    only_last = nuclei.take(nuclei.label == 2)
    write_nuclei(
        only_last,
        tmp_path / "n.parquet",
        intensity=make_grades(len(only_last)),
        metadata={},
    )
    found, _ = read_nuclei(tmp_path / "n.parquet")
    assert found.classes == nuclei.classes
    assert set(found.label) == {2}


def test_schema_is_the_documented_one(tmp_path: Path) -> None:
    path = tmp_path / "nuclei.parquet"
    write_nuclei(make_nuclei(10), path, intensity=make_grades(10), metadata=METADATA)
    schema = pq.read_schema(path)
    text = pa.dictionary(pa.int32(), pa.string())
    assert {field.name: field.type for field in schema} == {
        "x": pa.float64(),
        "y": pa.float64(),
        "confidence": pa.float32(),
        "class": text,
        "intensity": text,
        "Nucleus: DAB OD mean": pa.float32(),
        "Nucleus: Area µm^2": pa.float32(),
        "outline": pa.list_(pa.float32(), 16),
    }
    assert json.loads(schema.metadata[b"wsi_suite"])["model"]["hash"] == "ab12"
    rows = pq.read_table(path)
    assert rows["intensity"].to_pylist() == ["Negative", "1+", "2+", "3+", None] * 2


def test_pandas_reads_it(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "nuclei.parquet"
    nuclei = make_nuclei(10)
    write_nuclei(nuclei, path, intensity=make_grades(10), metadata=METADATA)
    frame = pandas.read_parquet(path)
    assert list(frame["class"]) == [nuclei.classes[label] for label in nuclei.label]
    assert frame["intensity"].isna().sum() == 2


def test_same_nuclei_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "a.parquet", tmp_path / "b.parquet"
    for path in (first, second):
        write_nuclei(make_nuclei(500), path, intensity=make_grades(500), metadata=METADATA)
    assert first.read_bytes() == second.read_bytes()


def test_outlines_can_be_left_out_when_reading(tmp_path: Path) -> None:
    path = tmp_path / "nuclei.parquet"
    nuclei = make_nuclei(20)
    write_nuclei(nuclei, path, intensity=make_grades(20), metadata={})
    found, _ = read_nuclei(path, outline=False)
    assert found.outline is None
    np.testing.assert_array_equal(found.x, nuclei.x)


def test_files_of_earlier_versions_are_read(tmp_path: Path) -> None:
    nuclei = make_nuclei(20)
    write_nuclei(nuclei, tmp_path / "now.parquet", intensity=make_grades(20), metadata=METADATA)
    table = pq.read_table(tmp_path / "now.parquet")
    names = ["score" if name == "confidence" else name for name in table.column_names]
    described = json.loads(table.schema.metadata[b"wsi_suite"])
    assert described.pop("format") == 3
    earlier = table.rename_columns(names).replace_schema_metadata(
        {b"wsi_suite": json.dumps(described).encode()}
    )
    pq.write_table(earlier, tmp_path / "earlier.parquet")
    found, metadata = read_nuclei(tmp_path / "earlier.parquet")
    assert_same(found, nuclei)
    assert list(found.measurements) == list(nuclei.measurements)
    assert metadata == METADATA


def test_files_of_later_versions_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "nuclei.parquet"
    table = pa.table({"place": [1.0]}).replace_schema_metadata({b"wsi_suite": b'{"format": 4}'})
    pq.write_table(table, path)
    for read in (read_nuclei, read_grades, read_provenance):
        with pytest.raises(
            LaterFormatError, match=r"nuclei\.parquet: of format 4, which a later version"
        ):
            read(path)


def test_provenance_of_earlier_versions_is_read(tmp_path: Path) -> None:
    """Thresholds without origin, the earlier name of the threshold, and no outline of tissue."""
    path = tmp_path / "nuclei.parquet"
    about = {
        "slide": "a.svs", "slide_sha256": "12", "size_px0": [40, 30], "mpp": [0.25, 0.25],
        "read_mpp": [0.5, 0.5], "model": {"name": "tiny", "hash": "ab12"},
        "compute": {"device": "cpu", "precision": "fp32", "batch": 1}, "min_score": 0.4,
        "measure": {"method": "disc", "disc_radius_um": 2.0}, "stain_vectors": "H-DAB",
        "score": {"thresholds_od": [0.2, 0.4, 0.6], "marker": "ER"},
        "rois": [{"name": "A", "class": None, "wkb": box(0, 0, 2, 3).wkb_hex}],
        "tissue_area_mm2": 0.5, "glass_dab_od": None, "wsi_suite": "0.1.0",
    }  # fmt: skip
    write_nuclei(make_nuclei(5), path, intensity=make_grades(5), metadata=about)
    found = read_provenance(path)
    assert (found.min_confidence, found.measure.disc_radius_um) == (0.4, 2.0)
    assert found.score.thresholds_origin == "default"
    assert (found.tissue(), found.seen, found.notes) == (None, None, ())
    (roi,) = found.regions() or ()
    assert (roi.name, roi.class_name, roi.area.bounds) == ("A", None, (0, 0, 2, 3))
    assert parse_provenance(found.as_json(), source=path) == found


def test_provenance_of_no_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "nuclei.parquet"
    write_nuclei(make_nuclei(5), path, intensity=make_grades(5), metadata=METADATA)
    with pytest.raises(DataError, match=r"no result of a run.*; give the nuclei\.parquet of one"):
        read_provenance(path)


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "nuclei.parquet"
    path.write_bytes(b"older")
    with pytest.raises(TypeError):
        write_nuclei(make_nuclei(5), path, intensity=make_grades(5), metadata={"model": object()})
    assert [file.name for file in tmp_path.iterdir()] == ["nuclei.parquet"]
    assert path.read_bytes() == b"older"


def test_an_absent_folder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "nuclei.parquet"
    with pytest.raises(OutputError, match="nowhere") as caught:
        write_nuclei(make_nuclei(5), path, intensity=make_grades(5), metadata={})
    assert "\n" not in str(caught.value)


def _foreign(path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), path)


def _without_metadata(path: Path) -> None:
    names = ("x", "y", "confidence", "class", "intensity")
    pq.write_table(pa.table({name: [1.0] for name in names}), path)


def _truncated(path: Path) -> None:
    write_nuclei(make_nuclei(50), path, intensity=make_grades(50), metadata={})
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.write_bytes(b""), "not a readable Parquet file"),
        (lambda path: path.write_text("x,y\n1,2\n"), "not a readable Parquet file"),
        (_truncated, "not a readable Parquet file"),
        (_foreign, "no column 'x'"),
        (_without_metadata, "no metadata 'wsi_suite'"),
    ],
)
def test_what_is_no_table_of_nuclei_is_refused(tmp_path: Path, make, expected: str) -> None:
    path = tmp_path / "thing.parquet"
    make(path)
    with pytest.raises(DataError, match=expected) as caught:
        read_nuclei(path)
    assert "thing.parquet" in str(caught.value)
    assert "\n" not in str(caught.value)
