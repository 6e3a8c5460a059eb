"""A slide with damaged places: the rest is scored, the loss is told, and it is read again."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pytest
import tifffile
from bench import Bench, results_of, stored_tiles
from shapely import contains_xy

from wsi_suite.nuclei.parquet import read_nuclei, read_provenance
from wsi_suite.runs.records import Records
from wsi_suite.runs.run_record import read_run
from wsi_suite.slides import identity

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def slide(bench: Bench, tmp_path: Path) -> Path:
    """A copy of the slide in JPEG tiles of 64 px."""
    from wsi_suite.slides.slide import open_slide

    with open_slide(bench.slide) as opened:
        pixels = opened.read_level(0, opened.levels[0].box)
        mpp = opened.mpp[0]
    path = tmp_path / "B12 damaged.tif"
    tifffile.imwrite(
        path,
        pixels,
        tile=(64, 64),
        photometric="rgb",
        compression="jpeg",
        compressionargs={"outcolorspace": "rgb"},
        resolution=(1e4 / mpp, 1e4 / mpp),
        resolutionunit="CENTIMETER",
        metadata=None,
    )
    return path


@pytest.fixture(autouse=True)
def _small_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Identities look at the ends of a file: of a small one that would be all of it."""
    monkeypatch.setattr(identity, "_MEGABYTE", 64)


@pytest.fixture
def damaged(slide: Path) -> dict[int, bytes]:
    """Damage two tiles in the middle; return what was there, by its place."""
    with tifffile.TiffFile(slide) as tif:
        page = tif.pages[0]
        columns = -(-page.imagewidth // 64)
        indices = (4 * columns + 4, 5 * columns + 4)
        places = {page.dataoffsets[index]: page.databytecounts[index] for index in indices}
    raw = slide.read_bytes()
    write_at(slide, {offset: bytes(count) for offset, count in places.items()})
    return {offset: raw[offset : offset + count] for offset, count in places.items()}


def write_at(slide: Path, parts: dict[int, bytes]) -> None:
    """Write bytes into a file, which keeps its time."""
    stat = slide.stat()
    with slide.open("r+b") as file:
        for offset, data in parts.items():
            file.seek(offset)
            file.write(data)
    os.utime(slide, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_the_rest_is_scored_and_the_loss_is_told(
    bench: Bench, slide: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    whole = bench.run_one(tmp_path / "whole", slides=[slide])
    request.getfixturevalue("damaged")
    outcome = bench.run_one(tmp_path / "out", slides=[slide])
    assert outcome.is_partial
    assert not whole.is_partial
    assert outcome.summary is not None
    assert whole.summary is not None
    assert outcome.folder is not None
    assert whole.folder is not None

    quality = outcome.summary.quality
    assert quality is not None
    assert quality.unreadable is not None
    lost = quality.unreadable.found_mm2
    assert lost is not None
    left, all_mm2 = outcome.summary.scored_tissue_mm2, whole.summary.scored_tissue_mm2
    assert left is not None
    assert left + lost == pytest.approx(all_mm2, rel=0.02)  # the mask guesses there
    assert any("cannot be read and was left out" in line for line in outcome.summary.warnings)

    # Elsewhere the nuclei are those of the whole slide, to the bit.
    provenance = read_provenance(outcome.folder / "nuclei.parquet")
    assert provenance.quality is not None
    assert provenance.quality.unreadable is not None
    area = provenance.quality.unreadable.area()
    before, now = (
        read_nuclei(folder / "nuclei.parquet")[0] for folder in (whole.folder, outcome.folder)
    )
    inside = contains_xy(area, before.x, before.y)
    assert inside.any()
    assert set(zip(now.x, now.y, strict=True)) <= set(zip(before.x, before.y, strict=True))
    assert len(now) >= np.count_nonzero(~inside) - 3
    shown = json.loads((outcome.folder / "quality.geojson").read_text(encoding="utf-8"))
    names = [feature["properties"]["name"] for feature in shown["features"]]
    assert "Unreadable" in names
    line = (tmp_path / "out" / "summary.csv").read_text(encoding="utf-8")
    assert f"{lost:.4f}".rstrip("0") in line


@pytest.mark.parametrize("overrides", [(), ("tiles.keep=false",)])
def test_what_could_not_be_read_is_read_again(
    bench: Bench,
    slide: Path,
    damaged: dict[int, bytes],
    tmp_path: Path,
    overrides: tuple[str, ...],
) -> None:
    out = tmp_path / "out"
    first = bench.run_one(out, slides=[slide])
    folder = first.folder
    assert folder is not None
    run = read_run(folder)
    assert run is not None
    assert run.unreadable_blocks > 0
    # Still damaged: the same results again.
    before = results_of(folder)
    assert bench.run_one(out, slides=[slide]).is_partial
    assert results_of(folder) == before
    # Mended: as if nothing had been, but for the survey, which saw the damage.
    write_at(slide, damaged)
    mended = bench.run_one(out, *overrides, slides=[slide])
    assert not mended.is_partial
    run = read_run(folder)
    assert run is not None
    assert run.unreadable_blocks == 0
    assert not list(Records(folder / "records").folder.glob("*"))
    fresh = bench.run_one(tmp_path / "fresh", slides=[slide])
    assert fresh.folder is not None
    assert stored_tiles(folder) == stored_tiles(fresh.folder)
    now, expected = (read_nuclei(each / "nuclei.parquet")[0] for each in (folder, fresh.folder))
    assert set(zip(now.x, now.y, strict=True)) == set(zip(expected.x, expected.y, strict=True))


def test_tiles_and_nuclei_apart_lose_the_same(
    bench: Bench, slide: Path, damaged: dict[int, bytes], tmp_path: Path
) -> None:
    together = bench.run_one(tmp_path / "together", slides=[slide]).folder
    tiled = bench.run_one(tmp_path / "apart", slides=[slide], stage="tile").folder
    assert tiled is not None
    assert together is not None
    bench.run_one(tmp_path / "apart", slides=[tiled], stage="detect")
    assert results_of(tiled) == results_of(together)


def test_a_slide_that_is_gone_fails_instead_of_losing_its_tissue(
    bench: Bench, slide: Path, damaged: dict[int, bytes], tmp_path: Path
) -> None:
    from wsi_suite.runs import worker_task

    elsewhere, process, turn = tmp_path / "elsewhere", worker_task.process_block, Lock()

    def process_block(*asked: Any, **named: Any) -> Any:
        with turn:
            if slide.exists():
                process(*asked, **named)  # the file is open now
                slide.rename(elsewhere)
        return process(*asked, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker_task, "process_block", process_block)
        (outcome,) = bench.run(tmp_path / "out", slides=[slide])
    assert outcome.error is not None
    assert re.search("cannot be read .No such file", str(outcome.error))
    elsewhere.rename(slide)
    assert bench.run_one(tmp_path / "out", slides=[slide]).is_partial
