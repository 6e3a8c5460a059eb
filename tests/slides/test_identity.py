"""What tells a slide from another."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from wsi_suite.errors import SlideError
from wsi_suite.slides.identity import SlideIdentity, slide_stem


def test_identity_sees_both_ends_of_a_file(tmp_path: Path) -> None:
    slide = tmp_path / "s.svs"
    data = bytearray(3 * 2**20)
    seen = set()
    for position in (0, 2**20 - 1, -1, -(2**20)):
        data[position] += 1
        slide.write_bytes(data)
        os.utime(slide, (1000, 1000.9))
        found = SlideIdentity.of(slide)
        seen.add(found.sha256)
        assert (found.name, found.size, found.modified) == ("s.svs", 3 * 2**20, 1000)
    assert len(seen) == 4


def test_identity_of_small_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "s.png").write_bytes(b"abc")
    assert SlideIdentity.of(tmp_path / "s.png").size == 3
    with pytest.raises(SlideError, match="No such file"):
        SlideIdentity.of(tmp_path / "none.svs")


def test_identity_of_a_folder_sees_all_its_files(tmp_path: Path) -> None:
    zarr = tmp_path / "s.zarr"
    (zarr / "0").mkdir(parents=True)
    (zarr / "zarr.json").write_text("{}")
    (zarr / "0" / "c").write_bytes(b"1234")
    before = SlideIdentity.of(zarr)
    shutil.copytree(zarr, tmp_path / "copy" / "s.zarr")
    assert SlideIdentity.of(tmp_path / "copy" / "s.zarr").content == before.content
    (zarr / "0" / "c").write_bytes(b"12345")
    assert SlideIdentity.of(zarr).content != before.content


def test_chunks_of_one_size_are_told_apart(tmp_path: Path) -> None:
    for name, value in (("a", 1), ("b", 2)):
        folder = tmp_path / name / "s.zarr" / "0"
        folder.mkdir(parents=True)
        (folder.parent / "zarr.json").write_text("{}")
        for chunk in range(100):
            (folder / str(chunk)).write_bytes(bytes([value]) * 100)
    (tmp_path / "a" / "s.zarr" / "0" / ".DS_Store").touch()  # no part of the slide
    a, b = (SlideIdentity.of(tmp_path / name / "s.zarr") for name in "ab")
    assert a.size == b.size
    assert a.content != b.content


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are text there")
def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"bad\xff.svs")
    path.touch()
    with pytest.raises(SlideError, match=r"bad\\udcff\.svs.*not written in UTF-8; rename it"):
        SlideIdentity.of(path)


def test_identity_of_mrxs_sees_its_folder(tmp_path: Path) -> None:
    (tmp_path / "s.mrxs").write_bytes(b"same thumbnail")
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "Data0000.dat").write_bytes(b"1")
    before = SlideIdentity.of(tmp_path / "s.mrxs")
    (tmp_path / "s" / "Data0000.dat").write_bytes(b"12")
    assert SlideIdentity.of(tmp_path / "s.mrxs").content != before.content


@pytest.mark.parametrize(
    ("name", "stem"),
    [("B12.svs", "B12"), ("B12.v2.svs", "B12.v2"), ("k.ome.tif", "k"), ("k.OME.zarr", "k")],
)
def test_stem(name: str, stem: str) -> None:
    assert slide_stem(Path(name)) == stem
