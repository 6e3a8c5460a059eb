"""One region's whole way: read, store, detect, measure. What a worker does.

A region is read chunk by chunk into one array while its first tiles are already on the device.
Tiles are independent of each other and forward passes on a CPU are single-threaded, one per core,
so results do not depend on how many threads or workers there are.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from threading import RLock, Semaphore
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wsi_suite.config import MeasureSettings, StainSettings
from wsi_suite.geometry import Box, Scale
from wsi_suite.nuclei.table import Nuclei, concatenate
from wsi_suite.slides.grid import Region, TileGrid
from wsi_suite.slides.slide import Raster, open_slide
from wsi_suite.slides.store import TileStore
from wsi_suite.staining.deconvolution import StainVectors
from wsi_suite.staining.measurement import halo_um, measure_nuclei

if TYPE_CHECKING:
    from wsi_suite.nuclei.detector import Compute, Detector
    from wsi_suite.nuclei.network import Peaks

log = logging.getLogger(__name__)

Pixels = npt.NDArray[np.uint8]

GPU_VARIABLE = "WSI_SUITE_GPU"
"""Names the GPU of a worker process, where the device is ``cuda``."""

_FORWARD_BYTES = 800 * 2**20  # of one tile in float32, measured with resnet18


@dataclass(frozen=True)
class DetectJob:
    """How nuclei are found and measured.

    Attributes
    ----------
    model
        Folder of the model, as this worker sees it.
    model_hash
        What its files must amount to.
    compute
        Device, precision and batch.
    min_score
        Nuclei are kept from this score.
    stain, measure
        Stain vectors and the method of measuring.
    """

    model: Path
    model_hash: str
    compute: Compute
    min_score: float
    stain: StainSettings
    measure: MeasureSettings


@dataclass(frozen=True, eq=False)
class SlideJob:
    """What all regions of a slide have in common; small, and sent along with each.

    Attributes
    ----------
    slide
        The slide's file; ``None`` where pixels come from the store.
    mpp_given
        The level-0 pixel size that the user gave, if any.
    read_mpp
        Resolution to read at.
    mpp
        um per working pixel, x and y.
    scale
        Level-0 pixels per working pixel.
    grid
        The plan; its regions are left out, since each travels by itself.
    store
        Where tiles are written to, or read from.
    detect
        ``None``: only store tiles.
    threads
        Threads of this worker.
    """

    slide: Path | None
    mpp_given: float | None
    read_mpp: float
    mpp: tuple[float, float]
    scale: Scale
    grid: TileGrid
    store: Path | None
    detect: DetectJob | None
    threads: int


def process_region(
    job: SlideJob, region: Region, *, report: Callable[[int], None] = lambda _pixels: None
) -> Nuclei | None:
    """Do a region's whole way.

    Parameters
    ----------
    job, region
        What and where.
    report
        Called with the number of working pixels of each tile that is done, from any thread.

    Returns
    -------
    Nuclei or None
        Those whose centre lies in the region, level-0 pixels; ``None`` where none were wanted.
    """
    buffer = _RegionBuffer(job, region)
    pools = _pools(job.threads)
    reads = buffer.start_reading(pools.read)
    stored = None
    if job.store is not None and job.slide is not None:
        stored = pools.compute.submit(_store, job, region, buffer, reads)
    try:
        if job.detect is None:
            for read in reads.values():
                read.result()
            report(region.box.area)
            return None
        batches = list(_batches(region, job))
        done = [
            pools.compute.submit(_detect_batch, job, buffer, batch, reads, report)
            for batch in batches
        ]
        return concatenate([part for future in done for part in future.result()])
    except BaseException:
        for future in reads.values():
            future.cancel()
        raise
    finally:
        if stored is not None:
            stored.result()


class _RegionBuffer:
    """The pixels of a region and its halo; white where nothing is wanted."""

    def __init__(self, job: SlideJob, region: Region) -> None:
        self._job = job
        self.frame = region.box.expand(job.grid.halo_px)
        self.pixels: Pixels = np.full((self.frame.height, self.frame.width, 3), 255, np.uint8)

    @cached_property
    def chunks(self) -> dict[tuple[int, int], Box]:
        """What of each wanted chunk lies in the frame."""
        grid, frame = self._job.grid, self.frame
        side = grid.chunk_px
        inside = frame.intersect(Box(0, 0, grid.width, grid.height))
        rows = range(inside.y // side, -(-inside.bottom // side))
        cols = range(inside.x // side, -(-inside.right // side))
        return {
            (row, col): Box(col * side, row * side, side, side).intersect(inside)
            for row in rows
            for col in cols
            if grid.wanted[row, col]
        }

    def start_reading(self, pool: ThreadPoolExecutor) -> dict[tuple[int, int], Future[None]]:
        """Begin to fill the array; the futures tell when each chunk is there."""
        job = self._job
        raster = open_raster(job.slide, job.mpp_given, job.read_mpp) if job.slide else None
        source = raster or open_store(job.store)

        def fill(box: Box) -> None:
            self.pixels[box.within(self.frame)] = source.read(box)

        return {chunk: pool.submit(fill, box) for chunk, box in self.chunks.items()}

    def window(self, box: Box) -> Pixels:
        """Return the pixels of `box`, white where it leaves the frame."""
        inside = box.intersect(self.frame)
        if inside == box:
            return self.pixels[box.within(self.frame)]
        out = np.full((box.height, box.width, 3), 255, np.uint8)
        out[inside.within(box)] = self.pixels[inside.within(self.frame)]
        return out

    def wait_for(self, box: Box, reads: dict[tuple[int, int], Future[None]]) -> None:
        """Wait until the pixels of `box` are there."""
        for chunk, part in self.chunks.items():
            if part.intersect(box).area:
                reads[chunk].result()


def _store(
    job: SlideJob,
    region: Region,
    buffer: _RegionBuffer,
    reads: dict[tuple[int, int], Future[None]],
) -> None:
    buffer.wait_for(region.box, reads)
    open_store(job.store).write_region(region, buffer.window(region.box))


def _batches(region: Region, job: SlideJob) -> Iterable[list[Box]]:
    """Group the cores of a region into batches."""
    assert job.detect is not None
    size = job.detect.compute.batch
    cores = [tile.core for tile in region.tiles]
    if size == 1:
        # Alone in its batch a window may have any shape: nothing but wanted chunks is worth it.
        cores = [_wanted_part(core, job.grid) for core in cores]
    return (cores[i : i + size] for i in range(0, len(cores), size))


def _wanted_part(core: Box, grid: TileGrid) -> Box:
    """Return the smallest box of whole chunks in `core` that holds all wanted ones."""
    side = grid.chunk_px
    row, col = core.y // side, core.x // side
    wanted = grid.wanted[row : -(-core.bottom // side), col : -(-core.right // side)]
    rows, cols = np.flatnonzero(wanted.any(axis=1)), np.flatnonzero(wanted.any(axis=0))
    part = Box(
        (col + int(cols[0])) * side,
        (row + int(rows[0])) * side,
        (int(cols[-1] - cols[0]) + 1) * side,
        (int(rows[-1] - rows[0]) + 1) * side,
    )
    return part.intersect(core)


def _detect_batch(
    job: SlideJob,
    buffer: _RegionBuffer,
    cores: Sequence[Box],
    reads: dict[tuple[int, int], Future[None]],
    report: Callable[[int], None],
) -> list[Nuclei]:
    assert job.detect is not None
    detector = open_detector(job.detect)
    windows = _windows(cores, job, align=detector.spec.network.align_px)
    for window in windows:
        buffer.wait_for(window, reads)
    pixels = np.stack([buffer.window(window) for window in windows])
    missing = job.detect.compute.batch - len(windows)
    if missing:
        pixels = np.pad(pixels, ((0, missing), (0, 0), (0, 0), (0, 0)), constant_values=255)
    with device_slot(job.detect.compute):
        found = detector.detect(pixels, min_score=job.detect.min_score)
    del pixels
    tables = []
    for core, window, peaks in zip(cores, windows, found, strict=False):
        tables.append(_measure(job, buffer, core=core, window=window, peaks=peaks))
        report(core.area)
    return tables


def _windows(cores: Sequence[Box], job: SlideJob, *, align: int) -> list[Box]:
    """Return the windows of a batch, all of one shape that the network can take."""
    assert job.detect is not None
    halo, tile = job.grid.halo_px, job.grid.tile_px
    if job.detect.compute.batch > 1:
        sizes = [(tile, tile)] * len(cores)
    else:
        sizes = [(_up(core.width, align), _up(core.height, align)) for core in cores]
    return [
        Box(core.x, core.y, width, height).expand(halo)
        for core, (width, height) in zip(cores, sizes, strict=True)
    ]


def _measure(
    job: SlideJob, buffer: _RegionBuffer, *, core: Box, window: Box, peaks: Peaks
) -> Nuclei:
    """Measure the nuclei of a window and keep those that `core` owns."""
    assert job.detect is not None
    points = peaks.points + (window.x, window.y)
    margin = math.ceil(halo_um(job.detect.measure) / min(job.mpp))
    frame = core.expand(margin).intersect(window)
    near = np.flatnonzero(frame.contains(points))
    stain = job.detect.stain
    measured = measure_nuclei(
        buffer.window(frame),
        points[near] - (frame.x, frame.y),
        mpp=job.mpp,
        stains=StainVectors(stain.hematoxylin, stain.dab, stain.background),
        settings=job.detect.measure,
    )
    owned = core.contains(points[near])
    rows = near[owned]
    centres = job.scale.to_level0(points[rows])
    enlarged = np.float32(math.sqrt(job.scale.x * job.scale.y))
    return Nuclei(
        x=centres[:, 0],
        y=centres[:, 1],
        score=peaks.score[rows],
        label=peaks.label[rows],
        classes=open_detector(job.detect).classes,
        measurements={name: values[owned] for name, values in measured.values.items()},
        outline=None if measured.outline is None else measured.outline[owned] * enlarged,
    )


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


# What a worker keeps open between regions. Several threads ask for the same things at once.

_opening = RLock()


@lru_cache(maxsize=4)
def _open_raster(slide: Path, mpp_given: float | None, read_mpp: float) -> Raster:
    return open_slide(slide, mpp=mpp_given).raster(read_mpp)


@lru_cache(maxsize=4)
def _open_store(path: Path) -> TileStore:
    return TileStore.open(path)


@lru_cache(maxsize=1)
def _open_detector(model: Path, model_hash: str, compute: Compute, gpu: int) -> Detector:
    from wsi_suite.errors import WorkerError
    from wsi_suite.nuclei.detector import Detector
    from wsi_suite.nuclei.weights import find_model

    folder = find_model(model)
    if folder.hash != model_hash:
        raise WorkerError(f"{model}: differs from the model of this run; give all workers the same")
    return Detector(folder, compute, gpu=gpu)


def open_raster(slide: Path, mpp_given: float | None, read_mpp: float) -> Raster:
    """Return a slide at its working resolution, opened once per process."""
    with _opening:
        return _open_raster(slide, mpp_given, read_mpp)


def open_store(path: Path | None) -> TileStore:
    """Return a tile store, opened once per process."""
    assert path is not None
    with _opening:
        return _open_store(path)


def open_detector(job: DetectJob) -> Detector:
    """Return a detector, loaded once per process."""
    with _opening:
        return _open_detector(job.model, job.model_hash, job.compute, _gpu_of_this_worker())


def _gpu_of_this_worker() -> int:
    """Return the GPU that belongs to this process: local workers are numbered."""
    return int(os.environ.get(GPU_VARIABLE, "0"))


def close_all() -> None:
    """Forget what is kept open, so that files can be moved."""
    with _opening:
        _open_raster.cache_clear()
        _open_store.cache_clear()
        _open_detector.cache_clear()


@dataclass(frozen=True)
class _Pools:
    read: ThreadPoolExecutor
    compute: ThreadPoolExecutor


@lru_cache(maxsize=1)
def _make_pools(threads: int, _process: int) -> _Pools:
    return _Pools(
        read=ThreadPoolExecutor(max(2, threads), "wsi-read"),
        compute=ThreadPoolExecutor(threads, "wsi-compute", initializer=_single_threaded),
    )


def _pools(threads: int) -> _Pools:
    with _opening:
        return _make_pools(threads, os.getpid())


def _single_threaded() -> None:
    """Keep forward passes of this thread on one core: the pool has one thread per core."""
    import torch

    torch.set_num_threads(1)


def usable_threads(workers: int) -> int:
    """Return how many threads each of `workers` on this machine can have, memory considered."""
    import psutil

    cores = len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else (
        os.cpu_count() or 1
    )
    fitting = int(psutil.virtual_memory().available * 0.6 / workers / _FORWARD_BYTES)
    return max(1, min(cores // workers, fitting))


@lru_cache(maxsize=8)
def _make_slot(device: str) -> Semaphore:
    return Semaphore(1 if device != "cpu" else 1024)


def device_slot(compute: Compute) -> Semaphore:
    """Return what a thread must hold during a forward pass: a GPU takes one at a time."""
    with _opening:
        return _make_slot(compute.device)
