"""Several processes on one folder: each slide once, whatever happens to one of them."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
import sharer
from bench import Bench, results_of, set_sides

from wsi_suite.errors import BusyError, ConfigError
from wsi_suite.runs import sharing, worker_task
from wsi_suite.runs.folder import lock_folder, unlock_folder
from wsi_suite.runs.outcome import Outcome
from wsi_suite.runs.run_record import read_run, write_run
from wsi_suite.runs.slide_run import prepare_run, release_run
from wsi_suite.runs.state import State

pytestmark = [pytest.mark.usefixtures("quick"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def slides(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("slides")
    data = bench.slide.read_bytes()
    slides = [folder / f"{name}.tif" for name in "abcdef"]
    for slide in slides:
        slide.write_bytes(data + slide.name.encode())
    return slides


@pytest.fixture(scope="module")
def alone(bench: Bench, slides: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process leaves."""
    out = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        set_sides(patch)
        bench.run(out, slides=slides)
    return out


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "POLL_S", 0.05)


def assert_same(out: Path, alone: Path, slides: list[Path]) -> None:
    for slide in slides:
        assert results_of(out / slide.stem) == results_of(alone / slide.stem), slide.name
    assert (out / "summary.csv").read_bytes() == (alone / "summary.csv").read_bytes()
    assert not list(out.glob("*/regions.partial"))


class Waiting:
    """Does something once a process waits for the others."""

    def __init__(self, then: Callable[[], object]) -> None:
        self._then = then
        self.remarks: list[str] = []

    def tell(self, news: object) -> None:
        if isinstance(news, str):
            self.remarks.append(news)
            self._then()


def test_a_slide_that_another_process_leaves_is_taken_over(
    bench: Bench, slides: list[Path], alone: Path, tmp_path: Path
) -> None:
    theirs = tmp_path / slides[0].stem
    lease = lock_folder(theirs)
    waiting = Waiting(lambda: unlock_folder(theirs, lease))
    outcomes = bench.run(tmp_path, slides=slides[:2], share=True, tell=waiting.tell)
    assert [end.state for end in outcomes] == ["done", "done"]
    assert waiting.remarks == [sharing._WAITING]
    for slide in slides[:2]:
        assert results_of(tmp_path / slide.stem) == results_of(alone / slide.stem)


def test_a_slide_that_another_process_does_is_not_done_again(
    bench: Bench, slides: list[Path], tmp_path: Path
) -> None:
    theirs = tmp_path / slides[0].stem
    lease = lock_folder(theirs)

    def finish() -> None:
        unlock_folder(theirs, lease)
        bench.do(theirs, slide=slides[0], identity=read_identity(slides[0]))

    outcomes = bench.run(tmp_path, slides=slides[:2], share=True, tell=Waiting(finish).tell)
    assert [end.state for end in outcomes] == ["done", "done"]
    process = read_run(theirs)
    assert process is not None
    assert process.seconds < 60
    assert outcomes[0].summary is not None


def read_identity(slide: Path) -> Any:
    from wsi_suite.slides.identity import SlideIdentity

    return SlideIdentity.of(slide)


