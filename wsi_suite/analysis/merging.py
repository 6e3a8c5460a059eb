"""Merging the nuclei of all blocks into one table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wsi_suite.analysis.facts import SlideFacts
from wsi_suite.analysis.request import Analysis
from wsi_suite.nuclei.table import Nuclei, concatenate
from wsi_suite.qupath.objects import Shape, at_centroids
from wsi_suite.scoring.regions import points_in_areas, rows_that_count
from wsi_suite.slides.grid import SEAM_PX

if TYPE_CHECKING:
    from shapely.geometry import MultiPolygon


def merge_nuclei(
    tables: Sequence[Nuclei],
    analysis: Analysis,
    *,
    facts: SlideFacts,
    shape: Shape = "polygon",
) -> Nuclei:
    """Join the nuclei of blocks: each once, in the tissue, sorted by (y, x).

    A nucleus lies where QuPath has the centroid of its shape. It counts only if that place is in
    the tissue, whose area densities divide by, and in a region of interest if there are some, but
    in none of class ``Ignore*``.

    Parameters
    ----------
    tables
        Of blocks, in a fixed order; x and y are the detected points.
    analysis
        Its model says how near two nuclei may lie.
    facts
        The slide.
    shape
        What QuPath is shown: coordinates are rounded, so that each kind has centroids of its own.
    """
    from wsi_suite.detector.detector import suppress_close

    spec, measure = analysis.model.spec, analysis.settings.measure
    nuclei = concatenate(tables) if tables else Nuclei.empty(spec.classes)
    mpp = math.sqrt(facts.mpp[0] * facts.mpp[1])
    twins_px0 = SEAM_PX * math.sqrt(facts.scale.x * facts.scale.y)
    distance_px0 = max(spec.min_distance_um / mpp, twins_px0)
    nuclei = nuclei.take(suppress_close(nuclei.points, nuclei.confidence, distance_px0))
    nuclei = replace(
        nuclei,
        x=np.round(nuclei.x, 2),
        y=np.round(nuclei.y, 2),
        confidence=np.round(nuclei.confidence, 4),
    )
    nuclei = at_centroids(nuclei, shape=shape, radius_px0=measure.disc_radius_um / facts.mpp[0])
    inside = _inside_any([facts.tissue], nuclei)
    if analysis.rois is not None:
        counts = np.zeros(len(nuclei), np.bool_)
        counts[rows_that_count(nuclei.points, analysis.rois)] = True
        inside &= counts
    return replace(nuclei.take(inside).sorted(), mpp=facts.mpp)


def _inside_any(areas: Sequence[MultiPolygon], nuclei: Nuclei) -> npt.NDArray[np.bool_]:
    inside = np.zeros(len(nuclei), np.bool_)
    for rows in points_in_areas(nuclei.points, areas):
        inside[rows] = True
    return inside
