"""One slide's run: the same bytes whichever way it took, and no half taken for the whole."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bench import Bench, do_blocks, files_of, results_of, set_sides, stored_tiles
from scipy.spatial import cKDTree

from wsi_suite.analysis.summary import read_summary
from wsi_suite.detector.detector import Compute
from wsi_suite.errors import BusyError, InputError, OutputConflictError, OutputError, RegionError
from wsi_suite.files import is_leftover
from wsi_suite.geometry import Roi
from wsi_suite.nuclei.parquet import read_nuclei, read_provenance
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.qupath.rois import read_rois
from wsi_suite.runs import run_plan, slide_run
from wsi_suite.runs.records import Records
from wsi_suite.runs.run_record import read_run
from wsi_suite.runs.slide_run import (
    fail_run,
    finish_run,
    pending_blocks,
    prepare_run,
    record_block,
    release_run,
)
from wsi_suite.slides.identity import SlideIdentity
from wsi_suite.slides.store import TileStore

pytestmark = pytest.mark.usefixtures("quick")

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def whole(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to, with tiles."""
    folder = tmp_path_factory.mktemp("whole") / "B12"
    with pytest.MonkeyPatch.context() as patch:
        set_sides(patch)
        bench.do(folder)
    return folder


def nuclei_of(folder: Path) -> Nuclei:
    return read_nuclei(folder / "nuclei.parquet")[0]


def interrupt(bench: Bench, folder: Path, *overrides: str, after: int, **fields: object) -> None:
    """Begin a run and leave it as a kill does."""
    run = prepare_run(bench.request(folder, *overrides, **fields))
    do_blocks(run, limit=after)
    release_run(run)  # the system does so


def test_results_are_complete_and_plausible(bench: Bench, whole: Path) -> None:
    nuclei, provenance = read_nuclei(whole / "nuclei.parquet")
    summary = json.loads((whole / "summary.json").read_text("utf-8"))
    assert len(nuclei) > 100
    assert set(np.unique(nuclei.label)) == {0, 1}
    assert summary["scores"]["Epithelium + Stroma"]["nuclei"] == len(nuclei)
    assert sorted(path.name for path in whole.iterdir()) == [
        "hotspots.geojson", "nuclei.geojson", "nuclei.parquet", "overview.png",
        "quality.geojson", "run.json", "slide.json", "summary.json", "tiles.ome.zarr",
    ]  # fmt: skip
    assert list(zip(nuclei.y, nuclei.x, strict=True)) == sorted(
        zip(nuclei.y, nuclei.x, strict=True)
    )
    assert str(whole) not in json.dumps(provenance), "paths differ between like runs"
    assert str(bench.slide.parent) not in json.dumps(provenance)


def test_without_tiles_the_bytes_are_the_same(bench: Bench, whole: Path, tmp_path: Path) -> None:
    run = bench.do(tmp_path / "out", "tiles.keep=false")
    assert results_of(run.folder) == results_of(whole)
    assert not (run.folder / "tiles.ome.zarr").exists()


