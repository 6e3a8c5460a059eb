"""Many slides: none stops another, whatever happens to it."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from bench import Bench, files_of, results_of, set_sides

from wsi_suite.analysis.summary import read_summary
from wsi_suite.errors import (
    BusyError,
    ConfigError,
    DiskError,
    InputError,
    ModelError,
    OutputError,
    PixelSizeError,
    RegionError,
    SlideError,
    WorkerError,
    WsiSuiteError,
)
from wsi_suite.progress import Step
from wsi_suite.runs import cluster, scheduling, slide_begin, worker_task
from wsi_suite.runs.batch import run_slide
from wsi_suite.runs.folder import lock_folder, unlock_folder
from wsi_suite.runs.in_flight import InFlight
from wsi_suite.runs.outcome import Outcome
from wsi_suite.runs.summary_csv import summary_row

pytestmark = [pytest.mark.usefixtures("quick"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def whole(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run gives that nothing happened to, without tiles."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        set_sides(patch)
        outcome = bench.run_one(folder, "tiles.keep=false")
    assert outcome.folder is not None
    return outcome.folder


@pytest.fixture
def several(bench: Bench, tmp_path: Path) -> dict[str, Path]:
    """Good slides, and all kinds of bad ones between them."""
    folder = tmp_path / "slides"
    folder.mkdir()
    data = bench.slide.read_bytes()
    slides = {name: folder / f"{name}.tif" for name in ("good", "truncated", "text", "last")}
    for name in ("good", "last"):
        slides[name].write_bytes(data + name.encode())
    slides["truncated"].write_bytes(data[: len(data) // 3])
    slides["text"].write_text("no slide")
    slides["none"] = folder / "none.tif"
    return {name: slides[name] for name in ("truncated", "good", "none", "text", "last")}


def table(out: Path) -> dict[str, dict[str, str]]:
    with (out / "summary.csv").open(encoding="utf-8", newline="") as file:
        return {row["slide"]: row for row in csv.DictReader(file)}


class Killed(BaseException):
    """Ends a run as a kill does."""


def raising_at(number: int, error: BaseException, then: Callable[..., Any]) -> Callable[..., Any]:
    """Return `then`, but raising at the call of that number."""
    calls = []

    def called(*arguments: Any, **named: Any) -> Any:
        calls.append(arguments)
        if len(calls) == number:
            raise error
        return then(*arguments, **named)

    return called


def test_killed_run_goes_on_and_ends_in_the_same_bytes(
    bench: Bench, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(scheduling, "record_block", raising_at(3, Killed(), scheduling.record_block))
        with pytest.raises(Killed):
            bench.run(tmp_path)
    folder = tmp_path / whole.name
    assert not (folder / "summary.json").exists()
    assert not (tmp_path / "summary.csv").exists()
    submitted: list[object] = []
    submit = cluster.Cluster.submit

    def counted(self: cluster.Cluster, *arguments: Any, **where: Any) -> Any:
        submitted.append(arguments)
        return submit(self, *arguments, **where)

    monkeypatch.setattr(cluster.Cluster, "submit", counted)
    bench.run_one(tmp_path)
    assert results_of(folder) == results_of(whole)
    assert len(submitted) == 2, "of four"
    before = files_of(folder)
    again = bench.run_one(tmp_path)
    assert files_of(folder) == before
    assert again.summary == read_summary(folder)
    assert len(submitted) == 2


def test_bad_slides_stop_nobody(
    bench: Bench, whole: Path, several: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    outcomes = dict(zip(several, bench.run(out, slides=list(several.values())), strict=True))
    assert {name: outcome.state for name, outcome in outcomes.items()} == {
        "truncated": "failed", "good": "done", "none": "failed", "text": "failed", "last": "done",
    }  # fmt: skip
    for name in ("truncated", "none", "text"):
        error = outcomes[name].error
        assert isinstance(error, SlideError)
        assert str(several[name]) in str(error)
        assert not (out / name / "run.json").exists()
    rows = table(out)
    assert [rows[f"{name}.tif"]["state"] for name in several] == [
        outcome.state for outcome in outcomes.values()
    ]
    assert int(rows["good.tif"]["nuclei"]) > 50
    assert "none.tif" in rows["none.tif"]["error"]
    pooled = {name: summary_row(outcomes[name])["nuclei"] for name in ("good", "last")}
    assert len(set(pooled.values())) == 1, "the same slide under two names"


def test_missing_pixel_size_fails_that_slide_alone(
    bench: Bench, several: dict[str, Path], tmp_path: Path
) -> None:
    import cv2
    import numpy as np

    field = tmp_path / "field.png"
    cv2.imwrite(str(field), np.full((300, 300, 3), 230, np.uint8))
    bad, good = bench.run(tmp_path / "out", "tiles.keep=false", slides=[field, several["good"]])
    assert isinstance(bad.error, PixelSizeError)
    assert "--mpp" in str(bad.error)
    assert good.state == "done"


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything"
)
def test_forbidden_slide_fails_alone(
    bench: Bench, several: dict[str, Path], tmp_path: Path
) -> None:
    several["last"].chmod(0)
    bad, good = bench.run(tmp_path / "out", slides=[several["last"], several["good"]])
    assert isinstance(bad.error, SlideError)
    assert good.state == "done"


def test_exception_in_a_region_fails_that_slide_alone(
    bench: Bench, several: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = worker_task.process_block

    def process_block(job: Any, region: Any, **named: Any) -> Any:
        if job.slide.name == "good.tif" and region.row == 1:
            raise ZeroDivisionError("a bug")
        return process(job, region, **named)

    slides = [several["good"], several["last"]]
    with monkeypatch.context() as patch:
        patch.setattr(worker_task, "process_block", process_block)
        bad, good = bench.run(tmp_path / "out", slides=slides)
    assert "good.tif: ZeroDivisionError: a bug; run again" in str(bad.error)
    assert good.state == "done"
    assert bad.folder is not None
    assert json.loads((bad.folder / "run.json").read_text())["state"] == "failed"
    assert table(tmp_path / "out")["good.tif"]["state"] == "failed"
    assert [outcome.state for outcome in bench.run(tmp_path / "out", slides=slides)] == [
        "done",
        "done",
    ]


def test_failed_slide_stays_locked_while_its_other_regions_are_written(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two regions are with the worker at once: one fails, the other goes on writing."""
    process, heard, tried = worker_task.process_block, Heard(), []
    second_began = Event()
    folder = tmp_path / bench.slide.stem

    def process_block(job: Any, region: Any, **named: Any) -> Any:
        if (region.row, region.col) == (0, 0):
            assert second_began.wait(60)
            raise ZeroDivisionError("a bug")
        second_began.set()
        assert heard.over.wait(60)
        with pytest.raises(BusyError, match="another process is at work in it"):
            lock_folder(folder)
        tried.append(region)
        return process(job, region, **named)

    monkeypatch.setattr(worker_task, "process_block", process_block)
    (outcome,) = bench.run(tmp_path, progress=heard.step, tell=heard.tell)
    assert "a bug" in str(outcome.error)
    assert tried
    unlock_folder(folder, lock_folder(folder))


