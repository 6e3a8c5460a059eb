from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import openslide
import pytest
import tifffile
from scipy.spatial import cKDTree

from wsi_suite.errors import ConfigError, DataError, OutputError
from wsi_suite.geometry import Box
from wsi_suite.nuclei.parquet import write_nuclei
from wsi_suite.staining.deconvolution import StainVectors, separate_stains
from wsi_suite.synthetic import Mix, Truth, make_slide, make_tile, read_truth, write_truth
from wsi_suite.synthetic.heterogeneity import Heterogeneity, draw_counts
from wsi_suite.synthetic.render import make_painter, radius_towards
from wsi_suite.synthetic.scene import make_scene


@pytest.fixture(scope="module")
def tile() -> tuple[np.ndarray, Truth]:
    return make_tile(600, mpp=0.5, seed=3)


@pytest.fixture(scope="module")
def slide(tmp_path_factory) -> tuple[Path, Truth]:
    path = tmp_path_factory.mktemp("synthetic") / "slide.svs"
    return path, make_slide(path, width=1100, height=900, tissue_fraction=0.5, seed=2)


def measured(rgb: np.ndarray, truth: Truth) -> np.ndarray:
    """Return (N, 2) mean hematoxylin and DAB inside each outline; NaN where it is cut off."""
    amounts = separate_stains(rgb, truth.stains)
    means = np.full((len(truth), 2), np.nan)
    for row, (x, y) in enumerate(truth.nuclei.points):
        reach = int(truth.nuclei.outline[row].max()) + 2
        box = Box(int(x) - reach, int(y) - reach, 2 * reach + 1, 2 * reach + 1)
        if box.intersect(Box(0, 0, rgb.shape[1], rgb.shape[0])) != box:
            continue
        part = amounts[box.y : box.bottom, box.x : box.right]
        dx = np.arange(box.x, box.right)[None] + 0.5 - x
        dy = np.arange(box.y, box.bottom)[:, None] + 0.5 - y
        border = radius_towards(truth.nuclei.outline[row], np.arctan2(dy, dx))
        means[row] = part[np.hypot(dx, dy) < border][:, :2].mean(axis=0)
    return means


def test_pixels_hold_the_optical_densities_of_the_truth(tile):
    rgb, truth = tile
    means = measured(rgb, truth)
    whole = ~np.isnan(means[:, 0])
    assert whole.sum() > 500
    for channel, stated in enumerate((truth.hematoxylin_od, truth.dab_od)):
        error = np.abs(means[whole, channel] - stated[whole])
        assert np.median(error) < 0.005
        # Neighbours that lie over a nucleus change a few.
        assert np.percentile(error, 95) < 0.04


def test_the_stain_vectors_are_those_asked_for():
    stains = StainVectors(hematoxylin=(0.6, 0.7, 0.35), dab=(0.3, 0.55, 0.75))
    rgb, truth = make_tile(300, stains=stains, seed=1)
    means = measured(rgb, truth)
    whole = ~np.isnan(means[:, 0])
    assert truth.stains == stains
    assert np.median(np.abs(means[whole, 1] - truth.dab_od[whole])) < 0.005


def test_nuclei_are_as_close_as_real_ones(tile):
    _, truth = tile
    nearest = cKDTree(truth.nuclei.points).query(truth.nuclei.points, k=2)[0][:, 1] * truth.mpp
    assert np.median(nearest) == pytest.approx(5.7, abs=0.5)
    assert np.percentile(nearest, 5) == pytest.approx(3.5, abs=0.4)
    assert np.mean(nearest < 2) < 0.0035
    per_tile = len(truth) / (300 * 300) * 100 * 100
    assert 60 < per_tile < 140


def test_epithelium_lies_in_rings_and_is_elongated(tile):
    _, truth = tile
    outline = truth.nuclei.outline * truth.mpp
    length = outline.max(axis=1) / outline.min(axis=1)
    epithelium = truth.nuclei.label == 1
    assert truth.nuclei.classes == ("Stroma", "Epithelium")
    assert 0.1 < epithelium.mean() < 0.4
    assert np.median(length[epithelium]) > 1.2 * np.median(length[~epithelium])
    points = truth.nuclei.points[epithelium]
    neighbours = cKDTree(truth.nuclei.points).query(points, k=3)[1][:, 1:]
    assert np.mean(truth.nuclei.label[neighbours] == 1) > 0.85


def test_the_mix_sets_the_grades_and_the_score():
    mix = Mix(stroma=(1, 0, 0, 0), epithelium=(0, 0, 0.5, 0.5))
    _, truth = make_tile(600, mix=mix, seed=3)
    stroma, epithelium = truth.nuclei.label == 0, truth.nuclei.label == 1
    assert set(truth.grades()[stroma]) == {0}
    assert set(truth.grades()[epithelium]) == {2, 3}
    assert truth.h_score("Stroma") == 0
    assert truth.h_score("Epithelium") == pytest.approx(250, abs=15)
    counts = np.bincount(truth.grades(), minlength=4)
    assert truth.h_score() == pytest.approx(100 * counts @ np.arange(4) / len(truth))


def test_grades_keep_clear_of_the_usual_thresholds(tile):
    _, truth = tile
    gap = np.abs(truth.dab_od[:, None] - np.array([0.2, 0.4, 0.6])).min(axis=1)
    assert gap.min() > 0.045
    np.testing.assert_array_equal(
        truth.grades(), np.digitize(truth.dab_od, [0.2, 0.4, 0.6]).astype(np.uint8)
    )


