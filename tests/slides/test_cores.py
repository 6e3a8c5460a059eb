"""Cores of tissue microarrays: names, places, and what is no microarray."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from microarrays import MPP, disc, dusty, microarray, names, places, resection, tissue

from wsi_suite.config import TissueSettings
from wsi_suite.slides.cores import CoreError, CoreGrid, core_name, find_cores
from wsi_suite.slides.slide import open_slide
from wsi_suite.slides.tissue import find_tissue

SLIDE_MPP = (0.5, 0.5)
RADIUS_UM = 62 * MPP
GONE = {(0, 3), (1, 0), (2, 5), (3, 6), (4, 2), (1, 4)}  # 17 % of 5 x 7


def found(mask: np.ndarray, **given: float) -> CoreGrid:
    return find_cores(tissue(mask), mpp=SLIDE_MPP, **given)


def check(grid: CoreGrid, centres: dict, *, missing: set, within_px: float = 1.0) -> None:
    """Compare names and places with the truth; `within_px` are mask pixels."""
    there = sorted(set(centres) - missing)
    assert [core.name for core in grid.cores] == list(names(there))
    assert list(grid.missing) == list(names(missing & set(centres)))
    for core, node in zip(grid.cores, there, strict=True):
        off = np.hypot(core.x_px0 / 16 - centres[node][0], core.y_px0 / 16 - centres[node][1])
        assert off <= within_px, core


@pytest.mark.parametrize("degrees", [0.0, 3.0, -3.0])
@pytest.mark.parametrize("missing", [set(), GONE], ids=["whole", "missing"])
def test_names_and_places(degrees: float, missing: set) -> None:
    centres = places(5, 7, degrees=degrees, start=(190, 190))
    grid = found(microarray(centres, missing=missing))
    assert (grid.rows, grid.columns) == grid.seen == (5, 7)
    check(grid, centres, missing=missing)
    assert grid.rotation_degrees == pytest.approx(degrees, abs=0.1)
    assert grid.diameter_um == pytest.approx(2 * RADIUS_UM, rel=0.01)
    assert grid.circle_um == pytest.approx(1.05 * grid.diameter_um)
    assert grid.spacing_um == pytest.approx((180 * MPP, 170 * MPP), rel=0.005)
    assert not grid.outside


@pytest.mark.parametrize("seed", range(3))
def test_cores_off_their_places_with_dust(seed: int) -> None:
    rng = np.random.default_rng(seed)
    centres = {
        node: tuple(np.add(place, rng.uniform(-18, 18, 2)))
        for node, place in places(5, 7, degrees=3, start=(190, 190)).items()
    }
    grid = found(dusty(microarray(centres, missing=GONE), seed=seed))
    check(grid, centres, missing=GONE, within_px=4)


@pytest.mark.parametrize(("radius", "spacing"), [(38, 100), (94, 240), (62, 300)])
def test_sizes_of_cores(radius: float, spacing: float) -> None:
    centres = places(3, 5, spacing=(spacing, spacing), start=(120, 120))
    check(found(microarray(centres, radius=radius)), centres, missing=set())


def test_half_of_the_cores_may_be_missing() -> None:
    centres = places(5, 7, degrees=2, start=(190, 190))
    rng = np.random.default_rng(4)
    inner = [node for node in centres if node not in ((0, 0), (4, 6))]
    gone = {inner[at] for at in rng.permutation(len(inner))[:17].tolist()}
    check(found(microarray(centres, missing=gone)), centres, missing=gone)


def test_fragments_and_touching_cores_are_found_at_their_places() -> None:
    centres = places(4, 6)
    mask = microarray(centres)
    x, y = centres[1, 2]
    half = np.indices(mask.shape)[1] + 0.5 > x
    mask &= ~(disc(mask.shape, (x, y), 64) & half)  # the right half is gone
    a, b = centres[2, 3], centres[2, 4]
    mask[int(a[1]) - 20 : int(a[1]) + 20, int(a[0]) : int(b[0])] = True  # a fold joins two
    grid = found(mask)
    assert not grid.missing
    cores = {core.name: core for core in grid.cores}
    assert cores["B-3"].tissue_share == pytest.approx(0.5, abs=0.03)
    circle = disc(
        mask.shape, (cores["B-3"].x_px0 / 16, cores["B-3"].y_px0 / 16), grid.circle_um / 2 / MPP
    )
    own = disc(mask.shape, (x, y), 63)
    assert np.count_nonzero(mask & circle) >= 0.99 * np.count_nonzero(mask & own)
    for name, place in (("C-4", a), ("C-5", b)):
        off = np.hypot(cores[name].x_px0 / 16 - place[0], cores[name].y_px0 / 16 - place[1])
        assert off < 12


def test_a_row_that_is_missing_at_the_end_is_known_from_its_number_only() -> None:
    centres = places(5, 7)
    last = {node for node in centres if node[0] == 4}
    mask = microarray(centres, missing=last)
    grid = found(mask)
    assert (grid.rows, grid.missing) == (4, ())
    grid = found(mask, rows=5, columns=7)
    assert grid.seen == (4, 7)
    check(grid, centres, missing=last)


def test_a_core_beside_the_grid_is_left_out_where_its_size_is_given() -> None:
    centres = places(4, 6, start=(150, 320))
    marker = (centres[0, 0][0], centres[0, 0][1] - 170)
    mask = microarray(centres) | disc((1000, 1500), marker, 62)
    assert found(mask).rows == 5
    grid = found(mask, rows=4, columns=6)
    check(grid, centres, missing=set())
    assert grid.outside == (pytest.approx((marker[0] * 16, marker[1] * 16), abs=16),)


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (1, 1), (2, 2)])
def test_small_grids_are_found_if_their_size_is_given(shape: tuple[int, int]) -> None:
    centres = places(*shape, degrees=3, start=(200, 150))
    mask = microarray(centres)
    check(found(mask, rows=shape[0], columns=shape[1]), centres, missing=set())
    with pytest.raises(CoreError):
        found(mask)


def test_a_diameter_that_is_given_counts() -> None:
    centres = places(4, 6)
    mask = microarray(centres)
    assert found(mask, diameter_um=1000).diameter_um == 1000
    with pytest.raises(CoreError, match="whole round pieces of tissue of 2 mm"):
        found(mask, diameter_um=2000)


@pytest.mark.parametrize("seed", range(6))
def test_a_resection_is_refused(seed: int) -> None:
    with pytest.raises(CoreError):
        found(resection(seed=seed))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("count", [7, 14, 24])
def test_round_pieces_anywhere_are_refused(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    mask = np.zeros((1000, 1500), bool)
    kept: list[np.ndarray] = []
    while len(kept) < count:
        place = rng.uniform((60, 60), (1440, 940))
        if all(np.hypot(*(place - other)) > 130 for other in kept):
            kept.append(place)
            mask |= disc(mask.shape, tuple(place), rng.uniform(46, 60))
    with pytest.raises(CoreError):
        found(mask)


def test_nothing_and_tissue_everywhere_are_refused() -> None:
    for mask in (np.zeros((50, 40), bool), np.ones((900, 700), bool), np.ones((1, 1), bool)):
        with pytest.raises(CoreError):
            found(mask)
        with pytest.raises(CoreError):
            found(mask, rows=2, columns=2, diameter_um=1000)


def test_names_are_those_of_qupath() -> None:
    assert [core_name(row, 0) for row in (0, 9, 25, 26, 27)] == [
        *("A-1", "J-1", "Z-1", "AA-1", "AB-1")
    ]
    assert core_name(1, 15) == "B-16"


@pytest.mark.realdata
def test_real_resections_are_refused(real_data: Path) -> None:
    for name in ("CMU-1-Small-Region.svs", "ki67-OS-2-vsi.ome.tif", "luna-1065626.svs"):
        with open_slide(real_data / "slides" / name) as slide:
            mask = find_tissue(slide, TissueSettings(margin_um=0))
            with pytest.raises(CoreError):
                find_cores(mask, mpp=slide.mpp)
