"""Air bubbles, told from what else goes round in tissue."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from wsi_suite.slides import strips
from wsi_suite.slides.bubbles import Bubbles, find_bubbles
from wsi_suite.slides.pictures import slide_of_picture
from wsi_suite.slides.slide import open_slide
from wsi_suite.slides.tissue import find_tissue
from wsi_suite.synthetic import make_tile
from wsi_suite.synthetic.bubbles import Bubble, draw_bubble

MPP = 1.0
SIDE = 1200
LOBES = ((0.1, 0.5), (0.06, 2.0), (0.05, 4.0))


@pytest.fixture(scope="module")
def rgb() -> np.ndarray:
    """Return tissue of 1.2 mm with glands, at 1 um per pixel, with glass on its right."""
    tissue = make_tile(2 * SIDE, mpp=MPP / 2, seed=3)[0]
    pixels = cv2.resize(tissue, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.concatenate([pixels, np.full((SIDE, 200, 3), 245, np.uint8)], axis=1)


def found_in(rgb: np.ndarray, *, mpp: float = MPP) -> Bubbles | None:
    slide = slide_of_picture(rgb, mpp=mpp)
    return find_bubbles(slide, find_tissue(slide))


def overlap(rgb: np.ndarray, truth: np.ndarray) -> float:
    """Return the intersection over the union of what is found and the truth, in the tissue."""
    slide = slide_of_picture(rgb, mpp=MPP)
    tissue = find_tissue(slide)
    found = find_bubbles(slide, tissue)
    assert found is not None
    size = found.covered.shape[::-1]
    small = cv2.resize(truth.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5
    small &= tissue.mask  # without what was taken for pen, as a wide rim may be
    return float((found.covered & small).sum() / (found.covered | small).sum())


def ringed(rgb: np.ndarray, colour: tuple[int, int, int], *, width: int) -> np.ndarray:
    pixels = rgb.copy()
    cv2.circle(pixels, (600, 600), 200, colour, width, cv2.LINE_AA)
    return pixels


@pytest.mark.parametrize(
    "bubble",
    [
        Bubble(600, 600, 60, rim_um=15),
        Bubble(600, 600, 200, rim_um=12),
        Bubble(600, 600, 300, rim_um=60, lobes=LOBES),
        Bubble(500, 700, 250, rim_um=30, open_share=0.1),
        Bubble(600, 60, 200, rim_um=30),
        Bubble(20, 1180, 220, rim_um=30),
    ],
    ids=["small", "thin rim", "lobed", "with a gap", "cut by the edge", "in a corner"],
)
def test_bubble_is_found_where_it_is(rgb: np.ndarray, bubble: Bubble) -> None:
    pixels, truth = draw_bubble(rgb, bubble, mpp=MPP)
    assert overlap(pixels, truth) > 0.8


@pytest.mark.parametrize(("radius_um", "within"), [(60, 0.08), (100, 0.05), (300, 0.03)])
def test_area_of_a_bubble_is_right(rgb: np.ndarray, radius_um: float, within: float) -> None:
    pixels, truth = draw_bubble(rgb, Bubble(602, 598, radius_um, rim_um=12), mpp=MPP)
    found = found_in(pixels)
    assert found is not None
    assert found.covered.sum() * found.mpp**2 == pytest.approx(truth.sum() * MPP**2, rel=within)


def test_glands_are_no_bubbles(rgb: np.ndarray) -> None:
    found = found_in(rgb)
    assert found is not None
    assert found.mpp == pytest.approx(8)
    assert not found.covered.any()


@pytest.mark.parametrize(
    ("colour", "width"),
    [((120, 60, 20), 20), ((70, 60, 130), 20), ((215, 120, 170), 12), ((20, 20, 20), 200)],
    ids=["brown", "blue", "pink", "black pen"],
)
def test_rings_of_other_colours_and_strokes_of_a_pen_are_no_bubbles(
    rgb: np.ndarray, colour: tuple[int, int, int], width: int
) -> None:
    found = found_in(ringed(rgb, colour, width=width))
    assert found is not None
    assert not found.covered.any()


def test_fat_and_torn_tissue_are_no_bubbles() -> None:
    pixels = np.full((SIDE, SIDE, 3), (225, 140, 190), np.uint8)
    rng = np.random.default_rng(0)
    for column, row in rng.uniform(0, SIDE, (400, 2)):
        cv2.circle(pixels, (int(column), int(row)), int(rng.uniform(25, 60)), (245, 245, 245), -1)
    found = found_in(pixels)
    assert found is not None
    assert not found.covered.any()


def test_bubble_over_glass_covers_no_tissue(rgb: np.ndarray) -> None:
    glass = np.full((SIDE, SIDE, 3), 245, np.uint8)
    pixels = np.concatenate([rgb, draw_bubble(glass, Bubble(700, 600, 200), mpp=MPP)[0]], axis=1)
    found = found_in(pixels)
    assert found is not None
    assert not found.covered[:, 180:].any()
    assert found.everywhere[:, 180:].sum() * found.mpp**2 == pytest.approx(np.pi * 200**2, rel=0.05)


def test_strips_change_nothing(rgb: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, _ = draw_bubble(rgb, Bubble(600, 600, 200, lobes=LOBES), mpp=MPP)
    whole = found_in(pixels)
    monkeypatch.setattr(strips, "_STRIP_PX", 3000)
    parts = found_in(pixels)
    assert whole is not None
    assert parts is not None
    assert whole.covered.any()
    np.testing.assert_array_equal(parts.covered, whole.covered)


@pytest.mark.parametrize(("shape", "mpp"), [((3, 900), 0.5), ((1, 1), 0.5), ((100, 100), 4.0)])
def test_slides_too_small_or_too_coarse(shape: tuple[int, int], mpp: float) -> None:
    found = found_in(np.full((*shape, 3), 150, np.uint8), mpp=mpp)
    assert (found is None) == (mpp > 2.5)
    assert found is None or not found.covered.any()


@pytest.mark.realdata
def test_real_slides_without_bubbles_have_none(real_data: Path) -> None:
    for name in ("CMU-1-Small-Region.svs", "ki67-OS-2-vsi.ome.tif", "luna-1065626.svs"):
        with open_slide(real_data / "slides" / name) as slide:
            found = find_bubbles(slide, find_tissue(slide))
        assert found is not None
        assert not found.covered.any()
