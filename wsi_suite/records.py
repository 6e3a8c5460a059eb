"""What is kept of each region of a run until all are done, and how that becomes one table.

``<row>-<col>.parquet``
    the region's nuclei;
``<row>-<col>.tiles``
    a mark, empty: the region's tiles are stored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wsi_suite.analysis import Analysis
from wsi_suite.errors import DataError, OutputError
from wsi_suite.files import whole_file
from wsi_suite.nuclei.parquet import read_nuclei, write_nuclei
from wsi_suite.nuclei.table import Nuclei, concatenate
from wsi_suite.plan import SlideFacts
from wsi_suite.qupath.objects import Shape, at_centroids
from wsi_suite.scoring.regions import points_in_areas
from wsi_suite.slides.grid import SEAM_PX, Region

if TYPE_CHECKING:
    from shapely.geometry import MultiPolygon

_NUCLEI, _TILES = ".parquet", ".tiles"


@dataclass(frozen=True)
class Records:
    """The records of a run; each is there whole or not at all."""

    folder: Path

    def has_nuclei(self, region: Region) -> bool:
        """Return whether the region's nuclei are known."""
        return self._path(region, _NUCLEI).exists()

    def has_tiles(self, region: Region) -> bool:
        """Return whether the region's tiles are stored."""
        return self._path(region, _TILES).exists()

    def keep_nuclei(self, region: Region, nuclei: Nuclei) -> None:
        """Remember the nuclei of a region; grades come last, with the thresholds."""
        none = np.zeros(len(nuclei), np.uint8)
        write_nuclei(nuclei, self._path(region, _NUCLEI), intensity=none, metadata={})

    def mark_tiles(self, region: Region) -> None:
        """Remember that the tiles of a region are stored."""
        with whole_file(self._path(region, _TILES)) as partial:
            partial.touch()

    def forget_tiles(self) -> None:
        """Forget which tiles were stored, as the store is gone."""
        for mark in self.folder.glob(f"*{_TILES}"):
            mark.unlink()

    def read_nuclei(self, region: Region) -> Nuclei:
        """Return the nuclei of a region.

        Raises
        ------
        OutputError
            A crash of the machine has damaged the record; it is removed, so that it is made anew.
        """
        path = self._path(region, _NUCLEI)
        try:
            return read_nuclei(path)[0]
        except DataError as error:
            path.unlink(missing_ok=True)
            raise OutputError(f"{error}; run again to do its region anew") from None

    def remove(self) -> None:
        """Remove all records, as far as the system allows; what else is in their folder stays."""
        for suffix in (_NUCLEI, _TILES):
            for record in self.folder.glob(f"*{suffix}"):
                with suppress(OSError):
                    record.unlink()

    def _path(self, region: Region, suffix: str) -> Path:
        return self.folder / f"{region.row:04d}-{region.col:04d}{suffix}"


def merge_nuclei(
    tables: Sequence[Nuclei],
    analysis: Analysis,
    *,
    facts: SlideFacts,
    shape: Shape = "polygon",
) -> Nuclei:
    """Join the nuclei of regions: each once, in the tissue, sorted by (y, x).

    A nucleus lies where QuPath has the centroid of its shape. It counts only if that place is in
    the tissue, whose area densities divide by, and in a region of interest where there are some.

    Parameters
    ----------
    tables
        Of regions, in a fixed order; x and y are the detected points.
    analysis
        Its model says how near two nuclei may lie.
    facts
        The slide.
    shape
        What QuPath is shown: coordinates are rounded, so that each kind has centroids of its own.
    """
    from wsi_suite.nuclei.detector import suppress_close

    spec, measure = analysis.model.spec, analysis.settings.measure
    nuclei = concatenate(tables) if tables else Nuclei.empty(spec.classes)
    mpp = math.sqrt(facts.mpp[0] * facts.mpp[1])
    twins_px0 = SEAM_PX * math.sqrt(facts.scale.x * facts.scale.y)
    distance_px0 = max(spec.min_distance_um / mpp, twins_px0)
    nuclei = nuclei.take(suppress_close(nuclei.points, nuclei.score, distance_px0))
    nuclei = replace(
        nuclei,
        x=np.round(nuclei.x, 2),
        y=np.round(nuclei.y, 2),
        score=np.round(nuclei.score, 4),
    )
    nuclei = at_centroids(nuclei, shape=shape, radius_px0=measure.disc_radius_um / facts.mpp[0])
    inside = _inside_any([facts.tissue], nuclei)
    if analysis.rois is not None:
        inside &= _inside_any([roi.area for roi in analysis.rois], nuclei)
    return nuclei.take(inside).sorted()


def _inside_any(areas: Sequence[MultiPolygon], nuclei: Nuclei) -> npt.NDArray[np.bool_]:
    inside = np.zeros(len(nuclei), np.bool_)
    for rows in points_in_areas(nuclei.points, areas):
        inside[rows] = True
    return inside