def test_a_slide_on_which_another_process_fails_is_not_tried_again(
    bench: Bench, slides: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = tmp_path / slides[0].stem
    run = prepare_run(bench.request(theirs, slide=slides[0], identity=read_identity(slides[0])))

    def fail() -> None:
        record = read_run(theirs)
        assert record is not None
        write_run(theirs, record.model_copy(update={"state": State.FAILED, "error": "broken"}))
        release_run(run)

    bad, good = bench.run(tmp_path, slides=slides[:2], share=True, tell=Waiting(fail).tell)
    assert (bad.state, str(bad.error), good.state) == ("failed", "broken", "done")
    (again,) = bench.run(tmp_path, slides=slides[:1], share=True)
    assert again.state == "done", "the next start tries it again"


def test_a_process_that_lost_a_slide_leaves_it_to_the_other(
    bench: Bench, slides: list[Path], alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that was stopped while a block was with the worker, and then woken."""
    from wsi_suite import leases

    process, theirs = worker_task.process_block, tmp_path / slides[0].stem
    taken: list[Any] = []
    one_at_a_time = threading.Lock()  # the worker has several threads, and each gets a block

    def process_block(job: Any, block: Any, **named: Any) -> Any:
        with one_at_a_time:
            if not taken and job.slide == slides[0]:
                place = theirs / "regions.partial" / "lease"
                seen = leases.look_at(place)
                assert seen is not None
                leases._put_away(place / seen.token)
                taken.append(lock_folder(theirs))
        return process(job, block, **named)

    monkeypatch.setattr(worker_task, "process_block", process_block)
    with monkeypatch.context():
        (end,) = bench.run(tmp_path, slides=slides[:1])
    assert isinstance(end.error, BusyError)
    assert "another process has taken it over" in str(end.error)
    record = read_run(theirs)
    assert record is not None
    assert record.state is State.RUNNING, "it is not for the loser to say how that ends"
    assert not list(theirs.glob("regions.partial/*.parquet"))
    unlock_folder(theirs, taken.pop())

    waiting = Waiting(lambda: unlock_folder(theirs, taken[0]))
    (end,) = bench.run(tmp_path, slides=slides[:1], share=True, tell=waiting.tell)
    assert end.state == "done"
    assert waiting.remarks
    assert results_of(theirs) == results_of(alone / theirs.name)


def test_overwriting_is_not_shared(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--share: not with --overwrite, as"):
        bench.run(tmp_path / "out", share=True, overwrite=True)
    assert not (tmp_path / "out").exists()


def test_sharing_alone_is_a_run(
    bench: Bench, slides: list[Path], alone: Path, tmp_path: Path
) -> None:
    none = tmp_path / "none.tif"
    outcomes: list[Outcome] = bench.run(tmp_path, slides=[slides[0], none, slides[0]], share=True)
    assert [end.state for end in outcomes] == ["done", "failed", "done"]


@pytest.fixture
def processes(
    bench: Bench, slides: list[Path], tmp_path: Path
) -> Iterator[Callable[..., Popen[str]]]:
    """Start processes on the same slides, which are ended after the test."""
    started: list[Popen[str]] = []

    def start(**asked: Any) -> Popen[str]:
        started.append(sharer.start(model=bench.model, slides=slides, out=tmp_path, **asked))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ended_well(process: Popen[str], slides: list[Path]) -> None:
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, err
    assert json.loads(out) == {slide.name: "done" for slide in slides}


def wait_for(pattern: str, out: Path) -> None:
    deadline = time.monotonic() + 300
    while not list(out.glob(pattern)):
        assert time.monotonic() < deadline, pattern
        time.sleep(0.01)


@pytest.mark.slow
def test_two_processes_do_each_slide_once(
    slides: list[Path], alone: Path, tmp_path: Path, processes: Callable[..., Popen[str]]
) -> None:
    several = [processes(pause_s=0.1) for _ in range(2)]
    for process in several:
        ended_well(process, slides)
    assert_same(tmp_path, alone, slides)
    doers = {json.loads((tmp_path / s.stem / "run.json").read_text())["process"] for s in slides}
    assert doers == {process.pid for process in several}, "both took part"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_the_slides_of_a_killed_process_are_done_by_the_other(
    slides: list[Path], alone: Path, tmp_path: Path, processes: Callable[..., Popen[str]]
) -> None:
    killed, other = processes(pause_s=0.5), processes()
    wait_for("*/regions.partial/*.parquet", tmp_path)
    killed.kill()
    ended_well(other, slides)
    assert_same(tmp_path, alone, slides)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGSTOP")
def test_a_process_that_sleeps_loses_its_slides_and_notices(
    slides: list[Path], alone: Path, tmp_path: Path, processes: Callable[..., Popen[str]]
) -> None:
    sleeper = processes(pause_s=0.5, stale_s=3.0)
    wait_for("*/regions.partial/*.parquet", tmp_path)
    os.kill(sleeper.pid, signal.SIGSTOP)
    held = {path.parts[-4] for path in tmp_path.glob("*/regions.partial/lease/*")}
    assert held
    ended_well(processes(stale_s=3.0), slides)
    assert_same(tmp_path, alone, slides)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*") if path.is_file()}
    os.kill(sleeper.pid, signal.SIGCONT)
    ended_well(sleeper, slides)
    assert_same(tmp_path, alone, slides)
    after = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*") if path.is_file()}
    assert after == before, "it wrote nothing more"
