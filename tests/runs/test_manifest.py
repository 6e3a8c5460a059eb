"""Tables of slides with settings of their own."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from bench import Bench, results_of

from wsi_suite.config import Settings
from wsi_suite.errors import DataError, InputError, OutputConflictError, RegionError, SlideError
from wsi_suite.runs.entry import Entry
from wsi_suite.runs.manifest import expand_entries, read_manifest
from wsi_suite.slides.identity import SlideIdentity


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


ROWS = "slide;mpp;Marker;ROI;case\na.svs;0,2525;ER;roi/a.geojson;P 1\n\nsub/b.svs;;ki67;;\n"


@pytest.mark.parametrize(
    "content",
    [
        ROWS,
        ROWS.encode("utf-8-sig"),
        ROWS.encode("utf-16"),
        ROWS.replace(";", "\t").replace("\n", "\r\n"),
        ROWS.replace("0,2525", "0.2525").replace(";", ","),
        ROWS.replace("0,2525", '"0,2525"').replace(";", ","),
        "case;roi;marker;slide;MPP\nP 1;roi/a.geojson;ER;./a.svs;0,2525\n;;KI-67;sub/x/../b.svs;\n",
    ],
)
def test_a_manifest_of_any_program_is_the_same(tmp_path: Path, content: str | bytes) -> None:
    first, second = read_manifest(written(tmp_path / "night.csv", content))
    assert first == Entry(
        tmp_path / "a.svs",
        mpp=0.2525,
        marker="ER",
        rois=tmp_path / "roi" / "a.geojson",
        case="P 1",
    )
    assert second.slide.resolve() == tmp_path / "sub" / "b.svs"
    assert (second.mpp, second.marker, second.rois, second.case) == (None, "Ki-67", None, "")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("slide,maker\na.svs,ER\n", "unknown column 'maker' (did you mean 'marker'?); known: sl"),
        ("slide,model\na.svs,mine\n", "column 'model': a batch has one model"),
        ("file,mpp\na.svs,1\n", "unknown column 'file'; known: slide, mpp, roi, marker, case"),
        ("mpp\n0.5\n", "no column 'slide' among mpp"),
        ("slide,mpp,MPP\na.svs,1,1\n", "columns 'mpp' and 'MPP' are the same"),
        ("slide,mpp\n", "names no slide"),
        ("", "empty"),
        ("slide,mpp\n,0.5\n", "line 2: slide is empty"),
        ("slide,mpp\na.svs,0.5\nb.svs,half\n", "line 3: mpp = 'half': expected a number"),
        ("slide,mpp\na.svs,50\n", "line 2: mpp = 50.0: expected less than or equal to 10"),
        ("slide,mpp\na.svs,0\n", "line 2: mpp = 0.0: expected greater than or equal to 0.05"),
        ("slide,marker\na.svs,HER2\n", "line 2: marker = 'HER2': expected 'ER', 'PR', 'Ki-67'"),
        ("slide\na.svs\nb.svs\nx/../a.svs\n", "line 4: x/../a.svs is named on line 2, too"),
    ],
)
def test_a_manifest_that_cannot_be_meant_is_one_line(
    tmp_path: Path, content: str, said: str
) -> None:
    file = written(tmp_path / "night.csv", content)
    with pytest.raises(DataError) as refused:
        read_manifest(file)
    assert said in str(refused.value)
    assert str(refused.value).startswith(f"{file}: ")
    assert "\n" not in str(refused.value)


def test_settings_of_a_slide_go_over_those_of_the_batch() -> None:
    batch = Settings.model_validate({"mpp": 0.5, "score": {"marker": "PR", "hot_spots": 1}})
    assert Entry(Path("a.svs")).over(batch) == batch
    own = Entry(Path("a.svs"), mpp=0.25, marker="ER").over(batch)
    assert own == Settings.model_validate({"mpp": 0.25, "score": {"marker": "ER", "hot_spots": 1}})


def test_a_manifest_beside_slides_says_what_it_knows_of_them(tmp_path: Path) -> None:
    for name in ("a.svs", "b.svs"):
        (tmp_path / name).touch()
    manifest = written(tmp_path / "night.csv", "slide,marker\nb.svs,ER\nc.svs,PR\n")
    for sources in ([tmp_path, manifest], [manifest, tmp_path / "b.svs", tmp_path]):
        found = {entry.slide.name: entry.marker for entry in expand_entries(sources)}
        assert found == {"a.svs": None, "b.svs": "ER", "c.svs": "PR"}
    other = written(tmp_path / "day.csv", "slide\nb.svs\n")
    with pytest.raises(DataError, match=r"day.csv: .*b.svs is named in .*night.csv, too"):
        expand_entries([manifest, other])
    with pytest.raises(InputError, match=r"nigth.csv: no such file .*did you mean 'night.csv'"):
        expand_entries([tmp_path / "nigth.csv"])


def table(out: Path) -> dict[str, dict[str, str]]:
    with (out / "summary.csv").open(encoding="utf-8", newline="") as file:
        return {row["slide"]: row for row in csv.DictReader(file)}


@pytest.fixture
def desk(bench: Bench, tmp_path: Path) -> Path:
    """A folder of two slides of different content."""
    for name in ("one.tif", "two.tif"):
        shutil.copy(bench.slide, tmp_path / name)
        with (tmp_path / name).open("ab") as file:
            file.write(name.encode())
    return tmp_path


@pytest.mark.usefixtures("quick")
@pytest.mark.timeout(600)
def test_lines_are_runs_of_their_own(bench: Bench, desk: Path) -> None:
    """What other lines say, their order and their failures change no byte of a slide."""

    def run(out: str, content: str) -> dict[str, object]:
        entries = read_manifest(written(desk / "night.csv", content))
        outcomes = bench.run(desk / out, "tiles.keep=false", slides=entries)
        return {end.slide.name: end.error for end in outcomes}

    head = "slide;marker;case;roi\n"
    one, two = "one.tif;ER;P1;\n", "two.tif;PR;P2;\n"
    lost, outlined = "none.tif;ER;P3;\n", "two.tif;PR;P2;none.geojson\n"
    errors = run("a", head + lost + one + outlined)
    assert errors["one.tif"] is None
    assert isinstance(errors["none.tif"], SlideError)
    assert "none.tif: cannot be read" in str(errors["none.tif"])
    assert isinstance(errors["two.tif"], RegionError)
    assert "none.geojson" in str(errors["two.tif"])
    cases = {name: (row["case"], row["state"]) for name, row in table(desk / "a").items()}
    assert cases == {
        "none.tif": ("P3", "failed"),
        "one.tif": ("P1", "done"),
        "two.tif": ("P2", "failed"),
    }

    assert run("a", head + two + one) == {"one.tif": None, "two.tif": None}  # a line repaired
    assert run("b", head + one + two) == {"one.tif": None, "two.tif": None}
    (alone,) = bench.run(
        desk / "c", "tiles.keep=false", "score.marker=ER", slides=[desk / "one.tif"]
    )
    assert alone.folder is not None
    for name in ("one", "two"):
        assert results_of(desk / "a" / name) == results_of(desk / "b" / name)
    assert results_of(alone.folder) == results_of(desk / "a" / "one")

    before = results_of(desk / "a" / "one")
    errors = run("a", head + one.replace("ER", "PR") + two)
    assert isinstance(errors["one.tif"], OutputConflictError)
    assert 'score.marker: "ER", now "PR"' in str(errors["one.tif"])
    assert errors["two.tif"] is None
    assert results_of(desk / "a" / "one") == before

    assert run("a", "slide;marker\ntwo.tif;PR\n") == {"two.tif": None}  # a line and a column gone
    assert table(desk / "a")["one.tif"]["case"] == "P1"
    assert table(desk / "a")["two.tif"]["case"] == "P2"


def test_only_slides_of_one_name_are_read_before_they_come_up(tmp_path: Path) -> None:
    from wsi_suite.runs.folder_names import ResultFolders

    slides = [Path("x/a.svs"), Path("b.svs"), Path("y/A.svs"), Path("a-123456.svs"), Path("c.svs")]
    read: list[Path] = []

    def identify(slide: Path) -> SlideIdentity:
        read.append(slide)
        return SlideIdentity(slide.name, 1, 0, slide.parent.name.ljust(64, "0"))

    folders = ResultFolders(tmp_path, slides, identify=identify)
    assert read == []
    assert folders.choose(slides[1])[1] == tmp_path / "b"
    assert read == [slides[1]]
    folders.choose(slides[0])
    assert read == [slides[1], slides[0], slides[2]]
    folders.choose(slides[2])
    folders.choose(slides[3])
    assert read == [slides[1], slides[0], slides[2], slides[3]]
