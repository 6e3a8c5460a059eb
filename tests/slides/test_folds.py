"""Folds, told from tissue that is dense."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from wsi_suite.slides import folds
from wsi_suite.slides.folds import Folds, find_folds
from wsi_suite.slides.slide import open_slide
from wsi_suite.slides.tissue import find_tissue
from wsi_suite.synthetic import make_tile

MPP = 1.0
SIDE = 1200


@pytest.fixture(scope="module")
def rgb() -> np.ndarray:
    """Return tissue of 1.2 mm with glands, at 1 um per pixel, with glass on its right."""
    tissue = make_tile(2 * SIDE, mpp=MPP / 2, seed=3)[0]
    pixels = cv2.resize(tissue, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.concatenate([pixels, np.full((SIDE, 200, 3), 245, np.uint8)], axis=1)


def folded(rgb: np.ndarray, *, width: int = 90, length: int = 700) -> tuple[np.ndarray, np.ndarray]:
    """Return a picture with a band in which light passes the tissue beside it, too; and the band.

    Transmissions multiply (Beer and Lambert).
    """
    top, left = (SIDE - length) // 2, 500
    band = np.zeros(rgb.shape[:2], np.float32)
    band[top : top + length, left : left + width] = 1
    beside = np.roll(rgb, width, axis=1) / 245
    shade = cv2.GaussianBlur(band, (0, 0), 3)[..., None]
    return np.rint(rgb * (beside * shade + 1 - shade)).astype(np.uint8), band > 0


def found_in(rgb: np.ndarray, folder: Path, *, mpp: float = MPP) -> Folds | None:
    cv2.imwrite(str(folder / "s.png"), rgb[..., ::-1])
    with open_slide(folder / "s.png", mpp=mpp) as slide:
        return find_folds(slide, find_tissue(slide))


def small(mask: np.ndarray, like: np.ndarray) -> np.ndarray:
    size = like.shape[::-1]
    return cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5


def test_fold_is_found_where_it_is(rgb: np.ndarray, tmp_path: Path) -> None:
    pixels, band = folded(rgb)
    found = found_in(pixels, tmp_path)
    assert found is not None
    assert found.mpp == pytest.approx(8)
    truth = small(band, found.folded)
    assert (found.folded & truth).sum() > 0.7 * truth.sum()
    assert (found.folded & truth).sum() > 0.8 * found.folded.sum()


def test_glands_in_stroma_are_no_folds(rgb: np.ndarray, tmp_path: Path) -> None:
    found = found_in(rgb, tmp_path)
    assert found is not None
    assert not found.folded.any()
    assert found.judged.sum() > 0.9 * (rgb[..., 1] < 240).sum() / 64


def test_band_of_crowded_nuclei_is_no_fold(tmp_path: Path) -> None:
    """Twice as dense from afar; near by its nuclei are as dense as those beside it."""
    rng = np.random.default_rng(0)
    pixels = np.full((SIDE, SIDE, 3), (225, 205, 225), np.uint8)
    for column, row in rng.uniform(0, SIDE, (9000, 2)):
        cv2.circle(pixels, (int(column), int(row)), 3, (120, 80, 150), -1)
    for column, row in rng.uniform((500, 200), (590, 1000), (1400, 2)):
        cv2.circle(pixels, (int(column), int(row)), 3, (120, 80, 150), -1)
    pixels = np.concatenate([pixels, np.full((SIDE, 200, 3), 245, np.uint8)], axis=1)
    cv2.imwrite(str(tmp_path / "s.png"), pixels[..., ::-1])
    with open_slide(tmp_path / "s.png", mpp=MPP) as slide:
        tissue = find_tissue(slide)
        dense, *_ = folds.dense_places(tissue, mpp=8.0)
        found = find_folds(slide, tissue)
    assert dense[40:110, 64:72].mean() > 0.8, "from afar it looks like one"
    assert found is not None
    assert not found.folded.any()


def test_brown_band_in_blue_tissue_is_no_fold(rgb: np.ndarray, tmp_path: Path) -> None:
    pixels = np.full((SIDE, SIDE, 3), (170, 170, 215), np.uint8)
    pixels[200:1000, 500:590] = (150, 100, 60)
    pixels = np.concatenate([pixels, np.full((SIDE, 200, 3), 245, np.uint8)], axis=1)
    found = found_in(pixels, tmp_path)
    assert found is not None
    assert not found.folded.any()


def test_pale_tissue_is_not_judged(rgb: np.ndarray, tmp_path: Path) -> None:
    pale = np.rint(245 * (rgb / 245) ** 0.2).astype(np.uint8)
    found = found_in(pale, tmp_path)
    assert found is not None
    assert not found.judged.any()
    assert not found.folded.any()


def test_windows_change_nothing(
    rgb: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels, _ = folded(rgb)
    whole = found_in(pixels, tmp_path)
    monkeypatch.setattr(folds, "_WINDOW_PX", 48)
    parts = found_in(pixels, tmp_path)
    assert whole is not None
    assert parts is not None
    assert whole.folded.any()
    np.testing.assert_array_equal(parts.folded, whole.folded)


@pytest.mark.parametrize(("shape", "mpp"), [((3, 900), 0.5), ((1, 1), 0.5), ((100, 100), 4.0)])
def test_slides_too_small_or_too_coarse(tmp_path: Path, shape: tuple[int, int], mpp: float) -> None:
    found = found_in(np.full((*shape, 3), 150, np.uint8), tmp_path, mpp=mpp)
    assert (found is None) == (mpp > 2.5)
    assert found is None or not found.folded.any()


@pytest.mark.realdata
def test_real_slides_without_folds_have_none(real_data: Path) -> None:
    for name in ("CMU-1-Small-Region.svs", "ki67-OS-2-vsi.ome.tif", "luna-1065626.svs"):
        with open_slide(real_data / "slides" / name) as slide:
            found = find_folds(slide, find_tissue(slide))
        assert found is not None
        assert not found.folded.any()
