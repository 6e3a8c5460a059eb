"""The work of one task: read a block, store its tiles, detect and measure its nuclei.

A block is read chunk by chunk into one array while its first tiles are already on the device.
Tiles are independent of each other and a forward pass on a CPU has one core, so results do not
depend on how many threads or workers there are.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wsi_suite.analysis.worker_cache import (
    device_turn,
    leave_readers,
    open_detector,
    open_raster,
    open_store,
    pools_of,
)
from wsi_suite.config import MeasureSettings, StainSettings
from wsi_suite.errors import NoAnswerError, SlideError
from wsi_suite.geometry import Box, Points, Scale
from wsi_suite.measurements import CLASS_PROBABILITY
from wsi_suite.nuclei.table import Nuclei, concatenate
from wsi_suite.patience import Readers, no_answer, with_patience
from wsi_suite.slides.damage import read_around_damage
from wsi_suite.slides.grid import SEAM_PX, Block, Tile, TileGrid
from wsi_suite.slides.identity import SlideIdentity
from wsi_suite.slides.slide import Raster
from wsi_suite.slides.store import TileStore
from wsi_suite.staining.deconvolution import StainVectors
from wsi_suite.staining.measurement import halo_um, measure_nuclei

if TYPE_CHECKING:
    from wsi_suite.detector.detector import Compute, Detector
    from wsi_suite.detector.network import Peaks

Pixels = npt.NDArray[np.uint8]
Report = Callable[[int], None]


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
    min_confidence
        Nuclei are kept from this confidence.
    stain, measure
        Stain vectors and the method of measuring.
    """

    model: Path
    model_hash: str
    compute: Compute
    min_confidence: float
    stain: StainSettings
    measure: MeasureSettings


@dataclass(frozen=True, eq=False)
class SlideJob:
    """Parameters common to all blocks of a slide; small, because each task carries them.

    Attributes
    ----------
    run
        Names this start of this run; what is kept open belongs to it alone.
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
        The plan, without its blocks: each travels by itself.
    store
        Where tiles are written to or, without a slide, read from.
    detect
        ``None``: only store tiles.
    threads
        Threads of this worker.
    content
        Size and hash of the slide, by which a file that is gone is told from a damaged one.
    read_timeout_s
        How long a read may take, seconds.
    """

    run: str
    slide: Path | None
    mpp_given: float | None
    read_mpp: float
    mpp: tuple[float, float]
    scale: Scale
    grid: TileGrid
    store: Path | None
    detect: DetectJob | None
    threads: int
    content: tuple[int, str] | None = None
    read_timeout_s: float = 600.0

    @property
    def writes_tiles(self) -> bool:
        """Whether tiles are stored."""
        return self.slide is not None and self.store is not None


def process_block(
    job: SlideJob,
    block: Block,
    *,
    gpu: int = 0,
    report: Report = lambda _pixels: None,
    proceed: Callable[[], None] = lambda: None,
    lose: Callable[[Box], None] | None = None,
) -> Nuclei | None:
    """Do a block's whole way.

    Parameters
    ----------
    job, block
        What and where.
    gpu
        The GPU of this worker, if the device is ``cuda``.
    report
        Called from any thread with working pixels that are done, :func:`pixels_to_do` in all.
    proceed
        Called from any thread before each pass of the detector; what it raises ends the block.
    lose
        Called with each box of the slide that cannot be read, working pixels, in a fixed order.
        Such boxes are white. Without it the first one raises DamageError.

    Returns
    -------
    Nuclei or None
        Those whose centre lies in the block or up to ``SEAM_PX`` beyond, level-0 pixels;
        ``None`` if none were wanted.
    """
    compute = None if job.detect is None else job.detect.compute
    pools = pools_of(job.threads, compute, run=job.run)
    buffer = _BlockBuffer(job, block, pool=pools.read, salvages=lose is not None)
    found: list[Future[list[Future[Nuclei]]]] = []
    measured: list[Future[Nuclei]] = []
    tasks: list[Future[Any]] = [*buffer.reads]
    try:
        if job.detect is not None:
            detector = open_detector(
                job.detect.model,
                model_hash=job.detect.model_hash,
                compute=job.detect.compute,
                gpu=gpu,
            )

            def measure(tile: Tile, peaks: Peaks) -> Future[Nuclei]:
                return pools.measure.submit(
                    _measure, job, buffer, tile, peaks, classes=detector.classes, report=report
                )

            found += (
                pools.detect.submit(
                    _detect, job, buffer, tiles, detector, measure=measure, proceed=proceed
                )
                for tiles in _batches(block.tiles, size=job.detect.compute.batch)
            )
        tasks += found
        if job.writes_tiles:
            tasks.append(pools.compute.submit(_store, job, buffer, block))
        _finish(tasks, buffer)
        measured += (tile for future in found for tile in future.result())
        _finish(measured, buffer)
    except NoAnswerError:
        leave_readers(job.run)
        raise
    finally:
        # Whatever went wrong: nobody touches this block any more once we have returned, but for
        # reads that hang, which have its array for themselves.
        hanging = set(buffer.reads) if buffer.given_up else set()
        _end([task for task in (*tasks, *found) if task not in hanging])
        _end([tile for future in found if _succeeded(future) for tile in future.result()])
    if lose is not None and buffer.lost:
        _refuse_gone(job)
        for box in buffer.lost:
            lose(box)
    if job.detect is None:
        report(pixels_to_do(block))
        return None
    return concatenate([future.result() for future in measured])


