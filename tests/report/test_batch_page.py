"""The page of a batch: what it says of each slide."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from slide_results import Page, make_nuclei, make_result

from wsi_suite.nuclei.provenance import StainCheck
from wsi_suite.report import BatchSlide, write_batch_page
from wsi_suite.runs.outcome import Outcome
from wsi_suite.runs.state import State
from wsi_suite.runs.summary_csv import summary_row


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


def test_slides_of_one_name_are_told_by_their_folders(tmp_path: Path) -> None:
    one, two, other = (
        replace(slide("a"), folder="a-1f3b"),
        replace(slide("a"), folder="a-9c02"),
        slide("b"),
    )
    page = page_of(one, two, other, folder=tmp_path)
    assert all(page.text.count(folder) == 1 for folder in ("a-1f3b", "a-9c02"))


def test_status_never_stands_without_what_speaks_against_it(tmp_path: Path) -> None:
    sure, few = slide("a"), slide("b", count=100)
    assert (sure.verdict, few.verdict) == ("ER positive", "ER positive, review by eye")
    one = slide("c", count=1)
    assert one.verdict is not None
    assert one.verdict.endswith(", no interval")


def near_a_cut_off(positive: int, of: int) -> BatchSlide:
    """Return a slide of epithelium with so many positive nuclei."""
    nuclei = make_nuclei(of, dab_od=np.where(np.arange(of) < positive, 0.3, 0.0))
    nuclei = replace(nuclei, label=np.ones(of, np.uint8))
    summary = make_result(nuclei).summary
    return BatchSlide(name="a", folder="a", state="done", summary=summary)


@pytest.mark.parametrize(
    ("positive", "of", "shown", "status"),
    [
        (97, 10_000, 0.97, "ER negative"),
        (100, 10_000, 1.0, "ER Low Positive"),
        (1000, 10_000, 10.0, "ER Low Positive"),
        (1004, 10_000, 10.04, "ER positive"),
    ],
)
def test_page_and_table_show_percentages_on_their_side_of_a_cut_off(
    tmp_path: Path, positive: int, of: int, shown: float, status: str
) -> None:
    slide = near_a_cut_off(positive, of)
    page = page_of(slide, folder=tmp_path)
    assert f"{shown} %" in page.text
    assert status in page.text
    row = summary_row(Outcome(Path("a.svs"), tmp_path, State.DONE, summary=slide.summary))
    assert (row["positive_percent"], row["receptor_status"]) == (shown, status)
