"""Time of a whole run beside its forward passes alone, and memory as slides grow.

    python benchmarks/running.py [SLIDE] [--model NAME|FOLDER] [--device auto] [--side 8000]

Without a slide it draws synthetic ones, a third of each tissue.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil
import torch
from rich.console import Console

from wsi_suite.analysis.survey import survey_slide
from wsi_suite.analysis.worker_cache import usable_threads
from wsi_suite.config import Settings, load_settings
from wsi_suite.detector.detector import Detector, choose_compute
from wsi_suite.detector.model_folder import find_model
from wsi_suite.geometry import Box
from wsi_suite.runs.batch import run_batch
from wsi_suite.slides.slide import open_slide
from wsi_suite.synthetic import make_slide

console = Console(highlight=False, soft_wrap=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slide", nargs="?", type=Path)
    parser.add_argument("--model", default="endonuke-resnet18")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--side", type=int, default=8000, help="of the synthetic slide, px")
    parser.add_argument("--no-memory", action="store_true", help="leave out the larger slides")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        slide = arguments.slide or _synthetic(folder, arguments.side)
        _compare_times(slide, folder, model=arguments.model, device=arguments.device)
        if not arguments.no_memory:
            _compare_memory(folder, model=arguments.model, device=arguments.device)


def _synthetic(folder: Path, side: int) -> Path:
    path = folder / f"synthetic-{side}.tif"
    make_slide(path, width=side, height=side, mpp=0.25)
    return path


def _compare_times(slide: Path, folder: Path, *, model: str, device: str) -> None:
    settings = load_settings(overrides=[f"detect.model={model}", f"run.device={device}"])
    detector = Detector(find_model(model), choose_compute(device))
    batches, mm2 = tissue_batches(slide, detector, settings)
    pixels = sum(batch.shape[1] * batch.shape[2] for batch in batches)
    forward = forward_alone(detector, batches)
    console.print(
        f"{slide.name}: {mm2:.2f} mm2 in {len(batches)} windows, "
        f"{detector.compute.device} {detector.compute.precision}"
    )
    console.print(
        f"forward only   {forward:7.1f} s   {pixels / forward / 1e6:6.3f} Mpx/s   "
        f"{forward / mm2:6.2f} s/mm2"
    )
    tissue, chunks, windows = window_pixels(slide, detector, settings)
    console.print(
        f"windows of a run, halo included: {windows / 1e6:.2f} Mpx, {windows / chunks:.2f} x the "
        f"chunks of forward only, {windows / tissue:.2f} x the tissue"
    )
    for keep in (True, False):
        start = time.perf_counter()
        run_batch(
            [slide],
            out=folder / f"keep-{keep}",
            settings=load_settings(
                overrides=[f"detect.model={model}", f"run.device={device}", f"tiles.keep={keep}"]
            ),
        )
        seconds = time.perf_counter() - start
        what = "run, tiles kept" if keep else "run, no tiles"
        console.print(
            f"{what:14} {seconds:7.1f} s   {pixels / seconds / 1e6:6.3f} Mpx/s   "
            f"{seconds / mm2:6.2f} s/mm2   {seconds / forward:5.2f} x forward only"
        )


def window_pixels(slide: Path, detector: Detector, settings: Settings) -> tuple[int, int, int]:
    """Return the pixels of tissue, of chunks that hold some, and of a run's windows."""
    facts = survey_slide(slide, settings, spec=detector.spec)
    grid = facts.grid(
        align_px=detector.spec.network.align_px, fitted=detector.compute.device == "cpu"
    )
    mpp = facts.working_mpp
    return (
        round(facts.tissue_area_mm2 * 1e6 / (mpp[0] * mpp[1])),
        int(np.count_nonzero(facts.wanted)) * grid.chunk_px**2,
        sum(tile.window.area for block in grid.blocks for tile in block.tiles),
    )


def tissue_batches(
    slide: Path, detector: Detector, settings: Settings
) -> tuple[list[npt.NDArray[np.uint8]], float]:
    """Return the chunks that a run looks at, ``(1, H, W, 3)`` each four of them, and mm2.

    They are in windows as large as the tiles of a run, without halo: the least that it could do.
    """
    facts = survey_slide(slide, settings, spec=detector.spec)
    grid = facts.grid(align_px=detector.spec.network.align_px)
    chunk = grid.chunk_px
    with open_slide(slide) as opened:
        raster = opened.raster(detector.spec.read_mpp)
        chunks = [
            raster.read(Box(col * chunk, row * chunk, chunk, chunk))
            for row, col in np.argwhere(facts.wanted)
        ]
    per_tile = (grid.tile_px // chunk) ** 2
    batches = [_window(chunks[i : i + per_tile])[None] for i in range(0, len(chunks), per_tile)]
    mm2 = len(chunks) * chunk**2 * facts.working_mpp[0] * facts.working_mpp[1] / 1e6
    return batches, mm2


def _window(chunks: list[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    if len(chunks) % 2:
        return np.hstack(chunks)
    half = len(chunks) // 2
    return np.vstack([np.hstack(chunks[:half]), np.hstack(chunks[half:])])


def forward_alone(
    detector: Detector, batches: list[npt.NDArray[np.uint8]], *, warm_up: bool = True
) -> float:
    """Return the seconds of forward passes alone, with as many threads as a run has.

    On a CPU the maps beside the heatmap are not computed, since a run needs them at nuclei only.
    """
    on_cpu, batch = detector.compute.device == "cpu", detector.compute.batch

    def forward(windows: npt.NDArray[np.uint8]) -> None:
        if on_cpu:
            detector._shown(windows, detector.network.look_for_peaks)
        else:
            detector.forward(np.repeat(windows, batch, axis=0))["heat"].sum().item()  # waits

    threads = usable_threads(1) if on_cpu else 1
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        if warm_up:
            list(pool.map(forward, batches[:threads]))
        start = time.perf_counter()
        list(pool.map(forward, batches))
        return (time.perf_counter() - start) / batch


def _compare_memory(folder: Path, *, model: str, device: str) -> None:
    """Run a small and a ten times larger slide, each in a process of its own."""
    peaks = {}
    for side in (4000, 12649):
        slide = _synthetic(folder, side)
        command = [
            sys.executable,
            "-m",
            "wsi_suite",
            "run",
            str(slide),
            "--out",
            str(folder / f"memory-{side}"),
            "--model",
            model,
            "--device",
            device,
        ]
        process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        peak = 0
        while process.poll() is None:
            try:
                peak = max(peak, process.memory_info().rss)
            except psutil.NoSuchProcess:
                break
            time.sleep(0.05)
        if process.wait():
            raise SystemExit(f"the run on {slide.name} failed")
        peaks[side] = peak
        console.print(f"{side} x {side} px   peak memory {peak / 2**20:.0f} MiB")
    console.print(
        f"ratio {peaks[12649] / peaks[4000]:.2f} for {12649**2 / 4000**2:.0f} times the pixels"
    )


if __name__ == "__main__":
    main()
