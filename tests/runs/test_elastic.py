"""Workers of a cluster that join late, leave, are killed, or cannot do the work."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bench import Bench, results_of

from wsi_suite.errors import WorkerError
from wsi_suite.runs import roll, scheduling
from wsi_suite.runs.batch_state import Batch
from wsi_suite.synthetic import make_slide

pytestmark = [pytest.mark.usefixtures("quick"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three small slides of some blocks each."""
    folder = tmp_path_factory.mktemp("slides")
    paths = [folder / f"{name}.tif" for name in "abc"]
    for number, path in enumerate(paths):
        make_slide(
            path, width=620 + 20 * number, height=600, mpp=0.25, tissue_fraction=0.6, seed=number
        )
    return paths


@pytest.fixture
def at_record(monkeypatch: pytest.MonkeyPatch) -> dict[int, Callable[[Batch], None]]:
    """Acts by the number of the block that is over, done in the run's own thread."""
    acts: dict[int, Callable[[Batch], None]] = {}
    keep = scheduling._keep_result
    done = 0

    def kept(batch: Batch, *arguments: Any) -> Any:
        nonlocal done
        done += 1
        acts.get(done, lambda _: None)(batch)
        return keep(batch, *arguments)

    monkeypatch.setattr(scheduling, "_keep_result", kept)
    monkeypatch.setattr(roll, "_LOOK_S", 0.0)
    return acts


def until(true: Callable[[], bool], *, what: str, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def undisturbed(bench: Bench, slides: list[Path], out: Path) -> list[dict[str, bytes]]:
    outcomes = bench.run(out, "tiles.keep=false", slides=slides)
    return [results_of(end.folder) for end in outcomes if end.folder is not None]


def test_the_window_follows_workers_that_join_and_leave(
    bench: Bench,
    slides: list[Path],
    tmp_path: Path,
    at_record: dict[int, Callable[[Batch], None]],
) -> None:
    from distributed import LocalCluster

    windows: list[int] = []
    threads: set[tuple[int, ...]] = set()
    with LocalCluster(
        n_workers=1,
        threads_per_worker=2,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
        scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
    ) as local:

        def grow(batch: Batch) -> None:
            windows.append(batch.cluster.window)
            local.scale(3)
            workers = batch.cluster.client.nthreads
            until(lambda: len(workers()) == 3, what="no workers joined")
            threads.add(tuple(workers().values()))
            windows.append(batch.cluster.window)

        def shrink(batch: Batch) -> None:
            workers = list(batch.cluster.client.nthreads())
            batch.cluster.client.retire_workers(workers[:1])
            until(lambda: len(batch.cluster.client.nthreads()) == 2, what="none left")
            windows.append(batch.cluster.window)

        at_record |= {2: grow, 7: shrink}
        remote = f"run.scheduler={local.scheduler_address}"
        ends = bench.run(tmp_path / "there", "tiles.keep=false", remote, slides=slides)
    assert windows == [2, 6, 4]
    assert threads == {(2, 2, 2)}
    found = [results_of(end.folder) for end in ends if end.folder is not None]
    assert found == undisturbed(bench, slides, tmp_path / "here")


class Machines:
    """A scheduler and workers, each a process with a folder and an environment of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self.file = folder / "scheduler.json"
        self._start(
            "scheduler", "--port", "0", "--host", "127.0.0.1", "--scheduler-file", self.file
        )
        until(self.file.exists, what="no scheduler")

        self.address: str = json.loads(self.file.read_text())["address"]

    def worker(self, *options: object, threads: int = 1) -> subprocess.Popen[bytes]:
        """Start a worker."""
        basic = ("--no-nanny", "--nthreads", threads, "--host", "127.0.0.1")
        return self._start("worker", self.address, *basic, *options)

    def _start(self, what: str, *options: object) -> subprocess.Popen[bytes]:
        home = self._folder / f"{what}{len(self._processes)}"
        home.mkdir()
        words = map(str, options)
        process = subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{what}", "--no-dashboard", *words],
            cwd=home,
            env=os.environ | {"TMPDIR": str(home), "HOME": str(home)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._processes.append(process)
        return process

    def end(self) -> None:
        """Kill all that is left."""
        for process in reversed(self._processes):
            process.kill()
            process.wait()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    started = Machines(tmp_path)
    yield started
    started.end()


def wait_for(machines: Machines, count: int) -> None:
    from distributed import Client

    with Client(machines.address, set_as_default=False) as client:
        until(lambda: len(client.nthreads()) == count, what=f"not {count} workers")


STRANGE = """
from wsi_suite.errors import SlideError
from wsi_suite.slides.identity import SlideIdentity
def of(path):
    raise SlideError(f"{path}: cannot be read (No such file or directory)")
SlideIdentity.of = staticmethod(of)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_processes_that_join_are_killed_and_retired_change_nothing(
    bench: Bench,
    slides: list[Path],
    tmp_path: Path,
    machines: Machines,
    at_record: dict[int, Callable[[Batch], None]],
) -> None:
    machines.worker(threads=1)
    wait_for(machines, 1)
    strange = tmp_path / "strange.py"
    strange.write_text(STRANGE)
    joined: list[subprocess.Popen[bytes]] = []
    told: list[Any] = []

    def join(batch: Batch) -> None:
        joined.extend((machines.worker(threads=2), machines.worker(threads=1)))
        machines.worker("--preload", strange)
        until(lambda: len(batch.cluster.client.nthreads()) == 4, what="none joined")

    def kill(batch: Batch) -> None:
        joined[0].send_signal(signal.SIGKILL)

    def retire(batch: Batch) -> None:
        joined[1].send_signal(signal.SIGTERM)

    at_record |= {2: join, 7: kill, 10: retire}
    remote = f"run.scheduler={machines.address}"
    ends = bench.run(
        tmp_path / "there", "tiles.keep=false", remote, slides=slides, tell=told.append
    )
    assert [end.error for end in ends] == [None] * 3
    assert joined[0].poll() == -signal.SIGKILL
    found = [results_of(end.folder) for end in ends if end.folder is not None]
    assert found == undisturbed(bench, slides, tmp_path / "here")
    remarks = [news for news in told if isinstance(news, str)]
    assert len(remarks) == 1
    assert "cannot be read (No such file or directory); it is left out" in remarks[0]


@pytest.mark.slow
def test_a_scheduler_that_ends_is_told_once_and_soon(
    bench: Bench,
    slides: list[Path],
    tmp_path: Path,
    machines: Machines,
    at_record: dict[int, Callable[[Batch], None]],
) -> None:
    machines.worker()
    wait_for(machines, 1)
    ended_s: list[float] = []
    told: list[Any] = []

    def end(_: Batch) -> None:
        machines.end()
        ended_s.append(time.monotonic())

    at_record[2] = end
    out = tmp_path / "out"
    remote = f"run.scheduler={machines.address}"
    ends = bench.run(out, "tiles.keep=false", remote, slides=slides, tell=told.append)
    assert time.monotonic() - ended_s[0] < 60
    (remark,) = told
    assert "connection to the Dask scheduler was lost" in remark
    assert [type(end.error).__mro__[1] for end in ends] == [WorkerError] * 3
    assert "a.tif: stopped, as the connection" in str(ends[0].error)
    assert "c.tif: not begun, as the connection" in str(ends[2].error)
    assert list(out.glob("a/regions.partial/*.parquet")), "what is done is kept"
    found = undisturbed(bench, slides, out)
    assert found == undisturbed(bench, slides, tmp_path / "here")