def _refuse_gone(job: SlideJob) -> None:
    """Raise SlideError if a slide cannot be read because it is not there any more."""
    assert job.slide is not None
    identify = partial(SlideIdentity.of, job.slide)
    now = with_patience(identify, path=job.slide, timeout_s=job.read_timeout_s)
    if job.content is not None and now.content != job.content:
        raise SlideError(
            f"{job.slide}: was changed while it was read, as while copied; run again once it is"
            " whole"
        )


def pixels_to_do(block: Block) -> int:
    """Return how many working pixels a block's tiles have."""
    return sum(tile.core.area for tile in block.tiles)


def _batches(tiles: Sequence[Tile], *, size: int) -> list[Sequence[Tile]]:
    return [tiles[first : first + size] for first in range(0, len(tiles), size)]


def _finish(tasks: Sequence[Future[Any]], buffer: _BlockBuffer) -> None:
    """Wait for all tasks; raise the exception of the first one that fails, or of a read that hangs.

    Whether one hangs is looked at every few seconds.
    """
    left: set[Future[Any]] = set(tasks)
    while left:
        finished, left = wait(left, timeout=buffer.poll_s, return_when=FIRST_EXCEPTION)
        for task in finished:
            task.result()
        buffer.give_up_if_hanging()


def _end(tasks: Sequence[Future[Any]]) -> None:
    """Cancel tasks that have not begun, and wait for the others."""
    for task in tasks:
        task.cancel()
    wait(tasks)


def _succeeded(task: Future[Any]) -> bool:
    return not task.cancelled() and task.exception() is None


class _BlockBuffer:
    """The pixels of a block and its halo while they are read; white far from tissue."""

    def __init__(self, job: SlideJob, block: Block, *, pool: Readers, salvages: bool) -> None:
        self.given_up: NoAnswerError | None = None
        self._job = job
        self._readers = pool
        self._begun: dict[Box, float] = {}
        self._salvages = salvages
        self._lost: dict[Box, tuple[Box, ...]] = {}
        self._frame = block.box.expand(job.grid.halo_px)
        self._pixels: Pixels = np.full((self._frame.height, self._frame.width, 3), 255, np.uint8)
        source = _source(job)
        self._parts = [(part, pool.submit(self._fill, part, source)) for part in block.parts]

    @property
    def reads(self) -> list[Future[None]]:
        """All reads."""
        return [read for _, read in self._parts]

    @property
    def poll_s(self) -> float:
        """How often to look whether a read hangs, seconds."""
        return min(5.0, self._job.read_timeout_s / 4)

    def give_up_if_hanging(self) -> None:
        """Raise NoAnswerError if a read takes longer than it may, here or in another block.

        Reads of several blocks wait for the same threads: once one block has left these to
        themselves, the reads of the others may never begin.
        """
        timeout_s = self._job.read_timeout_s
        first = min(list(self._begun.values()), default=math.inf)
        if self._readers.dropped or time.monotonic() - first > timeout_s:
            source = self._job.slide or self._job.store
            assert source is not None
            self.given_up = no_answer(source, timeout_s=timeout_s)
            raise self.given_up

    @property
    def lost(self) -> list[Box]:
        """Boxes that could not be read, in the order of the parts; white."""
        return [box for part, _ in self._parts for box in self._lost.get(part, ())]

    def pixels(self, box: Box) -> Pixels:
        """Return the pixels of `box`, white where it leaves the frame, as soon as they are read."""
        for part, read in self._parts:
            if part.intersect(box).area:
                self._wait(read)
        inside = box.intersect(self._frame)
        if inside == box:
            return self._pixels[box.within(self._frame)]
        out = np.full((box.height, box.width, 3), 255, np.uint8)
        out[inside.within(box)] = self._pixels[inside.within(self._frame)]
        return out

    def _fill(self, part: Box, source: Raster | TileStore) -> None:
        self._begun[part] = time.monotonic()
        try:
            self._read(part, source)
        finally:
            self._begun.pop(part, None)

    def _wait(self, read: Future[None]) -> None:
        while self.given_up is None:
            try:
                return read.result(timeout=self.poll_s)
            except TimeoutError:
                if read.done():
                    raise
        raise self.given_up

    def _read(self, part: Box, source: Raster | TileStore) -> None:
        if self._salvages and isinstance(source, Raster):
            pixels, lost = read_around_damage(source.read, part)
            if lost:
                self._lost[part] = lost
        else:
            pixels = source.read(part)
        self._pixels[part.within(self._frame)] = pixels


