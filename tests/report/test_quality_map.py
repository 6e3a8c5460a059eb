"""Artefacts on the page of a slide: where they are, and which kinds were not looked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from shapely.geometry import MultiPolygon, box
from slide_results import Page, make_nuclei, make_result, square

from wsi_suite.nuclei.quality import QualityKind, SlideQuality
from wsi_suite.report import BatchSlide, SlideResult, write_batch_page, write_slide_page

LOOKED = QualityKind(mpp=1.0, sampled_share=0.2, judged_share=1.0, wkt="MULTIPOLYGON EMPTY")


def outlined(left: float, right: float) -> str:
    return MultiPolygon([box(left, 100, right, 3900)]).wkt


def page_of(result: SlideResult, folder: Path) -> Page:
    write_slide_page(folder / "report.html", result)
    return Page((folder / "report.html").read_text("utf-8"))


def result_with(focus: QualityKind, pen: QualityKind = LOOKED, **changes: object) -> SlideResult:
    quality = SlideQuality(focus=focus, pen=pen)
    return make_result(make_nuclei(300), quality=quality, **changes)


def drawn(page: Page) -> list[str]:
    """Return the kinds that are drawn on the map."""
    classes = [(about.get("class") or "").split() for tag, about in page.tags if tag == "path"]
    return [found[1] for found in classes if found[:1] == ["artefact"]]


def layers(page: Page) -> list[str | None]:
    return [about.get("value") for _, about in page.tags if about.get("name") == "layer"]


def test_what_was_found_is_drawn_and_the_rest_is_named(tmp_path: Path) -> None:
    blurred = LOOKED.model_copy(update={"wkt": outlined(2000, 3000), "judged_share": 0.9})
    page = page_of(result_with(blurred), tmp_path)
    assert layers(page)[-1] == "quality"
    assert drawn(page) == ["focus"]
    assert "scored, too. Looked for at 1 µm per pixel. 90.0 % of the tissue" in page.text
    assert "Pen: none found." in page.text
    assert "Folds: not looked for." in page.text
    assert "Bubbles: not looked for. A version before this one did not" in page.text


def test_bubbles_are_drawn_and_told(tmp_path: Path) -> None:
    bubbles = LOOKED.model_copy(update={"wkt": outlined(2000, 2500)})
    quality = SlideQuality(focus=LOOKED, pen=LOOKED, bubbles=bubbles, excluded=("bubbles",))
    page = page_of(make_result(make_nuclei(300), quality=quality), tmp_path)
    assert drawn(page) == ["bubbles"]
    assert "of the tissue, left out. Looked for at" in page.text
    assert "of the tissue is under air bubbles and was left out." in page.text, "as a warning"


def test_nothing_found_is_not_the_same_as_not_looked_for(tmp_path: Path) -> None:
    coarse = QualityKind(reason="the slide's pixels are too coarse")
    page = page_of(result_with(coarse), tmp_path)
    assert drawn(page) == []
    assert "Out of focus: not looked for. The slide's pixels are too coarse." in page.text
    page = page_of(result_with(LOOKED), tmp_path)
    assert "Out of focus: none found." in page.text


def test_artefacts_outside_the_regions_are_told_so(tmp_path: Path) -> None:
    blurred = LOOKED.model_copy(update={"wkt": outlined(2000, 3000)})
    page = page_of(result_with(blurred, rois=(square("left", 0, 1500),)), tmp_path)
    assert drawn(page) == ["focus"]
    assert "Out of focus: none in what is scored." in page.text


def test_tissue_that_was_not_judged_is_drawn(tmp_path: Path) -> None:
    plain = LOOKED.model_copy(update={"unjudged_wkt": outlined(0, 900), "judged_share": 0.8})
    page = page_of(result_with(plain), tmp_path)
    assert "too plain to judge its focus" in page.text


def test_pen_beside_the_tissue_is_in_the_picture(tmp_path: Path) -> None:
    pen = LOOKED.model_copy(update={"wkt": outlined(3500, 3900)})
    tissue = "MULTIPOLYGON (((0 0, 900 0, 900 900, 0 900, 0 0)))"
    page = page_of(result_with(LOOKED, pen, tissue_wkt=tissue), tmp_path)
    (view,) = {
        about["viewbox"]
        for tag, about in page.tags
        if tag == "svg" and "map of the tissue" in (about.get("aria-label") or "")
    }
    left, _, width, _ = map(float, (view or "").split())
    assert left + width >= 3900
    assert drawn(page) == ["pen"]


def test_results_of_earlier_versions_have_no_such_layer(tmp_path: Path) -> None:
    page = page_of(make_result(make_nuclei(300)), tmp_path)
    assert "quality" not in layers(page)
    assert "none found" not in page.text


@pytest.mark.parametrize(("right", "flagged"), [(3900, True), (400, False)])
def test_slide_that_is_mostly_bad_is_flagged_in_the_batch(
    tmp_path: Path, right: float, flagged: bool
) -> None:
    result = result_with(LOOKED.model_copy(update={"wkt": outlined(0, right)}))
    slide = BatchSlide(name="B12.svs", folder="B12", state="done", summary=result.summary)
    write_batch_page(tmp_path / "report.html", [slide], name="night", tables=())
    text = Page((tmp_path / "report.html").read_text("utf-8")).text
    assert ("mostly out of focus" in text) == flagged
    assert (slide.verdict or "").startswith("mostly out of focus") == flagged


@pytest.mark.parametrize("kind", ["folds", "bubbles"])
def test_results_that_were_written_before_a_kind_was_looked_for(tmp_path: Path, kind: str) -> None:
    result = result_with(LOOKED)
    written = result.summary.as_json()
    del written["quality"]["artefacts"][kind]
    summary = type(result.summary).model_validate(written)
    page = page_of(replace(result, summary=summary), tmp_path)
    assert f"{kind.capitalize()}: not looked for. A version before this one did not" in page.text
    slide = BatchSlide(name="B12.svs", folder="B12", state="done", summary=summary)
    write_batch_page(tmp_path / "report.html", [slide], name="night", tables=())
    assert "B12.svs" in (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.parametrize("kind", ["folds", "bubbles"])
def test_that_none_is_found_is_weak_evidence_of_kinds_often_missed(
    tmp_path: Path, kind: str
) -> None:
    quality = SlideQuality(focus=LOOKED, pen=LOOKED, **{kind: LOOKED})
    page = page_of(make_result(make_nuclei(300), quality=quality), tmp_path)
    text = " ".join(page.text.split())
    assert text.count("is weak evidence.") == 2, "in the assessment and below the map"
    if kind == "bubbles":
        assert "tissue full of DAB" in text
        assert text.count("looked at for dark rims that close, 76 µm across") == 2


def test_stain_outside_the_tissue_is_drawn_and_told_as_an_area(tmp_path: Path) -> None:
    missed = LOOKED.model_copy(update={"wkt": outlined(3000, 3500)})
    quality = SlideQuality(focus=LOOKED, pen=LOOKED, stain_outside=missed)
    page = page_of(make_result(make_nuclei(300), quality=quality), tmp_path)
    assert drawn(page) == ["stain_outside"]
    assert "Stain outside the tissue: 0.119 mm², not scored." in page.text
    assert "nuclei there are in no score" in page.text, "as a warning"
