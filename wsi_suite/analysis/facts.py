"""Facts of a slide that later steps need: size, scale, tissue and the chunks to work on.

``slide.json`` in a results folder keeps them (:mod:`~wsi_suite.analysis.slide_record`), so that a
rerun, ``detect`` and ``score`` need neither the slide nor a second search for tissue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wsi_suite.geometry import Box, Scale
from wsi_suite.nuclei.quality import SlideQuality
from wsi_suite.slides.grid import TileGrid, plan_grid

if TYPE_CHECKING:
    from shapely.geometry import MultiPolygon

    from wsi_suite.analysis.stain_sample import SampledStains


@dataclass(frozen=True, eq=False)
class SlideFacts:
    """Size, scale, tissue and work plan of a slide.

    Attributes
    ----------
    name
        The file's name.
    width, height
        Level-0 pixels inside the bounds.
    mpp
        um per level-0 pixel, x and y.
    scale
        Level-0 pixels per working pixel.
    raster
        Width and height in working pixels.
    block_px, tile_px, chunk_px
        Sides of blocks, tiles and chunks: a run that goes on keeps what it was begun with.
    halo_px
        Real pixels about tissue that are shown to a detector, and stored with it.
    wanted
        ``(rows, cols)``, whether nuclei are looked for in a chunk.
    cell_px, tissue_cells
        Side of cells, and ``(rows, cols)``, whether a cell holds tissue or is next to some.
    tissue
        Its outline, level-0 pixels, without artefacts that are left out: nuclei count in it only.
    glass_rgb
        Colour of empty glass; ``None`` if there is none.
    glass_dab_od
        DAB that empty glass seemed to hold, in facts of earlier versions, which lack its colour.
    stains
        Stains that a sample of its tissue shows; ``None`` in facts of earlier versions.
    reader, notes
        How the file is read, and what the user should know of that.
    warnings
        What everybody who uses the results should read of the search for tissue.
    quality
        Artefacts that were found; ``None`` in facts of earlier versions.
    sample
        Fields of its tissue that are looked at closely, in working pixels; ``None`` in facts of
        earlier versions.
    """

    name: str
    width: int
    height: int
    mpp: tuple[float, float]
    scale: Scale
    raster: tuple[int, int]
    block_px: int
    tile_px: int
    chunk_px: int
    halo_px: int
    wanted: npt.NDArray[np.bool_]
    cell_px: int
    tissue_cells: npt.NDArray[np.bool_]
    tissue: MultiPolygon
    glass_rgb: tuple[float, float, float] | None
    reader: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    glass_dab_od: float | None = None
    stains: SampledStains | None = None
    quality: SlideQuality | None = None
    sample: tuple[Box, ...] | None = None

    @property
    def working_mpp(self) -> tuple[float, float]:
        """Um per working pixel, x and y."""
        return self.mpp[0] * self.scale.x, self.mpp[1] * self.scale.y

    @property
    def tissue_area_mm2(self) -> float:
        """Area of the tissue."""
        return float(self.tissue.area) * self.mpp[0] * self.mpp[1] / 1e6

    def grid(self, *, align_px: int, fitted: bool = False) -> TileGrid:
        """Plan blocks and tiles; see :func:`~wsi_suite.slides.grid.plan_grid`."""
        return plan_grid(
            *self.raster,
            wanted=self.wanted,
            tissue=self.tissue_cells,
            cell_px=self.cell_px,
            halo_px=self.halo_px,
            align_px=align_px,
            fitted=fitted,
            tile_px=self.tile_px,
            block_px=self.block_px,
            chunk_px=self.chunk_px,
        )


def outline_text(tissue: MultiPolygon) -> str:
    """Return the outline of tissue as WKT, to 0.1 px; facts that were read back keep every bit."""
    from shapely import to_wkt

    return str(to_wkt(tissue, rounding_precision=1))
