from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from wsi_suite.config import TissueSettings
from wsi_suite.geometry import Box, Scale
from wsi_suite.slides.slide import open_slide
from wsi_suite.slides.tissue import (
    TissueMask,
    find_masks,
    find_tissue,
    glass_colour,
    is_fluorescence,
)
from wsi_suite.staining.deconvolution import StainVectors, combine_stains
from wsi_suite.synthetic import make_slide, make_tile

MPP = 8.0
GLASS = (241, 241, 242)
FAINT_HEMATOXYLIN = (222, 223, 232)
HEAVY_DAB = (110, 75, 52)
EOSIN = (225, 150, 190)
PENS = {
    "blue": (25, 45, 150),
    "green": (30, 130, 60),
    "red": (200, 25, 40),
    "black": (25, 25, 28),
}


def glass_slide(side: int = 200, *, colour: tuple[int, int, int] = GLASS) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 0.5, (side, side, 3))
    return np.clip(np.rint(np.array(colour) + noise), 0, 255).astype(np.uint8)


def with_blob(rgb: np.ndarray, colour: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    blob = np.zeros(rgb.shape[:2], np.uint8)
    cv2.circle(blob, (100, 110), 45, 1, -1)
    texture = np.random.default_rng(1).normal(0, 6, rgb.shape)
    tissue = np.clip(np.array(colour) + texture, 0, 255).astype(np.uint8)
    return np.where(blob[..., None] > 0, tissue, rgb), blob > 0


def overlap(found: np.ndarray, true: np.ndarray) -> float:
    return np.count_nonzero(found & true) / np.count_nonzero(found | true)


@pytest.mark.parametrize("colour", [FAINT_HEMATOXYLIN, HEAVY_DAB, EOSIN])
@pytest.mark.parametrize("glass", [GLASS, (250, 250, 250), (215, 216, 218), (238, 234, 222)])
def test_tissue_is_found_whatever_its_stain_on_any_glass(colour, glass):
    shade = np.array(glass) / np.array(GLASS)
    rgb, blob = with_blob(glass_slide(colour=glass), tuple(np.array(colour) * shade))
    found = find_masks(rgb, mpp=MPP, settings=TissueSettings(margin_um=0)).tissue
    assert overlap(found, blob) > 0.9
    np.testing.assert_allclose(glass_colour(rgb), glass, atol=1)


def test_the_margin_grows_the_mask_by_its_width():
    rgb, _ = with_blob(glass_slide(), HEAVY_DAB)
    tight = find_masks(rgb, mpp=MPP, settings=TissueSettings(margin_um=0)).tissue
    grown = find_masks(rgb, mpp=MPP, settings=TissueSettings(margin_um=40)).tissue
    reach = cv2.distanceTransform((~tight).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    np.testing.assert_array_equal(grown, reach <= 5)


@pytest.mark.parametrize("colour", [GLASS, (255, 255, 255), (200, 200, 200), (0, 0, 0)])
def test_an_image_without_tissue_has_none(colour):
    assert not find_masks(glass_slide(colour=colour), mpp=MPP).tissue.any()


def test_an_image_without_glass_is_tissue_as_a_whole():
    rgb, _ = make_tile(400, mpp=0.5, seed=4)
    small = cv2.resize(rgb, (25, 25), interpolation=cv2.INTER_AREA)
    assert find_masks(small, mpp=MPP).tissue.mean() > 0.95


@pytest.mark.parametrize("ink", PENS)
def test_pen_is_left_out_and_tissue_beside_it_stays(ink):
    rgb, blob = with_blob(glass_slide(), EOSIN)
    cv2.line(rgb, (10, 25), (190, 35), PENS[ink], 8)
    rgb = cv2.GaussianBlur(rgb, (0, 0), 0.7)
    found = find_masks(rgb, mpp=MPP, settings=TissueSettings(margin_um=0)).tissue
    assert overlap(found, blob) > 0.9
    kept = find_masks(rgb, mpp=MPP, settings=TissueSettings(exclude_pen=False)).tissue
    # Without colour, black ink is not taken for tissue in any case.
    assert kept[28:32, 60:140].all() == (ink != "black")


def brown_tissue(side: int = 240) -> np.ndarray:
    """Draw brown and blue tissue at 8 um per pixel, with glass about it."""
    rng = np.random.default_rng(2)
    amounts = cv2.GaussianBlur(rng.random((side, side, 2)).astype(np.float32), (0, 0), 1.5)
    amounts = (amounts - 0.5) * (0.6, 2.0) + (0.2, 0.3)
    amounts[:, :40] = 0
    stains = np.concatenate([np.maximum(amounts, 0), np.zeros((side, side, 1))], axis=2)
    return combine_stains(stains, StainVectors(background=GLASS))


def inked(
    rgb: np.ndarray, ink: tuple[int, int, int], strength: float, *, width_px: int = 30
) -> np.ndarray:
    """Draw a stroke of translucent ink across a picture: light passes tissue and ink."""
    stroke = np.zeros(rgb.shape[:2], np.float32)
    cv2.line(stroke, (-5, 100), (rgb.shape[1] + 5, 130), 1.0, width_px)
    soft = cv2.GaussianBlur(stroke, (0, 0), 1)[..., None]
    return np.clip(np.rint(rgb * (np.array(ink) / 255) ** (strength * soft)), 0, 255).astype(
        np.uint8
    )


STROKE_CORE = (slice(108, 112), slice(60, 150))


@pytest.mark.parametrize("strength", [0.7, 1.0])
@pytest.mark.parametrize("ink", ["blue", "green", "red", "black"])
def test_translucent_ink_over_tissue_is_left_out(ink, strength):
    clean = brown_tissue()
    settings = TissueSettings(margin_um=0)
    before = find_masks(clean, mpp=MPP, settings=settings).tissue
    found = find_masks(inked(clean, PENS[ink], strength), mpp=MPP, settings=settings).tissue
    assert before[STROKE_CORE].all()
    assert found[STROKE_CORE].mean() < 0.03
    far = np.r_[0:70, 170:240]
    assert overlap(found[far], before[far]) > 0.99


@pytest.mark.parametrize("ink", ["blue", "red"])
def test_ink_that_covers_most_of_the_stain_is_told(ink):
    clean = brown_tissue()
    found = find_masks(inked(clean, PENS[ink], 0.8, width_px=130), mpp=MPP).tissue
    assert not found[70:150, 60:].any()
    assert found[:25, 60:].all()


@pytest.mark.parametrize("ink", ["blue", "red"])
def test_ink_too_pale_to_tell_is_warned_of(tmp_path: Path, ink):
    clean = brown_tissue()
    for rgb, warned in ((clean, False), (inked(clean, PENS[ink], 0.4), True)):
        path = tmp_path / f"{warned}.png"
        cv2.imwrite(str(path), rgb[..., ::-1])
        with open_slide(path, mpp=8.0) as slide:
            tissue = find_tissue(slide)
        assert bool(tissue.warnings) == warned
    assert "has colours that no stain has" in tissue.warnings[0]
    assert tissue.mask[STROKE_CORE].all()


def test_left_out_ink_is_told(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "s.png"), inked(brown_tissue(), PENS["blue"], 1.0)[..., ::-1])
    with open_slide(tmp_path / "s.png", mpp=8.0) as slide:
        tissue = find_tissue(slide)
        everything = find_tissue(slide, TissueSettings(whole_slide=True))
        unasked = find_tissue(slide, TissueSettings(exclude_pen=False))
    assert "was taken for pen ink and left out" in tissue.warnings[0]
    assert everything.mask.all()
    assert "counts as tissue" in everything.warnings[0]
    assert not unasked.warnings


@pytest.mark.realdata
def test_tissue_of_real_slides_is_not_taken_for_ink(real_data: Path):
    for name in ("CMU-1-Small-Region.svs", "ki67-OS-2-vsi.ome.tif", "luna-1065626.svs"):
        with open_slide(real_data / "slides" / name) as slide:
            assert find_tissue(slide).warnings == ()


@pytest.mark.parametrize("size", [(3, 900), (900, 3), (1, 1), (31, 31)])
def test_a_slide_may_be_one_pixel_of_the_mask_wide(tmp_path: Path, size):
    path = tmp_path / "strip.png"
    cv2.imwrite(str(path), np.full((size[1], size[0], 3), 150, np.uint8))
    with open_slide(path, mpp=0.5) as slide:
        found = find_tissue(slide)
    assert found.mask.shape == (max(1, size[1] // 16), max(1, size[0] // 16))


def test_dust_hairs_and_shadows_are_left_out():
    rgb, blob = with_blob(glass_slide(), HEAVY_DAB)
    cv2.circle(rgb, (20, 20), 2, (90, 60, 50), -1)  # a speck of colour, too small
    cv2.line(rgb, (150, 10), (190, 60), (150, 150, 152), 2)  # a hair
    rgb[:, :6] = (225, 225, 226)  # the shadow of the cover glass
    found = find_masks(rgb, mpp=MPP, settings=TissueSettings(margin_um=0)).tissue
    assert overlap(found, blob) > 0.9
    assert not found[:, :20].any()


def test_black_and_white_areas_that_were_not_scanned_are_left_out():
    rgb, blob = with_blob(glass_slide(colour=(232, 228, 231)), EOSIN)
    rgb[:, 120:] = 0
    rgb[:50] = 255
    found = find_masks(rgb, mpp=MPP).tissue
    assert not found[:, 120:].any()
    assert not found[:50].any()
    assert found[blob & (rgb.max(axis=2) > 0) & (np.indices(blob.shape)[0] >= 70)].all()


@pytest.mark.parametrize("mpp", [4.0, 16.0])
def test_the_mask_means_the_same_at_other_resolutions(mpp):
    rgb, blob = with_blob(glass_slide(), HEAVY_DAB)
    size = (round(200 * MPP / mpp),) * 2
    scaled = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    truth = cv2.resize(blob.astype(np.uint8), size, interpolation=cv2.INTER_AREA) > 0
    found = find_masks(scaled, mpp=mpp, settings=TissueSettings(margin_um=0)).tissue
    assert overlap(found, truth) > 0.85


@given(npst.arrays(np.bool_, npst.array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_the_outline_holds_exactly_the_mask(mask):
    tissue = TissueMask(mask, Scale(32.0, 31.5))
    outline = tissue.outline()
    assert outline.is_valid
    assert outline.area == pytest.approx(tissue.area_px0)
    if mask.any():
        row, _ = np.argwhere(mask)[0]
        left, top, *_ = outline.bounds
        assert top == row * 31.5
        assert left == np.flatnonzero(mask.any(axis=0))[0] * 32.0


@given(st.integers(-3, 20), st.integers(-3, 20), st.integers(0, 9), st.integers(0, 9))
def test_covers_asks_the_pixels_under_a_box(x, y, width, height):
    mask = np.zeros((4, 5), np.bool_)
    mask[2, 3] = True  # level-0 x 12 - 16, y 8 - 12
    inside = x < 16 and x + width > 12 and y < 12 and y + height > 8 and width * height > 0
    assert TissueMask(mask, Scale(4, 4)).covers(Box(x, y, width, height)) == inside


def test_all_nuclei_of_a_slide_lie_in_its_tissue(tmp_path: Path):
    path = tmp_path / "slide.svs"
    truth = make_slide(path, width=1200, height=1000, mpp=0.5, tissue_fraction=0.4, seed=6)
    with open_slide(path) as slide:
        tissue = find_tissue(slide)
        again = find_tissue(slide)
    np.testing.assert_array_equal(tissue.mask, again.mask)
    assert tissue.scale == Scale(16.0, 16.0)
    assert 0.4 < tissue.area_px0 / (1200 * 1000) < 0.55
    columns, rows = tissue.scale.from_level0(truth.nuclei.points).astype(int).T
    assert tissue.mask[rows, columns].all()


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("CMU-1-Small-Region.svs", (0.44, 0.52)),
        ("ki67-OS-2-vsi.ome.tif", (0.88, 0.97)),
        ("luna-1065626.svs", (0.008, 0.016)),
    ],
)
def test_real_slides(real_data: Path, name, share):
    with open_slide(real_data / "slides" / name) as slide:
        tissue = find_tissue(slide)
    low, high = share
    assert low < tissue.mask.mean() < high
    assert tissue.area_px0 / (slide.width * slide.height) == pytest.approx(
        tissue.mask.mean(), rel=0.05
    )


@pytest.mark.realdata
def test_what_lies_outside_the_slide_is_left_out_of_a_field_of_view(real_data: Path):
    for tile in (741, 742, 743, 744):
        path = real_data / "endonuke" / "images" / f"{tile}.png"
        rgb = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        small = cv2.resize(rgb, (12, 12), interpolation=cv2.INTER_AREA)
        assert find_masks(small, mpp=100 / 12).tissue.mean() == pytest.approx(0.62, abs=0.06)


@pytest.mark.parametrize("glow", [(0, 0, 220), (0, 200, 0), (220, 0, 180)])
def test_single_colours_on_black_are_fluorescence(glow):
    rgb = np.full((200, 200, 3), 4, np.uint8)
    assert is_fluorescence(with_blob(rgb, glow)[0])


@pytest.mark.parametrize("colour", [FAINT_HEMATOXYLIN, HEAVY_DAB, EOSIN])
def test_tissue_is_no_fluorescence_even_where_most_was_never_scanned(colour):
    rgb = with_blob(glass_slide(), colour)[0]
    assert not is_fluorescence(rgb)
    rgb[:60], rgb[160:], rgb[:, :50], rgb[:, 150:] = 0, 0, 0, 0
    assert not is_fluorescence(rgb)