def _source(job: SlideJob) -> Raster | TileStore:
    if job.slide is not None:
        return open_raster(
            job.slide,
            mpp_given=job.mpp_given,
            read_mpp=job.read_mpp,
            run=job.run,
            timeout_s=job.read_timeout_s,
        )
    assert job.store is not None
    return open_store(job.store, run=job.run)


def _store(job: SlideJob, buffer: _BlockBuffer, block: Block) -> None:
    assert job.store is not None
    open_store(job.store, run=job.run).write_block(block, buffer.pixels(block.box))


def _detect(
    job: SlideJob,
    buffer: _BlockBuffer,
    tiles: Sequence[Tile],
    detector: Detector,
    *,
    measure: Callable[[Tile, Peaks], Future[Nuclei]],
    proceed: Callable[[], None],
) -> list[Future[Nuclei]]:
    """Find the nuclei of a batch of tiles, and have them measured."""
    assert job.detect is not None
    proceed()
    windows = [tile.window for tile in tiles]
    pixels = _stacked(windows, buffer, job.grid, batch=job.detect.compute.batch)
    with device_turn(job.detect.compute):
        found = detector.detect(pixels, min_confidence=job.detect.min_confidence)
    del pixels  # nuclei are measured in the buffer
    return [measure(tile, peaks) for tile, peaks in zip(tiles, found, strict=False)]


def _stacked(windows: Sequence[Box], buffer: _BlockBuffer, grid: TileGrid, *, batch: int) -> Pixels:
    """Return the pixels of windows as one batch.

    A window alone has its own shape. Else every batch has one shape, that of a whole tile: what is
    beyond a window is white.
    """
    if batch == 1:
        return buffer.pixels(windows[0])[None]
    side = grid.tile_px + 2 * grid.halo_px
    stacked = np.full((batch, side, side, 3), 255, np.uint8)
    for image, window in zip(stacked, windows, strict=False):
        image[: window.height, : window.width] = buffer.pixels(window)
    return stacked


def _measure(
    job: SlideJob,
    buffer: _BlockBuffer,
    tile: Tile,
    peaks: Peaks,
    *,
    classes: tuple[str, ...],
    report: Report,
) -> Nuclei:
    """Measure the nuclei of a window and keep those that its tile owns."""
    assert job.detect is not None
    core, window = tile.core, tile.window
    margin = math.ceil(halo_um(job.detect.measure) / min(job.mpp)) + SEAM_PX
    frame = core.expand(margin).intersect(window)
    # Of a batch, a point may lie in the white beyond its window: it is left out here.
    points = peaks.points + np.array([window.x, window.y])
    near = np.flatnonzero(frame.contains(points))
    measured = measure_nuclei(
        buffer.pixels(frame),
        points[near] - np.array([frame.x, frame.y]),
        mpp=job.mpp,
        stains=StainVectors.of(job.detect.stain),
        settings=job.detect.measure,
    )
    owned = _owned(points[near], core, job.grid)
    rows = near[owned]
    centres = job.scale.to_level0(points[rows])
    enlarged = np.float32(math.sqrt(job.scale.x * job.scale.y))
    values = {name: column[owned] for name, column in measured.values.items()}
    if peaks.class_probability is not None:
        values[CLASS_PROBABILITY] = peaks.class_probability[rows].max(axis=1).round(4)
    report(core.area)
    return Nuclei(
        x=centres[:, 0],
        y=centres[:, 1],
        confidence=peaks.confidence[rows],
        label=peaks.label[rows],
        classes=classes,
        measurements=values,
        outline=None if measured.outline is None else measured.outline[owned] * enlarged,
    )


def _owned(points: Points, core: Box, grid: TileGrid) -> npt.NDArray[np.bool_]:
    """Return which points lie in a core, or just beyond, and in a wanted chunk."""
    reach = core.expand(SEAM_PX).intersect(Box(0, 0, grid.width, grid.height))
    owned = reach.contains(points)
    cols, rows = (points[owned] // grid.chunk_px).astype(int).T
    owned[owned] = grid.wanted[rows, cols]
    return owned
