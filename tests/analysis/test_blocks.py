"""A block's way: errors surface, threads never wait for each other, stale files are not used."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bench import Bench

from wsi_suite.analysis import blocks, worker_cache
from wsi_suite.analysis.blocks import SlideJob, pixels_to_do, process_block
from wsi_suite.analysis.worker_cache import close_all, open_raster, open_store, usable_threads
from wsi_suite.detector.detector import Detector
from wsi_suite.errors import OutputError, SlideError, WorkerError
from wsi_suite.geometry import Box
from wsi_suite.measurements import CLASS_PROBABILITY
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.runs.run_plan import SlideRun
from wsi_suite.runs.slide_run import prepare_run, release_run
from wsi_suite.slides.grid import SEAM_PX, Block
from wsi_suite.slides.slide import Raster, Slide
from wsi_suite.slides.store import TileStore

pytestmark = [pytest.mark.usefixtures("quick"), pytest.mark.timeout(60)]


@pytest.fixture
def planned(bench: Bench, tmp_path: Path) -> SlideRun:
    run = prepare_run(bench.request(tmp_path / "out"))
    release_run(run)
    return run


def squares(planned: SlideRun) -> Block:
    """Return the first block with tiles of one shape, as batches have them."""
    align_px = planned.request.model.spec.network.align_px
    return planned.facts.grid(align_px=align_px).blocks[0]


def columns(nuclei: Nuclei | None) -> list[bytes]:
    assert nuclei is not None
    values = [nuclei.x, nuclei.y, nuclei.confidence, nuclei.label, *nuclei.measurements.values()]
    return [column.tobytes() for column in values]


def test_threads_change_nothing(planned: SlideRun) -> None:
    block = planned.grid.blocks[0]
    one, four = (process_block(replace(planned.job, threads=threads), block) for threads in (1, 4))
    assert columns(one) == columns(four)


@pytest.mark.parametrize("batch", [1, 3])
def test_nuclei_beside_a_gpu_are_those_of_a_cpu(
    planned: SlideRun, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    block = planned.grid.blocks[0] if batch == 1 else squares(planned)
    assert planned.job.detect is not None
    compute = replace(planned.job.detect.compute, batch=batch)
    job = replace(planned.job, threads=3, detect=replace(planned.job.detect, compute=compute))
    alone = process_block(job, block)
    told: list[int] = []
    with monkeypatch.context() as patched:
        patched.setattr(worker_cache, "takes_turns", lambda _compute: True)
        beside = process_block(job, block, report=told.append)
    assert sum(told) == pixels_to_do(block)
    assert columns(beside) == columns(alone)


@pytest.mark.parametrize("beside_a_gpu", [True, False])
def test_failed_measurement_surfaces(
    planned: SlideRun, monkeypatch: pytest.MonkeyPatch, beside_a_gpu: bool
) -> None:
    def measure(*_: object, **__: object) -> None:
        raise MemoryError("too little")

    monkeypatch.setattr(worker_cache, "takes_turns", lambda _compute: beside_a_gpu)
    monkeypatch.setattr(blocks, "measure_nuclei", measure)
    with pytest.raises(MemoryError, match="too little"):
        process_block(planned.job, planned.grid.blocks[0])


def test_progress_adds_up(planned: SlideRun) -> None:
    block = planned.grid.blocks[0]
    for job in (planned.job, replace(planned.job, detect=None)):
        told: list[int] = []
        process_block(job, block, report=told.append)
        assert sum(told) == pixels_to_do(block) == sum(t.core.area for t in block.tiles)


def test_nuclei_have_the_probability_of_their_class(planned: SlideRun) -> None:
    nuclei = process_block(planned.job, planned.grid.blocks[0])
    assert nuclei is not None
    likely = nuclei.measurements[CLASS_PROBABILITY]
    assert len(likely) > 20
    assert ((likely >= 0.5) & (likely <= 1)).all()  # the likelier of two
    assert (likely == likely.round(4)).all()


def test_nuclei_lie_in_wanted_chunks_of_the_block(planned: SlideRun) -> None:
    grid = planned.job.grid
    wanted = grid.wanted.copy()
    wanted[1, 1] = False
    block = planned.grid.blocks[0]
    job = replace(planned.job, grid=replace(grid, wanted=wanted), store=None)
    nuclei = process_block(job, block)
    assert nuclei is not None
    points = job.scale.from_level0(nuclei.points)
    cols, rows = (points // grid.chunk_px).astype(int).T
    assert len(points) > 20
    assert wanted[rows, cols].all()
    reach = block.box.expand(SEAM_PX).intersect(Box(0, 0, grid.width, grid.height))
    assert reach.contains(points).all()


def test_full_batches_find_what_single_windows_find(planned: SlideRun) -> None:
    block = squares(planned)
    assert planned.job.detect is not None
    job = replace(planned.job, store=None)
    compute = replace(planned.job.detect.compute, batch=3)  # the last one is padded
    batched = process_block(replace(job, detect=replace(job.detect, compute=compute)), block)
    single = process_block(job, block)
    assert batched is not None
    assert single is not None
    np.testing.assert_allclose(batched.points, single.points, atol=0.1)
    np.testing.assert_allclose(batched.confidence, single.confidence, atol=1e-3)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("part", ["all", "store", "detect"])
def test_failed_read_surfaces_and_nothing_goes_on(
    planned: SlideRun, monkeypatch: pytest.MonkeyPatch, threads: int, part: str
) -> None:
    fail = SlideError("tile 7 cannot be decoded")
    calls = []

    def read(_: Raster, box: Box) -> np.ndarray:
        calls.append(box)
        if len(calls) == 3:
            raise fail
        return np.full((box.height, box.width, 3), 200, np.uint8)

    monkeypatch.setattr(Raster, "read", read)
    job = replace(planned.job, threads=threads)
    job = replace(job, detect=None) if part == "store" else job
    job = replace(job, store=None) if part == "detect" else job
    with pytest.raises(SlideError, match="tile 7"):
        process_block(job, planned.grid.blocks[0])
    begun = len(calls)
    threading.Event().wait(0.05)
    assert len(calls) == begun


def test_failed_write_surfaces(planned: SlideRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(*_: object) -> None:
        raise OutputError("the disk is full")

    monkeypatch.setattr(TileStore, "write_block", write)
    with pytest.raises(OutputError, match="the disk is full"):
        process_block(planned.job, planned.grid.blocks[0])


def test_failed_forward_pass_surfaces(planned: SlideRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def detect(*_: object, **__: object) -> list[Nuclei]:
        raise MemoryError("too little")

    monkeypatch.setattr(Detector, "detect", detect)
    with pytest.raises(MemoryError, match="too little"):
        process_block(planned.job, planned.grid.blocks[0])


def test_other_model_on_the_worker_is_refused(planned: SlideRun) -> None:
    assert planned.job.detect is not None
    job = replace(planned.job, detect=replace(planned.job.detect, model_hash="0" * 64))
    with pytest.raises(WorkerError, match="differs from this run's model"):
        process_block(job, planned.grid.blocks[0])


def test_worker_that_outlives_a_run_reads_the_files_of_the_next(
    bench: Bench, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    store = bench.do(folder, stage="tile").job.store
    assert store is not None
    # The worker still has the store open as it was while it was written.
    run = prepare_run(bench.request(folder, stage="detect", slide=folder))
    release_run(run)
    (block, *_) = run.grid.blocks
    assert len(_nuclei(run.job, block)) > 20
    assert open_store(store, run=run.job.run).folder == store


def _nuclei(job: SlideJob, block: Block) -> Nuclei:
    nuclei = process_block(job, block)
    assert nuclei is not None
    return nuclei


def test_slides_are_closed_once_nobody_reads_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []
    close = Slide.close
    monkeypatch.setattr(Slide, "close", lambda slide: (closed.append(slide), close(slide)))
    raster = open_raster(bench.slide, mpp_given=None, read_mpp=0.5, run="a")
    assert open_raster(bench.slide, mpp_given=None, read_mpp=0.5, run="a") is raster
    close_all()
    assert raster.read(Box(0, 0, 8, 8)).shape == (8, 8, 3), "still in use"
    assert not closed
    del raster
    assert len(closed) == 1


def test_abandoned_work_ends_soon(planned: SlideRun, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ended = threading.Event(), []

    def read(_: Raster, box: Box) -> np.ndarray:
        begun.set()
        threading.Event().wait(0.05)
        return np.full((box.height, box.width, 3), 200, np.uint8)

    def work() -> None:
        try:
            process_block(replace(planned.job, threads=1), planned.grid.blocks[0])
        except (CancelledError, RuntimeError) as error:
            ended.append(error)

    monkeypatch.setattr(Raster, "read", read)
    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(10)
    close_all(abandon=True)
    thread.join(20)
    assert ended


def test_threads_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import dask.system
    import psutil

    monkeypatch.setattr(dask.system, "CPU_COUNT", 8)
    memory = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory._replace(available=64 * 2**30))
    monkeypatch.setattr("distributed.system.MEMORY_LIMIT", 64 * 2**30)
    assert [usable_threads(workers) for workers in (1, 2, 3, 16)] == [8, 4, 2, 1]
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory._replace(available=3 * 2**30))
    assert usable_threads(1) == 2
