"""Maps of the slide on its page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from shapely.geometry import MultiPolygon, box
from shapely.geometry.base import BaseGeometry
from shapely.ops import unary_union

from wsi_suite.geometry import Box, Roi
from wsi_suite.pages import inline
from wsi_suite.report.drawing import area_path, jpeg
from wsi_suite.report.fields import Field
from wsi_suite.report.maps import CellMap, choose_grid, density_map, h_score_map
from wsi_suite.report.quality_map import QualityMap, show_quality
from wsi_suite.report.spots import ShownSpot
from wsi_suite.scoring.names import short_name
from wsi_suite.scoring.regions import ignored_area, polygons_of

if TYPE_CHECKING:
    from wsi_suite.report.slide_page import SlideResult

_THUMBNAIL_PX = 1100
_QUALITY = 80
_MARGIN = 0.05  # of the longest side of what is shown
_BAR_SHARE = 6  # of the width that the scale bar takes at most

_LETTER_WIDTH = 0.6  # of a letter's height, in bold
_SHORTEST_NAME = 8


@dataclass(frozen=True)
class Layer:
    """One map: its picture, and its key."""

    name: str
    title: str
    picture: str
    low: str
    high: str
    unit: str
    stops: tuple[str, ...]


@dataclass(frozen=True)
class ShownRegion:
    """A region of interest on the map."""

    name: str
    path: str
    x: int
    y: int


@dataclass(frozen=True)
class Maps:
    """The maps of a slide; all lengths are level-0 pixels.

    Attributes
    ----------
    view
        The part of the slide that is shown.
    thumbnail
        Its picture, or an empty text.
    thumbnail_place
        Left, top, width and height of the picture.
    tissue, ignored
        Paths of the outlines of the tissue and of what regions of class ``Ignore*`` leave out, or
        empty texts.
    regions, layers, fields, spots
        What is drawn over it.
    quality
        Artefacts; ``None`` if the result is of a version that looked for none.
    grid_size
        Level-0 pixels that the pictures of layers span.
    cell_um
        Side of the cells of layers.
    bar_um, bar_px0
        Length of the scale bar.
    """

    view: Box
    thumbnail: str
    thumbnail_place: tuple[float, float, float, float]
    tissue: str
    ignored: str
    regions: tuple[ShownRegion, ...]
    layers: tuple[Layer, ...]
    fields: tuple[Field, ...]
    spots: tuple[ShownSpot, ...]
    quality: QualityMap | None
    grid_size: tuple[float, float]
    cell_um: int
    bar_um: float
    bar_px0: float

    @property
    def unit(self) -> float:
        """Level-0 pixels of one hundredth of the longest side: lines and letters follow it."""
        return max(self.view.width, self.view.height) / 100

    @property
    def region_letters(self) -> float:
        """Height of the names of regions: smaller if there are many, as in a tissue microarray."""
        return _letters(self.unit, len(self.regions))


def show_maps(
    result: SlideResult,
    grades: npt.NDArray[np.uint8],
    *,
    scored: npt.NDArray[np.int_],
    fields: Sequence[Field],
    spots: Sequence[ShownSpot] = (),
) -> Maps:
    """Return the maps of a slide.

    Parameters
    ----------
    result
        The slide's.
    grades
        ``(N,)`` intensities of all nuclei.
    scored
        Rows of the nuclei that are scored.
    fields, spots
        Fields and hot-spots to mark.
    """
    provenance = result.provenance
    width, height = provenance.size_px0
    tissue = provenance.tissue()
    points = result.nuclei.points[scored]
    grid = choose_grid(points, size_px0=(width, height), mpp=provenance.mpp)
    covered = grid.covered(_scored_area(result, tissue))
    view = _view(result, tissue)
    tolerance = max(view.width, view.height) / _THUMBNAIL_PX
    name = result.summary.headline.class_name
    of_class = np.ones(len(scored), np.bool_)
    if name in result.nuclei.classes:
        of_class = result.nuclei.label[scored] == result.nuclei.classes.index(name)
    layers = [
        _layer(
            "density",
            "Density of all nuclei",
            density_map(points, grid=grid, covered=covered),
            unit="per mm²",
        ),
    ]
    if result.summary.no_verdict is None:
        layers.append(
            _layer(
                "h-score",
                f"Local H-score, {name}",
                h_score_map(points[of_class], grades[scored][of_class], grid=grid, covered=covered),
                unit="",
            )
        )
    thumbnail, thumbnail_place = _thumbnail(result, view)
    bar_um = _bar_um(view.width * provenance.mpp[0] / _BAR_SHARE)
    return Maps(
        view=view,
        thumbnail=thumbnail,
        thumbnail_place=thumbnail_place,
        tissue="" if tissue is None else area_path(tissue, tolerance_px0=tolerance),
        ignored=area_path(ignored_area(result.drawn), tolerance_px0=tolerance),
        regions=_regions(result.rois, view, tolerance_px0=tolerance),
        layers=tuple(layer for layer in layers if layer is not None),
        fields=tuple(fields),
        spots=tuple(spots),
        quality=show_quality(
            provenance.quality,
            result.summary.quality,
            draw=partial(area_path, tolerance_px0=tolerance),
        ),
        grid_size=(grid.columns * grid.cell_px0[0], grid.rows * grid.cell_px0[1]),
        cell_um=grid.cell_um,
        bar_um=bar_um,
        bar_px0=bar_um / provenance.mpp[0],
    )


def _view(result: SlideResult, tissue: MultiPolygon | None) -> Box:
    """Return the part of a slide with its tissue, artefacts and regions, and some margin."""
    whole = Box(0, 0, *result.provenance.size_px0)
    areas = [] if tissue is None else [tissue]
    if result.provenance.quality is not None:
        areas += [kind.area() for _, kind in result.provenance.quality.kinds()]
    areas += [roi.area for roi in result.rois]
    bounds = [area.bounds for area in areas if not area.is_empty]
    if not bounds:
        return whole
    left, top, *_ = np.floor(np.min(bounds, axis=0)).astype(int).tolist()
    *_, right, bottom = np.ceil(np.max(bounds, axis=0)).astype(int).tolist()
    margin = 1 + int(_MARGIN * max(right - left, bottom - top))
    view = Box(left, top, right - left, bottom - top).expand(margin).intersect(whole)
    return view if view.area else whole


def _thumbnail(result: SlideResult, view: Box) -> tuple[str, tuple[float, float, float, float]]:
    """Return the picture of a part of a slide, and its left, top, width and height."""
    if result.thumbnail is None:
        return "", (0.0, 0.0, 0.0, 0.0)
    pixels, scale = result.thumbnail
    whole = Box(0, 0, pixels.shape[1], pixels.shape[0])
    part = scale.box_from_level0(view).intersect(whole)
    part = part if part.area else whole
    picture = jpeg(pixels[part.within(whole)], largest_px=_THUMBNAIL_PX, quality=_QUALITY)
    x, y = part.x * scale.x, part.y * scale.y
    return inline(picture, "jpeg"), (x, y, part.width * scale.x, part.height * scale.y)


def _layer(name: str, title: str, drawn: CellMap | None, *, unit: str) -> Layer | None:
    if drawn is None:
        return None
    return Layer(
        name=name,
        title=title,
        picture=inline(drawn.picture),
        low=f"{drawn.low:,.0f}",
        high=f"{drawn.high:,.0f}",
        unit=unit,
        stops=drawn.stops,
    )


def _regions(rois: Sequence[Roi], view: Box, *, tolerance_px0: float) -> tuple[ShownRegion, ...]:
    """Return regions with names that are hardly wider than they are."""
    letters = _letters(max(view.width, view.height) / 100, len(rois))
    shown = []
    for roi in rois:
        left, top, right, _ = roi.area.bounds
        fits = int((right - left) / (_LETTER_WIDTH * letters))
        name = short_name(roi.name, longest=max(_SHORTEST_NAME, fits))
        path = area_path(roi.area, tolerance_px0=tolerance_px0)
        shown.append(ShownRegion(name, path, max(0, round(left)), max(0, round(top))))
    return tuple(shown)


def _letters(unit: float, regions: int) -> float:
    return float(3.2 * unit * min(1.0, (12 / max(1, regions)) ** 0.5))


def _scored_area(result: SlideResult, tissue: MultiPolygon | None) -> MultiPolygon | None:
    """Return the tissue that is scored, ``None`` if it is not known: all of the slide."""
    if not result.drawn:
        return tissue
    whole = box(0, 0, *result.provenance.size_px0)
    area: BaseGeometry = whole if tissue is None else tissue
    if result.rois:
        area = area.intersection(unary_union([roi.area for roi in result.rois]))
    return MultiPolygon(polygons_of(area.difference(ignored_area(result.drawn))))


def _bar_um(longest_um: float) -> float:
    """Return the longest of 1, 2 or 5 x 10^n um that fits."""
    unit = 10.0 ** np.floor(np.log10(longest_um))
    return float(max(step * unit for step in (1, 2, 5) if step * unit <= longest_um * 1.001))
