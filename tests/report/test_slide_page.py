"""The page of one slide: its figures, its script, and that nothing gets in or out."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slide_results import CLASSES, SIDE_PX0, Page, make_nuclei, make_result, square

from wsi_suite.config import ScoreSettings
from wsi_suite.errors import OutputError
from wsi_suite.measurements import NUCLEUS_DAB
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.report import SlideResult, write_slide_page
from wsi_suite.report.words import percentage
from wsi_suite.scoring.hscore import Score, score_nuclei
from wsi_suite.scoring.intensity import grade_nuclei

NAMES = ("Negative", "1+", "2+", "3+")


def write(result: SlideResult, folder: Path) -> str:
    write_slide_page(folder / "report.html", result)
    return (folder / "report.html").read_text("utf-8")


def live(page: Page) -> dict[str, Any]:
    (text,) = (text for about, text in page.raw if about.get("id") == "counts")
    return json.loads(text)


@pytest.fixture(scope="module")
def result() -> SlideResult:
    rois = (square("left", 0, 1500), square("right", 1500, 4000))
    return make_result(make_nuclei(3000), rois=rois)


def test_figures_are_those_of_the_summary(result: SlideResult, tmp_path: Path) -> None:
    figures = Page(write(result, tmp_path)).figures
    parts = [result.summary.scores, *(region.scores for region in result.summary.regions)]
    assert len(parts) == 3
    for part, scores in enumerate(parts):
        for index, score in enumerate(scores.values()):
            shown = [figures[str(part), str(index), f"count{grade}"] for grade in range(4)]
            counts = (score.negative, score.one, score.two, score.three)
            assert shown == [f"{count:,}" for count in counts]
            assert figures[str(part), str(index), "hScore"] == f"{score.h_score:.1f}"
            assert figures[str(part), str(index), "allred"] == str(score.allred.score)
            assert figures[str(part), str(index), "irs"] == str(score.irs.score)
    assert figures["0", "headline", "hScoreWhole"] == f"{result.summary.headline.value:.0f}"


def test_same_result_same_bytes(result: SlideResult, tmp_path: Path) -> None:
    assert write(result, tmp_path) == write(replace(result), tmp_path)


def test_nothing_is_fetched_and_only_our_script_runs(result: SlideResult, tmp_path: Path) -> None:
    page = Page(write(result, tmp_path))
    for tag, attributes in page.tags:
        for name in ("src", "href", "action", "data", "srcset"):
            address = attributes.get(name) or "#"
            assert address.startswith(("#", "data:image/")), (tag, address[:60])
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes)
    (policy,) = (
        attributes["content"]
        for tag, attributes in page.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; img-src data:; ")
    for about, text in page.raw:
        if about.get("type") != "application/json":
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"{about['tag']}-src 'sha256-{digest}'" in policy


def test_names_from_outside_are_escaped(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'"
    plain = Page(write(make_result(make_nuclei(200), rois=(square("a", 0, 4000),)), tmp_path))
    nuclei = replace(make_nuclei(200), classes=("Stroma", evil))
    settings = ScoreSettings(marker="ER", headline_class=evil)
    made = make_result(
        nuclei,
        rois=(square(evil, 0, 4000),),
        settings=settings,
        folder=evil,
        slide=evil,
        notes=(evil,),
        tissue_warnings=(evil,),
        stain_vectors=evil,
        model={"name": evil, "hash": evil},
    )
    page = Page(write(replace(made, versions={evil: evil}), tmp_path))
    assert {tag for tag, _ in page.tags} == {tag for tag, _ in plain.tags}
    assert "onerror" not in {name for _, attributes in page.tags for name in attributes}
    assert [about["tag"] for about, _ in page.raw] == [about["tag"] for about, _ in plain.raw]
    assert page.text.count(evil) >= 8
    assert live(page)["parts"][1]["name"] == evil


def test_no_nuclei_and_one_nucleus_make_pages(tmp_path: Path) -> None:
    page = Page(write(make_result(Nuclei.empty(CLASSES)), tmp_path))
    assert "No H-score of Epithelium: no nuclei." in page.text
    one = replace(make_nuclei(1), label=np.ones(1, np.uint8))
    assert "No H-score" not in Page(write(make_result(one), tmp_path)).text
    unknown = replace(one, measurements={NUCLEUS_DAB: np.array([np.nan], np.float32)})
    page = Page(write(make_result(unknown), tmp_path))
    assert "No H-score of Epithelium: no measurable nuclei." in page.text


def test_page_without_pictures_outlines_and_probabilities(tmp_path: Path) -> None:
    """As of a result of an earlier version whose slide and tiles are gone."""
    nuclei = make_nuclei(500)
    dab = {NUCLEUS_DAB: nuclei.measurements[NUCLEUS_DAB]}
    earlier = replace(nuclei, outline=None, measurements=dab)
    page = Page(write(make_result(earlier, pictures=False, tissue_wkt=None), tmp_path))
    assert "no picture of the slide is at hand" in page.text
    pictures = [known["href"] for tag, known in page.tags if tag == "image"]
    assert all(address.startswith("data:image/png") for address in pictures), "maps alone"


def test_summary_of_another_table_is_refused(result: SlideResult, tmp_path: Path) -> None:
    other = replace(result, nuclei=make_nuclei(3000, seed=1))
    with pytest.raises(OutputError, match=r"summary\.json and nuclei\.parquet disagree on 'Str"):
        write(other, tmp_path)
    fewer = replace(result, summary=result.summary.model_copy(update={"regions": ()}))
    with pytest.raises(OutputError, match=r"summary\.json has 0 regions and nuclei\.parquet 2"):
        write(fewer, tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_many_nuclei_make_a_small_page(tmp_path: Path) -> None:
    side = 20_000
    nuclei = make_nuclei(200_000)
    nuclei = replace(nuclei, x=nuclei.x * 5, y=nuclei.y * 5)
    page = write(make_result(nuclei, size_px0=(side, side), tissue_wkt=None), tmp_path)
    assert len(page) < 1_000_000


@pytest.mark.parametrize("folder", ["B12 größer", 'a"b', "$(rm)", "-x"])
def test_command_is_quoted_for_a_shell(folder: str, tmp_path: Path) -> None:
    import shlex

    page = Page(write(make_result(make_nuclei(50), folder=folder), tmp_path))
    before, after = live(page)["command"]
    words = shlex.split(f"{before}0.1,0.2,0.3{after}")
    assert words[:2] == ["wsi-suite", "score"]
    assert words[2] in (folder, f"./{folder}")
    assert words[3:] == ["--set", "score.thresholds_od=[0.1,0.2,0.3]"]


def _node(code: str, *, given: object) -> Any:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node to run the page's script with")
    script = resources.files("wsi_suite.report").joinpath("slide_page.js")
    begun = f"const page = require({json.dumps(str(script))});"
    read = 'const given = JSON.parse(require("fs").readFileSync(0, "utf8"));'
    written = f"process.stdout.write(JSON.stringify({code}));"
    done = subprocess.run(
        [node, "-e", begun + read + written],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_script_scores_as_python_does(result: SlideResult, tmp_path: Path) -> None:
    """To the last bit, in each region and class, at thresholds of the run and at others."""
    data = live(Page(write(result, tmp_path)))
    rng = np.random.default_rng(0)
    places = [np.sort(rng.choice(90, 3, replace=False)).tolist() for _ in range(20)]
    places.append([data["edges"].index(value) for value in data["thresholds"]])
    classes = len(CLASSES) + 1
    code = (
        "given.places.map((ends) => given.parts.map((part) =>"
        f"[...Array({classes}).keys()].map((label) => page.scorePart(part, label, ends))))"
    )
    found = _node(code, given={**data, "places": places})
    rows = [
        np.arange(len(result.nuclei)),
        *(np.flatnonzero(roi.area.bounds[0] <= result.nuclei.x) for roi in result.rois[1:]),
    ]
    for ends, parts in zip(places, found, strict=True):
        thresholds = tuple(data["edges"][end] for end in ends)
        grades = grade_nuclei(result.nuclei, thresholds)
        for part, of_rows in zip((parts[0], parts[2]), rows, strict=True):
            expected = score_nuclei(result.nuclei, grades, rows=of_rows)
            for score, shown in zip(expected.values(), part, strict=True):
                assert shown["counts"] == [score.negative, score.one, score.two, score.three]
                assert shown["hScore"] == score.h_score
                assert shown["positivePercent"] == score.positive_percent
                assert shown["allred"] == score.allred._asdict()
                assert shown["irs"] == score.irs._asdict()


def test_script_rounds_as_python_does() -> None:
    scores = [
        Score(*counts)
        for counts in [(7, 1, 0, 0), (39, 1, 0, 0), (1, 1, 1, 1), (0, 0, 0, 9), (799, 1, 0, 0)]
    ]
    values = [score.h_score for score in scores]
    values += [value / 8 for value in range(0, 2400, 7)] + [k / 20 for k in range(400)]
    found = _node(
        "given.map((value) => [0, 1].map((digits) => page.rounded(value, digits)))", given=values
    )
    assert found == [[f"{value:.0f}", f"{value:.1f}"] for value in values]
    large = [999, 1000, 12345, 1234567]
    assert _node("given.map((value) => page.rounded(value, 0))", given=large) == [
        f"{value:,}" for value in large
    ]


def test_no_percentage_looks_whole_that_is_not() -> None:
    values = [
        0,
        1,
        100,
        0.97,
        29.996,
        0.03,
        19.44,
        9.96,
        99.99999,
        *(k * 100 / 997 for k in range(997)),
    ]
    shown = [percentage(value) for value in values]
    assert shown[:8] == [
        *("0.0 %", "1.0 %", "100.0 %", "0.97 %", "29.996 %", "0.03 %", "19.4 %", "9.96 %"),
    ]
    assert shown[8] == "99.99999 %"
    assert _node("given.map(page.percentage)", given=values) == shown


def test_script_draws_the_same_bars(result: SlideResult, tmp_path: Path) -> None:
    page = Page(write(result, tmp_path))
    data = live(page)
    (path,) = (known["d"] for tag, known in page.tags if known.get("class") == "bars")
    code = "page.barsPath(page.rowOf(given.parts[0], given.headline), given)"
    assert _node(code, given=data) == path


def test_browser_shows_what_was_written(result: SlideResult, tmp_path: Path) -> None:
    """The script runs under the page's own policy and changes no figure of the result."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium to open the page with")
    written = Page(write(result, tmp_path))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000"]
    done = subprocess.run(
        [chromium, *options, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
         (tmp_path / "report.html").as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if "<html" not in done.stdout:
        pytest.skip("Chromium does not run here")
    shown = Page(done.stdout)
    assert re.search(r'data-stack="">.*?width="\d', done.stdout, re.S), "the script ran"
    kept = {key: text for key, text in written.figures.items() if not key[2].startswith("share")}
    assert {key: shown.figures[key] for key in kept} == kept


def test_map_shows_the_part_of_the_slide_with_tissue(tmp_path: Path) -> None:
    nuclei = make_nuclei(500)
    inside = (nuclei.x < 1200) & (nuclei.y > 1000) & (nuclei.y < 1600)
    tissue = "MULTIPOLYGON (((0 1000, 1200 1000, 1200 1600, 0 1600, 0 1000)))"
    page = Page(write(make_result(nuclei.take(inside), tissue_wkt=tissue), tmp_path))
    shown = {known.get("viewbox") for tag, known in page.tags if tag == "svg"}
    assert "0 939 1261 722" in shown, "a twentieth of 1200 about it, but nothing off the slide"
    (picture,) = (known for tag, known in page.tags if known.get("id") == "thumbnail")
    place = [float(picture[name] or "") for name in ("x", "y", "width", "height")]
    assert place == [0, 900, 1300, 800], "whole pixels of the thumbnail, 50 px0 each"


def test_ignored_regions_are_left_out_and_drawn(tmp_path: Path) -> None:
    """Alone, and cut out of another region."""
    ignored = replace(square("fold", 0, 1500), class_name="Ignore*")
    nuclei = make_nuclei(2000)
    left = int(np.count_nonzero(nuclei.x >= 1500))
    for rois in ((ignored,), (ignored, square("all", 0, 4000))):
        result = make_result(nuclei, rois=rois)
        page = Page(write(result, tmp_path))
        assert result.summary.pooled.nuclei == left
        parts = live(page)["parts"]
        assert [sum(map(sum, part["counts"])) for part in parts] == [left] * len(rois)
        assert [known["class"] for _, known in page.tags if known.get("class") == "ignored"]


def test_names_of_regions_are_told_in_short_and_in_full(tmp_path: Path) -> None:
    name = "Tumour " + 200 * "x"
    rois = [square(name, 0, 1500), square("B-1", 1500, SIDE_PX0)]
    write_slide_page(tmp_path / "report.html", make_result(make_nuclei(300), rois=rois))
    page = Page((tmp_path / "report.html").read_text("utf-8"))
    assert name not in page.text
    assert ("th", {"scope": "row", "title": name}) in page.tags
    assert "Tumour xxxxxxxxxxxxxxxxxxx…xxxxxxxxxxxxx" in page.text
