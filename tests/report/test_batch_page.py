"""The page of a batch: what it says of each slide."""

from __future__ import annotations

from pathlib import Path

from slide_results import Page, make_nuclei, make_result

from wsi_suite.nuclei.provenance import StainCheck
from wsi_suite.report import BatchSlide, write_batch_page


def page_of(*slides: BatchSlide, folder: Path) -> Page:
    write_batch_page(folder / "report.html", slides, name="night", tables=["scores.csv"])
    return Page((folder / "report.html").read_text("utf-8"))


def slide(name: str, *, kind: str = "H-DAB", count: int = 3000) -> BatchSlide:
    summary = make_result(make_nuclei(count), stains=StainCheck(kind=kind)).summary
    return BatchSlide(name=name, folder=name, state="done", summary=summary)


def test_slide_of_another_stain_has_no_verdict_and_is_in_no_median(tmp_path: Path) -> None:
    page = page_of(slide("a"), slide("b", kind="H&E"), folder=tmp_path)
    assert page.text.count("ER positive") == 1
    assert "no verdict (stain: H&E): not to be used" in page.text
    assert "No verdict: the slide shows hematoxylin and eosin, not hematoxylin and" in page.text
    assert "H-score of 1 slide;" in page.text
    assert "Slides2\nScored1\nNo verdict1\nFailed0\n" in page.text
    assert ("tr", {"data-state": "done", "class": "unusable"}) in page.tags


def test_status_never_stands_without_what_speaks_against_it(tmp_path: Path) -> None:
    sure, few = slide("a"), slide("b", count=100)
    assert (sure.verdict, few.verdict) == ("ER positive", "ER positive, review by eye")
    one = slide("c", count=1)
    assert one.verdict is not None
    assert one.verdict.endswith(", no interval")
