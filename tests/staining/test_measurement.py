"""Nuclei of known stain, size and place, measured."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from wsi_suite.config import MeasureSettings
from wsi_suite.geometry import Points
from wsi_suite.staining.deconvolution import H_DAB, combine_stains
from wsi_suite.staining.measurement import (
    DISC_MEASUREMENTS,
    NUCLEUS_MEASUREMENTS,
    Measured,
    halo_um,
    measure_nuclei,
)

NUCLEUS = MeasureSettings()
DISC = MeasureSettings(method="disc", disc_radius_um=1.0)
DAB, AREA = "Nucleus: DAB OD mean", "Nucleus: Area µm^2"


def paint(
    points_px: Points,
    *,
    dab: npt.ArrayLike,
    axes_px: tuple[float, float],
    shape: tuple[int, int] = (120, 160),
) -> npt.NDArray[np.uint8]:
    """Paint ellipses of hematoxylin 0.3 and the given DAB on faintly stained ground."""
    amounts = np.zeros((*shape, 3))
    amounts[..., 0] = 0.05
    reach = int(max(axes_px)) + 2
    for (px, py), stain in zip(points_px, np.broadcast_to(dab, len(points_px)), strict=True):
        top, left = max(int(py) - reach, 0), max(int(px) - reach, 0)
        window = amounts[top : top + 2 * reach, left : left + 2 * reach]
        y, x = np.mgrid[: window.shape[0], : window.shape[1]] + 0.5
        inside = ((x + left - px) / axes_px[0]) ** 2 + ((y + top - py) / axes_px[1]) ** 2 <= 1
        window[inside] = (0.3, stain, 0.0)
    return combine_stains(amounts)


def measure(
    rgb: npt.NDArray[np.uint8],
    points_px: Points,
    *,
    mpp: float = 0.5,
    settings: MeasureSettings = NUCLEUS,
) -> Measured:
    return measure_nuclei(rgb, points_px, stains=H_DAB, mpp=(mpp, mpp), settings=settings)


@pytest.mark.parametrize("mpp", [0.25, 0.5, 1.0])
def test_stain_and_area_of_lone_nuclei(mpp: float) -> None:
    points = np.array([[15.3, 16.0], [40.0, 20.5], [20.5, 44.9], [60.2, 50.1]]) / mpp
    dab = np.array([0.0, 0.3, 0.6, 0.9])
    rgb = paint(points, dab=dab, axes_px=(4 / mpp, 4 / mpp), shape=(int(70 / mpp), int(80 / mpp)))
    found = measure(rgb, points, mpp=mpp)
    assert tuple(found.values) == NUCLEUS_MEASUREMENTS
    assert all(column.dtype == np.float32 for column in found.values.values())
    np.testing.assert_allclose(found.values[DAB], dab, atol=0.03)
    np.testing.assert_allclose(found.values["Nucleus: DAB OD max"], dab, atol=0.02)
    np.testing.assert_allclose(found.values["Nucleus: Hematoxylin OD mean"], 0.3, atol=0.02)
    np.testing.assert_allclose(found.values[AREA], np.pi * 16, rtol=0.15)
    assert found.outline is not None
    np.testing.assert_allclose(found.outline * mpp, 4, atol=max(0.35, 0.5 * mpp))


def test_spread_is_that_of_the_pixels() -> None:
    rgb = paint(np.array([[30.0, 30.0]]), dab=0.4, axes_px=(8, 8))
    rgb[:, 30:][rgb[:, 30:, 0] < 200] = combine_stains([0.3, 0.8, 0.0])
    found = measure(rgb, np.array([[30.0, 30.0]]))
    assert found.values[DAB][0] == pytest.approx(0.6, abs=0.02)
    assert found.values["Nucleus: DAB OD std dev"][0] == pytest.approx(0.2, abs=0.02)


def test_one_pixel_has_no_spread() -> None:
    tiny = MeasureSettings(max_radius_um=0.1)
    found = measure(np.zeros((5, 5, 3), np.uint8), np.array([[2.5, 2.5]]), settings=tiny)
    assert found.values[AREA][0] == pytest.approx(0.25)
    assert np.isnan(found.values["Nucleus: DAB OD std dev"][0])


def test_touching_nuclei_keep_their_own_stain() -> None:
    points = np.array([[40.0, 40.0], [51.0, 40.0], [62.0, 40.0]])
    found = measure(paint(points, dab=[0.1, 0.9, 0.2], axes_px=(5.5, 5.5)), points)
    np.testing.assert_allclose(found.values[DAB], [0.1, 0.9, 0.2], atol=0.05)
    np.testing.assert_allclose(found.values[AREA], np.pi * 5.5**2 / 4, rtol=0.25)


def test_equal_nuclei_that_overlap_share_their_pixels() -> None:
    points = np.array([[40.0, 40.0], [48.0, 40.0]])
    found = measure(paint(points, dab=0.5, axes_px=(6, 6)), points)
    left, right = found.values[AREA]
    assert left == pytest.approx(right, rel=0.1)
    assert left + right == pytest.approx(0.25 * 195, rel=0.1)  # area of the union of both discs


def test_outline_follows_the_shape() -> None:
    found = measure(
        paint(np.array([[40.0, 40.0]]), dab=0.5, axes_px=(10, 5)), np.array([[40.0, 40.0]])
    )
    assert found.outline is not None
    right, down, left, up = found.outline[0, ::4]
    np.testing.assert_allclose([right, left], 10, atol=1.5)
    np.testing.assert_allclose([up, down], 5, atol=1)


def test_a_point_on_nothing_is_measured_over_its_core() -> None:
    rgb = np.full((40, 40, 3), 255, np.uint8)
    found = measure(rgb, np.array([[20.5, 20.5]]))
    assert found.values[DAB][0] == 0
    assert found.values[AREA][0] == pytest.approx(13 * 0.25)  # 13 pixel centres within 1 um
    assert found.outline is not None
    assert 0 < found.outline.min() < found.outline.max() < 3


def test_no_mask_reaches_beyond_the_largest_radius() -> None:
    rgb = paint(np.array([[60.0, 60.0]]), dab=0.6, axes_px=(50, 50))
    rgb[0] = 255
    found = measure(rgb, np.array([[60.0, 11.0]]), settings=MeasureSettings(max_radius_um=3))
    assert found.outline is not None
    assert found.outline.max() <= 6
    assert found.values[AREA][0] <= np.pi * 9


def test_points_in_one_pixel_share_one_mask() -> None:
    points = np.array([[40.2, 40.2], [40.7, 40.9], [70.0, 40.0]])
    found = measure(paint(points, dab=[0.5, 0.5, 0.2], axes_px=(6, 6)), points)
    first, second, other = found.values[DAB]
    assert first == second == pytest.approx(0.5, abs=0.03)
    assert other == pytest.approx(0.2, abs=0.03)


def test_nuclei_at_the_border_of_the_array_are_measured() -> None:
    points = np.array([[0.0, 0.0], [160.0, 120.0], [80.0, 0.0]])
    found = measure(paint(points, dab=0.5, axes_px=(6, 6)), points)
    np.testing.assert_allclose(found.values[DAB], 0.5, atol=0.05)
    assert found.outline is not None
    assert (found.outline > 0).all()


@pytest.mark.parametrize(
    ("settings", "names"), [(NUCLEUS, NUCLEUS_MEASUREMENTS), (DISC, DISC_MEASUREMENTS)]
)
def test_no_nuclei_give_empty_columns(settings: MeasureSettings, names: tuple[str, ...]) -> None:
    found = measure(np.zeros((9, 9, 3), np.uint8), np.zeros((0, 2)), settings=settings)
    assert {name: len(column) for name, column in found.values.items()} == dict.fromkeys(names, 0)
    assert (found.outline is None) == (settings is DISC)


def test_disc_is_the_mean_of_pixels_whose_centres_lie_inside() -> None:
    rng = np.random.default_rng(1)
    amounts = np.zeros((20, 20, 3))
    amounts[..., :2] = rng.uniform(0, 0.6, (20, 20, 2))
    rgb = combine_stains(amounts)
    found = measure(rgb, np.array([[10.5, 8.5], [0.5, 0.5]]), settings=DISC)
    assert found.outline is None
    y, x = np.mgrid[:20, :20]
    for row, (col0, row0) in enumerate([(10, 8), (0, 0)]):
        inside = (x - col0) ** 2 + (y - row0) ** 2 <= 4
        for name, stain in zip(DISC_MEASUREMENTS, (1, 0), strict=True):
            expected = amounts[inside, stain].mean()
            assert found.values[name][row] == pytest.approx(expected, abs=0.01)


def test_a_disc_smaller_than_a_pixel_measures_the_pixel_under_it() -> None:
    rgb = np.full((5, 5, 3), 255, np.uint8)
    rgb[2, 2] = combine_stains([0.0, 0.5, 0.0])
    tiny = MeasureSettings(method="disc", disc_radius_um=0.05)
    found = measure(rgb, np.array([[2.1, 2.9]]), settings=tiny)
    assert found.values["Disc: DAB OD mean"][0] == pytest.approx(0.5, abs=0.01)


def crowd(seed: int, *, side: int = 400) -> tuple[npt.NDArray[np.uint8], Points]:
    """Return a noisy field of crowded, overlapping nuclei."""
    rng = np.random.default_rng(seed)
    points = np.round(rng.uniform(0, side, (side * side // 150, 2)), 2)
    rgb = paint(points, dab=rng.uniform(0, 1, len(points)), axes_px=(6, 5), shape=(side, side))
    noisy = cv2.GaussianBlur(rgb, (0, 0), 0.8) + rng.normal(0, 6, rgb.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), points


@pytest.mark.parametrize("settings", [NUCLEUS, DISC])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_crop_with_its_halo_gives_what_the_whole_gives(
    seed: int, settings: MeasureSettings
) -> None:
    rgb, points = crowd(seed)
    whole = measure(rgb, points, settings=settings)
    halo = int(np.ceil(halo_um(settings) / 0.5))
    rng = np.random.default_rng(seed + 10)
    for x, y in rng.integers(0, 300, (6, 2)):
        left, top, right, bottom = x - halo, y - halo, x + 100 + halo, y + 100 + halo
        left, top, right, bottom = max(left, 0), max(top, 0), min(right, 400), min(bottom, 400)
        seen = np.flatnonzero(((points >= [left, top]) & (points < [right, bottom])).all(axis=1))
        seen = rng.permutation(seen)  # nor does the order of the points matter
        core = ((points[seen] >= [x, y]) & (points[seen] < [x + 100, y + 100])).all(axis=1)
        crop = np.ascontiguousarray(rgb[top:bottom, left:right])
        found = measure(crop, points[seen] - [left, top], settings=settings)
        assert core.sum() > 40
        for name, column in found.values.items():
            np.testing.assert_array_equal(column[core], whole.values[name][seen[core]], name)
        if whole.outline is not None and found.outline is not None:
            np.testing.assert_array_equal(found.outline[core], whole.outline[seen[core]])


def read_png(path: Path) -> npt.NDArray[np.uint8]:
    bgr = cv2.imread(str(path))
    assert bgr is not None
    return np.ascontiguousarray(bgr[..., ::-1], np.uint8)


@pytest.mark.realdata
def test_masks_on_real_nuclei_have_the_size_of_nuclei(real_data: Path) -> None:
    folder = real_data / "endonuke"
    radii_um = []
    for label in sorted((folder / "labels").glob("*.txt"))[::20]:
        points = np.loadtxt(label, ndmin=2)
        if len(points) == 0:
            continue
        rgb = read_png(folder / f"images/{label.stem}.png")
        found = measure(rgb, points[:, :2] + 0.5)
        radii_um.append(np.sqrt(found.values[AREA] / np.pi))
        assert found.outline is not None
        assert np.isfinite(found.values[DAB]).all()
        assert (found.outline > 0).all()
    # Nuclei of this set have a mean radius of 2.98 um, those that the tile cuts left out.
    assert np.mean(np.concatenate(radii_um)) == pytest.approx(2.98, abs=0.5)
