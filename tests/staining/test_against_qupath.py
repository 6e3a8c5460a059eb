"""Means over shapes compared with what QuPath itself measured."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from wsi_suite.config import MeasureSettings
from wsi_suite.staining.deconvolution import H_DAB, separate_stains
from wsi_suite.staining.measurement import measure_nuclei

MEANS = ["hematoxylin_od_mean", "dab_od_mean", "residual_od_mean"]

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def measured(real_data: Path) -> pd.DataFrame:
    return pd.read_csv(real_data / "qupath_reference/measured.csv", dtype={"tile": str})


@pytest.fixture(scope="module")
def tiles(real_data: Path, measured: pd.DataFrame) -> dict[str, npt.NDArray[np.uint8]]:
    found = {}
    for tile in measured["tile"].unique():
        bgr = cv2.imread(str(real_data / f"endonuke/images/{tile}.png"))
        assert bgr is not None
        found[tile] = np.ascontiguousarray(bgr[..., ::-1], np.uint8)
    return found


def test_rectangles(measured: pd.DataFrame, tiles: dict[str, npt.NDArray[np.uint8]]) -> None:
    for tile, rows in measured[measured["shape"] == "rectangle"].groupby("tile"):
        stains = separate_stains(tiles[str(tile)])
        columns = ["x0", "y0", "x1", "y1", *MEANS, "dab_od_std", "dab_od_max"]
        for x0, y0, x1, y1, *expected in rows[columns].to_numpy(float):
            inside = stains[int(y0) : int(y1), int(x0) : int(x1)].reshape(-1, 3).astype(float)
            found = [*inside.mean(axis=0), inside[:, 1].std(ddof=1), inside[:, 1].max()]
            np.testing.assert_allclose(found, expected, atol=1e-6)


def test_ellipses(measured: pd.DataFrame, tiles: dict[str, npt.NDArray[np.uint8]]) -> None:
    """QuPath moves a box that starts at half a pixel by -0.5 before it draws the ellipse."""
    disc = MeasureSettings(method="disc", disc_radius_um=4.0)
    for tile, rows in measured[measured["shape"] == "ellipse"].groupby("tile"):
        centres = np.floor(rows[["x0", "y0"]].to_numpy()) + 4
        found = measure_nuclei(
            tiles[str(tile)], centres, mpp=(1.0, 1.0), stains=H_DAB, settings=disc
        )
        for name, column in (("DAB", "dab_od_mean"), ("Hematoxylin", "hematoxylin_od_mean")):
            np.testing.assert_allclose(
                found.values[f"Disc: {name} OD mean"], rows[column], atol=1e-6
            )


def test_polygons(measured: pd.DataFrame, tiles: dict[str, npt.NDArray[np.uint8]]) -> None:
    """Twelve vertices whose radius is 4 + 1.2 cos(3 angle); pixels on a vertex are ties."""
    angles = np.deg2rad(np.arange(0, 360, 30))
    radii = 4 + 1.2 * np.cos(3 * angles)
    shape = np.column_stack([np.cos(angles), np.sin(angles)]) * radii[:, None]
    differences = []
    for tile, rows in measured[measured["shape"] == "polygon"].groupby("tile"):
        stains = separate_stains(tiles[str(tile)])
        for x0, y0, mean in rows[["x0", "y0", "dab_od_mean"]].to_numpy(float):
            # The bounds give the centre back, since their extent is known from the shape.
            centre = np.array([x0, y0]) - shape.min(axis=0)
            left, top = int(x0), int(y0)
            window = stains[top : top + 11, left : left + 11, 1]
            y, x = np.mgrid[: window.shape[0], : window.shape[1]] + 0.5
            contour = (shape + centre - [left, top]).astype(np.float32)
            inside = [
                cv2.pointPolygonTest(contour, point, False) >= 0
                for point in zip(x.ravel(), y.ravel(), strict=True)
            ]
            differences.append(abs(window.ravel()[inside].mean() - mean))
    assert np.median(differences) <= 0.003
