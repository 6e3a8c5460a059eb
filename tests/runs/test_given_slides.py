"""Slides as Python users give them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench import Bench
from shapely.geometry import MultiPolygon, box

import wsi_suite as ws
from wsi_suite.errors import ConfigError, InputError, RegionError, SlideError
from wsi_suite.runs.entry import Entry
from wsi_suite.runs.given_slides import entries_of


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    folder = tmp_path / "slides"
    folder.mkdir()
    for name in ("a.tif", "b.tif"):
        (folder / name).write_bytes(b"")
    (folder / "night.csv").write_text("slide,marker\nb.tif,ER\n")
    return folder


def test_folders_patterns_and_manifests_name_slides(slides: Path) -> None:
    both = [Entry(slides / "a.tif"), Entry(slides / "b.tif")]
    assert entries_of(str(slides)) == entries_of([slides / "*.tif"]) == both
    assert entries_of(slides / "night.csv") == [Entry(slides / "b.tif", marker="ER")]
    assert entries_of(both) == entries_of(one.slide for one in both) == both
    # A file that is missing fails alone, and a folder of tiles is for 'detect'.
    assert entries_of([slides / "none.tif"]) == [Entry(slides / "none.tif")]
    assert entries_of([slides], expand=False) == [Entry(slides)]


def test_an_open_slide_keeps_the_pixel_size_that_it_was_opened_with(bench: Bench) -> None:
    with ws.open_slide(bench.slide, mpp=0.3) as slide:
        assert entries_of(slide) == [Entry(bench.slide, mpp=0.3)]
        assert entries_of([slide], mpp=0.5) == [Entry(bench.slide)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([np.zeros((9, 9, 3), np.uint8)], "a ndarray: expected the path of a slide, or a Slide"),
        (5, "a int: expected the path"),
        (None, "a NoneType: expected the path"),
        ([], "no slide given"),
        ("none/*.svs", "matches no file"),
    ],
)
def test_what_is_no_slide_is_refused(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        entries_of(given)


@pytest.mark.usefixtures("quick", "one_torch_thread")
def test_a_run_takes_what_an_analysis_takes(bench: Bench, tmp_path: Path, slides: Path) -> None:
    settings = {"detect.precision": "fp32", "tiles.keep": False}
    roi = ws.Roi("left", None, MultiPolygon([box(0, 0, 300, 560)]))
    asked: dict[str, Any] = {"settings": settings, "model": bench.model, "rois": [roi], "mpp": 0.25}
    with ws.open_slide(bench.slide) as slide:
        outcome = ws.run_slide(slide, out=str(tmp_path / "out"), **asked)
        found = ws.analyse(slide, **asked)
    assert outcome.summary == found.summary
    assert [region.name for region in found.summary.regions] == ["left"]
    with pytest.raises(RegionError, match="one slide for several slides"):
        ws.run_batch(slides, out=tmp_path / "out", **asked)
    with pytest.raises(InputError, match="names 2 slides; use run_batch"):
        ws.run_slide(slides, out=tmp_path / "out", **asked)
    with pytest.raises(ConfigError, match=r"stage tiles: unknown .did you mean 'tile'"):
        ws.run_batch(slides, out=tmp_path / "out", stage="tiles")  # type: ignore[arg-type]
    with pytest.raises(SlideError, match="a picture in memory is taken by 'analyse'"):
        ws.run_slide(np.zeros((9, 9, 3), np.uint8), out=tmp_path, **asked)  # type: ignore[arg-type]
