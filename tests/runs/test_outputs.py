"""What a run leaves behind."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from bench import Bench
from PIL import Image
from shapely.geometry import MultiPolygon, box

from wsi_suite.analysis.slide_record import read_facts
from wsi_suite.analysis.summary import read_summary
from wsi_suite.geometry import Box, Roi
from wsi_suite.nuclei.parquet import read_grades
from wsi_suite.overview import Caption
from wsi_suite.runs import outputs
from wsi_suite.runs.outcome import Outcome
from wsi_suite.runs.outputs import read_enlarged, stored_thumbnail
from wsi_suite.runs.summary_csv import SUMMARY_COLUMNS, summary_row, write_summary_csv, write_table
from wsi_suite.slides.store import TileStore


def test_summary_csv(tmp_path: Path) -> None:
    rows = [
        {"slide": "a, b.svs", "state": "done", "h_score": 0.0},
        {"slide": "c.svs", "state": "failed", "h_score": None, "error": 'no "slide"'},
    ]
    write_summary_csv(tmp_path / "summary.csv", rows)
    with (tmp_path / "summary.csv").open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert tuple(first) == SUMMARY_COLUMNS
    assert (first["slide"], first["h_score"]) == ("a, b.svs", "0.0")
    assert (second["h_score"], second["error"]) == ("", 'no "slide"')


def test_density_and_tissue_of_a_line_give_its_nuclei(bench: Bench, tmp_path: Path) -> None:
    """In regions too: the tissue of the whole slide would give others."""
    square = MultiPolygon([box(60, 50, 400, 300)])
    for rois in (None, (Roi("square", None, square),)):
        folder = tmp_path / ("all" if rois is None else "square")
        bench.do(folder, "tiles.keep=false", rois=rois)
        summary = read_summary(folder)
        row = summary_row(Outcome(bench.slide, folder, "done", summary))
        product = row["density_per_mm2"] * row["scored_tissue_mm2"]
        assert product == pytest.approx(row["nuclei"], rel=0.1), "the area is rounded"


def test_table_has_a_line_for_failures_without_a_folder(tmp_path: Path) -> None:
    from wsi_suite.errors import SlideError

    failed = Outcome(Path("x/b.svs"), None, "failed", error=SlideError("b.svs: broken"))
    write_table(tmp_path, [failed, Outcome(Path("a.svs"), tmp_path / "a", "tiled")])
    lines = (tmp_path / "summary.csv").read_text("utf-8").splitlines()
    rest = (len(SUMMARY_COLUMNS) - 3) * ","
    assert lines[1:] == ["a.svs,a,tiled" + rest, "b.svs,,failed" + rest + "b.svs: broken"]


def test_table_keeps_what_other_processes_wrote(tmp_path: Path) -> None:
    """As those of an array job do, each with a slide of its own."""
    from wsi_suite.errors import SlideError

    def failed(name: str, folder: str | None) -> Outcome:
        error = SlideError(f'{name}: broken, "really"')
        return Outcome(Path(name), folder and tmp_path / folder, "failed", error=error)

    def slides() -> list[tuple[str, str]]:
        with (tmp_path / "summary.csv").open(encoding="utf-8", newline="") as file:
            return [(row["slide"], row["state"]) for row in csv.DictReader(file)]

    write_table(tmp_path, [failed("a.svs", None)])
    write_table(tmp_path, [failed("b.svs", "b")])
    write_table(tmp_path, [failed("c.svs", "c"), failed("d.svs", None)])
    assert slides() == [(f"{name}.svs", "failed") for name in "abcd"]
    write_table(tmp_path, [Outcome(Path(f"{name}.svs"), tmp_path / name, "done") for name in "ac"])
    assert slides() == [
        ("a.svs", "done"), ("b.svs", "failed"), ("c.svs", "done"), ("d.svs", "failed"),
    ]  # fmt: skip
    (tmp_path / "summary.csv").write_bytes(b"edited;by;others\n\xff;2\n")
    write_table(tmp_path, [failed("a.svs", None)])
    assert slides() == [("a.svs", "failed")]


def test_table_has_the_result_of_the_process_that_was_at_work(bench: Bench, tmp_path: Path) -> None:
    from wsi_suite.errors import BusyError

    done = bench.run_one(tmp_path, "tiles.keep=false")
    before = (tmp_path / "summary.csv").read_bytes()
    busy = Outcome(done.slide, done.folder, "failed", error=BusyError("another process"))
    write_table(tmp_path, [busy])
    assert (tmp_path / "summary.csv").read_bytes() == before


def test_picture_is_drawn_from_the_slide_and_from_tiles(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    sizes = []
    bench.do(folder, stage="tile")
    for stage, slide in (("detect", folder), ("run", bench.slide)):
        bench.do(folder, stage=stage, slide=slide, overwrite=True)
        with Image.open(folder / "overview.png") as picture:
            sizes.append(picture.size)
            assert np.asarray(picture.convert("L")).std() > 10
    assert sizes[0][0] > 500


def test_a_tumour_without_positive_nuclei_scores_zero_everywhere(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captions: list[Caption] = []
    monkeypatch.setattr(
        outputs, "draw_overview", lambda path, *, caption, **_: captions.append(caption)
    )
    outcome = bench.run_one(tmp_path, "score.thresholds_od=[7,8,9]")
    assert outcome.folder is not None
    summary = json.loads((outcome.folder / "summary.json").read_text("utf-8"))
    assert (summary["headline"]["value"], summary["headline"]["reason"]) == (0, None)
    assert set(summary["h_scores"].values()) == {0}
    with (tmp_path / "summary.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    shown = (row["h_score"], row["positive_percent"], row["pooled_h_score"])
    assert shown == ("0.0", "0.0", "0.0")
    (caption,) = captions
    assert caption.headline == "H-score 0"
    assert "0.0 % positive" in caption.detail
    assert "thresholds 7 / 8 / 9 (set by the user)" in caption.facts


def test_nuclei_of_a_slide_without_a_verdict_have_no_intensities_in_qupath(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QuPath would compute H-scores of them, and mark none."""
    of_results = outputs.summary_of
    monkeypatch.setattr(
        outputs,
        "summary_of",
        lambda results: of_results(results).model_copy(update={"no_verdict": "it shows H&E"}),
    )
    outcome = bench.run_one(tmp_path)
    assert outcome.folder is not None
    features = json.loads((outcome.folder / "nuclei.geojson").read_text("utf-8"))["features"]
    shown = {feature["properties"]["classification"]["name"] for feature in features}
    assert shown <= {"Epithelium", "Stroma"}
    assert len(features) > 10
    assert set(read_grades(outcome.folder / "nuclei.parquet")) > {0}


def test_stored_tiles_stand_in_for_level_0(bench: Bench, tmp_path: Path) -> None:
    bench.do(tmp_path, stage="tile")
    store, facts = TileStore.open(tmp_path / "tiles.ome.zarr"), read_facts(tmp_path)
    assert facts is not None
    pixels = read_enlarged(store, Box(100, 50, 33, 20), facts=facts)
    assert pixels.shape == (20, 33, 3)
    working = store.read(Box(50, 25, 17, 10))
    assert (pixels[::2, ::2] == working).all()
    thumbnail, scale = stored_thumbnail(store, facts)
    assert thumbnail.shape[1] * scale.x == pytest.approx(facts.width, abs=scale.x)
