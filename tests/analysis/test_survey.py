"""What is learned of a slide, and that it survives being written down."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import pytest
from bench import Bench, set_sides
from shapely.geometry import MultiPolygon, box

from wsi_suite.analysis.facts import SlideFacts
from wsi_suite.analysis.slide_record import read_facts, write_facts
from wsi_suite.analysis.survey import look_at_slide, survey_slide
from wsi_suite.config import TissueSettings
from wsi_suite.detector.model_folder import ModelSpec, find_model
from wsi_suite.errors import OutputError, PixelSizeError, SlideError
from wsi_suite.geometry import Roi, Scale
from wsi_suite.slides.chunks import chunks_of_cells
from wsi_suite.slides.pictures import slide_of_picture
from wsi_suite.synthetic import make_tile
from wsi_suite.synthetic.bubbles import Bubble, draw_bubble


def bench_spec(bench: Bench) -> ModelSpec:
    return find_model(bench.model).spec


pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def facts(bench: Bench) -> SlideFacts:
    with pytest.MonkeyPatch.context() as patch:
        set_sides(patch)
        return survey_slide(bench.slide, bench.settings(), spec=bench_spec(bench))


def test_survey(facts: SlideFacts) -> None:
    assert (facts.width, facts.height, facts.mpp) == (600, 560, (0.25, 0.25))
    assert (facts.scale, facts.raster) == (Scale(2.0, 2.0), (300, 280))
    assert facts.working_mpp == (0.5, 0.5)
    assert facts.wanted.shape == (5, 5)
    assert 0.5 < facts.wanted.mean() <= 1
    assert 0.5 < facts.tissue_area_mm2 / (0.15 * 0.14) < 0.95
    assert facts.glass_rgb == pytest.approx((241, 241, 242), abs=1)
    assert facts.stains is not None
    assert facts.stains.kind == "H-DAB"


def test_grid_has_the_sides_of_the_survey(facts: SlideFacts) -> None:
    grid = facts.grid(align_px=4)
    sides = (grid.block_px, grid.tile_px, grid.chunk_px, grid.halo_px)
    assert sides == (256, 128, 64, facts.halo_px)
    assert [(region.row, region.col) for region in grid.blocks] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_written_facts_are_the_same_to_the_bit(facts: SlideFacts, tmp_path: Path) -> None:
    write_facts(tmp_path, facts)
    back = read_facts(tmp_path)
    for field in fields(SlideFacts):
        ours, theirs = getattr(facts, field.name), getattr(back, field.name)
        is_array = field.name in ("wanted", "tissue_cells")
        assert np.array_equal(ours, theirs) if is_array else ours == theirs
    assert back is not None
    assert back.tissue_area_mm2 == facts.tissue_area_mm2


def test_facts_of_earlier_versions_are_read(facts: SlideFacts, tmp_path: Path) -> None:
    write_facts(tmp_path, facts)
    file = tmp_path / "slide.json"
    content = json.loads(file.read_text("utf-8"))
    assert content.pop("format") == 2
    chunks = chunks_of_cells(facts.tissue_cells, cells_per_chunk=4)
    content["tissue_chunks"] = ["".join(np.where(row, "#", ".")) for row in chunks]
    del content["cell_px"], content["tissue_cells"]
    content["region_px"] = content.pop("block_px")
    del content["warnings"]
    file.write_text(json.dumps(content), "utf-8")
    back = read_facts(tmp_path)
    assert back is not None
    assert (back.block_px, back.warnings) == (facts.block_px, ())
    assert np.array_equal(back.tissue_cells, chunks)
    assert back.grid(align_px=4).blocks


def test_facts_of_later_formats_are_refused(facts: SlideFacts, tmp_path: Path) -> None:
    write_facts(tmp_path, facts)
    file = tmp_path / "slide.json"
    file.write_text(json.dumps({"format": 3, "of": "the future"}), "utf-8")
    with pytest.raises(OutputError, match=r"slide\.json: of format 3, which a later.*--overwrite"):
        read_facts(tmp_path)


def test_missing_and_damaged_facts(facts: SlideFacts, tmp_path: Path) -> None:
    assert read_facts(tmp_path) is None
    write_facts(tmp_path, facts)
    content = json.loads((tmp_path / "slide.json").read_text("utf-8"))
    damaged = [
        {key: value for key, value in content.items() if key != "mpp"},
        {**content, "tissue_outline_wkt": "MULTIPOLYGON (("},
        {**content, "wanted_chunks": ["##", "#"]},
    ]
    for text in (*map(json.dumps, damaged), "{", "[]", ""):
        (tmp_path / "slide.json").write_text(text, "utf-8")
        with pytest.raises(OutputError, match=r"slide\.json: damaged.*--overwrite"):
            read_facts(tmp_path)


def test_nuclei_are_looked_for_in_tissue_near_regions(bench: Bench) -> None:
    spec, settings = bench_spec(bench), bench.settings()
    everywhere = survey_slide(bench.slide, settings, spec=spec)
    middle = Roi("R", None, MultiPolygon([box(280, 280, 300, 300)]))
    facts = survey_slide(bench.slide, settings, spec=spec, rois=[middle])
    assert np.array_equal(facts.tissue_cells, everywhere.tissue_cells)
    assert facts.wanted.sum() < everywhere.wanted.sum()
    assert not (facts.wanted & ~chunks_of_cells(facts.tissue_cells, cells_per_chunk=4)).any()
    assert facts.tissue_area_mm2 == everywhere.tissue_area_mm2


def test_whole_slide_may_be_tissue(bench: Bench) -> None:
    settings = bench.settings("tissue.whole_slide=true")
    facts = survey_slide(bench.slide, settings, spec=bench_spec(bench))
    assert facts.wanted.all()
    assert facts.tissue.equals(box(0, 0, 600, 560)), "up to the edge, where the mask ends before it"


def test_coarse_pixels_are_noted_and_too_coarse_ones_refused(bench: Bench) -> None:
    facts = survey_slide(bench.slide, bench.settings("mpp=0.6"), spec=bench_spec(bench))
    assert "0.6 um per pixel, coarser than the 0.5" in facts.notes[-1]
    with pytest.raises(PixelSizeError, match=r"0\.8 um per pixel is too coarse.*--mpp"):
        survey_slide(bench.slide, bench.settings("mpp=0.8"), spec=bench_spec(bench))


def test_unreadable_slide(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="no such file"):
        survey_slide(tmp_path / "none.svs", bench.settings(), spec=bench_spec(bench))


@pytest.mark.parametrize("covered", [False, True])
def test_glass_under_a_bubble_is_no_background(covered: bool) -> None:
    tissue = cv2.resize(make_tile(2400, mpp=0.5, seed=3)[0], (1200, 1200))
    cv2.circle(tissue, (600, 600), 180, (245, 245, 245), -1)
    bubble = Bubble(600, 600, 240, rim_um=15, haze=0.3)
    pixels = draw_bubble(tissue, bubble, mpp=1.0)[0] if covered else tissue
    overview = look_at_slide(slide_of_picture(pixels, mpp=1.0), TissueSettings())
    told = [text for text in overview.warnings if "air bubbles" in text]
    if covered:
        assert overview.glass_rgb is None
        assert len(told) == 1
    else:
        assert overview.glass_rgb == pytest.approx((245, 245, 245), abs=1)
        assert not told
