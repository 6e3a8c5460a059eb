"""The files that make a slide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from dicom_files import write_slide

from wsi_suite.slides.identity import SlideIdentity
from wsi_suite.slides.parts import parts_of
from wsi_suite.slides.slide import open_slide


def test_dicom_is_copied_whole_by_folder_and_by_file(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (512, 512, 3), np.uint8)
    folder = tmp_path / "series"
    written = write_slide(folder, "s", pixels)
    write_slide(folder, "other", pixels)
    (folder / "notes.txt").write_text("no part")
    for slide in written[:2]:
        parts = parts_of(slide)
        assert {source for source, _, _ in parts} == set(written)
        target = tmp_path / f"copy of {slide.stem}"
        for source, inside, size in parts:
            assert source == folder / inside
            assert size == source.stat().st_size
            (target / inside).parent.mkdir(parents=True, exist_ok=True)
            (target / inside).write_bytes(source.read_bytes())
        assert SlideIdentity.of(target / slide.name).content == SlideIdentity.of(slide).content
        with open_slide(slide) as one, open_slide(target / slide.name) as copy:
            assert (one.width, one.height, one.mpp) == (copy.width, copy.height, copy.mpp)
    for file in folder.glob("other*"):
        file.unlink()
    assert {inside for _, inside, _ in parts_of(folder)} == {
        Path("series") / file.name for file in written
    }
