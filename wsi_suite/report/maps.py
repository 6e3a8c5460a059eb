"""Maps of a slide on a coarse grid: how dense its nuclei lie, and their local H-score."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from shapely.geometry import MultiPolygon

from wsi_suite.geometry import Points
from wsi_suite.nuclei.table import NOT_MEASURABLE

_CELLS_UM = (50, 100, 200, 250, 500, 1000, 2000)
_LONGEST = 120  # cells along a side
_USUAL_NUCLEI = 10  # in a cell: fewer say little
_FEWEST_NUCLEI = 5
_COVERED = 0.25  # of a cell
_FINE = 8  # pixels per side of a cell at which areas are drawn
_OPACITY = 217
_STOPS = 8

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """Square cells over a slide.

    Attributes
    ----------
    cell_um
        Side of a cell.
    columns, rows
        Their numbers; the last ones may reach beyond the slide.
    cell_px0
        Sides of a cell in level-0 pixels, x and y.
    """

    cell_um: int
    columns: int
    rows: int
    cell_px0: tuple[float, float]

    def cell_of(self, points: Points) -> npt.NDArray[np.intp]:
        """Return the number of the cell of each of ``(N, 2)`` points in level-0 pixels."""
        places = np.floor(points / self.cell_px0).astype(np.intp)
        places = np.clip(places, 0, (self.columns - 1, self.rows - 1))
        return np.asarray(places[:, 1] * self.columns + places[:, 0], np.intp)

    def covered(self, area: MultiPolygon | None) -> Floats:
        """Return ``(rows, columns)`` shares of cells that an area covers; ``None``: all of it."""
        if area is None:
            return np.ones((self.rows, self.columns))
        fine = Image.new("L", (self.columns * _FINE, self.rows * _FINE))
        draw = ImageDraw.Draw(fine)
        scale = _FINE / np.asarray(self.cell_px0)
        for polygon in area.geoms:
            for ring, inside in (
                (polygon.exterior, 1),
                *((hole, 0) for hole in polygon.interiors),
            ):
                corners = np.asarray(ring.coords)[:, :2] * scale
                draw.polygon([tuple(corner) for corner in corners.tolist()], fill=inside)
        filled = np.asarray(fine, np.float64)
        cells = filled.reshape(self.rows, _FINE, self.columns, _FINE)
        return np.asarray(cells.mean(axis=(1, 3)))


@dataclass(frozen=True)
class CellMap:
    """A map and its key.

    Attributes
    ----------
    picture
        PNG of one pixel a cell, transparent if there is nothing to say.
    low, high
        Values at both ends of the colours.
    stops
        Colours from the lowest value to the highest, ``#rrggbb``, evenly spaced.
    """

    picture: bytes
    low: float
    high: float
    stops: tuple[str, ...]


def choose_grid(points: Points, *, size_px0: tuple[int, int], mpp: tuple[float, float]) -> Grid:
    """Return the finest grid whose cells hold some nuclei and are not too many.

    Parameters
    ----------
    points
        ``(N, 2)`` nuclei, level-0 pixels.
    size_px0
        Of the slide.
    mpp
        Um per level-0 pixel, x and y.
    """
    grid = _grid(_CELLS_UM[-1], size_px0=size_px0, mpp=mpp)
    for cell_um in reversed(_CELLS_UM):
        finer = _grid(cell_um, size_px0=size_px0, mpp=mpp)
        if max(finer.columns, finer.rows) > _LONGEST:
            break
        if len(points):
            counts = np.bincount(finer.cell_of(points))
            if max(finer.columns, finer.rows) > 5 and np.median(counts[counts > 0]) < _USUAL_NUCLEI:
                break
        grid = finer
    return grid


def _grid(cell_um: int, *, size_px0: tuple[int, int], mpp: tuple[float, float]) -> Grid:
    cell_px0 = (cell_um / mpp[0], cell_um / mpp[1])
    columns, rows = (
        max(1, int(np.ceil(size / cell))) for size, cell in zip(size_px0, cell_px0, strict=True)
    )
    return Grid(cell_um, columns, rows, cell_px0)


def density_map(points: Points, *, grid: Grid, covered: Floats) -> CellMap | None:
    """Return the map of nuclei per mm2 of tissue; ``None`` without nuclei.

    Parameters
    ----------
    points
        ``(N, 2)`` nuclei, level-0 pixels.
    grid
        The cells.
    covered
        ``(rows, columns)`` shares of the cells that are tissue, and scored.
    """
    counts = np.bincount(grid.cell_of(points), minlength=covered.size).reshape(covered.shape)
    area_mm2 = covered * (grid.cell_um / 1000) ** 2
    shown = covered >= _COVERED
    values = np.where(shown, counts / np.maximum(area_mm2, 1e-9), np.nan)
    if not counts[shown].any():
        return None
    high = float(np.nanpercentile(values, 99))
    return _coloured(values, low=0.0, high=_rounded_up(high), colours="cividis")


def h_score_map(
    points: Points, grades: npt.NDArray[np.uint8], *, grid: Grid, covered: Floats
) -> CellMap | None:
    """Return the map of local H-scores; ``None`` if no cell has enough nuclei.

    It ends at 100, 200 or 300, above nearly all of them.

    Parameters
    ----------
    points, grades
        ``(N, 2)`` nuclei, level-0 pixels, and ``(N,)`` their intensities.
    grid, covered
        As for :func:`density_map`.
    """
    measured = grades != NOT_MEASURABLE
    cells = grid.cell_of(points[measured])
    counts = np.bincount(cells, minlength=covered.size)
    sums = np.bincount(cells, grades[measured], minlength=covered.size)
    values = np.where(counts >= _FEWEST_NUCLEI, 100 * sums / np.maximum(counts, 1), np.nan)
    if np.isnan(values).all():
        return None
    usual = float(np.nanpercentile(values, 99))
    high = next((end for end in (100.0, 200.0) if usual <= end), 300.0)
    return _coloured(values.reshape(covered.shape), low=0.0, high=high, colours="viridis")


def _coloured(values: Floats, *, low: float, high: float, colours: str) -> CellMap:
    from matplotlib import colormaps

    scale = colormaps[colours]
    shown = np.isfinite(values)
    share = np.clip((np.where(shown, values, low) - low) / (high - low), 0, 1)
    pixels = np.array(scale(share, bytes=True))  # a copy: the colours' own may be shared
    pixels[..., 3] = np.where(shown, _OPACITY, 0)
    pixels[~shown, :3] = 0
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    stops = scale(np.linspace(0, 1, _STOPS), bytes=True)[:, :3].tolist()
    hexadecimal = tuple("#{:02x}{:02x}{:02x}".format(*stop) for stop in stops)
    return CellMap(file.getvalue(), low, high, hexadecimal)


def _rounded_up(value: float) -> float:
    """Return the next of 1, 1.5, 2, 3, 5, 7 times a power of ten."""
    if not value > 0:
        return 1.0
    unit = 10.0 ** np.floor(np.log10(value))
    return float(
        next(step * unit for step in (1, 1.5, 2, 3, 5, 7, 10) if step * unit >= value * 0.9999)
    )
