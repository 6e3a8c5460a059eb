"""Which DICOM files make one slide."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import CT, TILE, write_instance, write_slide
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from slide_files import picture

from wsi_suite.errors import SlideError
from wsi_suite.slides.dicom import group_series, read_instance, slide_file
from wsi_suite.slides.identity import SlideIdentity
from wsi_suite.slides.slide import open_slide

PICTURE = picture(700, 500)


def test_a_slide_is_opened_by_each_of_its_files_and_by_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    files = write_slide(folder, "A", PICTURE)
    for path in (*files, folder):
        with open_slide(path) as slide:
            assert (slide.reader, slide.vendor, slide.mpp) == ("openslide", "dicom", (0.5, 0.5))
            assert [(level.width, level.height) for level in slide.levels] == [
                (700, 500),
                (175, 125),
            ]
            read = slide.read_level(0, slide.levels[0].box)
            assert np.abs(read.astype(int) - PICTURE).mean() < 12  # JPEG
            assert "Secret" not in str(slide.describe())
        assert slide_file(path) == files[0]


def rewrite(path: Path, places: list[tuple[int, int]] | None, organization: str) -> None:
    """Organize the tiles of a file again: keep the first ones, at columns and rows of tiles."""
    data = pydicom.dcmread(path)
    data.DimensionOrganizationType = organization
    if places is not None:
        frames = list(generate_frames(data.PixelData, number_of_frames=data.NumberOfFrames))
        data.NumberOfFrames = len(places)
        data.PixelData = encapsulate(frames[: len(places)])
        data.PerFrameFunctionalGroupsSequence = [place_of_tile(*place) for place in places]
    data.save_as(path)


def place_of_tile(column: int, row: int) -> Dataset:
    plane, group = Dataset(), Dataset()
    plane.ColumnPositionInTotalImagePixelMatrix = column * TILE + 1
    plane.RowPositionInTotalImagePixelMatrix = row * TILE + 1
    group.PlanePositionSlideSequence = [plane]
    return group


def test_tiles_lie_where_the_file_says_and_the_others_are_white(tmp_path: Path) -> None:
    path = write_slide(tmp_path, "A", PICTURE)[0]
    rewrite(path, [(0, 0), (2, 0), (1, 1)], "TILED_SPARSE")
    with open_slide(path) as slide:
        read = slide.read_level(0, slide.levels[0].box).astype(int)
    assert np.abs(read[:TILE, :TILE] - PICTURE[:TILE, :TILE]).mean() < 12
    assert (read[:TILE, TILE : 2 * TILE] == 255).all()


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("organization", ["TILED_SPARSE", "3D"])
def test_tiles_without_a_place_are_refused_before_openslide_dies(
    tmp_path: Path, organization: str, number: int
) -> None:
    files = write_slide(tmp_path, "A", PICTURE)
    rewrite(files[number], None, organization)
    with pytest.raises(SlideError, match=f"A_{number}.dcm: its tiles are {organization}, but no"):
        open_slide(files[0])


def test_a_header_with_an_unknown_kind_of_value_is_left_to_openslide(tmp_path: Path) -> None:
    path = write_slide(tmp_path, "A", PICTURE)[0]
    data = path.read_bytes()
    at = data.index(b"TILED_FULL") - 4  # two letters for the kind, two bytes for the length
    path.write_bytes(data[:at] + b"QQ" + data[at + 2 :])
    with suppress(SlideError), open_slide(path) as slide:
        assert slide.width == 700


def test_files_without_an_ending_are_a_slide(tmp_path: Path) -> None:
    files = write_slide(tmp_path / "one", "A", PICTURE, ending="")
    assert slide_file(tmp_path / "one") == files[0]
    with open_slide(files[1]) as slide:
        assert slide.width == 700


def test_the_files_of_a_folder_are_grouped_by_series(tmp_path: Path) -> None:
    first = write_slide(tmp_path, "A", PICTURE)
    second = write_slide(tmp_path, "B", PICTURE[:400])
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + bytes(100))
    series = group_series(tmp_path.iterdir())
    assert [one.slide for one in series] == [first[0], second[0]]
    assert [set(one.files) for one in series] == [set(first), set(second)]
    with pytest.raises(SlideError, match=r"2 DICOM slides; give a file of one of them, as A_0"):
        open_slide(tmp_path)


def test_identity_is_that_of_the_series(tmp_path: Path) -> None:
    files = write_slide(tmp_path / "one", "A", PICTURE)
    whole = SlideIdentity.of(tmp_path / "one")
    assert (whole.name, whole.size) == ("one", sum(file.stat().st_size for file in files))
    assert SlideIdentity.of(files[1]).name == "A_1.dcm"
    assert all(SlideIdentity.of(file).content == whole.content for file in files)
    write_slide(tmp_path / "one", "B", PICTURE[:400])  # another slide beside it
    assert SlideIdentity.of(files[1]).content == whole.content
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    assert SlideIdentity.of(tmp_path / "copy" / "A_1.dcm").content == whole.content
    files[1].unlink()
    assert SlideIdentity.of(files[0]).content != whole.content


def test_a_label_alone_is_no_slide(tmp_path: Path) -> None:
    label = write_instance(tmp_path / "l.dcm", PICTURE[:256, :256], series="1.2.9", kind="LABEL")
    with pytest.raises(SlideError, match=r"l\.dcm: a DICOM label without its slide"):
        open_slide(label)


def test_a_level_of_another_shape_is_left_out(tmp_path: Path) -> None:
    files = write_slide(tmp_path, "A", PICTURE)
    series = pydicom.dcmread(files[0]).SeriesInstanceUID
    write_instance(tmp_path / "other.dcm", PICTURE[:300, :300], series=series, mpp=1.0)
    with open_slide(files[0]) as slide:
        assert [level.scale.x for level in slide.levels] == [1, 4]
        assert slide.notes == ("left out: picture of 300 x 300 px",)


@pytest.mark.parametrize("coded", ["RGB", "YCBCR"])
@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL_422"])
def test_colours_are_those_of_the_tiles_or_refused(
    tmp_path: Path, photometric: str, coded: str
) -> None:
    path = tmp_path / "a.dcm"
    write_instance(path, PICTURE, series="1.2.9", photometric=photometric, coded=coded)
    if (photometric == "RGB") == (coded == "RGB"):
        with open_slide(path) as slide:
            read = slide.read_level(0, slide.levels[0].box)
        assert np.abs(read.astype(int) - PICTURE).mean() < 12
    else:
        with pytest.raises(SlideError, match=f"tiles are .*, but its header says {photometric}"):
            open_slide(path)


def test_greyscale_is_refused(tmp_path: Path) -> None:
    path = write_instance(tmp_path / "grey.dcm", PICTURE, series="1.2.9")
    grey = pydicom.dcmread(path)
    grey.PhotometricInterpretation, grey.SamplesPerPixel = "MONOCHROME2", 1
    grey.save_as(path)
    with pytest.raises(SlideError, match=r"grey\.dcm.*SamplesPerPixel.*does not read"):
        open_slide(path)


def test_another_kind_of_dicom_is_named(tmp_path: Path) -> None:
    ct = write_instance(tmp_path / "ct.dcm", PICTURE, series="1.2.9", sop_class=CT)
    with pytest.raises(SlideError, match=r"ct\.dcm: DICOM of another kind \(CT Image Storage\)"):
        open_slide(ct)
    with pytest.raises(SlideError, match="a folder without a DICOM slide"):
        open_slide(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"plain text", bytes(128) + b"DICM", bytes(128) + b"DICM" + bytes(100)]
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "slide.dcm"
    path.write_bytes(content)
    assert read_instance(path) is None
    with pytest.raises(SlideError, match=r"slide\.dcm"):
        open_slide(path)


def test_a_file_that_is_replaced_is_read_anew(tmp_path: Path) -> None:
    path = write_instance(tmp_path / "a.dcm", PICTURE, series="1.2.3.4")
    assert read_instance(path).series == "1.2.3.4"  # type: ignore[union-attr]
    write_instance(path, PICTURE[:300], series="1.2.3.5")
    assert read_instance(path).series == "1.2.3.5"  # type: ignore[union-attr]
