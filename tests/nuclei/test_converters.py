"""Tables of other programs: each is opened by its own reader, and comes back to the bit."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from test_parquet import make_grades, make_nuclei

from wsi_suite.errors import DataError
from wsi_suite.nuclei.table import Nuclei

MPP = (0.25, 0.2502)

WHOLE = replace(make_nuclei(40), mpp=MPP)
ODD = [
    WHOLE,
    replace(WHOLE, detected=WHOLE.points + 0.37),
    make_nuclei(5, outlines=False),
    replace(WHOLE.take(np.array([3])), mpp=None),
    replace(WHOLE, measurements={}),
]


def assert_same(one: Nuclei, other: Nuclei) -> None:
    for field in fields(Nuclei):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if field.name == "measurements":
            assert list(a) == list(b)
            a, b = [np.array(list(table.values())) for table in (a, b)]
        np.testing.assert_array_equal(a, b, err_msg=field.name)
        assert getattr(a, "dtype", None) == getattr(b, "dtype", None), field.name


def test_a_frame_is_read_back_from_a_csv_and_from_parquet(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    for nuclei in (*ODD, Nuclei.empty(("Stroma", "Epithelium"))):
        frame = nuclei.to_pandas(grades=make_grades(len(nuclei)))
        assert_same(Nuclei.from_pandas(frame), nuclei)
        frame.to_parquet(tmp_path / "frame.parquet")
        assert_same(Nuclei.from_pandas(pandas.read_parquet(tmp_path / "frame.parquet")), nuclei)
    frame = WHOLE.to_pandas(grades=make_grades(len(WHOLE)))
    assert list(frame["intensity"].cat.categories) == ["Negative", "1+", "2+", "3+"]
    assert frame["intensity"].isna().sum() == 8  # not measurable
    frame.to_csv(tmp_path / "frame.csv", index=False)
    back = Nuclei.from_pandas(pandas.read_csv(tmp_path / "frame.csv"), mpp=MPP)
    assert back.classes == ("Epithelium", "Other", "Stroma")  # a CSV knows no order
    np.testing.assert_array_equal(back.x, WHOLE.x)


def test_frames_of_others_are_refused_in_a_line_or_read() -> None:
    pandas = pytest.importorskip("pandas")
    frame = WHOLE.to_pandas()
    with pytest.raises(DataError, match="no column 'confidence': expected x, y, confidence"):
        Nuclei.from_pandas(frame.drop(columns="confidence"))
    with pytest.raises(DataError, match="column 'note' holds no numbers"):
        Nuclei.from_pandas(frame.assign(note="seen"))
    with pytest.raises(DataError, match="'class' lacks a name"):
        Nuclei.from_pandas(frame.assign(**{"class": [None, *frame["class"][1:]]}))
    with pytest.raises(DataError, match="3 grades for 40 nuclei"):
        WHOLE.to_pandas(grades=np.zeros(3, np.uint8))
    renamed = Nuclei.from_pandas(frame.assign(**{"class": "Tumour", "cluster": 7}))
    assert {renamed.classes[label] for label in renamed.label} == {"Tumour"}
    assert renamed.measurements["cluster"].tolist() == [7] * 40
    plain = pandas.DataFrame({"x": [1.0], "y": [2.0], "confidence": [1], "class": ["Tumour"]})
    assert Nuclei.from_pandas(plain).classes == ("Tumour",)
    some = Nuclei.from_pandas(frame[frame["x"] > 5e4])
    assert 0 < len(some) < 40


def test_geopandas_reads_outlines_from_geoparquet(tmp_path: Path) -> None:
    geopandas = pytest.importorskip("geopandas")
    for nuclei in ODD:
        frame = nuclei.to_geodataframe()
        frame.to_parquet(tmp_path / "nuclei.parquet")
        back = geopandas.read_parquet(tmp_path / "nuclei.parquet")
        assert_same(Nuclei.from_geodataframe(back), nuclei)
        assert back.crs is None
    holed = WHOLE.outline.copy()
    holed[0] = np.nan
    frame = replace(WHOLE, outline=holed).to_geodataframe()
    assert frame.geom_type.tolist() == ["Point"] + ["Polygon"] * 39
    round_one = replace(WHOLE.take(np.array([1])), outline=np.full((1, 16), 10, np.float32))
    (shape,) = round_one.to_geodataframe().geometry
    assert shape.area == pytest.approx(8 * 100 * np.sin(np.pi / 8), rel=1e-3)  # of 16 triangles
    assert shape.centroid.x == pytest.approx(round_one.x[0], abs=0.01)


def test_anndata_reads_nuclei_from_h5ad(tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata")
    for nuclei in ODD:
        made = nuclei.to_anndata(grades=make_grades(len(nuclei)))
        made.write_h5ad(tmp_path / "nuclei.h5ad")
        back = anndata.read_h5ad(tmp_path / "nuclei.h5ad")
        assert_same(Nuclei.from_anndata(back), nuclei)
    np.testing.assert_array_equal(made.obsm["spatial"], WHOLE.points)
    assert Nuclei.from_anndata(anndata.read_h5ad(tmp_path / "nuclei.h5ad"), mpp=MPP).mpp == MPP
    with pytest.raises(DataError, match=r"no obsm\['spatial'\] in the AnnData"):
        Nuclei.from_anndata(anndata.AnnData(np.zeros((2, 2))))


@pytest.mark.filterwarnings("ignore")
def test_spatialdata_reads_nuclei_from_its_zarr(tmp_path: Path) -> None:
    spatialdata = pytest.importorskip("spatialdata")
    holed = WHOLE.outline.copy()
    holed[0] = np.nan
    for number, nuclei in enumerate([*ODD, replace(WHOLE, outline=holed)]):
        path = tmp_path / f"{number}.zarr"
        nuclei.to_spatialdata(grades=make_grades(len(nuclei))).write(path)
        back = spatialdata.read_zarr(path)
        assert_same(Nuclei.from_spatialdata(back), nuclei)
    um = spatialdata.transform(
        spatialdata.read_zarr(tmp_path / "1.zarr")["nuclei"], to_coordinate_system="um"
    )
    assert um.centroid.x.iloc[0] == pytest.approx(ODD[1].detected[0, 0] * MPP[0], abs=1)
    with pytest.raises(DataError, match="no nuclei"):
        WHOLE.take(np.zeros(0, int)).to_spatialdata()


@pytest.mark.parametrize(
    ("missing", "convert", "told"),
    [
        ("pandas", Nuclei.to_pandas, "pip install pandas"),
        ("geopandas", Nuclei.to_geodataframe, r"wsi-suite\[spatial\]"),
        ("anndata", Nuclei.to_anndata, r"wsi-suite\[spatial\]"),
        ("spatialdata", Nuclei.to_spatialdata, "pip install spatialdata"),
    ],
)
def test_what_is_not_installed_is_named(
    missing: str, convert: Callable[[Nuclei], object], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=f"needs {missing}: .*{told}"):
        convert(WHOLE)
