"""Stain that fills nuclei, and stain that crosses them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wsi_suite.config import MeasureSettings, ScoreSettings
from wsi_suite.datasets.pictures import read_rgb
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.scoring.evenness import uneven_share, uneven_warnings
from wsi_suite.scoring.summary import summarise
from wsi_suite.staining.deconvolution import H_DAB, combine_stains
from wsi_suite.staining.measurement import measure_nuclei


def table(**columns: np.ndarray) -> Nuclei:
    names = {"mean": "DAB OD mean", "spread": "DAB OD std dev", "highest": "DAB OD max"}
    count = len(next(iter(columns.values())))
    return Nuclei(
        x=np.arange(count) + 0.5,
        y=np.full(count, 0.5),
        confidence=np.ones(count, np.float32),
        label=np.zeros(count, np.uint8),
        classes=("Epithelium",),
        measurements={f"Nucleus: {names[key]}": np.float32(col) for key, col in columns.items()},
    )


def drawn(*, membranous: bool) -> Nuclei:
    """Return 81 nuclei of 3 um radius, filled with DAB or with a brown rim of 1 um."""
    points = np.array([(x, y) for x in range(20, 200, 20) for y in range(20, 200, 20)], float)
    amounts = np.zeros((200, 200, 3))
    amounts[..., 0] = 0.05
    down, across = np.mgrid[:200, :200] + 0.5
    for x, y in points:
        distance = np.hypot(across - x, down - y)
        amounts[distance < 6, 0] = 0.4
        amounts[(distance > 5) & (distance < 7) if membranous else distance < 6, 1] = 0.7
    noise = np.random.default_rng(0).normal(0, 2, amounts.shape)
    rgb = (combine_stains(amounts) + noise).clip(0, 255).astype(np.uint8)
    settings = MeasureSettings()
    measured = measure_nuclei(rgb, points, mpp=(0.5, 0.5), stains=H_DAB, settings=settings)
    nuclei = table(mean=np.zeros(len(points)))
    nuclei.measurements.update(measured.values)
    return nuclei


def test_a_rim_is_uneven_and_a_filled_nucleus_is_not() -> None:
    assert uneven_share(drawn(membranous=False)) == 0
    assert uneven_share(drawn(membranous=True)) == 1
    settings = ScoreSettings(thresholds_od=(0.1, 0.3, 0.5), marker="ER")
    summary = summarise(drawn(membranous=True), settings, mpp=(0.5, 0.5), tissue_area_mm2=1.0)
    assert summary.dab_uneven_share == 1
    assert [text for text in summary.warnings if text.startswith("In 100 % of the nuclei")]


def test_only_nuclei_with_dab_count_and_few_tell_nothing() -> None:
    mean, spread = np.full(100, 0.4), np.full(100, 0.1)
    spread[:20] = 0.3
    highest = np.where(np.arange(100) < 60, 0.6, 0.1)
    nuclei = table(mean=mean, spread=spread, highest=highest)
    assert uneven_share(nuclei) == pytest.approx(1 / 3)
    assert uneven_share(nuclei, rows=np.arange(49)) is None
    nuclei.measurements["Nucleus: DAB OD std dev"][:20] = np.nan
    assert uneven_share(nuclei) is None, "40 are left"
    assert uneven_share(table(mean=mean)) is None
    assert uneven_share(Nuclei.empty(("Epithelium",))) is None
    assert uneven_warnings(None) == uneven_warnings(0.3) == []


@pytest.mark.realdata
def test_nuclear_markers_fill_the_nuclei_of_real_tiles(real_data: Path) -> None:
    shares = []
    for file in sorted((real_data / "endonuke/images").glob("*.png"))[::10]:
        points = np.loadtxt(real_data / f"endonuke/labels/{file.stem}.txt", ndmin=2)[:, :2]
        measured = measure_nuclei(
            read_rgb(file),
            np.clip(points + 0.5, 0, 199.9),
            mpp=(0.5, 0.5),
            stains=H_DAB,
            settings=MeasureSettings(),
        )
        nuclei = table(mean=np.zeros(len(points)))
        nuclei.measurements.update(measured.values)
        shares.append(uneven_share(nuclei))
    known = [share for share in shares if share is not None]
    assert len(known) > 10
    assert max(known) < 0.12
