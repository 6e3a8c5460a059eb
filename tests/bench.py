"""Small runs for the tests of the spine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from wsi_suite.analysis import survey
from wsi_suite.analysis.blocks import process_block
from wsi_suite.analysis.request import complete_settings
from wsi_suite.config import Settings, load_settings
from wsi_suite.detector.detector import Compute
from wsi_suite.detector.model_folder import find_model
from wsi_suite.runs.batch import run_batch
from wsi_suite.runs.outcome import Outcome
from wsi_suite.runs.request import Request, Stage
from wsi_suite.runs.run_plan import SlideRun
from wsi_suite.runs.slide_run import finish_run, pending_blocks, prepare_run, record_block
from wsi_suite.slides import grid
from wsi_suite.slides.identity import SlideIdentity

RESULTS = (
    "nuclei.parquet",
    "nuclei.geojson",
    "summary.json",
    "hotspots.geojson",
    "quality.geojson",
)
"""What is the same in every byte for like runs."""


def set_sides(
    patch: pytest.MonkeyPatch, *, block_px: int = 256, tile_px: int = 128, chunk_px: int = 64
) -> None:
    """Set the sides of new runs, by default small ones: a small slide then has several blocks."""
    patch.setattr(survey, "BLOCK_PX", block_px)
    patch.setattr(survey, "TILE_PX", tile_px)
    patch.setattr(survey, "CHUNK_PX", chunk_px)
    patch.setattr(survey, "CELL_PX", chunk_px // 4)
    patch.setattr(grid, "WINDOW_PX", (tile_px + 64) ** 2)  # the tiny model's halo is 32 px


@dataclass(frozen=True)
class Bench:
    """A model and a slide to try things with."""

    model: Path
    slide: Path

    def settings(self, *overrides: str) -> Settings:
        """Return settings that take the tiny model."""
        model = f"detect.model={self.model}"
        return load_settings(overrides=[model, "detect.precision=fp32", *overrides])

    def run(
        self, out: Path, *overrides: str, slides: Sequence[Path] | None = None, **arguments: Any
    ) -> list[Outcome]:
        """Run the slide, or others, as the command line does."""
        slides = [self.slide] if slides is None else slides
        return run_batch(slides, out=out, settings=self.settings(*overrides), **arguments)

    def run_one(self, out: Path, *overrides: str, **arguments: Any) -> Outcome:
        """Run one slide and expect that it works."""
        (outcome,) = self.run(out, *overrides, **arguments)
        assert outcome.error is None, outcome.error
        return outcome

    def request(
        self, folder: Path, *overrides: str, stage: Stage = "run", **fields: Any
    ) -> Request:
        """Return what a batch would ask for the slide."""
        model = find_model(self.model)
        asked: dict[str, Any] = {
            "slide": self.slide,
            "identity": SlideIdentity.of(self.slide),
            "folder": folder,
            "settings": complete_settings(self.settings(*overrides), model),
            "model": model,
            "compute": None if stage == "tile" else Compute("cpu", "fp32", 1),
        }
        return Request(stage=stage, **asked | fields)

    def do(self, folder: Path, *overrides: str, **fields: Any) -> SlideRun:
        """Run the slide, one block after another."""
        run = prepare_run(self.request(folder, *overrides, **fields))
        do_blocks(run)
        finish_run(run)
        return run


def do_blocks(run: SlideRun, *, limit: int | None = None) -> None:
    """Do what is pending, or the first blocks of it."""
    for job, block in pending_blocks(run)[:limit]:
        record_block(run, job, block, process_block(job, block))


def results_of(folder: Path) -> dict[str, bytes]:
    """Return the bytes that like runs share."""
    return {name: (folder / name).read_bytes() for name in RESULTS}


def files_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return time and content of every file in a folder."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def stored_tiles(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file of the tile store."""
    return {name: data for name, (_, data) in files_of(folder / "tiles.ome.zarr").items()}
