"""Survey of a slide before it is analysed: thumbnail, tissue and the chunks to work on."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wsi_suite.analysis.facts import SlideFacts
from wsi_suite.analysis.quality import Artefacts, find_artefacts, outline_to_the_edge
from wsi_suite.analysis.slide_record import as_stored
from wsi_suite.analysis.stain_sample import sample_fields, sample_pixels, sampled_stains
from wsi_suite.config import MeasureSettings, QualitySettings, Settings, TissueSettings
from wsi_suite.errors import PixelSizeError, SlideError
from wsi_suite.geometry import Roi
from wsi_suite.scoring.regions import scored_rois
from wsi_suite.slides.chunks import (
    CELL_PX,
    CHUNK_PX,
    chunk_shape,
    chunks_in_rois,
    chunks_of_cells,
    chunks_with_tissue,
)
from wsi_suite.slides.grid import BLOCK_PX, SEAM_PX, TILE_PX
from wsi_suite.slides.one_pass import read_whole
from wsi_suite.slides.slide import Raster, Slide, open_slide
from wsi_suite.slides.tissue import TissueMask, is_fluorescence, tissue_of
from wsi_suite.staining.deconvolution import Vector
from wsi_suite.staining.glass import glass_colour
from wsi_suite.staining.measurement import halo_um

if TYPE_CHECKING:
    from shapely.geometry import MultiPolygon

    from wsi_suite.detector.model_folder import ModelSpec

log = logging.getLogger(__name__)

_COARSE = 1.05  # working over wanted resolution: from here the user is told
_TOO_COARSE = 1.5  # nuclei are too small for the network
_GLASS_COVERED = (
    "All glass that the slide shows lies under air bubbles: the colour of empty glass is not "
    "known, and whether the background of the stains fits (stain.background) was not checked."
)


@dataclass(frozen=True, eq=False)
class Overview:
    """Thumbnail and tissue mask of a slide; independent of regions and model.

    Attributes
    ----------
    thumbnail
        ``(H, W, 3)`` uint8, the whole slide.
    tissue
        Where its tissue is.
    outline
        The border of that, level-0 pixels.
    artefacts
        What is wrong with it, and where.
    """

    thumbnail: npt.NDArray[np.uint8]
    tissue: TissueMask
    outline: MultiPolygon
    artefacts: Artefacts

    @property
    def glass_rgb(self) -> Vector | None:
        """Colour of empty glass that lies under no air bubble; ``None`` if there is none."""
        return glass_colour(self.thumbnail, self.artefacts.clear_glass)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about the tissue and the glass, for all who use the results."""
        glass = self.tissue.glass
        if not glass.any() or self.artefacts.clear_glass.any():
            return self.tissue.warnings
        return (*self.tissue.warnings, _GLASS_COVERED)


def look_at_slide(slide: Slide, settings: TissueSettings) -> Overview:
    """Look at a whole slide: find its tissue and artefacts, which takes seconds on a large one.

    Raises
    ------
    SlideError
        The slide cannot be read, or is no brightfield one.
    """
    raster = slide.raster(settings.mpp)
    thumbnail, rgb = read_whole([slide.thumbnail_raster(1024), raster])
    if is_fluorescence(thumbnail):
        raise SlideError(
            f"{slide.path}: dark, with light in single colours, as fluorescence is; expected a "
            "brightfield slide"
        )
    tissue = tissue_of(rgb, raster, settings)
    del rgb  # the mask keeps its picture
    outline = outline_to_the_edge(tissue.mask, tissue, slide)
    return Overview(thumbnail, tissue, outline, find_artefacts(slide, tissue))


