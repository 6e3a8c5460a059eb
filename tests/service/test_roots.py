"""Which files may be read: hostile paths get the answer that absent ones get."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from wsi_suite.errors import InputError
from wsi_suite.service.roots import Roots
from wsi_suite.slides.dicom import Instance

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    folder = tmp_path / "slides"
    (folder / "more").mkdir(parents=True)
    (folder / "B12.svs").write_bytes(b"pixels")
    (tmp_path / "secret.svs").write_bytes(b"pixels")
    (tmp_path / "slides-of-others").mkdir()
    (tmp_path / "slides-of-others" / "C7.svs").write_bytes(b"pixels")
    return folder


def test_without_a_folder_nothing_is_served(slides: Path) -> None:
    assert Roots().find(str(slides / "B12.svs")) is None


def test_files_below_an_allowed_folder_are_found(slides: Path) -> None:
    (slides / "more" / "größer 2.svs").touch()
    roots = Roots([slides])
    assert roots.find(str(slides / "B12.svs")) == (slides / "B12.svs").resolve()
    assert roots.find(str(slides / "more" / "größer 2.svs")) is not None
    assert roots.find(str(slides / "more" / ".." / "B12.svs")) == (slides / "B12.svs").resolve()


@pytest.mark.parametrize(
    "path",
    [
        "",
        "B12.svs",
        "{slides}",
        "{slides}/more",
        "{slides}/absent.svs",
        "{slides}/../secret.svs",
        "{slides}/more/../../secret.svs",
        "{slides}/B12.svs/../../secret.svs",
        "{slides}/%2e%2e/secret.svs",
        "{slides}-of-others/C7.svs",
        "{slides}/B12.svs\0",
        "{slides}/B12.svs\0.png",
        "{slides}/\ud800.svs",
        "{slides}/" + "x" * 5000 + ".svs",
        "{slides}/" + "x/" * 1900 + "x.svs",
        "file://{slides}/B12.svs",
        "~/B12.svs",
        r"\\?\C:\slides\B12.svs",
        r"\\.\PhysicalDrive0",
        r"\\server\share\B12.svs",
        "C:\\slides\\B12.svs",
        "CON",
        "/dev/zero",
        "/proc/self/environ",
    ],
)
def test_other_paths_are_not_found(slides: Path, path: str) -> None:
    assert Roots([slides]).find(path.replace("{slides}", str(slides))) is None


@posix
def test_links_count_as_what_they_lead_to(slides: Path) -> None:
    (slides / "near.svs").symlink_to(slides / "B12.svs")
    (slides / "far.svs").symlink_to(slides.parent / "secret.svs")
    (slides / "out").symlink_to(slides.parent)
    (slides / "circle.svs").symlink_to(slides / "circle.svs")
    (slides.parent / "way-in").symlink_to(slides)
    roots = Roots([slides])
    assert roots.find(str(slides / "near.svs")) == (slides / "B12.svs").resolve()
    assert roots.find(str(slides.parent / "way-in" / "B12.svs")) is not None
    for name in ("far.svs", "out/secret.svs", "circle.svs"):
        assert roots.find(str(slides / name)) is None


@posix
def test_a_link_as_root_allows_what_it_leads_to(slides: Path) -> None:
    (slides.parent / "link").symlink_to(slides)
    roots = Roots([slides.parent / "link"])
    assert roots.folders == (slides.resolve(),)
    assert roots.find(str(slides / "B12.svs")) is not None


@posix
def test_pipes_and_devices_are_not_found(slides: Path) -> None:
    os.mkfifo(slides / "pipe.svs")
    (slides / "zero.svs").symlink_to("/dev/zero")
    roots = Roots([slides, "/dev"])
    for path in (slides / "pipe.svs", slides / "zero.svs", "/dev/zero", "/dev/stdin"):
        assert roots.find(str(path)) is None


@posix
def test_folders_that_are_slides_may_not_lead_out(slides: Path) -> None:
    zarr = slides / "B12.ome.zarr"
    (zarr / "0").mkdir(parents=True)
    roots = Roots([slides])
    assert roots.find(str(zarr)) == zarr.resolve()
    (zarr / "1").symlink_to(zarr / "0")
    assert roots.find(str(zarr)) == zarr.resolve()
    (zarr / "2").symlink_to(slides.parent / "slides-of-others")
    assert roots.find(str(zarr)) is None


@posix
def test_the_folder_of_a_mrxs_file_may_not_lead_out(slides: Path) -> None:
    (slides / "B13.mrxs").touch()
    roots = Roots([slides])
    assert roots.find(str(slides / "B13.mrxs")) is not None
    (slides / "B13").symlink_to(slides.parent / "slides-of-others")
    assert roots.find(str(slides / "B13.mrxs")) is None


def test_only_folders_are_allowed(slides: Path) -> None:
    roots = Roots([slides, slides])
    assert roots.folders == (slides.resolve(),)
    for path in (slides / "B12.svs", slides / "absent", "slides", "", "\0"):
        with pytest.raises(InputError, match="no such folder"):
            roots.add(path)
    with pytest.raises(InputError, match="the whole disk of the system"):
        roots.add(slides.anchor)
    assert roots.folders == (slides.resolve(),)


def test_the_number_of_folders_is_bounded(slides: Path) -> None:
    roots = Roots([slides], most=1)
    with pytest.raises(InputError, match="1 folders are allowed already"):
        roots.add(slides.parent)


@posix
def test_what_lies_beside_a_dicom_file_may_not_lead_elsewhere(
    slides: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # OpenSlide looks for the other files of the series in the whole folder.
    dicom = slides / "more" / "a.dcm"
    dicom.write_bytes(b"header")
    instance = Instance(sop_class="", series="1.2", kind="VOLUME")
    monkeypatch.setattr("wsi_suite.service.roots.read_instance", lambda _: instance)
    roots = Roots([slides])
    assert roots.find(str(dicom)) == dicom.resolve()
    (slides / "more" / "b").symlink_to(slides.parent / "secret.svs")
    assert roots.find(str(dicom)) is None