def test_the_same_arguments_draw_the_same_picture(tile):
    rgb, truth = tile
    again, truth_again = make_tile(600, mpp=0.5, seed=3)
    other, _ = make_tile(600, mpp=0.5, seed=4)
    np.testing.assert_array_equal(rgb, again)
    np.testing.assert_array_equal(truth.nuclei.points, truth_again.nuclei.points)
    assert (rgb != other).any()


@pytest.mark.parametrize("mpp", [0.25, 0.5, 1.0])
def test_parts_drawn_apart_fit_without_a_seam(mpp):
    scene = make_scene(200 * mpp, 200 * mpp, tissue_fraction=0.9, mix=Mix(), seed=7)
    painter = make_painter(scene, mpp=mpp, seed=7)
    whole = painter.draw(Box(0, 0, 200, 200))
    parts = np.concatenate(
        [
            np.concatenate(
                [painter.draw(Box(x, y, w, h)) for x, w in ((0, 130), (130, 70))], axis=1
            )
            for y, h in ((0, 77), (77, 123))
        ]
    )
    # Sums in another order may round a grey level differently.
    assert np.abs(whole.astype(int) - parts).max() <= 1
    assert np.mean(whole != parts) < 1e-3


@pytest.mark.parametrize("fraction", [0.0, 0.2, 0.6, 1.0])
def test_tissue_covers_the_share_asked_for(fraction):
    scene = make_scene(2000, 1500, tissue_fraction=fraction, mix=Mix(), seed=5)
    x_um, y_um = np.arange(0.0, 2000, 8), np.arange(0.0, 1500, 8)
    assert np.mean(scene.tissue.raster(x_um, y_um) > 0) == pytest.approx(fraction, abs=0.03)
    assert (len(scene.cells.x_um) == 0) == (fraction == 0)


def test_openslide_reads_the_slide(slide):
    path, truth = slide
    with openslide.OpenSlide(path) as file:
        assert file.properties["openslide.vendor"] == "aperio"
        assert float(file.properties["openslide.mpp-x"]) == truth.mpp
        assert file.properties["openslide.objective-power"] == "40"
        assert file.level_dimensions == ((1100, 900), (275, 225), (68, 56))
        rgb = np.asarray(file.read_region((0, 0), 0, (1100, 900)).convert("RGB"))
        small = np.asarray(file.read_region((0, 0), 1, (275, 225)).convert("RGB"))
    shrunk = cv2.resize(rgb, (275, 225), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk.astype(int) - small).mean() < 5
    means = measured(rgb, truth)
    whole = ~np.isnan(means[:, 0])
    assert np.median(np.abs(means[whole, 1] - truth.dab_od[whole])) < 0.03
    grades = np.digitize(means[whole, 1], [0.2, 0.4, 0.6])
    assert np.mean(grades == truth.grades()[whole]) > 0.97


def test_the_slide_is_mostly_even_glass_outside_the_tissue(slide):
    path, truth = slide
    corner = tifffile.imread(path, key=0)[:40, :40]
    np.testing.assert_allclose(corner.mean(axis=(0, 1)), (241, 241, 242), atol=1.5)
    assert 0.5 < corner.std() < 3
    inside = Box(0, 0, truth.width, truth.height)
    assert inside.contains(truth.nuclei.points).all()


def test_truth_survives_writing_and_reading(slide, tmp_path):
    _, truth = slide
    write_truth(truth, tmp_path / "truth.parquet")
    again = read_truth(tmp_path / "truth.parquet")
    assert (again.width, again.height, again.mpp, again.stains) == (1100, 900, 0.25, truth.stains)
    np.testing.assert_array_equal(again.nuclei.points, truth.nuclei.points)
    np.testing.assert_array_equal(again.nuclei.outline, truth.nuclei.outline)
    np.testing.assert_array_equal(again.grades(), truth.grades())
    assert again.h_score("Epithelium") == truth.h_score("Epithelium")


def test_a_table_of_nuclei_without_stains_is_no_truth(slide, tmp_path):
    _, truth = slide
    path = tmp_path / "nuclei.parquet"
    write_nuclei(truth.nuclei, path, intensity=truth.grades(), metadata={})
    with pytest.raises(DataError, match="not the truth"):
        read_truth(path)


def test_what_cannot_be_drawn_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="sum to 1"):
        Mix(stroma=(0.5, 0.5, 0.5, 0))
    with pytest.raises(ConfigError, match=r"tissue_fraction = 1\.5"):
        make_tile(50, tissue_fraction=1.5)
    with pytest.raises(ConfigError, match="positive size"):
        make_tile(0)
    with pytest.raises(OutputError):
        make_slide(tmp_path / "absent" / "slide.svs", width=100, height=100)


def test_clustered_tissue_has_the_scores_and_the_likeness_that_its_kind_says() -> None:
    rng = np.random.default_rng(0)
    kind = Heterogeneity(100.0, tie=0.6)
    pieces = [draw_counts(kind, area_mm2=4, rng=rng) for _ in range(80)]
    counts = sum(piece.sum(axis=(0, 1)) for piece in pieces)
    assert counts.sum() == pytest.approx(80 * 4 * kind.density_per_mm2, rel=0.05)
    assert 100 * counts[1:].sum() / counts.sum() == pytest.approx(kind.positive_percent, rel=0.05)
    assert 100 * counts @ np.arange(4) / counts.sum() == pytest.approx(kind.h_score, rel=0.05)
    filled = [piece[len(piece) // 2, 8:-8, :].astype(float) for piece in pieces]
    shares = [
        row[:, 1:].sum(axis=1) - kind.positive_percent / 100 * row.sum(axis=1) for row in filled
    ]
    near = np.mean([np.corrcoef(row[:-1], row[1:])[0, 1] for row in shares])
    far = np.mean([np.corrcoef(row[:-8], row[8:])[0, 1] for row in shares])
    assert near > 0.15 > far