def facts_of(
    slide: Slide,
    overview: Overview,
    settings: Settings,
    *,
    spec: ModelSpec,
    rois: Sequence[Roi] | None = None,
) -> SlideFacts:
    """Return the facts of a slide, with the chunks to work on.

    Nuclei are looked for where there is tissue and, if regions of interest are given, near these.

    Raises
    ------
    PixelSizeError
        Its pixels are too coarse for the model.
    """
    raster = slide.raster(spec.read_mpp)
    notes = slide.notes + coarseness(slide.path, raster, read_mpp=spec.read_mpp)
    cells = chunks_with_tissue(
        overview.tissue,
        width=raster.width,
        height=raster.height,
        scale=raster.scale,
        chunk_px=CELL_PX,
        margin_px0=_shift_um(raster, settings) / min(slide.mpp),
    )
    in_tissue = chunks_of_cells(cells, cells_per_chunk=CHUNK_PX // CELL_PX)
    wanted = in_tissue & _near_rois(raster, rois, settings=settings, spec=spec)
    glass = overview.glass_rgb
    fields = sample_fields(overview.tissue, raster, wanted=wanted, chunk_px=CHUNK_PX)
    facts = SlideFacts(
        name=slide.path.name,
        width=slide.width,
        height=slide.height,
        mpp=slide.mpp,
        scale=raster.scale,
        raster=(raster.width, raster.height),
        block_px=BLOCK_PX,
        tile_px=TILE_PX,
        chunk_px=CHUNK_PX,
        halo_px=needed_halo_px(spec, settings.measure, mpp=raster.mpp),
        wanted=wanted,
        cell_px=CELL_PX,
        tissue_cells=cells,
        tissue=_counted(slide, overview, settings.quality),
        glass_rgb=glass,
        stains=sampled_stains(sample_pixels(raster.read, fields), glass=glass),
        reader=slide.reader,
        notes=notes,
        warnings=overview.warnings + _unseen_warnings(slide),
        quality=overview.artefacts.quality.model_copy(
            update={"excluded": settings.quality.exclude}
        ),
        sample=fields,
    )
    # As slide.json will hold them, so that a run that goes on computes with the very same numbers.
    return as_stored(facts)


def needed_halo_px(spec: ModelSpec, measure: MeasureSettings, *, mpp: tuple[float, float]) -> int:
    """Return how many real pixels are needed about a core: for the network and for measuring.

    Parameters
    ----------
    spec, measure
        The model, and how stain is measured.
    mpp
        um per working pixel, x and y.
    """
    measuring = math.ceil(halo_um(measure) / min(mpp)) + SEAM_PX
    align = spec.network.align_px
    return -(-max(spec.halo_px, measuring) // align) * align


def survey_slide(
    path: Path, settings: Settings, *, spec: ModelSpec, rois: Sequence[Roi] | None = None
) -> SlideFacts:
    """Open a slide, look at it and choose the chunks to work on; errors as the parts raise them."""
    with open_slide(path, mpp=settings.mpp, mend=True) as slide:
        overview = look_at_slide(slide, settings.tissue)
        facts = facts_of(slide, overview, settings, spec=spec, rois=rois)
    for note in facts.notes:
        log.info("%s: %s", path.name, note)
    return facts


def _shift_um(raster: Raster, settings: Settings) -> float:
    """Return how far a nucleus may be detected from where it counts, its outline's centre."""
    return settings.measure.max_radius_um + SEAM_PX * max(raster.mpp)


def _near_rois(
    raster: Raster, rois: Sequence[Roi] | None, *, settings: Settings, spec: ModelSpec
) -> npt.NDArray[np.bool_]:
    """Return for each chunk whether its nuclei matter in regions of interest.

    They do beyond the border, too: a nucleus is counted where its outline has its centre, which is
    not where it was detected, and a stronger neighbour suppresses a weaker one.
    """
    rois = scored_rois(rois or ())
    if not rois:
        return np.ones(chunk_shape(raster.width, raster.height, chunk_px=CHUNK_PX), bool)
    margin_um = _shift_um(raster, settings) + 3 * spec.reach_um
    return chunks_in_rois(
        rois,
        width=raster.width,
        height=raster.height,
        scale=raster.scale,
        chunk_px=CHUNK_PX,
        margin_px0=margin_um / min(raster.slide.mpp),
    )


def _unseen_warnings(slide: Slide) -> tuple[str, ...]:
    """Return a sentence if the search for tissue met damaged places."""
    if not slide.lost_px0:
        return ()
    mm2 = slide.lost_px0 * slide.mpp[0] * slide.mpp[1] / 1e6
    return (
        f"{mm2:.2f} mm² of the slide cannot be read, and were taken for tissue or glass by what "
        "surrounds them: the file is damaged, copy it again and give --overwrite.",
    )


def _counted(slide: Slide, overview: Overview, settings: QualitySettings) -> MultiPolygon:
    """Return the outline of the tissue that counts.

    Artefacts that are left out stay in the chunks that are worked on, so that what is found in the
    rest is what would be found without leaving anything out.
    """
    if not settings.exclude:
        return overview.outline
    out = np.logical_or.reduce([overview.artefacts.masks[kind] for kind in settings.exclude])
    return outline_to_the_edge(overview.tissue.mask & ~out, overview.tissue, slide)


def coarseness(path: Path, raster: Raster, *, read_mpp: float) -> tuple[str, ...]:
    """Refuse pixels that show too little for the network, or say that they show less."""
    mpp = math.sqrt(raster.mpp[0] * raster.mpp[1])
    if mpp > _TOO_COARSE * read_mpp:
        raise PixelSizeError(
            f"{path}: {mpp:.3g} um per pixel is too coarse for a model that reads {read_mpp:g}; "
            "scan at a higher magnification, or correct a wrong pixel size with --mpp"
        )
    if mpp > _COARSE * read_mpp:
        return (f"{mpp:.3g} um per pixel, coarser than the {read_mpp:g} that the model reads",)
    return ()
