"""Maps on a coarse grid, and the choice of fields and nuclei to look at."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from shapely.geometry import MultiPolygon, box
from slide_results import CLASSES, SIDE_PX0, make_nuclei

from wsi_suite.nuclei.table import Nuclei
from wsi_suite.report.fields import certainty_of, choose_fields, most_doubtful
from wsi_suite.report.maps import choose_grid, density_map, h_score_map

SIZE = (SIDE_PX0, SIDE_PX0)


def test_density_divides_by_the_tissue_of_a_cell() -> None:
    """100 nuclei in the left half, of which the upper half is tissue: twice the density there."""
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.uniform(0, 1000, 4000), rng.uniform(0, 500, 4000)])
    grid = choose_grid(points, size_px0=(2000, 1000), mpp=(0.5, 0.5))
    tissue = MultiPolygon([box(0, 0, 1000, 500)])
    covered = grid.covered(tissue)
    assert covered.sum() * (grid.cell_um / 1000) ** 2 == pytest.approx(0.125, rel=0.1)
    drawn = density_map(points, grid=grid, covered=covered)
    assert drawn is not None
    pixels = np.asarray(Image.open(io.BytesIO(drawn.picture)))
    assert pixels.shape == (grid.rows, grid.columns, 4)
    assert ((pixels[..., 3] > 0) == (covered >= 0.25)).all()
    assert 32_000 <= drawn.high <= 60_000  # 4000 / 0.125 mm2, with the noise of small cells


def test_h_score_of_a_cell_is_that_of_its_nuclei() -> None:
    points = np.repeat([[50.0, 50.0], [250.0, 50.0], [450.0, 50.0]], (20, 20, 2), axis=0)
    grades = np.repeat(np.array([0, 3, 3], np.uint8), (20, 20, 2))
    grid = choose_grid(points, size_px0=(600, 200), mpp=(0.5, 0.5))
    drawn = h_score_map(points, grades, grid=grid, covered=grid.covered(None))
    assert drawn is not None
    assert (grid.cell_um, drawn.high) == (50, 300)
    row = np.asarray(Image.open(io.BytesIO(drawn.picture)))[0]
    shown = row[:, 3] > 0
    assert shown.tolist() == [True, False, True, False, False, False], "two nuclei say nothing"
    hexadecimal = ["#{:02x}{:02x}{:02x}".format(*pixel[:3]) for pixel in row[shown]]
    assert hexadecimal == [drawn.stops[0], drawn.stops[-1]]


def test_large_slides_get_large_cells() -> None:
    grid = choose_grid(np.zeros((0, 2)), size_px0=(200_000, 100_000), mpp=(0.25, 0.25))
    assert max(grid.rows, grid.columns) <= 120
    assert density_map(np.zeros((0, 2)), grid=grid, covered=grid.covered(None)) is None


def _fields(nuclei: Nuclei, grades: np.ndarray, size_px0: tuple[int, int] = SIZE) -> list:
    return choose_fields(nuclei, grades, of_class=1, side_px0=(512, 512), size_px0=size_px0)


def test_fields_are_the_hottest_the_median_and_the_most_doubtful() -> None:
    nuclei = make_nuclei(9000)
    hot = (nuclei.x < 512) & (nuclei.y < 512)
    doubtful = (nuclei.x >= 571) & (nuclei.x < 571 + 512) & (nuclei.y >= 571) & (nuclei.y < 1083)
    grades = np.where(hot, 3, np.arange(9000) % 2).astype(np.uint8)
    nuclei = replace(nuclei, confidence=np.where(doubtful, 0.5, 0.99).astype(np.float32))
    first, second, third = _fields(nuclei, grades)
    assert (first.letter, first.title.split(":")[0], first.h_score) == ("A", "Hottest", 300)
    assert (first.box.x, first.box.y, first.box.width) == (0, 0, 512)
    assert second.h_score == pytest.approx(50, abs=8)
    assert third.box.contains(nuclei.points[doubtful]).any()
    inside = first.box.contains(nuclei.points) & (nuclei.label == 1)
    assert first.nuclei == np.count_nonzero(inside), "what is shown is what was counted"
    assert len({(field.box.x, field.box.y) for field in (first, second, third)}) == 3


@pytest.mark.parametrize("size_px0", [(300, 200), (513, 4000), (1445, 1445)])
def test_fields_lie_on_the_slide_and_apart(size_px0: tuple[int, int]) -> None:
    nuclei = make_nuclei(4000)
    nuclei = nuclei.take((nuclei.x < size_px0[0]) & (nuclei.y < size_px0[1]))
    fields = _fields(nuclei, np.ones(len(nuclei), np.uint8), size_px0)
    assert fields
    for number, field in enumerate(fields):
        assert field.box.x >= 0
        assert field.box.right <= size_px0[0]
        assert field.box.bottom <= size_px0[1]
        assert all(field.box.intersect(other.box).area == 0 for other in fields[:number])


def test_one_nucleus_gives_one_field_and_none_gives_none() -> None:
    one = make_nuclei(9).take(np.array([4]))
    one = replace(one, label=np.ones(1, np.uint8))
    assert [field.nuclei for field in _fields(one, np.array([2], np.uint8))] == [1]
    assert _fields(one, np.array([255], np.uint8)) == []
    assert _fields(Nuclei.empty(CLASSES), np.zeros(0, np.uint8)) == []


def test_most_doubtful_nuclei_come_first() -> None:
    nuclei = make_nuclei(400)
    rows = np.arange(0, 400, 3)
    chosen = most_doubtful(nuclei, rows=rows)
    certainty = certainty_of(nuclei)
    assert set(chosen) <= set(rows)
    assert (np.diff(certainty[chosen]) >= 0).all()
    assert certainty[chosen[-1]] <= np.delete(certainty[rows], np.isin(rows, chosen)).min()
    earlier = replace(nuclei, measurements={})
    assert (certainty_of(earlier) == nuclei.confidence).all()
