"""What was never scanned, told from glass and tissue."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from wsi_suite.analysis.survey import look_at_slide
from wsi_suite.config import TissueSettings
from wsi_suite.slides.canvas import find_canvas
from wsi_suite.slides.slide import open_slide
from wsi_suite.slides.tissue import find_masks, glass_colour, is_fluorescence
from wsi_suite.staining.deconvolution import H_DAB
from wsi_suite.staining.glass import glass_colour as median_glass
from wsi_suite.staining.glass import glass_dab_od

BROWN = (110, 75, 52)
GLASS = (236, 233, 228)
YELLOW_GLASS = (250, 245, 215)
CANVASES = {
    "black": (0, 0, 0),
    "dark": (18, 18, 18),
    "dark blue": (20, 20, 60),
    "grey": (128, 128, 128),
    "light grey": (205, 205, 205),
    "bluish": (229, 229, 250),
    "white": (255, 255, 255),
    "tiles that hold zeros in YCbCr": (0, 136, 0),
}


def scan(glass: tuple[int, int, int] | None, *, side: int = 120, seed: int = 0) -> np.ndarray:
    """Draw a scanned rectangle: brown tissue on glass, or tissue alone."""
    rng = np.random.default_rng(seed)
    tissue = np.array(BROWN) + rng.normal(0, 6, (side, side, 3))
    if glass is None:
        return np.clip(tissue, 0, 255).astype(np.uint8)
    empty = np.array(glass) + rng.normal(0, 0.6, (side, side, 3))
    blob = np.zeros((side, side), np.uint8)
    cv2.ellipse(blob, (side // 2, side // 2 + 5), (side // 3, side // 4), 20, 0, 360, 1, -1)
    return np.clip(np.rint(np.where(blob[..., None] > 0, tissue, empty)), 0, 255).astype(np.uint8)


def lay(parts: list[tuple[int, int, np.ndarray]], colour: tuple[int, int, int]) -> np.ndarray:
    """Lay scanned rectangles on a canvas of 300 x 320 pixels."""
    rgb = np.full((300, 320, 3), colour, np.uint8)
    for y, x, part in parts:
        rgb[y : y + part.shape[0], x : x + part.shape[1]] = part
    return rgb


def compressed(rgb: np.ndarray) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, 85])[1], 1)


@pytest.mark.parametrize("glass", [GLASS, YELLOW_GLASS])
@pytest.mark.parametrize("name", CANVASES)
@pytest.mark.parametrize("corners", [[(80, 90)], [(0, 0)], [(10, 20), (150, 180)]])
def test_canvas_is_neither_tissue_nor_glass(name, glass, corners):
    alone = find_masks(scan(glass), mpp=8.0, settings=TissueSettings(margin_um=0)).tissue
    rgb = lay([(y, x, scan(glass)) for y, x in corners], CANVASES[name])
    canvas = np.ones(rgb.shape[:2], bool)
    for y, x in corners:
        canvas[y : y + 120, x : x + 120] = False
    assert np.mean(find_canvas(rgb) == canvas) > 0.999
    assert not is_fluorescence(rgb)
    np.testing.assert_allclose(glass_colour(rgb, canvas), glass, atol=1)
    found = find_masks(rgb, mpp=8.0, settings=TissueSettings(margin_um=0)).tissue
    for y, x in corners:
        np.testing.assert_array_equal(found[y : y + 120, x : x + 120], alone)
    assert found.sum() == len(corners) * alone.sum()


@pytest.mark.parametrize("name", CANVASES)
def test_compressed_canvas_is_found(name):
    rgb = compressed(lay([(80, 90, scan(GLASS)), (10, 12, scan(GLASS)[:60])], CANVASES[name]))
    canvas = lay([(80, 90, np.ones((120, 120, 3))), (10, 12, np.ones((60, 120, 3)))], (0, 0, 0))
    found = find_canvas(rgb)
    assert found[canvas[..., 0] == 0].mean() > 0.9
    assert found[canvas[..., 0] > 0].mean() < 0.02
    assert not is_fluorescence(rgb)


@pytest.mark.parametrize("name", ["black", "dark", "dark blue", "grey", "light grey"])
def test_tissue_alone_on_a_dark_or_grey_canvas(name):
    rgb = lay([(80, 90, scan(None))], CANVASES[name])
    assert not is_fluorescence(rgb)
    found = find_masks(rgb, mpp=8.0).tissue
    assert found[80:200, 90:210].all()
    assert found.sum() == 120 * 120


@pytest.mark.parametrize("glass", [(255, 255, 255), (243, 243, 243), YELLOW_GLASS, (216, 216, 216)])
@pytest.mark.parametrize("shape", ["ellipse", "rectangle"])
def test_glass_without_noise_is_glass(glass, shape):
    rgb = np.full((200, 220, 3), glass, np.uint8)
    blob = np.zeros(rgb.shape[:2], np.uint8)
    if shape == "ellipse":
        cv2.ellipse(blob, (100, 110), (70, 40), 0, 0, 360, 1, -1)
    else:
        blob[50:150, 60:170] = 1
    noise = np.random.default_rng(0).normal(0, 6, rgb.shape)
    rgb = np.where(blob[..., None] > 0, np.array((222, 223, 232)) * 0.9 + noise, rgb)
    rgb = np.clip(rgb, 0, 255).astype(np.uint8)
    assert not find_canvas(rgb).any()
    np.testing.assert_array_equal(glass_colour(rgb), glass)


@pytest.mark.parametrize("colour", [(225, 150, 190), BROWN, (70, 60, 110)])
def test_even_tissue_at_the_edge_is_no_canvas(colour):
    rgb = np.full((200, 220, 3), 243, np.uint8)
    rgb[:120, :90] = colour
    assert not find_canvas(rgb).any()
    assert find_masks(rgb, mpp=8.0).tissue[:120, :90].all()


def test_glass_of_two_scans_may_differ():
    rgb = lay([(0, 0, scan((240, 240, 240))), (150, 180, scan((234, 235, 236)))], (255, 255, 255))
    found = find_canvas(rgb)
    assert not found[:120, :120].any()
    assert not found[150:270, 180:300].any()
    assert found.sum() == 300 * 320 - 2 * 120 * 120


@pytest.mark.parametrize("glow", [(0, 0, 220), (0, 200, 0), (220, 0, 180), (200, 180, 10)])
@pytest.mark.parametrize("background", [0, 4, 18, 35])
def test_fluorescence_is_told_on_any_background(glow, background):
    rng = np.random.default_rng(0)
    rgb = np.clip(background + rng.normal(0, 2, (300, 320, 3)), 0, 255)
    cells = cv2.GaussianBlur((rng.random((300, 320)) > 0.998).astype(np.float32), (0, 0), 3)
    light = np.minimum(cells / cells.max() * 2, 1)[..., None] * np.array(glow)
    rgb = np.clip(rgb + light, 0, 255).astype(np.uint8)
    assert is_fluorescence(rgb)
    assert is_fluorescence(lay([(40, 50, rgb[:200, :200])], (0, 0, 0)))


@pytest.mark.parametrize("colour", [(128, 128, 128), (205, 205, 205), (255, 255, 255)])
def test_ink_beside_a_bright_canvas_is_no_fluorescence(colour):
    part = scan(GLASS)
    part[40:70] = (20, 35, 58)
    assert not is_fluorescence(lay([(80, 90, part)], colour))


def test_blank_pictures_are_told():
    assert is_fluorescence(np.zeros((50, 50, 3), np.uint8))
    assert not is_fluorescence(np.full((50, 50, 3), 128, np.uint8))
    assert not find_canvas(np.full((50, 50, 3), 255, np.uint8)).any()


@pytest.mark.parametrize("name", ["black", "light grey", "white"])
@pytest.mark.parametrize("glass", [GLASS, YELLOW_GLASS])
def test_the_glass_of_a_slide_is_read_beside_the_canvas(tmp_path: Path, name, glass):
    import tifffile

    rgb = lay([(30, 20, scan(glass))], CANVASES[name])
    path = tmp_path / "slide.tif"
    size = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER"}
    large = np.repeat(np.repeat(rgb, 4, axis=0), 4, axis=1)
    tifffile.imwrite(path, large, photometric="rgb", tile=(256, 256), metadata=None, **size)
    with open_slide(path) as slide:
        tissue = TissueSettings(mpp=2.0)
        overview = look_at_slide(slide, tissue)
        everywhere = look_at_slide(slide, TissueSettings(mpp=2.0, whole_slide=True))
    colour = median_glass(overview.thumbnail, overview.tissue.glass)
    assert colour is not None
    assert glass_dab_od(colour, H_DAB) == pytest.approx(glass_dab_od(glass, H_DAB), abs=0.005)
    assert everywhere.tissue.mask.mean() == pytest.approx(120 * 120 / (300 * 320), abs=0.005)


@pytest.mark.realdata
def test_a_scan_of_joined_fields_on_white(real_data: Path):
    path = real_data / "slides" / "tcga-cr-7395-01a-01-ts1.svs"
    with open_slide(path, mpp=0.5) as slide:
        overview = look_at_slide(slide, TissueSettings())
    assert overview.tissue.left_out.mean() == pytest.approx(0.20, abs=0.01)
    colour = median_glass(overview.thumbnail, overview.tissue.glass)
    assert colour is not None
    assert glass_dab_od(colour, H_DAB) == pytest.approx(0.025, abs=0.003)
