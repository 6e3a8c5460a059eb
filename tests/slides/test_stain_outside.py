"""Stain that the mask of the tissue leaves out."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from wsi_suite.config import TissueSettings
from wsi_suite.slides.slide import open_slide
from wsi_suite.slides.tissue import TissueMask, find_tissue

MPP = 2.0
GLASS, PURPLE, GREY = (243, 243, 242), (140, 100, 170), (120, 120, 120)


def picture(size: int = 1000) -> np.ndarray:
    rgb = np.empty((size, size, 3), np.float32)
    rgb[:] = GLASS
    noise = np.random.default_rng(0).normal(0, 1, (size, size, 1))
    return np.clip(np.rint(rgb + noise), 0, 255).astype(np.uint8)


def tissue_of(rgb: np.ndarray, folder: Path, **settings: float | bool) -> TissueMask:
    cv2.imwrite(str(folder / "s.png"), rgb[..., ::-1])
    with open_slide(folder / "s.png", mpp=MPP) as slide:
        return find_tissue(slide, TissueSettings(**settings))


def missed_um2(tissue: TissueMask) -> float:
    assert tissue.missed is not None
    assert not (tissue.missed & tissue.mask).any()
    return np.count_nonzero(tissue.missed) * (tissue.scale.x * MPP) ** 2


def with_pieces(*sides_um: int, colour: tuple[int, int, int] = PURPLE) -> np.ndarray:
    rgb = picture()
    for number, side_um in enumerate(sides_um):
        side = round(side_um / MPP)
        rgb[100 : 100 + side, 100 + 300 * number : 100 + 300 * number + side] = colour
    return rgb


def test_pieces_smaller_than_wanted_are_told(tmp_path: Path) -> None:
    rgb = with_pieces(400, 200)
    assert missed_um2(tissue_of(rgb, tmp_path)) == 0
    smaller = tissue_of(rgb, tmp_path, min_area_um2=100_000)
    assert missed_um2(smaller) == pytest.approx(200**2, rel=0.15)
    assert missed_um2(tissue_of(rgb, tmp_path, whole_slide=True)) == 0


@pytest.mark.parametrize(("side_um", "colour"), [(24, PURPLE), (60, GREY), (60, (236, 232, 236))])
def test_specks_and_grey_dust_are_not_told(
    tmp_path: Path, side_um: int, colour: tuple[int, int, int]
) -> None:
    rgb = with_pieces(400)
    for at in range(500, 950, 150):
        rgb[at : at + side_um // 2, at : at + side_um // 2] = colour
    assert missed_um2(tissue_of(rgb, tmp_path)) == 0


def test_cells_that_lie_apart_are_tissue_or_told(tmp_path: Path) -> None:
    """Cells of 8 um, 40 um apart, as in a smear: they are never left out in silence."""
    rgb = with_pieces(400)
    for row in range(600, 900, 20):
        for column in range(600, 900, 20):
            cv2.circle(rgb, (column, row), 2, (90, 60, 140), -1)
    tissue = tissue_of(rgb, tmp_path)
    smear = np.zeros_like(tissue.mask)
    smear[155:215, 155:215] = True
    assert tissue.missed is not None
    assert (tissue.mask | tissue.missed)[smear].mean() > 0.9
