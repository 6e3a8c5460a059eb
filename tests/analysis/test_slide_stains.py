"""Stains of whole slides, and one set of vectors for several."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from bench import Bench

from wsi_suite.analysis.slide_stains import (
    SlideStains,
    estimate_slide,
    kind_of_slide,
    pool_stains,
    unlike_pooled,
)
from wsi_suite.analysis.stain_sample import FIELD_PX, sample_fields
from wsi_suite.config import WHITE_RGB
from wsi_suite.errors import InputError, SlideError
from wsi_suite.geometry import Scale
from wsi_suite.slides.slide import open_slide
from wsi_suite.slides.tissue import TissueMask
from wsi_suite.staining.deconvolution import H_DAB, Vector
from wsi_suite.staining.estimation import METHODS, StainEstimate, angle_degrees


def test_a_slide_of_known_stains(bench: Bench) -> None:
    found = estimate_slide(bench.slide, background=True)
    assert (found.kind, found.reason) == ("H-DAB", None)
    assert found.glass_rgb == pytest.approx((241, 241, 242), abs=1)
    assert found.estimate is not None
    assert found.estimate.background == found.glass_rgb
    assert angle_degrees(found.estimate.dab, H_DAB.dab) < 8
    assert estimate_slide(bench.slide, background=True) == found
    white = estimate_slide(bench.slide)
    assert white.estimate is not None
    assert white.estimate.background == (255, 255, 255)


def picture(folder: Path, rgb: np.ndarray) -> Path:
    file = folder / "field.png"
    cv2.imwrite(str(file), np.ascontiguousarray(rgb[..., ::-1]))
    return file


@pytest.mark.parametrize("colour", [(255, 255, 255), (242, 240, 238), (200, 190, 90), (90, 90, 90)])
def test_slides_without_stain_are_left_out(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    file = picture(tmp_path, np.full((700, 900, 3), colour, np.uint8))
    for method in METHODS:
        found = estimate_slide(file, mpp=0.5, background=True, method=method)
        assert found.estimate is None
        assert found.reason
    with pytest.raises(InputError, match=r"cannot be estimated: field\.png \w+ "):
        pool_stains([found])


def test_a_black_slide_is_refused(tmp_path: Path) -> None:
    file = picture(tmp_path, np.zeros((700, 900, 3), np.uint8))
    with pytest.raises(SlideError, match="fluorescence"):
        estimate_slide(file, mpp=0.5)
    with open_slide(file, mpp=0.5) as slide:
        assert kind_of_slide(slide) == "fluorescence"


def stains(hematoxylin: tuple[float, float, float]) -> SlideStains:
    estimate = StainEstimate(hematoxylin, (0.0, 0.6, 0.8), (250.0, 240.0, 230.0), 5000, 0.5)
    return SlideStains(Path("a.svs"), "H-DAB", None, estimate, None)


def test_the_median_of_slides_is_a_unit_vector_and_one_odd_slide_moves_it_little() -> None:
    usual = [stains((0.6, 0.8, 0.0)), stains((0.64, 0.768, 0.02))]
    pooled = pool_stains([*usual, stains((1.0, 0.0, 0.0))])
    assert np.linalg.norm(pooled.hematoxylin) == pytest.approx(1, abs=1e-4)
    assert angle_degrees(pooled.hematoxylin, (0.64, 0.768, 0.0)) < 0.1
    assert (pooled.dab, pooled.background) == ((0.0, 0.6, 0.8), (250, 240, 230))


def test_an_odd_slide_and_tinted_glass_are_told() -> None:
    def of(name: str, dab: Vector, glass: Vector) -> SlideStains:
        estimate = StainEstimate((0.65, 0.70, 0.29), dab, WHITE_RGB, pixels=5000, share=0.2)
        return SlideStains(Path(name), "H-DAB", glass, estimate, None)

    alike = [of(f"B{number}", (0.27, 0.57, 0.78), (245, 245, 245)) for number in range(4)]
    assert unlike_pooled(alike, pool_stains(alike)) == []
    slides = [*alike, of("odd", (0.1, 0.9, 0.4), (245, 245, 245))]
    (told,) = unlike_pooled(slides, pool_stains(slides))
    assert told.startswith("odd: 0 degrees (hematoxylin) and 3")
    slides = [*alike, of("grey", (0.27, 0.57, 0.78), (214, 214, 214))]
    (told,) = unlike_pooled(slides, pool_stains(slides))
    assert "(1 of 5 slides: grey): give --background" in told


def test_fields_lie_in_wanted_chunks_with_tissue(bench: Bench) -> None:
    with open_slide(bench.slide) as slide:
        raster = slide.raster(0.25)
        mask = np.zeros((18, 19), np.bool_)
        tissue = TissueMask(mask, Scale(32.0, 32.0))
        wanted = np.ones((2, 2), np.bool_)
        assert sample_fields(tissue, raster, wanted=wanted, chunk_px=512) == ()
        mask[:] = True
        everywhere = sample_fields(tissue, raster, wanted=wanted, chunk_px=512)
        assert len(everywhere) > 4
        wanted[:] = [[False, True], [False, False]]
        fields = sample_fields(tissue, raster, wanted=wanted, chunk_px=512)
    assert {(box.x, box.width, box.bottom <= 512) for box in fields} == {(512, 88, True)}
    assert {box.height for box in fields} == {FIELD_PX}