def test_stored_tiles_give_the_same_bytes(bench: Bench, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    bench.do(folder, stage="tile")
    assert not (folder / "nuclei.parquet").exists()
    bench.do(folder, stage="detect", slide=folder)
    assert results_of(folder) == results_of(whole)
    assert stored_tiles(folder) == stored_tiles(whole)


def test_run_after_tile_writes_no_tiles_again(bench: Bench, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    bench.do(folder, stage="tile")
    before = files_of(folder / "tiles.ome.zarr")
    bench.do(folder)
    assert results_of(folder) == results_of(whole)
    assert files_of(folder / "tiles.ome.zarr") == before


@pytest.mark.parametrize("after", [0, 1, 3])
def test_interrupted_run_ends_in_the_same_bytes(
    bench: Bench, whole: Path, tmp_path: Path, after: int
) -> None:
    folder = tmp_path / "out"
    interrupt(bench, folder, after=after)
    run = prepare_run(bench.request(folder))
    assert len(pending_blocks(run)) == len(run.grid.blocks) - after
    do_blocks(run)
    finish_run(run)
    assert results_of(folder) == results_of(whole)
    assert stored_tiles(folder) == stored_tiles(whole)


def test_kill_while_finishing_is_mended(
    bench: Bench, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    run = prepare_run(bench.request(folder))
    do_blocks(run)
    with monkeypatch.context() as patch:
        patch.setattr(slide_run, "write_results", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            finish_run(run)
    release_run(run)
    assert (folder / "tiles.ome.zarr").exists()
    bench.do(folder)
    assert results_of(folder) == results_of(whole)


def test_finished_run_is_left_as_it_is(bench: Bench, whole: Path) -> None:
    before = files_of(whole)
    run = prepare_run(bench.request(whole))
    assert run.done
    assert not pending_blocks(run)
    summary = finish_run(run)
    assert summary == read_summary(whole)
    assert files_of(whole) == before


def test_what_a_kill_at_the_very_end_left_is_removed(
    bench: Bench, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    run = prepare_run(bench.request(folder))
    do_blocks(run)
    with monkeypatch.context() as patch:
        patch.setattr(Records, "remove", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            finish_run(run)
    assert prepare_run(bench.request(folder)).done, "its process is alive"
    assert list((folder / "regions.partial").iterdir())
    release_run(run)
    assert prepare_run(bench.request(folder)).done
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        path.name for path in whole.iterdir()
    )
    assert results_of(folder) == results_of(whole)


def test_missing_result_of_a_finished_run_is_made_again(
    bench: Bench, whole: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole, tmp_path / "out")
    (tmp_path / "out" / "summary.json").unlink()
    bench.do(tmp_path / "out")
    assert results_of(tmp_path / "out") == results_of(whole)


def test_resume_needs_no_tiles(bench: Bench, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    interrupt(bench, folder, after=3)
    shutil.rmtree(folder / "tiles.ome.zarr.partial")
    bench.do(folder)
    assert results_of(folder) == results_of(whole)
    assert stored_tiles(folder) == stored_tiles(whole), "tiles of the first regions are back"


def test_rerun_may_drop_the_tiles(bench: Bench, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    interrupt(bench, folder, after=2)
    bench.do(folder, "tiles.keep=false")
    assert results_of(folder) == results_of(whole)
    assert not list(folder.glob("tiles*"))


def test_rerun_may_add_the_tiles_without_detecting_again(
    bench: Bench, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    bench.do(folder, "tiles.keep=false")
    before = files_of(folder)
    run = prepare_run(bench.request(folder))
    assert all(job.detect is None for job, _ in pending_blocks(run))
    assert json.loads((folder / "run.json").read_text())["state"] == "done"
    do_blocks(run)
    finish_run(run)
    assert stored_tiles(folder) == stored_tiles(whole)
    assert {name: files_of(folder)[name] for name in before if name.startswith("nuclei")} == {
        name: before[name] for name in before if name.startswith("nuclei")
    }
    assert prepare_run(bench.request(folder)).done


def test_begun_run_keeps_its_grid(
    bench: Bench, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(bench, tmp_path / "out", after=2)
    set_sides(monkeypatch, block_px=512)
    bench.do(tmp_path / "out")
    assert results_of(tmp_path / "out") == results_of(whole)


def test_damaged_record_is_done_again(bench: Bench, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    interrupt(bench, folder, after=2)
    next((folder / "regions.partial").glob("*.parquet")).write_bytes(b"")
    run = prepare_run(bench.request(folder))
    do_blocks(run)
    with pytest.raises(OutputError, match="give the same command again"):
        finish_run(run)
    fail_run(run, "damaged")
    release_run(run)
    bench.do(folder)
    assert results_of(folder) == results_of(whole)


def test_many_tiles_find_what_one_tile_finds(
    bench: Bench, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_sides(monkeypatch, block_px=1024, tile_px=1024)
    bench.do(tmp_path / "one", "tiles.keep=false")
    many, one = nuclei_of(whole), nuclei_of(tmp_path / "one")
    assert len(many) == len(one), "none lost at a seam, none counted twice"
    apart, nearest = cKDTree(one.points).query(many.points)
    assert apart.max() <= 2 * 0.05 + 0.01, "level-0 px, rounded to 0.01"
    assert len(set(nearest)) == len(one)
    assert np.abs(many.confidence - one.confidence[nearest]).max() <= 1e-3
    assert (many.label == one.label[nearest]).all()
    for name, values in many.measurements.items():
        close = np.isclose(values, one.measurements[name][nearest], rtol=0.02, atol=0.01)
        assert close.mean() > 0.99, name


def test_settings_that_are_new_are_those_of_before_by_default(
    bench: Bench, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    shutil.copytree(whole, folder)
    content = json.loads((folder / "run.json").read_text("utf-8"))
    recorded = content["fingerprint"]["settings"]
    del recorded["quality"], recorded["score"]["hot_spots"], recorded["score"]["cutoffs_percent"]
    (folder / "run.json").write_text(json.dumps(content), "utf-8")
    assert prepare_run(bench.request(folder)).done
    with pytest.raises(OutputConflictError, match=r"score\.hot_spots: 3, now 5"):
        prepare_run(bench.request(folder, "score.hot_spots=5"))


def test_other_settings_are_refused_with_what_differs(bench: Bench, whole: Path) -> None:
    before = files_of(whole)
    with pytest.raises(OutputConflictError, match=r"min_confidence: 0\.1, now 0\.2.*--overwrite"):
        prepare_run(bench.request(whole, "detect.min_confidence=0.2"))
    assert files_of(whole) == before


def test_touched_slide_is_refused(bench: Bench, whole: Path) -> None:
    request = bench.request(whole)
    touched = replace(request.identity, modified=request.identity.modified + 60)
    with pytest.raises(OutputConflictError, match=r"slide\.modified: \d+, now \d+"):
        prepare_run(replace(request, identity=touched))


def test_precision_of_the_first_start_is_kept(bench: Bench, whole: Path) -> None:
    other = Compute("cpu", "bf16", 1)
    assert prepare_run(bench.request(whole, "detect.precision=auto", compute=other)).done
    with pytest.raises(OutputConflictError, match="precision"):
        prepare_run(bench.request(whole, "detect.precision=bf16", compute=other))


@pytest.mark.parametrize("name", ["tiles_version", "results_version"])
@pytest.mark.parametrize("state", ["half", "whole"])
def test_results_of_two_versions_are_not_mixed(
    bench: Bench, tmp_path: Path, name: str, state: str
) -> None:
    run = prepare_run(bench.request(tmp_path / "run"))
    if state == "whole":
        do_blocks(run)
        finish_run(run)
    else:
        do_blocks(run, limit=1)
        release_run(run)
    file = run.folder / "run.json"
    content = json.loads(file.read_text("utf-8"))
    content["fingerprint"]["settings"][name] -= 1
    file.write_text(json.dumps(content), "utf-8")
    before = files_of(run.folder)
    with pytest.raises(OutputConflictError, match=r"was begun by wsi-suite .*give --overwrite"):
        prepare_run(bench.request(run.folder))
    assert files_of(run.folder) == before
    release_run(prepare_run(bench.request(run.folder, overwrite=True)))


def test_a_folder_that_tells_no_version_is_an_earlier_one(bench: Bench, tmp_path: Path) -> None:
    run = prepare_run(bench.request(tmp_path / "run", stage="tile"))
    release_run(run)
    file = run.folder / "run.json"
    content = json.loads(file.read_text("utf-8"))
    del content["fingerprint"]["settings"]["tiles_version"]
    file.write_text(json.dumps(content), "utf-8")
    told = "computes tissue and tiles otherwise"
    for stage in ("tile", "run"):
        with pytest.raises(OutputConflictError, match=f"{told}.* another --out"):
            prepare_run(bench.request(run.folder, stage=stage))
    with pytest.raises(OutputConflictError, match=f"{told}.*'wsi-suite tile --overwrite'"):
        prepare_run(bench.request(run.folder, stage="detect"))


def test_detect_tells_what_it_can_do_about_other_settings(bench: Bench, tmp_path: Path) -> None:
    """It has no --out, and makes no tiles."""
    rois = rois_at(tmp_path / "r.geojson", (60, 60, 330))
    bench.do(tmp_path / "run", stage="tile", rois=rois)
    with pytest.raises(
        OutputConflictError, match=r"rois.*; give the settings, --roi .* 'wsi-suite tile'"
    ):
        prepare_run(bench.request(tmp_path / "run", stage="detect"))
    bench.do(tmp_path / "run", stage="detect", rois=rois)
    other = bench.request(tmp_path / "run", "detect.min_confidence=0.2", stage="detect", rois=rois)
    with pytest.raises(OutputConflictError, match=r"min_confidence: .*; give --overwrite$"):
        prepare_run(other)


def test_tiles_serve_results_of_every_version(bench: Bench, tmp_path: Path) -> None:
    for stage, tells in (("tile", False), ("detect", True)):
        bench.do(tmp_path, stage=stage)
        settings = json.loads((tmp_path / "run.json").read_text("utf-8"))["fingerprint"]["settings"]
        assert ("results_version" in settings) is tells


def test_the_precision_is_named_in_the_outputs(whole: Path) -> None:
    compute = {"device": "cpu", "precision": "fp32", "batch": 1}
    outputs = compute | {"flips": False, "ranges": ""}
    assert json.loads((whole / "summary.json").read_text("utf-8"))["compute"] == outputs
    assert read_provenance(whole / "nuclei.parquet").compute.model_dump() == outputs
    run = read_run(whole)
    assert run is not None
    assert run.fingerprint.settings["compute"] == compute


def test_flips_are_another_run(bench: Bench, whole: Path) -> None:
    flips = Compute("cpu", "fp32", 1, flips=True)
    with pytest.raises(OutputConflictError, match="flips"):
        prepare_run(bench.request(whole, compute=flips))


def test_other_kind_of_device_is_refused(bench: Bench, whole: Path) -> None:
    gpu = Compute("cuda", "fp16", 8)
    with pytest.raises(OutputConflictError, match=r'compute\.device: "cpu", now "cuda"'):
        prepare_run(bench.request(whole, "detect.precision=auto", compute=gpu))


def test_overwrite_starts_anew_and_leaves_what_is_not_ours(
    bench: Bench, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    shutil.copytree(whole, folder)
    (folder / "my notes.txt").write_text("keep me")
    bench.do(folder, "detect.min_confidence=0.15", overwrite=True)
    assert 0 < len(nuclei_of(folder)) < len(nuclei_of(whole))
    assert (folder / "my notes.txt").read_text() == "keep me"
    bench.do(folder, overwrite=True)
    assert results_of(folder) == results_of(whole)


def test_overwrite_keeps_old_results_where_the_slide_fails(
    bench: Bench, whole: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole, tmp_path / "out")
    broken = tmp_path / bench.slide.name
    broken.write_bytes(bench.slide.read_bytes()[:5000])
    before = files_of(tmp_path / "out")
    with pytest.raises(InputError):
        prepare_run(bench.request(tmp_path / "out", slide=broken, overwrite=True))
    assert files_of(tmp_path / "out") == before


def test_overwrite_that_was_killed_is_no_result(
    bench: Bench, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    shutil.copytree(whole, folder)
    with monkeypatch.context() as patch:
        patch.setattr(slide_run, "write_facts", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            prepare_run(bench.request(folder, "detect.min_confidence=0.15", overwrite=True))
    (folder / "tiles.ome.zarr").mkdir()  # as if the kill came before it was removed
    bench.do(folder)
    assert results_of(folder) == results_of(whole)
    assert stored_tiles(folder) == stored_tiles(whole)


@pytest.mark.parametrize("content", ["{}", '{"state": "done"}', "no JSON"])
def test_foreign_folder_is_never_touched(bench: Bench, tmp_path: Path, content: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "run.json").write_text(content)
    (folder / "precious.txt").write_text("theirs")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="another --out"):
            prepare_run(bench.request(folder, overwrite=overwrite))
    (folder / "run.json").unlink()
    for overwrite in (False, True):
        with pytest.raises(OutputConflictError, match="left alone"):
            prepare_run(bench.request(folder, overwrite=overwrite))
    assert [path.name for path in folder.iterdir()] == ["precious.txt"]


def test_detect_overwrites_results_and_keeps_tiles(
    bench: Bench, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    shutil.copytree(whole, folder)
    before = files_of(folder / "tiles.ome.zarr")
    detect = {"stage": "detect", "slide": folder}
    with pytest.raises(OutputConflictError, match="min_confidence"):
        prepare_run(bench.request(folder, "detect.min_confidence=0.15", **detect))
    bench.do(folder, "detect.min_confidence=0.15", overwrite=True, **detect)
    assert len(nuclei_of(folder)) < len(nuclei_of(whole))
    assert files_of(folder / "tiles.ome.zarr") == before
    bench.do(folder, overwrite=True, **detect)
    assert results_of(folder) == results_of(whole)


def test_detect_refuses_tiles_that_are_not_complete(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    interrupt(bench, folder, after=2, stage="tile")
    with pytest.raises(InputError, match="not complete; make them with 'wsi-suite tile'"):
        prepare_run(bench.request(folder, stage="detect", slide=folder))


def test_two_processes_never_share_a_folder(bench: Bench, tmp_path: Path) -> None:
    run = prepare_run(bench.request(tmp_path / "out"))
    with pytest.raises(OutputConflictError, match="at work in it"):
        prepare_run(bench.request(tmp_path / "out"))
    release_run(run)
    release_run(prepare_run(bench.request(tmp_path / "out")))


def test_a_slide_is_taken_before_it_is_surveyed(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    survey = run_plan.survey_slide

    def slow_survey(*args: object, **kwargs: object) -> object:
        monkeypatch.undo()
        with pytest.raises(BusyError, match="at work in it"):
            prepare_run(bench.request(tmp_path / "out"))
        return survey(*args, **kwargs)

    monkeypatch.setattr(run_plan, "survey_slide", slow_survey)
    release_run(prepare_run(bench.request(tmp_path / "out")))


def test_folder_that_changes_hands_meanwhile_is_refused(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, lock = tmp_path / "out", slide_run.lock_folder

    def late_lock(*args: object, **kwargs: object) -> object:
        monkeypatch.undo()
        bench.do(folder, "detect.min_confidence=0.15", "tiles.keep=false")
        return lock(*args, **kwargs)

    monkeypatch.setattr(slide_run, "lock_folder", late_lock)
    with pytest.raises(OutputConflictError, match="in the meantime"):
        prepare_run(bench.request(folder))


def square(x: float, y: float, side: float) -> dict[str, object]:
    corners = [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]
    return {"type": "Polygon", "coordinates": [corners]}


def rois_at(path: Path, *squares: tuple[float, float, float]) -> tuple[Roi, ...]:
    features = [
        {"type": "Feature", "geometry": square(*place), "properties": {"name": f"R{number}"}}
        for number, place in enumerate(squares)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return read_rois(path)


def test_regions_hold_all_their_nuclei_and_no_other(bench: Bench, tmp_path: Path) -> None:
    rois = rois_at(tmp_path / "r.geojson", (60, 60, 330), (250, 200, 300))
    bench.do(tmp_path / "rois", rois=rois)
    summary = json.loads((tmp_path / "rois" / "summary.json").read_text("utf-8"))
    inside = nuclei_of(tmp_path / "rois")
    counts = []
    for x, y, side in ((60, 60, 330), (250, 200, 300)):
        hit = (inside.x >= x) & (inside.x < x + side) & (inside.y >= y) & (inside.y < y + side)
        counts.append(hit)
    assert (counts[0] | counts[1]).all()
    shared = int((counts[0] & counts[1]).sum())
    assert shared > 0, "what lies in both is reported in both"
    pooled = [region["scores"]["Epithelium + Stroma"]["nuclei"] for region in summary["regions"]]
    assert pooled == [int(count.sum()) for count in counts]
    assert summary["scores"]["Epithelium + Stroma"]["nuclei"] == len(inside) == sum(pooled) - shared


def test_other_regions_are_refused_on_resume(bench: Bench, tmp_path: Path) -> None:
    rois = rois_at(tmp_path / "r.geojson", (60, 60, 400))
    interrupt(bench, tmp_path / "out", after=1, rois=rois)
    other = rois_at(tmp_path / "r.geojson", (60, 60, 401))
    for asked in (other, None):
        with pytest.raises(OutputConflictError, match="rois"):
            prepare_run(bench.request(tmp_path / "out", rois=asked))
    release_run(prepare_run(bench.request(tmp_path / "out", rois=rois)))


def test_region_outside_is_refused_before_anything_is_written(bench: Bench, tmp_path: Path) -> None:
    rois = rois_at(tmp_path / "r.geojson", (60, 60, 400), (5000, 5000, 100))
    request = bench.request(tmp_path / "out", rois=rois, roi_file=tmp_path / "r.geojson")
    with pytest.raises(RegionError, match=r"'R1'.*outside"):
        prepare_run(request)
    assert not (tmp_path / "out").exists()


def test_full_disk_is_foreseen(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 5.2e9
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100e9, 0, free))
    release_run(prepare_run(bench.request(tmp_path / "fits")))
    free = 5e9
    with pytest.raises(OutputError, match=r"less than 5 %.*--no-keep-tiles"):
        prepare_run(bench.request(tmp_path / "full"))
    with pytest.raises(OutputError, match=r"free some$"):
        prepare_run(bench.request(tmp_path / "full", stage="tile"))
    assert not (tmp_path / "full").exists()
    bench.do(tmp_path / "full", "tiles.keep=false")


def test_disk_that_fills_up_on_the_way(
    bench: Bench, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    run = prepare_run(bench.request(folder))
    do_blocks(run, limit=2)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(OutputError, match="No space left on device"):
            do_blocks(run)
        fail_run(run, "full")  # nor can that be noted
    release_run(run)
    assert not [path for path in folder.rglob("*") if is_leftover(path)]
    bench.do(folder)
    assert results_of(folder) == results_of(whole)


def test_folder_that_cannot_be_written(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", denied)
    with pytest.raises(OutputError, match=r"Permission denied.*--out"):
        prepare_run(bench.request(tmp_path / "out"))


def test_slide_without_tissue(bench: Bench, tmp_path: Path) -> None:
    from wsi_suite.synthetic import make_slide

    make_slide(tmp_path / "glass.tif", width=900, height=700, mpp=0.25, tissue_fraction=0)
    glass = tmp_path / "glass.tif"
    run = bench.do(tmp_path / "out", slide=glass, identity=SlideIdentity.of(glass))
    assert not run.grid.blocks
    summary = json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))
    assert summary["headline"]["value"] is None
    assert summary["headline"]["reason"] == "no nuclei"
    assert len(nuclei_of(tmp_path / "out")) == 0
    assert (tmp_path / "out" / "nuclei.geojson").exists()
    assert (TileStore.open(tmp_path / "out" / "tiles.ome.zarr").levels[0][:] == 255).all()


def test_slide_without_nuclei(bench: Bench, tmp_path: Path) -> None:
    bench.do(tmp_path / "out", "detect.min_confidence=1.0")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))
    assert summary["headline"]["value"] is None
    assert summary["headline"]["reason"] == "no nuclei"
    assert summary["scored_area_mm2"] > 0


@pytest.mark.skipif(os.name == "nt", reason="the suite's own paths are made for it elsewhere")
def test_paths_may_be_long(bench: Bench, whole: Path, tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["tief verschachtelt äöü" * 2] * 7)
    assert len(str(deep)) > 260
    bench.do(deep)
    assert results_of(deep) == results_of(whole)


def test_record_of_another_run_is_not_needed(bench: Bench, tmp_path: Path) -> None:
    run = prepare_run(bench.request(tmp_path / "out", "tiles.keep=false"))
    (job, region), *_ = pending_blocks(run)
    record_block(run, job, region, Nuclei.empty(("Stroma", "Epithelium")))
    assert len(pending_blocks(run)) == len(run.grid.blocks) - 1
    release_run(run)
