"""How far a batch is, told from its folder alone."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from bench import Bench, do_blocks, files_of

from wsi_suite.errors import InputError, SlideError
from wsi_suite.runs.batch_record import BATCH_FILE, note_slides, read_batch
from wsi_suite.runs.outcome import Outcome
from wsi_suite.runs.run_record import read_run, write_run
from wsi_suite.runs.slide_run import fail_run, finish_run, pending_blocks, prepare_run, release_run
from wsi_suite.runs.state import State
from wsi_suite.runs.status import SILENT_S, read_status, seconds_left
from wsi_suite.runs.summary_csv import write_table

pytestmark = [pytest.mark.usefixtures("quick"), pytest.mark.timeout(300)]


def dead_process() -> int:
    """Return the number of a process that has ended."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_a_slide_from_its_begin_to_its_end(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    run = prepare_run(bench.request(folder, "tiles.keep=false"))
    blocks = len(pending_blocks(run))
    (begun,) = read_status(tmp_path)
    assert (begun.slide, begun.folder, begun.state) == (bench.slide.name, "a", "running")
    assert (begun.share, begun.pixels_per_s, begun.seconds_left) == (0, None, None)

    do_blocks(run, limit=2)
    written = (folder / "run.json").stat().st_mtime
    for number, record in enumerate(sorted((folder / "regions.partial").glob("*.parquet")), 1):
        os.utime(record, (written + 10 * number,) * 2)
    before = files_of(tmp_path)
    (half,) = read_status(tmp_path)
    assert half.state == "running"
    assert half.share is not None
    assert 0 < half.share < 1
    assert half.pixels_per_s is not None
    assert half.seconds_left == pytest.approx(20 * (1 - half.share) / half.share)
    assert seconds_left([half]) == half.seconds_left
    assert read_status(folder) == [half], "of one slide"
    assert files_of(tmp_path) == before

    fail_run(run, "broken")
    (failed,) = read_status(tmp_path)
    assert (failed.state, failed.error, failed.share) == ("failed", "broken", half.share)

    do_blocks(run)
    assert blocks > 2
    finish_run(run)
    (done,) = read_status(tmp_path)
    assert (done.state, done.share, done.seconds_left) == ("done", 1, None)


def test_a_killed_run_is_told_from_one_at_work(bench: Bench, tmp_path: Path) -> None:
    run = prepare_run(bench.request(tmp_path / "a", "tiles.keep=false"))
    record = read_run(run.folder)
    assert record is not None
    assert (record.host, record.process) == (platform.node(), os.getpid())
    write_run(run.folder, record.model_copy(update={"process": dead_process()}))
    assert [one.state for one in read_status(tmp_path)] == ["stopped"]

    write_run(run.folder, record.model_copy(update={"host": "another"}))
    written = (run.folder / "run.json").stat().st_mtime
    for age_s, state in ((SILENT_S - 9, "running"), (SILENT_S + 9, "stopped")):
        assert [one.state for one in read_status(tmp_path, now=written + age_s)] == [state]
    write_run(run.folder, record.model_copy(update={"state": State.DISCARDED}))
    assert [one.state for one in read_status(tmp_path)] == ["stopped"]
    release_run(run)


def test_what_is_damaged_or_failed_without_a_folder_is_told(tmp_path: Path) -> None:
    write_table(tmp_path, [Outcome(Path("none.svs"), None, State.FAILED, error=SlideError("gone"))])
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "run.json").write_text("{")
    (tmp_path / "other").mkdir()
    bad, none = read_status(tmp_path)
    assert (bad.folder, bad.state) == ("bad", "failed")
    assert "run.json" in str(bad.error)
    assert (none.slide, none.folder, none.state, none.error) == ("none.svs", None, "failed", "gone")


def test_a_folder_of_others_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run has begun a slide here"):
        read_status(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        read_status(tmp_path / "none")


def test_slides_that_commands_named_and_none_has_begun_are_waiting(
    bench: Bench, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    named = [bench.slide, tmp_path / "x" / "b.svs", tmp_path / "y" / "b.svs"]
    note_slides(out, named)
    note_slides(out, [tmp_path / "c.svs", named[1]])
    assert read_batch(out).slides == tuple(map(str, [*named, tmp_path / "c.svs"]))
    states = [(one.slide, one.state) for one in read_status(out)]
    assert states == [
        (bench.slide.name, "waiting"), ("b.svs", "waiting"), ("b.svs", "waiting"),
        ("c.svs", "waiting"),
    ]  # fmt: skip
    release_run(prepare_run(bench.request(out / "a", "tiles.keep=false")))
    write_table(out, [Outcome(named[1], None, State.FAILED, error=SlideError("gone"))])
    assert [one.state for one in read_status(out) if one.slide == bench.slide.name] == ["running"]
    assert [one.state for one in read_status(out) if one.slide == "b.svs"] == ["failed", "waiting"]


def test_a_slide_under_the_path_of_another_machine_is_not_waiting(
    bench: Bench, tmp_path: Path
) -> None:
    note_slides(tmp_path, [Path("/mnt/other") / bench.slide.name])
    release_run(prepare_run(bench.request(tmp_path / "a", "tiles.keep=false")))
    assert [one.folder for one in read_status(tmp_path)] == ["a"]


@pytest.mark.parametrize("content", ["", "[]", '{"format": 99}'])
def test_a_damaged_record_of_the_batch_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / BATCH_FILE).write_text(content)
    (one,) = read_status(tmp_path)
    assert (one.slide, one.state) == (BATCH_FILE, "failed")
    note_slides(tmp_path, [Path("a.svs")])
    left_alone = "99" in content
    assert (read_status(tmp_path)[0].state == "waiting") is not left_alone


def test_signs_of_life_of_another_machine_count(bench: Bench, tmp_path: Path) -> None:
    run = prepare_run(bench.request(tmp_path / "a", "tiles.keep=false"))
    record = read_run(run.folder)
    assert record is not None
    write_run(run.folder, record.model_copy(update={"host": "another"}))
    written = (run.folder / "run.json").stat().st_mtime
    os.utime(run.folder / "run.json", (written - 5 * SILENT_S,) * 2)
    assert [one.state for one in read_status(tmp_path, now=written + 9)] == ["running"]
    release_run(run)
    assert [one.state for one in read_status(tmp_path, now=written + 9)] == ["stopped"]
