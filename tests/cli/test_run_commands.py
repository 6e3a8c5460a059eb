"""``run``, ``tile``, ``detect`` and ``score``, as they are typed."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from command_line import SAME_RESULTS, Cli, square, write_geojson

SAME = ("nuclei.parquet", "nuclei.geojson", "summary.json", "hotspots.geojson", "quality.geojson")


def same_bytes(one: Path, other: Path) -> bool:
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in SAME)


def table(folder: Path) -> list[dict[str, str]]:
    lines = (folder / "summary.csv").read_text(encoding="utf-8").splitlines()
    return list(csv.DictReader(lines))


def test_run_leaves_what_the_readme_lists(results: Path) -> None:
    assert sorted(path.name for path in results.iterdir()) == [
        "hotspots.geojson",
        "nuclei.geojson",
        "nuclei.parquet",
        "overview.png",
        "quality.geojson",
        "run.json",
        "slide.json",
        "summary.json",
        "tiles.ome.zarr",
    ]
    (row,) = table(results.parent)
    assert (row["slide"], row["state"]) == ("B12_ER.svs", "done")
    assert float(row["h_score"]) == pytest.approx(
        json.loads((results / "summary.json").read_text())["headline"]["value"], abs=0.05
    )


def test_the_same_command_again_has_nothing_to_do(
    wsi: Cli, slide: Path, model: Path, results: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in results.rglob("*")}
    answer = wsi("run", slide, "--out", results.parent, "--model", model, *SAME_RESULTS)
    assert answer.code == 0
    assert "B12_ER.svs: already done" in answer.err
    assert answer.out.splitlines()[0].split()[:4] == ["slide", "tissue", "mm2", "class"]
    assert answer.out.splitlines()[1].startswith("B12_ER.svs")
    assert {path: path.stat().st_mtime_ns for path in results.rglob("*")} == before


def test_json_is_one_document_and_remarks_stay_away(
    wsi: Cli, slide: Path, model: Path, results: Path
) -> None:
    options = ("--out", results.parent, "--model", model, "--json", *SAME_RESULTS)
    answer = wsi("run", slide, *options)
    (document,) = json.loads(answer.out, parse_constant=pytest.fail)
    assert document["state"] == "done"
    assert document["error"] is None
    assert document["summary"] == json.loads((results / "summary.json").read_text())


def test_tile_and_detect_give_what_run_gives(
    wsi: Cli, slide: Path, model: Path, results: Path, tmp_path: Path
) -> None:
    assert wsi("tile", slide, "--out", tmp_path, "--model", model).code == 0
    tiles = tmp_path / "B12_ER"
    assert sorted(path.name for path in tiles.iterdir()) == [
        "run.json",
        "slide.json",
        "tiles.ome.zarr",
    ]
    answer = wsi("detect", tiles, "--model", model, *SAME_RESULTS)
    assert answer.code == 0
    assert "B12_ER.svs" in answer.out
    assert same_bytes(tiles, results)


def test_stored_tiles_are_measured_with_the_vectors_of_two_files(
    wsi: Cli, slide: Path, model: Path, results: Path, tmp_path: Path
) -> None:
    lab, preset = tmp_path / "lab.yaml", tmp_path / "preset.yaml"
    lab.write_text("stain: {dab: [0.3, 0.55, 0.78], background: [241, 241, 242]}")
    preset.write_text("score: {marker: ER}\ndetect: {precision: fp32}")
    settings = ("--model", model, "--config", lab, "--config", preset)
    assert wsi("run", slide, "--out", tmp_path / "whole", *settings).code == 0
    assert wsi("tile", slide, "--out", tmp_path / "parts", "--model", model).code == 0
    assert wsi("detect", tmp_path / "parts" / "B12_ER", *settings).code == 0
    whole = tmp_path / "whole" / "B12_ER"
    assert same_bytes(whole, tmp_path / "parts" / "B12_ER")
    assert not same_bytes(whole, results)  # measured with the defaults
    assert wsi("score", whole, "--config", lab).code == 0
    refused = wsi("score", results, "--config", lab)
    assert "measured with stain.dab = " in refused.errors[0]


def test_a_run_without_tiles_in_a_region_and_over_an_earlier_one(
    wsi: Cli, slide: Path, model: Path, tmp_path: Path
) -> None:
    roi = write_geojson(tmp_path / "roi.geojson", *square(200, 800), name="Tumour [1]")
    out = tmp_path / "Büro 3 ü"
    shared = ("run", slide, "--out", out, "--model", model, "--no-keep-tiles")
    answer = wsi(*shared, "--roi", roi)
    assert answer.code == 0
    assert "  Tumour [1]" in answer.out
    assert not (out / "B12_ER" / "tiles.ome.zarr").exists()
    assert wsi(*shared).code == 2  # without the region it is another run
    again = wsi(*shared, "--set", "score.thresholds_od=[0.1,0.3,0.5]", "--overwrite", "--json")
    (document,) = json.loads(again.out)
    assert document["summary"]["thresholds_od"] == [0.1, 0.3, 0.5]
    assert document["summary"]["regions"] == []


def test_score_takes_thresholds_and_leaves_the_rest_as_it_was(wsi: Cli, results: Path) -> None:
    before = json.loads((results / "summary.json").read_text())
    answer = wsi("score", results, "--set", "score.thresholds_od=[0.05,0.1,0.15]", "--json")
    (document,) = json.loads(answer.out)
    after = document["summary"]
    assert after["marker"] == before["marker"] == "ER"
    assert after["thresholds_od"] == [0.05, 0.1, 0.15]
    pooled = "Epithelium + Stroma"
    assert after["scores"][pooled]["nuclei"] == before["scores"][pooled]["nuclei"]
    assert after["scores"][pooled]["h_score"] > before["scores"][pooled]["h_score"]
    assert json.loads((results / "summary.json").read_text()) == before  # printed, not kept


def test_score_says_which_sections_of_a_file_it_does_not_take(
    wsi: Cli, results: Path, tmp_path: Path
) -> None:
    config = tmp_path / "lab.yaml"
    config.write_text("detect: {min_confidence: 0.9}\ntissue: {}\nscore: {marker: ER}\n")
    answer = wsi("score", results, "--config", config)
    assert answer.code == 0
    assert "only 'score' is taken of it; what detect, tissue would change" in " ".join(
        answer.err.split()
    )


def test_score_merges_files_and_tells_what_one_changes(
    wsi: Cli, results: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "1.yaml", tmp_path / "2.yaml"
    first.write_text("score: {marker: PR, thresholds_od: [0.1, 0.2, 0.3]}")
    second.write_text("score: {marker: ER}")
    answer = wsi("score", results, "--config", first, "--config", second, "--json")
    (document,) = json.loads(answer.out)
    assert document["summary"]["marker"] == "ER"
    assert document["summary"]["thresholds_od"] == [0.1, 0.2, 0.3]
    (told,) = answer.err.splitlines()
    assert told.startswith(f"note: {second} goes over earlier --config files: score.marker = ER")


def test_score_as_it_was_is_the_run_s_own_summary(wsi: Cli, results: Path) -> None:
    (document,) = json.loads(wsi("score", results, "--json").out)
    assert document["summary"] == json.loads((results / "summary.json").read_text())


def test_score_writes_where_it_is_told_and_finishes_the_others(
    wsi: Cli, results: Path, tmp_path: Path
) -> None:
    out = tmp_path / "scores"
    copy = tmp_path / "copy.parquet"
    shutil.copy(results / "nuclei.parquet", copy)
    answer = wsi("score", results, copy, tmp_path / "none", "--out", out)
    assert answer.code == 1
    assert "none: no such file" in answer.errors[0]
    assert "1 of 3 failed" in answer.err
    assert (out / "B12_ER" / "summary.json").exists()
    assert sorted(row["state"] for row in table(out)) == ["done", "done", "failed"]


def test_score_writes_nuclei_by_region(wsi: Cli, results: Path, tmp_path: Path) -> None:
    roi = write_geojson(tmp_path / "roi.geojson", *square(200, 800), name="Tumour [1]")
    given = ("score", results, "--roi", roi, "--out", tmp_path / "scores")
    assert wsi(*given, "--geojson", "ellipse", "--by-region").code == 0
    nuclei = tmp_path / "scores" / "B12_ER" / "nuclei_Tumour _1_.geojson"
    assert '"isEllipse":true' in nuclei.read_text()
    for options, message in (
        (("score", results, "--geojson", "point"), "--geojson: give --out too"),
        ((*given, "--by-region"), "--by-region: give --geojson too"),
    ):
        answer = wsi(*options)
        assert answer.code == 2
        assert message in answer.errors[0]


def test_scores_of_two_commands_share_a_table(wsi: Cli, results: Path, tmp_path: Path) -> None:
    out, copy = tmp_path / "scores", tmp_path / "copy"
    shutil.copytree(results, copy)
    for result in (results, copy):
        assert wsi("score", result, "--out", out).code == 0
    assert [(row["folder"], row["state"]) for row in table(out)] == [
        ("B12_ER", "done"),
        ("copy", "done"),
    ]


@pytest.mark.parametrize("command", ["run", "score"])
def test_a_table_that_cannot_be_replaced_is_written_beside(
    *, wsi: Cli, slide: Path, results: Path, model: Path, tmp_path: Path, command: str
) -> None:
    out = tmp_path / "out"
    (out / "summary.csv").mkdir(parents=True)
    if command == "run":
        shutil.copytree(results, out / results.name)
        answer = wsi("run", slide, "--out", out, "--model", model, *SAME_RESULTS)
    else:
        answer = wsi("score", results, "--out", out)
    assert answer.code == 1
    (error,) = answer.errors
    assert "summary.csv: cannot be written (Is a directory); something else has its name" in error
    assert error.endswith("its lines are in summary-2.csv")
    assert "B12_ER.svs" in answer.out
    assert "One line a slide" not in answer.err
    assert "B12_ER.svs,B12_ER,done" in (out / "summary-2.csv").read_text("utf-8")
