"""Damaged places of slide files: told, never shown in silence, and no more lost than needs be."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from slide_files import picture, write_slide

from wsi_suite.errors import DamageError, SlideError
from wsi_suite.geometry import Box
from wsi_suite.slides.damage import CELL_PX, read_around_damage
from wsi_suite.slides.jpeg import refuse_damaged_jpeg
from wsi_suite.slides.jpeg2000 import refuse_damaged_jpeg_2000
from wsi_suite.slides.slide import open_slide

PICTURE = picture(640, 512, seed=3)


def damage_tile(path: Path, index: int, *, kind: str = "zeros", level: int = 0) -> None:
    """Damage the data of one tile of a TIFF in place."""
    with tifffile.TiffFile(path) as tif:
        page = tif.pages[level]
        offset, count = page.dataoffsets[index], page.databytecounts[index]
    middle = count // 2
    with path.open("r+b") as file:
        file.seek(offset if kind == "all zeros" else offset + middle)
        rng = np.random.default_rng(index)
        file.write(
            {
                "zeros": bytes(count - middle),
                "all zeros": bytes(count),
                "garbage": rng.bytes(count - middle),
                "cut": b"\xff\xd9" + bytes(count - middle - 2),
            }[kind]
        )


@pytest.mark.parametrize("kind", ["zeros", "all zeros", "garbage", "cut"])
def test_a_damaged_jpeg_tile_is_told_and_the_others_are_read(tmp_path: Path, kind: str) -> None:
    path = write_slide(tmp_path / "slide.tif", PICTURE)
    with open_slide(path) as slide:
        whole = slide.read_level(0, Box(0, 0, 640, 512))
    damage_tile(path, 7, kind=kind)  # of 5 x 4 tiles of 128 px: column 2, row 1
    with open_slide(path) as slide:
        with pytest.raises(DamageError, match=r"tile 7 .*copy it again"):
            slide.read_level(0, Box(250, 120, 100, 100))
        pixels, lost = read_around_damage(lambda box: slide.read_level(0, box), whole_box(slide))
    assert sum(box.area for box in lost) == 128 * 128
    mask = np.zeros((512, 640), bool)
    for box in lost:
        mask[box.within(Box(0, 0, 640, 512))] = True
    assert mask[128:256, 256:384].all()
    assert (pixels[~mask] == whole[~mask]).all()
    assert (pixels[mask] == 255).all()


def whole_box(slide) -> Box:
    return Box(0, 0, slide.width, slide.height)


def test_what_is_lost_does_not_depend_on_the_boxes_that_are_asked_for(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "slide.tif", PICTURE)
    damage_tile(path, 7)

    def lost_in(boxes: list[Box]) -> set[tuple[int, int]]:
        with open_slide(path) as slide:
            found = [read_around_damage(lambda box: slide.read_level(0, box), box) for box in boxes]
        return {(box.x // CELL_PX, box.y // CELL_PX) for _, lost in found for box in lost}

    halves = [Box(0, 0, 300, 512), Box(300, 0, 340, 512)]
    assert lost_in([Box(0, 0, 640, 512)]) == lost_in(halves)


@pytest.mark.parametrize("first", range(4))
def test_a_slide_whose_probed_tiles_are_damaged_opens(tmp_path: Path, first: int) -> None:
    path = write_slide(tmp_path / "slide.tif", PICTURE)
    for index in (0, 19, first):
        damage_tile(path, index)
    with open_slide(path) as slide:
        assert slide.read_level(0, Box(130, 260, 20, 20)).shape == (20, 20, 3)


def test_a_survey_sees_through_damage_of_a_coarse_level(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "slide.tif", PICTURE, factors=(1, 4))
    with open_slide(path) as slide:
        coarse = slide.read_level(1, slide.levels[1].box)
    damage_tile(path, 0, level=1)
    with open_slide(path, mend=True) as slide:
        mended = slide.read_level(1, slide.levels[1].box)
        assert slide.lost_px0 == 0
    assert np.abs(mended.astype(int) - coarse).mean() < 3


def test_what_no_level_shows_gets_the_colour_about_it(tmp_path: Path) -> None:
    flat = np.full((512, 640, 3), (200, 150, 180), np.uint8)
    path = write_slide(tmp_path / "slide.tif", flat)
    damage_tile(path, 7)
    with open_slide(path, mend=True) as slide:
        shown = slide.read_level(0, whole_box(slide))
        assert np.abs(shown.astype(int) - (200, 150, 180)).max() <= 3
        assert slide.lost_px0 == 128 * 128


def test_a_slide_of_which_most_is_lost_is_refused(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "slide.tif", PICTURE)
    for index in set(range(20)) - {12}:
        damage_tile(path, index)
    with (
        open_slide(path, mend=True) as slide,
        pytest.raises(SlideError, match="most of the slide cannot be read"),
    ):
        slide.read_level(0, whole_box(slide))


def test_a_jpeg_picture_whose_codes_are_wrong_is_refused() -> None:
    whole = imagecodecs.jpeg8_encode(PICTURE[:128, :128], level=90)
    refuse_damaged_jpeg(whole)
    for damaged in (whole[:-200], whole[:-200] + b"\xff\xd9", whole[:4000] + bytes(64)):
        with pytest.raises(ValueError, match=r"(?i)premature|corrupt"):
            refuse_damaged_jpeg(damaged)


@pytest.mark.parametrize("codec", ["j2k", "jp2"])
def test_a_jpeg_2000_picture_that_breaks_its_format_is_refused(codec: str) -> None:
    whole = imagecodecs.jpeg2k_encode(PICTURE[:256, :256], level=40, codecformat=codec)
    refuse_damaged_jpeg_2000(whole)
    middle = len(whole) // 2
    damages = (
        whole[:middle],
        whole[:middle] + b"\xff\xd9",
        whole[:middle] + bytes(512) + whole[middle + 512 :],
        whole[:middle] + b"\xff\xfe" + whole[middle + 2 :],
        bytes(len(whole)),
    )
    for damaged in damages:
        with pytest.raises(ValueError, match="codestream"):
            refuse_damaged_jpeg_2000(damaged)


def test_damaged_jpeg_2000_through_openslide_is_told(real_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "luna.svs"
    path.write_bytes((real_data / "slides" / "luna-1065626.svs").read_bytes())
    path.chmod(0o644)
    damage_tile(path, 250)  # of 24 columns of 512 px
    row, column = divmod(250, 24)
    with open_slide(path) as slide:
        assert slide.reader == "openslide"
        with pytest.raises(DamageError, match="tile 250 of the level of 11952 x 10249 px"):
            slide.read_level(0, Box(column * 512 + 100, row * 512 + 100, 50, 50))
        slide.read_level(0, Box(column * 512 - 100, row * 512 + 100, 50, 50))
