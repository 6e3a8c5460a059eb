"""Whole runs on OME-Zarr and DICOM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from bench import Bench, results_of
from dicom_files import write_slide
from zarr_files import write_image

from wsi_suite.runs.summary_csv import summary_row
from wsi_suite.slides.sources import expand_slides


@pytest.fixture
def foreign(bench: Bench, tmp_path: Path) -> Path:
    """A folder with one slide in several containers; DICOM is lossy."""
    pixels = tifffile.imread(bench.slide, level=0)
    folder = tmp_path / "slides"
    folder.mkdir()
    write_image(folder / "plain.ome.zarr", pixels, mpp=0.25)
    root = zarr.open_group(folder / "series.zarr", mode="w", zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    write_image(root.create_group("0"), pixels[:99], mpp=0.25)
    write_image(root.create_group("1"), pixels, axes="tczyx", mpp=0.25)
    write_slide(folder, "A", np.ascontiguousarray(pixels), mpp=0.25)
    write_slide(folder, "B", np.ascontiguousarray(pixels[:400]), mpp=0.25)
    return folder


@pytest.mark.usefixtures("quick")
def test_each_slide_is_run_once_and_goes_on_where_it_was(
    bench: Bench, foreign: Path, tmp_path: Path
) -> None:
    slides = expand_slides([foreign])
    out = tmp_path / "out"
    outcomes = bench.run(out, slides=slides)
    assert [end.error for end in outcomes] == [None] * 4
    names = ["A_0", "B_0", "plain", "series"]
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == names
    assert results_of(out / "plain")["nuclei.parquet"]
    first = {name: results_of(out / name) for name in names}
    counts = {end.folder.name: summary_row(end)["nuclei"] for end in outcomes if end.folder}
    assert counts["plain"] == counts["series"] > 50
    assert counts["A_0"] == pytest.approx(counts["plain"], rel=0.2)

    again = bench.run(out, slides=expand_slides([foreign / "A_1.dcm", foreign / "series.zarr"]))
    assert [end.folder.name for end in again if end.folder] == ["A_0", "series"]
    assert {name: results_of(out / name) for name in names} == first
