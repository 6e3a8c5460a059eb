"""Which slides and regions are meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsi_suite.errors import InputError, RegionError
from wsi_suite.slides.sources import expand_slides, roi_file_of


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    folder = tmp_path / "Schnitte 1"
    folder.mkdir()
    for name in ("b.svs", "a.NDPI", "notes.txt", ".hidden.svs", "c[1].tif"):
        (folder / name).touch()
    for name in ("d.ome.zarr", "more"):
        (folder / name).mkdir()
    (folder / "more" / "e.svs").touch()
    return folder


def test_folder_gives_its_slides_sorted(slides: Path) -> None:
    names = [path.name for path in expand_slides([slides])]
    assert names == ["a.NDPI", "b.svs", "c[1].tif", "d.ome.zarr"]


def test_file_is_taken_whatever_its_ending(slides: Path) -> None:
    assert expand_slides([slides / "notes.txt"]) == [slides / "notes.txt"]


def test_name_with_brackets_is_a_name_first(slides: Path) -> None:
    assert expand_slides([str(slides / "c[1].tif")]) == [slides / "c[1].tif"]


def test_patterns_reach_into_folders(slides: Path) -> None:
    assert expand_slides([str(slides / "*.svs")]) == [slides / "b.svs"]
    found = expand_slides([str(slides / "**" / "*.svs")])
    assert found == [slides / "b.svs", slides / "more" / "e.svs"]


def test_each_slide_comes_once_in_the_order_given(slides: Path) -> None:
    found = expand_slides([slides / "more", slides / "b.svs", slides])
    assert [path.name for path in found[:2]] == ["e.svs", "b.svs"]
    assert len(found) == len(set(found)) == 5


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("b.sv", r"b\.sv: no such file or folder \(did you mean 'b\.svs'\?\)"),
        ("*.mrxs", "matches no file"),
        ("empty", r"holds no slides \(looked for [^;]*\)"),
        ("nested", r"holds no slides .*; folders in it are not searched\)"),
    ],
)
def test_nothing_there(slides: Path, source: str, message: str) -> None:
    (slides / "empty").mkdir()
    (slides / "nested" / "a" / "b").mkdir(parents=True)
    with pytest.raises(InputError, match=message):
        expand_slides([slides / source])


@pytest.mark.parametrize("name", ["b.svs", "d.ome.zarr"])
def test_here_is_called_by_its_name(
    slides: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (slides / "d.ome.zarr" / ".zgroup").touch()
    monkeypatch.chdir(slides / name if name.endswith("zarr") else slides)
    found = expand_slides([Path() if name.endswith("zarr") else name])
    assert [path.name for path in found] == [name]


def test_what_is_left_out_of_a_folder_is_told_in_one_line(slides: Path) -> None:
    for name in ("x.czi", "y.CZI", "z.vsi", "a.json", "b.xml"):
        (slides / name).touch()
    told: list[str] = []
    assert len(expand_slides([slides], tell=told.append)) == 4
    (line,) = told
    assert line == (
        f"{slides}: left out: 2 .czi, 1 .vsi, 1 in folder 'more', which is not searched"
    )
    expand_slides([slides / "b.svs"], tell=told.append)
    assert len(told) == 1
    (slides / "only").mkdir()
    (slides / "only" / "x.czi").touch()
    with pytest.raises(InputError, match=r"holds no slides .*left out: 1 \.czi"):
        expand_slides([slides / "only"])


def test_no_slide_at_all() -> None:
    with pytest.raises(InputError, match="no slide given"):
        expand_slides([])


def test_regions_of_a_slide(tmp_path: Path) -> None:
    assert roi_file_of("a.svs", None, several=True) is None
    (tmp_path / "b.geojson.gz").touch()
    assert roi_file_of("b.svs", tmp_path, several=True) == tmp_path / "b.geojson.gz"
    file = tmp_path / "b.geojson.gz"
    assert roi_file_of("a.svs", file, several=False) == file
    with pytest.raises(RegionError, match="one file for several slides"):
        roi_file_of("a.svs", file, several=True)


@pytest.mark.parametrize(
    ("slide", "file"),
    [
        ("a.svs", "a.geojson"),
        ("a.svs", "a.svs.geojson"),
        ("a.svs", "a.svs.geojson.gz"),
        ("a.svs", "a.zip"),
        ("a.svs", "a.geojson.zip"),
        ("a.svs", "a.json"),
        ("a.svs", "a.svs/annotations.geojson"),
        ("a.svs", "a/annotations.geojson"),
        ("a.ome.tif", "a.geojson"),
        ("a.ome.tif", "a.ome.geojson"),
        ("a.ome.tif", "a.ome.tif.geojson"),
        ("B12 größer.v2.tif", "B12 größer.v2.geojson"),
        ("tumour (1).tif", "tumour _1_.tif/annotations.geojson"),
    ],
)
def test_names_of_region_files(tmp_path: Path, slide: str, file: str) -> None:
    with pytest.raises(
        RegionError, match=r"no regions for .*: expected .*\.geojson or .*\.geojson"
    ):
        roi_file_of(slide, tmp_path, several=True)
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    (tmp_path / "other.geojson").touch()
    assert roi_file_of(slide, tmp_path, several=True) == tmp_path / file


def test_two_files_of_regions_for_one_slide_are_refused(tmp_path: Path) -> None:
    for name in ("a.geojson", "a.svs.geojson"):
        (tmp_path / name).touch()
    with pytest.raises(RegionError, match=r"a\.geojson and a\.svs\.geojson are both for a\.svs"):
        roi_file_of("a.svs", tmp_path, several=False)
