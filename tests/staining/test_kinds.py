"""Kinds of stain: pure and mixed pixels, real tiles, and pictures without stain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from wsi_suite.datasets.pictures import read_rgb
from wsi_suite.staining.deconvolution import H_DAB, StainVectors, combine_stains
from wsi_suite.staining.estimation import smooth
from wsi_suite.staining.kinds import Kind, stain_kind
from wsi_suite.synthetic import make_tile

WHITE = (255.0, 255.0, 255.0)
H_AND_E = StainVectors(dab=(0.2159, 0.8012, 0.5581))  # eosin in the place of DAB, QuPath's default


def pixels(
    hematoxylin: float, other: float, *, stains: StainVectors = H_DAB
) -> npt.NDArray[np.uint8]:
    """Return ``(10000, 3)`` pixels of which a third holds each stain, and a third is glass."""
    generator = np.random.default_rng(0)
    amounts = np.zeros((10_000, 3))
    amounts[:3333, 0] = hematoxylin
    amounts[3333:6666, 1] = other
    amounts[..., :2] *= generator.uniform(0.7, 1.3, (10_000, 1))
    noisy = combine_stains(amounts, stains) + generator.normal(0, 2, (10_000, 3))
    return noisy.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("dense", [0.3, 0.6, 1.2])
def test_pure_stains_and_both(dense: float) -> None:
    assert stain_kind(pixels(dense, dense), glass=WHITE) == "H-DAB"
    assert stain_kind(pixels(dense, 0), glass=WHITE) == "hematoxylin"
    assert stain_kind(pixels(0, dense), glass=WHITE) == "DAB"
    assert stain_kind(pixels(dense, dense, stains=H_AND_E), glass=WHITE) == "H&E"


@pytest.mark.parametrize("vector", [(0.60, 0.72, 0.35), (0.57, 0.74, 0.36), (0.75, 0.55, 0.3)])
def test_negative_slides_of_any_hematoxylin_are_not_h_and_e(
    vector: tuple[float, float, float],
) -> None:
    stains = StainVectors(hematoxylin=vector)
    assert stain_kind(pixels(0.5, 0, stains=stains), glass=WHITE) == "hematoxylin"


def test_the_colour_of_glass_counts() -> None:
    yellow = StainVectors(background=(250.0, 240.0, 200.0))
    faint = pixels(0.4, 0, stains=yellow)
    assert stain_kind(faint, glass=yellow.background) == "hematoxylin"


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (241, 240, 238), (5, 12, 20)])
def test_one_colour_without_stain_is_empty(colour: tuple[int, int, int]) -> None:
    rgb = np.full((5000, 3), colour, np.uint8)
    assert stain_kind(rgb, glass=WHITE) == "empty"
    assert stain_kind(rgb[:0], glass=WHITE) == "empty"


def test_synthetic_tiles_are_h_dab() -> None:
    rgb, _ = make_tile(200, mpp=0.5, seed=0)
    assert stain_kind(smooth(rgb).reshape(-1, 3), glass=(241.0, 241.0, 242.0)) == "H-DAB"


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("folder", "kind", "count", "others"),
    [("endonuke", "H-DAB", 201, 0), ("brca_m2c", "H&E", 120, 1)],
)
def test_real_tiles(real_data: Path, folder: str, kind: Kind, count: int, others: int) -> None:
    files = sorted((real_data / folder / "images").iterdir())
    found = [stain_kind(smooth(read_rgb(file)).reshape(-1, 3), glass=WHITE) for file in files]
    assert (len(found), sum(each != kind for each in found)) == (count, others)