def test_regions_are_recorded_while_the_next_slide_is_surveyed(
    bench: Bench, several: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, heard = slide_begin.prepare_run, Heard()

    def slow(request: Any, **named: Any) -> Any:
        if request.slide == several["last"]:
            assert heard.over.wait(60), "the first slide waits for the survey of the second"
        return prepare(request, **named)

    monkeypatch.setattr(slide_begin, "prepare_run", slow)
    slides = [several["good"], several["last"]]
    outcomes = bench.run(
        tmp_path / "out", "tiles.keep=false", slides=slides, progress=heard.step, tell=heard.tell
    )
    assert [outcome.state for outcome in outcomes] == ["done", "done"]


def test_full_disk_ends_the_batch_and_names_file_and_slide(
    bench: Bench, several: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, out = Heard(), tmp_path / "out"
    slides = [several["good"], several["last"]]
    replace, prepare = Path.replace, slide_begin.prepare_run

    def full(self: Path, target: Path) -> Path:
        if target.suffix == ".parquet":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(self, target)

    def late(request: Any, **named: Any) -> Any:
        assert request.slide == several["good"] or heard.over.wait(60)
        return prepare(request, **named)

    monkeypatch.setattr(slide_begin, "prepare_run", late)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        first, second = bench.run(
            out, "tiles.keep=false", slides=slides, progress=heard.step, tell=heard.tell
        )
    assert type(first.error) is type(second.error) is DiskError
    message = f"good.tif: {out / 'good' / 'regions.partial' / '0000-000'}"
    assert str(first.error).startswith(message)
    assert ".parquet: cannot be written (No space left on device); free or" in str(first.error)
    assert "no other slide is begun, the same command goes on" in str(first.error)
    assert str(second.error).startswith("last.tif: stopped, as the disk cannot be written")
    assert [outcome.state for outcome in bench.run(out, "tiles.keep=false", slides=slides)] == [
        "done",
        "done",
    ]


def test_slide_that_changes_meanwhile_fails(
    bench: Bench, several: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that is still being copied."""
    process, slide = worker_task.process_block, several["good"]

    def process_block(job: Any, region: Any, **named: Any) -> Any:
        with slide.open("ab") as file:
            file.write(b"more")
        return process(job, region, **named)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(worker_task, "process_block", process_block)
        (outcome,) = bench.run(out, "tiles.keep=false", slides=[slide])
    assert isinstance(outcome.error, SlideError)
    assert str(outcome.error).startswith(f"{slide}: was changed while it was read, as")
    assert not (out / "good" / "nuclei.parquet").exists()
    again = bench.run_one(out, "tiles.keep=false", slides=[slide])
    assert again.folder != outcome.folder, "it is another slide now"


def test_folder_that_is_removed_meanwhile_is_said(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, out = worker_task.process_block, tmp_path / "out"

    def process_block(job: Any, region: Any, **named: Any) -> Any:
        with suppress(FileNotFoundError):
            out.rename(tmp_path / "away")
        return process(job, region, **named)

    monkeypatch.setattr(worker_task, "process_block", process_block)
    (outcome,) = bench.run(out, "tiles.keep=false")
    folder = out / bench.slide.stem
    message = f"{bench.slide.name}: {folder} was removed or renamed meanwhile; run again"
    assert str(outcome.error) == message
    assert not out.exists()


def test_outcomes_are_kept_if_the_table_cannot_be_replaced(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, where Excel has it open."""
    (tmp_path / "summary.csv").write_text("open in Excel")
    replace, heard = Path.replace, Heard()

    def replaced(self: Path, target: Path) -> Path:
        if Path(target).name == "summary.csv":
            raise PermissionError(errno.EACCES, "Permission denied")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", replaced)
    (outcome,) = bench.run(tmp_path, "tiles.keep=false", progress=heard.step, tell=heard.tell)
    assert outcome.state == "done"
    (complaint,) = heard.complaints
    assert "summary.csv: cannot be written (Permission denied); close the program" in complaint
    assert complaint.endswith("its lines are in summary-2.csv")
    assert (tmp_path / "summary.csv").read_text() == "open in Excel"
    assert bench.slide.name in (tmp_path / "summary-2.csv").read_text("utf-8")


def test_failure_at_the_end_loses_nothing(
    bench: Bench, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wsi_suite.runs import outputs

    with monkeypatch.context() as patch:
        patch.setattr(outputs, "write_geojson", raising_at(1, OSError(28, "full"), print))
        (failed,) = bench.run(tmp_path, "tiles.keep=false")
    assert failed.state == "failed"
    monkeypatch.setattr(worker_task, "process_block", lambda *_, **__: 1 / 0)
    bench.run_one(tmp_path, "tiles.keep=false")
    assert results_of(tmp_path / whole.name) == results_of(whole)


def test_window_is_never_exceeded(
    bench: Bench, several: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_flight: list[int] = []
    begun = count()
    next_slide = Event()
    send, process = InFlight.send, worker_task.process_block

    def watched(flying: InFlight, item: Any) -> None:
        send(flying, item)
        in_flight.append(len(flying))
        assert len(flying) <= flying._batch.cluster.window
        if len(in_flight) == 5:
            next_slide.set()

    def process_block(*asked: Any, **named: Any) -> Any:
        if next(begun) == 3:  # the last of the first slide
            assert next_slide.wait(60), "the second slide waits for the first slide's end"
        return process(*asked, **named)

    monkeypatch.setattr(InFlight, "send", watched)
    monkeypatch.setattr(worker_task, "process_block", process_block)
    slides = [several["good"], several["last"]]
    outcomes = bench.run(tmp_path / "out", "tiles.keep=false", slides=slides)
    assert [outcome.state for outcome in outcomes] == ["done", "done"]
    assert len(in_flight) == 8
    assert max(in_flight) == 3, "two at work and one waiting"


class Heard:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.steps: dict[str, Step] = {}
        self.ended: list[Outcome] = []
        self.complaints: list[str] = []
        self.over = Event()

    def step(self, step: Step) -> None:
        self.steps[step.name] = step

    def tell(self, news: Outcome | WsiSuiteError) -> None:
        if isinstance(news, WsiSuiteError):
            self.complaints.append(str(news))
            return
        self.ended.append(news)
        self.over.set()


def test_progress_reaches_the_end(bench: Bench, tmp_path: Path) -> None:
    heard = Heard()
    outcomes = bench.run(tmp_path, "tiles.keep=false", progress=heard.step, tell=heard.tell)
    for _ in range(100):  # the last reports travel on their own
        step = heard.steps[str(bench.slide)]
        if step.done == step.total:
            break
        time.sleep(0.02)
    assert step.done == step.total > 0
    assert heard.ended == outcomes


def test_same_slide_twice_is_said(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    copy = Path(shutil.copy2(bench.slide, tmp_path / "other"))
    first, second = bench.run(tmp_path / "out", "tiles.keep=false", slides=[bench.slide, copy])
    assert first.state == "done"
    assert isinstance(second.error, InputError)
    assert f"is the same slide as {bench.slide}" in str(second.error)


def test_slides_of_one_name_are_kept_apart(
    bench: Bench, several: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "good.tif"
    other.write_bytes(bench.slide.read_bytes() + b"!")
    slides = [several["good"], other]
    once = bench.run(tmp_path / "out", "tiles.keep=false", slides=slides)
    again = bench.run(tmp_path / "out", "tiles.keep=false", slides=slides[::-1])[::-1]
    assert [outcome.folder for outcome in once] == [outcome.folder for outcome in again]
    assert len({outcome.folder for outcome in once}) == 2
    assert len((tmp_path / "out" / "summary.csv").read_text().splitlines()) == 3


def test_summary_csv_keeps_the_slides_of_other_batches(
    bench: Bench, several: dict[str, Path], tmp_path: Path
) -> None:
    for name in ("last", "good"):
        bench.run_one(tmp_path / "out", "tiles.keep=false", slides=[several[name]])
    (tmp_path / "out" / "notes").mkdir()
    rows = table(tmp_path / "out")
    assert list(rows) == ["good.tif", "last.tif"]
    assert rows["good.tif"]["nuclei"] == rows["last.tif"]["nuclei"]


def test_regions_of_several_slides_come_from_a_folder(
    bench: Bench, several: dict[str, Path], tmp_path: Path
) -> None:
    slides = [several["good"], several["last"]]
    rois = tmp_path / "rois"
    rois.mkdir()
    ring = [[100, 100], [500, 100], [500, 500], [100, 500], [100, 100]]
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"name": "Tumour"},
    }
    square = [[200, 200], [280, 200], [280, 280], [200, 280], [200, 200]]
    ignored = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [square]},
        "properties": {"classification": {"name": "Ignore*"}},
    }
    (rois / "good.geojson").write_text(json.dumps([feature, ignored]))
    with pytest.raises(RegionError, match="one file for several slides"):
        bench.run(tmp_path / "out", slides=slides, rois=rois / "good.geojson")
    assert not (tmp_path / "out").exists()
    good, last = bench.run(tmp_path / "out", "tiles.keep=false", slides=slides, rois=rois)
    assert good.summary is not None
    assert [region.name for region in good.summary.regions] == ["Tumour"]
    assert good.summary.scored_area_mm2 == pytest.approx(0.1**2 - 0.02**2)
    assert isinstance(last.error, RegionError)
    assert "last.geojson" in str(last.error)
    wide = feature | {"properties": {"classification": {"name": "Ignore*"}}}
    (rois / "last.geojson").write_text(json.dumps([feature, wide]))
    (last,) = bench.run(tmp_path / "out", slides=slides[1:], rois=rois)
    assert "'Tumour' lies wholly in regions of class 'Ignore*'" in str(last.error)
    assert not (tmp_path / "out" / "last").exists()


def test_parts_give_what_the_whole_gives(bench: Bench, whole: Path, tmp_path: Path) -> None:
    tiled = bench.run_one(tmp_path, stage="tile")
    assert (tiled.state, tiled.summary) == ("tiled", None)
    assert tiled.folder is not None
    assert not (tmp_path / "summary.csv").exists()
    found = bench.run_one(tmp_path, stage="detect", slides=[tiled.folder])
    assert results_of(tiled.folder) == results_of(whole)
    assert found.state == "done"
    assert list(table(tmp_path)) == [bench.slide.name]
    assert bench.run_one(tmp_path, stage="detect", slides=[tiled.folder]).summary == found.summary


def test_detect_without_tiles(bench: Bench, tmp_path: Path) -> None:
    (outcome,) = bench.run(tmp_path, stage="detect", slides=[tmp_path])
    assert "no tiles here; make them with 'wsi-suite tile'" in str(outcome.error)


def test_one_slide_from_python(bench: Bench, several: dict[str, Path], tmp_path: Path) -> None:
    settings = bench.settings("tiles.keep=false")
    outcome = run_slide(str(several["good"]), out=str(tmp_path / "out"), settings=settings)
    assert outcome.state == "done"
    with pytest.raises(SlideError):
        run_slide(several["text"], out=tmp_path / "out", settings=settings)


@pytest.mark.parametrize(
    ("override", "error"),
    [
        ("detect.model=endonuke", ModelError),
        ("run.device=gpu", ModelError),
        ("score.headline_class=Epithelum", ConfigError),
    ],
)
def test_what_concerns_all_slides_is_raised(
    bench: Bench, tmp_path: Path, override: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        bench.run(tmp_path / "out", override)
    assert not (tmp_path / "out").exists()


def test_pooled_headline(bench: Bench, tmp_path: Path) -> None:
    name = "Epithelium + Stroma"
    outcome = bench.run_one(tmp_path, "tiles.keep=false", f"score.headline_class={name}")
    assert outcome.summary is not None
    assert outcome.summary.headline.class_name == name


def test_output_folder_that_cannot_be_made(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot be written.*--out"):
        bench.run(tmp_path / "file" / "out")


KILL_ITSELF = """
import os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import pytest
from bench import Bench, set_sides
if __name__ == "__main__":
    set_sides(pytest.MonkeyPatch())
    Bench(Path({model!r}), Path({slide!r})).run(Path({out!r}))
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_run_that_is_really_killed(bench: Bench, whole: Path, tmp_path: Path) -> None:
    code = KILL_ITSELF.format(
        tests=str(Path(__file__).parents[1]),
        model=str(bench.model),
        slide=str(bench.slide),
        out=str(tmp_path),
    )
    records = tmp_path / whole.name / "regions.partial"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        deadline = time.monotonic() + 90
        while not list(records.glob("*.parquet")) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / whole.name / "summary.json").exists(), "it was too quick to be killed"
    bench.run_one(tmp_path)
    assert results_of(tmp_path / whole.name) == results_of(whole)


@pytest.mark.slow
def test_processes_change_nothing(bench: Bench, whole: Path, tmp_path: Path) -> None:
    bench.run_one(tmp_path, "run.workers=2")
    assert results_of(tmp_path / whole.name) == results_of(whole)


def deadly_task(topic: str, key: str, job: Any, region: Any) -> Any:
    """Die on one region of one slide."""
    if key.endswith("good.tif") and (region.row, region.col) == (0, 1):
        os._exit(3)
    return worker_task.block_task(topic, key, job, region)


@pytest.mark.slow
def test_slide_that_kills_workers_fails_alone(
    bench: Bench, several: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def submit(self: cluster.Cluster, key: str, job: Any, region: Any, **_: Any) -> Any:
        return self.client.submit(deadly_task, self.topic, key, job, region, pure=False)

    monkeypatch.setattr(cluster.Cluster, "submit", submit)
    slides = [several["good"], several["last"]]
    bad, good = bench.run(tmp_path / "out", "run.workers=2", slides=slides, stage="tile")
    assert isinstance(bad.error, WorkerError)
    assert "good.tif: a worker process died on it twice" in str(bad.error)
    assert good.state == "tiled"
