"""Tissue in places of a slide that cannot be read: it is left out of results, and told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from wsi_suite.analysis.facts import SlideFacts, outline_text
from wsi_suite.errors import SlideError
from wsi_suite.geometry import Box
from wsi_suite.nuclei.quality import QualityKind, SlideQuality

if TYPE_CHECKING:
    from shapely.geometry import MultiPolygon
    from shapely.geometry.base import BaseGeometry


def without_unreadable(facts: SlideFacts, lost: Iterable[Box]) -> SlideFacts:
    """Return the facts of a slide, its tissue without the unreadable area.

    Left out is what cannot be read and a margin about it: a detector and the measurement of stain
    see as far. In the rest, nuclei are those of the undamaged slide.

    Parameters
    ----------
    facts
        Facts of the whole slide.
    lost
        What cannot be read, working pixels.

    Raises
    ------
    SlideError
        Nothing is left of the tissue.
    """
    area = _area_px0(facts, lost)
    missing = area.intersection(facts.tissue)
    if missing.is_empty or missing.area == 0:
        return facts
    left = _polygons(facts.tissue.difference(area))
    if left.is_empty:
        raise SlideError(
            f"{facts.name}: none of its tissue can be read; the file is damaged, copy it again"
        )
    mpp = (facts.working_mpp[0] * facts.working_mpp[1]) ** 0.5
    found = QualityKind(
        mpp=round(mpp, 4),
        sampled_share=1.0,
        judged_share=1.0,
        wkt=outline_text(_polygons(missing)),
    )
    unknown = QualityKind(reason="not looked for")
    quality = facts.quality or SlideQuality(focus=unknown, pen=unknown)
    return replace(facts, tissue=left, quality=quality.model_copy(update={"unreadable": found}))


def _area_px0(facts: SlideFacts, lost: Iterable[Box]) -> MultiPolygon:
    from shapely.geometry import box
    from shapely.ops import unary_union

    plane = Box(0, 0, *facts.raster)
    cells = sorted(set(lost), key=lambda cell: (cell.y, cell.x, cell.height, cell.width))
    parts = [cell.expand(facts.halo_px).intersect(plane) for cell in cells]
    x, y = facts.scale.x, facts.scale.y
    # What is left of the last working pixel of a row or column belongs to it.
    return _polygons(
        unary_union(
            [
                box(
                    part.x * x,
                    part.y * y,
                    facts.width if part.right == plane.right else part.right * x,
                    facts.height if part.bottom == plane.bottom else part.bottom * y,
                )
                for part in parts
            ]
        )
    )


def _polygons(area: BaseGeometry) -> MultiPolygon:
    """Return the polygons of an area; lines and points, which have no area, are left out."""
    from shapely import get_parts
    from shapely.geometry import MultiPolygon, Polygon

    return MultiPolygon([part for part in get_parts(area) if isinstance(part, Polygon)])
