"""What of a folder are slides."""

from __future__ import annotations

from pathlib import Path

import pytest
from dicom_files import CT, write_instance, write_slide
from slide_files import picture

from wsi_suite.errors import InputError
from wsi_suite.slides.listing import SLIDE_SUFFIXES, slides_in
from wsi_suite.slides.sources import expand_slides

PICTURE = picture(500, 400)


@pytest.mark.parametrize("suffix", [*SLIDE_SUFFIXES, ".BTF", ".Ome.TF8"])
def test_every_ending_that_can_be_read_counts(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.mkdir() if suffix == ".zarr" else path.touch()
    assert slides_in(tmp_path).slides == (path,)


def test_files_of_another_slide_are_no_slides(tmp_path: Path) -> None:
    (tmp_path / "hamamatsu.vms").write_bytes(
        b"[Virtual Microscope Specimen]\r\nImageFile=h.jpg\r\nImageFile(1,0)=h(1,0).jpg\r\n"
        b"MacroImage= h_macro.jpg \r\nComments=caf\xe9\r\n"
    )
    (tmp_path / "set.ndpis").write_text("[NanoZoomer]\nNoImages=1\nImage0=dapi.ndpi\n")
    for name in ("h.jpg", "h(1,0).jpg", "h_macro.jpg", "own.jpg", "dapi.ndpi", "b.mrxs"):
        (tmp_path / name).touch()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "Slidedat.ini").touch()
    listing = slides_in(tmp_path)
    assert [path.name for path in listing.slides] == ["b.mrxs", "hamamatsu.vms", "own.jpg"]
    assert listing.left_out == {"of a fluorescence set (.ndpis)": 1}


def test_pictures_of_results_are_no_slides(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("a.svs", "a/run.json", "a/overview.png", "summary.csv"):
        (tmp_path / name).touch()
    listing = slides_in(tmp_path)
    assert (listing.slides, listing.left_out) == ((tmp_path / "a.svs",), {})


def test_a_link_that_leads_nowhere_is_kept_for_its_own_error(tmp_path: Path) -> None:
    (tmp_path / "a.svs").symlink_to(tmp_path / "gone.svs")
    assert slides_in(tmp_path).slides == (tmp_path / "a.svs",)


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(InputError, match=r"cannot be read \(Permission denied\); check its rights"):
        expand_slides([tmp_path])


def test_files_of_a_dicom_series_are_one_slide(tmp_path: Path) -> None:
    first = write_slide(tmp_path / "s", "A", PICTURE)
    second = write_slide(tmp_path / "s", "B", PICTURE[:300])
    (tmp_path / "s" / "C.tif").touch()
    slides = [first[0], second[0], tmp_path / "s" / "C.tif"]
    for source in (tmp_path / "s", tmp_path / "s" / "*"):
        assert expand_slides([source]) == slides
    assert expand_slides([*first, second[2], *second]) == slides[:2]
    assert expand_slides([tmp_path / "s" / "*label.dcm"]) == slides[:2]
    assert expand_slides([tmp_path / "*"]) == slides[:2]
    told: list[str] = []
    assert expand_slides([tmp_path], tell=told.append) == slides[:2]
    assert told == [f"{tmp_path}: left out: 1 in folder 's', which is not searched"]


def test_dicom_that_is_no_slide_is_left_out_of_a_folder(tmp_path: Path) -> None:
    for number in range(2):
        write_instance(tmp_path / f"ct{number}.dcm", PICTURE, series="1.2.3", sop_class=CT)
    label = write_instance(tmp_path / "label", PICTURE, series="1.2.4", kind="LABEL")
    (tmp_path / "damaged.dcm").touch()
    (tmp_path / "report").touch()
    told: list[str] = []
    assert expand_slides([tmp_path], tell=told.append) == [tmp_path / "damaged.dcm"]
    assert told == [
        f"{tmp_path}: left out: 1 DICOM label or overview without a slide, "
        "2 DICOM of another kind than slides"
    ]
    assert expand_slides([label]) == [label]  # to be refused for itself
