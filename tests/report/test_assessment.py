"""What a page says of a slide beside its figures."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from slide_results import Page, make_nuclei, make_provenance, make_result

from wsi_suite.config import ScoreSettings, load_settings
from wsi_suite.nuclei.familiarity import SIZE, STAIN, AspectFigures, Familiarity
from wsi_suite.nuclei.provenance import StainCheck
from wsi_suite.report import write_slide_page
from wsi_suite.report.assessment import assess, interval_text
from wsi_suite.report.origin import command_of
from wsi_suite.report.spots import hot_spots_of
from wsi_suite.scoring.quality import ArtefactFigures, QualityFigures
from wsi_suite.scoring.stain_check import StainFigures
from wsi_suite.scoring.verdicts import without_verdicts

SETTINGS = ScoreSettings(marker="ER", headline_class="Epithelium", hot_spot_nuclei=50)


def test_findings_hold_the_figures_of_the_summary() -> None:
    summary = make_result(make_nuclei(3000)).summary
    certainty = summary.scores["Epithelium"].certainty
    assert certainty is not None
    receptor, cut_off, interval, doubt = assess(summary)
    assert (receptor.title, receptor.verdict) == ("ER by ASCO/CAP 2020", "ER positive")
    share = interval_text(certainty.positive_percent, highest=100, digits=1)
    assert receptor.text == (
        f"73.1 % (95 %: {share}) of 1,531 measured nuclei of Epithelium positive, moderate on "
        "average."
    )
    assert cut_off.verdict == "clear"
    assert f"{certainty.cut_off.distance:.1f} points above the nearest, 10 %" in cut_off.text
    limits = interval_text(certainty.h_score, highest=300, digits=0)
    assert f"H-score {limits}, positive" in interval.text
    assert (interval.verdict, doubt.verdict) == (
        "enough nuclei",
        f"{100 * certainty.doubt.share:.1f} %",
    )
    assert not any(finding.review for finding in assess(summary))


def test_what_needs_a_look_is_marked() -> None:
    """2 of 100 nuclei: low positive, near a cut-off, and too few."""
    nuclei = make_nuclei(200, dab_od=np.where(np.arange(200) % 50 == 0, 0.3, 0.0))
    findings = assess(make_result(nuclei).summary)
    assert [finding.review for finding in findings[:3]] == [True, True, True]
    assert findings[0].verdict in ("ER Low Positive", "ER negative")
    assert "The status of the controls is to be reported." in findings[0].text
    assert (findings[1].verdict, findings[2].verdict) == ("review by eye", "too few nuclei")


def test_ki67_is_told_with_its_fields(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"marker": "Ki-67"})
    result = make_result(make_nuclei(3000), settings=settings)
    finding = assess(result.summary)[0]
    assert finding.title.startswith("Ki-67 by IKWG")
    assert finding.verdict == f"{result.summary.ki67.index_percent:.1f} %"
    write_slide_page(tmp_path / "report.html", result)
    assert finding.text in Page((tmp_path / "report.html").read_text("utf-8")).text


def test_hot_spots_are_in_the_table_on_the_map_and_the_first_field(tmp_path: Path) -> None:
    result = make_result(make_nuclei(3000), settings=SETTINGS)
    spots = hot_spots_of(result.summary, mpp=(0.25, 0.25))
    assert [spot.name for spot in spots][:2] == ["P1", "P2"]
    write_slide_page(tmp_path / "report.html", result)
    page = Page((tmp_path / "report.html").read_text("utf-8"))
    circles = [known for tag, known in page.tags if known.get("class") == "spot"]
    assert [float(known["r"]) for known in circles] == [round(spot.radius, 1) for spot in spots]
    assert "Hot-spot P1: its middle" in page.text


def test_results_of_earlier_versions_have_no_findings(tmp_path: Path) -> None:
    result = make_result(make_nuclei(300))
    values = result.summary.as_json()
    for name in ("receptor", "ki67", "hot_spots"):
        del values[name]
    for score in values["scores"].values():
        del score["certainty"], score["irs"]
    earlier = type(result.summary).model_validate(values)
    assert assess(earlier) == []
    write_slide_page(tmp_path / "report.html", replace(result, summary=earlier))


def test_command_gives_the_settings_of_the_run_again() -> None:
    overrides = [
        "mpp=0.5",
        "tissue.exclude_pen=false",
        "detect.min_confidence=0.4",
        "stain.background=[240,241,242]",
        "measure.method=disc",
        "score.thresholds_od=[0.2,0.4,0.6]",
        "score.marker=Ki-67",
        "quality.exclude=[focus]",
    ]
    settings = load_settings(overrides=overrides)
    stored = settings.model_dump(mode="json", exclude={"run", "tiles"})
    stored["rois"] = None
    words = shlex.split(command_of(make_provenance(slide="B 1.svs"), stored))
    assert words[:5] == ["wsi-suite", "run", "B 1.svs", "--out", "results"]
    given = dict(zip(words[5::2], words[6::2], strict=True))
    assert (given["--model"], given["--mpp"]) == ("tiny", "0.5")
    sets = [value for name, value in zip(words[5::2], words[6::2], strict=True) if name == "--set"]
    again = load_settings(overrides=["mpp=0.5", *sets])
    assert again.model_dump() == settings.model_dump()


def test_stains_of_another_kind_are_marked() -> None:
    summary = make_result(make_nuclei(300)).summary
    stains = StainFigures(
        kind="H&E",
        hematoxylin=(0.6, 0.7, 0.3),
        dab=(0.1, 0.9, 0.3),
        hematoxylin_degrees=4.2,
        dab_degrees=38.0,
        pixel_share=0.9,
        h_score=12.3,
        h_score_change=-20.0,
    )
    other = without_verdicts(summary.model_copy(update={"stains": stains}))
    first, last = assess(other)
    assert (first.title, first.verdict, first.review) == ("Verdict", "no verdict", True)
    assert first.text.startswith("The slide shows hematoxylin and eosin, not hematoxylin and DAB.")
    assert (last.title, last.verdict, last.review) == ("Stains", "H&E", True)
    assert last.text.endswith("hematoxylin by 4°, DAB by 38°; with them the H-score would be 12.")
    usual = stains.model_copy(update={"kind": "H-DAB", "dab_degrees": 3.0, "h_score": None})
    assert not assess(summary.model_copy(update={"stains": usual}))[-1].review


@pytest.mark.parametrize(
    ("share", "excluded", "told", "review"),
    [(0.05, False, "scored, too", False), (0.3, True, "left out", True)],
)
def test_tissue_out_of_focus_is_told(share: float, excluded: bool, told: str, review: bool) -> None:
    focus = ArtefactFigures(looked_for=True, judged_share=0.9, found_share=share, excluded=excluded)
    quality = QualityFigures(artefacts={"focus": focus}, lost_mm2=0.0, lost_share=None)
    last = assess(make_result(make_nuclei(300)).summary.model_copy(update={"quality": quality}))[-1]
    assert (last.title, last.verdict, last.review) == (
        "Out of focus",
        f"{100 * share:.1f} %",
        review,
    )
    assert told in last.text
    assert "90.0 % of the tissue" in last.text


def test_focus_that_was_not_judged_is_not_taken_for_good() -> None:
    focus = ArtefactFigures(looked_for=False, reason="the pixels are too coarse")
    quality = QualityFigures(artefacts={"focus": focus}, lost_mm2=0.0, lost_share=None)
    last = assess(make_result(make_nuclei(300)).summary.model_copy(update={"quality": quality}))[-1]
    assert last.verdict == "not known"
    assert last.text.startswith("The pixels are too coarse.")


def test_page_of_a_slide_of_another_stain_gives_no_verdict(tmp_path: Path) -> None:
    result = make_result(make_nuclei(3000), stains=StainCheck(kind="H&E"))
    write_slide_page(tmp_path / "report.html", result)
    page = Page((tmp_path / "report.html").read_text("utf-8"))
    for word in ("ER positive", "ASCO", "clear", "enough nuclei", "moderate"):
        assert re.search(rf"\b{word}\b", page.text) is None
    assert page.text.count("not to be used") >= 3
    assert ("body", {"class": "unusable"}) in page.tags
    assert "Local H-score" not in page.text
    assert page.text.count("H-score") > 1
    html = (tmp_path / "report.html").read_text("utf-8")
    assert not re.findall(r"</b>[^<]*H-score \d", html), "of fields, neither: struck out, too"
    assert not re.findall(r"DAB [0-9.]+: [^<]*[123]\+", html), "nor of doubtful nuclei"


@pytest.mark.parametrize(("share", "review"), [(0.06, False), (0.65, True)])
def test_uneven_stain_is_a_finding(share: float, review: bool) -> None:
    summary = make_result(make_nuclei(300)).summary
    last = assess(summary.model_copy(update={"dab_uneven_share": share}))[-1]
    assert (last.title, last.verdict, last.review) == (
        "Uneven stain",
        f"{100 * share:.1f} %",
        review,
    )


def test_verdict_without_an_interval_is_marked() -> None:
    """Nuclei of one small field."""
    nuclei = make_nuclei(300)
    nuclei.x[:], nuclei.y[:] = nuclei.x / 20, nuclei.y / 20
    receptor, cut_off, *_ = assess(make_result(nuclei).summary)
    assert (receptor.verdict, receptor.review) == ("ER positive", True)
    assert "Review by eye: no interval; " in receptor.text
    assert (cut_off.verdict, cut_off.review) == ("no interval", True)


@pytest.mark.parametrize(("share", "review"), [(0.0, False), (0.03, True)])
def test_folds_are_told_where_they_were_looked_for(share: float, review: bool) -> None:
    folds = ArtefactFigures(looked_for=True, judged_share=0.9, found_share=share)
    quality = QualityFigures(artefacts={"folds": folds}, lost_mm2=0.0, lost_share=None)
    last = assess(make_result(make_nuclei(300)).summary.model_copy(update={"quality": quality}))[-1]
    assert (last.title, last.verdict, last.review) == ("Folds", f"{100 * share:.1f} %", review)
    assert ("scored, too" in last.text) == bool(share)


def test_a_slide_far_from_training_is_marked() -> None:
    summary = make_result(make_nuclei(300)).summary
    figures = AspectFigures(
        verdict="far", nearer_percent=100, times_limit=1.4, outside_share=1, differs="larger"
    )
    far = Familiarity(verdict="far", fields=16, field_um=96, aspects={SIZE: figures})
    last = assess(summary.model_copy(update={"familiarity": far}))[-1]
    assert (last.title, last.verdict, last.review) == ("Distance to training", "far", True)
    assert last.text == (
        "Size of nuclei: far (larger, 1.4). From 1 on a distance is far; 16 fields of 96 µm."
    )
    near = figures.model_copy(update={"verdict": "inside", "times_limit": 0.4})
    inside = far.model_copy(update={"verdict": "inside", "aspects": {SIZE: near, STAIN: near}})
    last = assess(summary.model_copy(update={"familiarity": inside}))[-1]
    assert last.text.startswith("Size of nuclei, stain: inside.")
    assert not last.review
    unknown = Familiarity(reason="the model does not say")
    last = assess(summary.model_copy(update={"familiarity": unknown}))[-1]
    assert (last.verdict, last.text, last.review) == ("not known", "The model does not say.", False)


def test_tissue_that_was_hardly_judged_is_not_taken_for_good() -> None:
    folds = ArtefactFigures(looked_for=True, judged_share=0.1, found_share=0.0)
    quality = QualityFigures(artefacts={"folds": folds}, lost_mm2=0.0, lost_share=None)
    last = assess(make_result(make_nuclei(300)).summary.model_copy(update={"quality": quality}))[-1]
    assert last.verdict == "hardly judged"
    assert last.text.startswith("10.0 % of the tissue could be judged. ")
