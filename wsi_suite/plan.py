"""What is to be done on one slide, and what was learned of it on the way.

``slide.json`` in a results folder keeps the second part, so that a rerun, ``detect`` and ``score``
need neither the slide nor a second search for tissue.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wsi_suite.config import MeasureSettings, Settings, TissueSettings
from wsi_suite.errors import OutputError, PixelSizeError, SlideError
from wsi_suite.files import whole_file
from wsi_suite.geometry import Roi, Scale
from wsi_suite.run_folder import SLIDE_FILE
from wsi_suite.slides.grid import (
    CHUNK_PX,
    REGION_PX,
    SEAM_PX,
    TILE_PX,
    TileGrid,
    chunk_shape,
    chunks_in_rois,
    chunks_with_tissue,
    plan_grid,
)
from wsi_suite.slides.slide import Raster, Slide, open_slide
from wsi_suite.slides.tissue import TissueMask, find_tissue, is_fluorescence
from wsi_suite.staining.deconvolution import StainVectors
from wsi_suite.staining.glass import glass_dab_od
from wsi_suite.staining.measurement import halo_um

if TYPE_CHECKING:
    from shapely.geometry import MultiPolygon

    from wsi_suite.nuclei.weights import ModelSpec

log = logging.getLogger(__name__)

_COARSE = 1.05  # working over wanted resolution: from here the user is told
_TOO_COARSE = 1.5  # nuclei are too small for the network


@dataclass(frozen=True, eq=False)
class SlideFacts:
    """What later steps need to know of a slide.

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
    region_px, tile_px, chunk_px
        Sides of regions, tiles and chunks: a run that goes on keeps what it was begun with.
    halo_px
        Real pixels about tissue that are shown to a detector, and stored with it.
    wanted
        ``(rows, cols)``, whether nuclei are looked for in a chunk.
    tissue_chunks
        ``(rows, cols)``, whether a chunk holds tissue or is next to some.
    tissue
        Its outline, level-0 pixels: nuclei count in it only.
    glass_dab_od
        DAB that empty glass seems to hold; ``None`` where there is no glass.
    reader, notes
        How the file is read, and what the user should know of that.
    warnings
        What everybody who uses the results should read of the search for tissue.
    """

    name: str
    width: int
    height: int
    mpp: tuple[float, float]
    scale: Scale
    raster: tuple[int, int]
    region_px: int
    tile_px: int
    chunk_px: int
    halo_px: int
    wanted: npt.NDArray[np.bool_]
    tissue_chunks: npt.NDArray[np.bool_]
    tissue: MultiPolygon
    glass_dab_od: float | None
    reader: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def working_mpp(self) -> tuple[float, float]:
        """Um per working pixel, x and y."""
        return self.mpp[0] * self.scale.x, self.mpp[1] * self.scale.y

    @property
    def tissue_area_mm2(self) -> float:
        """Area of the tissue."""
        return float(self.tissue.area) * self.mpp[0] * self.mpp[1] / 1e6

    def grid(self, *, align_px: int) -> TileGrid:
        """Plan regions and tiles, windows being multiples of `align_px`."""
        return plan_grid(
            *self.raster,
            wanted=self.wanted,
            tissue=self.tissue_chunks,
            halo_px=self.halo_px,
            align_px=align_px,
            tile_px=self.tile_px,
            region_px=self.region_px,
            chunk_px=self.chunk_px,
        )


@dataclass(frozen=True, eq=False)
class Overview:
    """A slide seen from afar: what its regions of interest and the model do not matter for.

    Attributes
    ----------
    thumbnail
        ``(H, W, 3)`` uint8, the whole slide.
    tissue
        Where its tissue is.
    outline
        The border of that, level-0 pixels.
    """

    thumbnail: npt.NDArray[np.uint8]
    tissue: TissueMask
    outline: MultiPolygon


def look_at_slide(slide: Slide, settings: TissueSettings) -> Overview:
    """Look at a whole slide and find its tissue, which takes seconds on a large one.

    Raises
    ------
    SlideError
        The slide cannot be read, or is no brightfield one.
    """
    thumbnail, _ = slide.thumbnail(1024)
    if is_fluorescence(thumbnail):
        raise SlideError(
            f"{slide.path}: dark, with light in single colours, as fluorescence is; expected a "
            "brightfield slide"
        )
    tissue = find_tissue(slide, settings)
    return Overview(thumbnail, tissue, _to_the_edge(tissue, slide))


def facts_of(
    slide: Slide,
    overview: Overview,
    settings: Settings,
    *,
    spec: ModelSpec,
    rois: Sequence[Roi] | None = None,
) -> SlideFacts:
    """Choose the chunks to work on, and put together what is known of a slide.

    Nuclei are looked for where there is tissue and, if regions of interest are given, near these.

    Raises
    ------
    PixelSizeError
        Its pixels are too coarse for the model.
    """
    raster = slide.raster(spec.read_mpp)
    notes = slide.notes + _coarseness(slide.path, raster, read_mpp=spec.read_mpp)
    in_tissue = chunks_with_tissue(
        overview.tissue,
        width=raster.width,
        height=raster.height,
        scale=raster.scale,
        chunk_px=CHUNK_PX,
        margin_px0=_shift_um(raster, settings) / min(slide.mpp),
    )
    near = _near_rois(raster, rois, settings=settings, spec=spec)
    facts = SlideFacts(
        name=slide.path.name,
        width=slide.width,
        height=slide.height,
        mpp=slide.mpp,
        scale=raster.scale,
        raster=(raster.width, raster.height),
        region_px=REGION_PX,
        tile_px=TILE_PX,
        chunk_px=CHUNK_PX,
        halo_px=needed_halo_px(spec, settings.measure, mpp=raster.mpp),
        wanted=in_tissue & near,
        tissue_chunks=in_tissue,
        tissue=overview.outline,
        glass_dab_od=_glass(overview, settings),
        reader=slide.reader,
        notes=notes,
        warnings=overview.tissue.warnings,
    )
    # As slide.json will hold them, so that a run that goes on computes with the very same numbers.
    return _from_plain(_to_plain(facts))


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
    with open_slide(path, mpp=settings.mpp) as slide:
        overview = look_at_slide(slide, settings.tissue)
        facts = facts_of(slide, overview, settings, spec=spec, rois=rois)
    for note in facts.notes:
        log.info("%s: %s", path.name, note)
    return facts


def write_facts(folder: Path, facts: SlideFacts) -> None:
    """Write ``slide.json``."""
    with whole_file(folder / SLIDE_FILE) as partial:
        text = json.dumps(_to_plain(facts), indent=1, ensure_ascii=False)
        partial.write_text(text + "\n", "utf-8")


def read_facts(folder: Path) -> SlideFacts | None:
    """Read ``slide.json``; ``None`` where there is none.

    Raises
    ------
    OutputError
        The file is damaged.
    """
    path = folder / SLIDE_FILE
    try:
        return _from_plain(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(
            f"{path}: damaged ({error}); give --overwrite to 'wsi-suite run'"
        ) from None


def outline_text(tissue: MultiPolygon) -> str:
    """Return the outline of tissue as WKT, to 0.1 px; facts that were read back keep every bit."""
    from shapely import to_wkt

    return str(to_wkt(tissue, rounding_precision=1))


def _to_plain(facts: SlideFacts) -> dict[str, Any]:
    """Return facts as JSON holds them."""
    return {
        "name": facts.name,
        "width": facts.width,
        "height": facts.height,
        "mpp": list(facts.mpp),
        "level0_px_per_working_px": [facts.scale.x, facts.scale.y],
        "working_size_px": list(facts.raster),
        "region_px": facts.region_px,
        "tile_px": facts.tile_px,
        "chunk_px": facts.chunk_px,
        "halo_px": facts.halo_px,
        "tissue_area_mm2": facts.tissue_area_mm2,
        "glass_dab_od": facts.glass_dab_od,
        "reader": facts.reader,
        "notes": list(facts.notes),
        "warnings": list(facts.warnings),
        "wanted_chunks": _drawn(facts.wanted),
        "tissue_chunks": _drawn(facts.tissue_chunks),
        "tissue_outline_wkt": outline_text(facts.tissue),
    }


def _from_plain(content: Mapping[str, Any]) -> SlideFacts:
    from shapely import from_wkt

    return SlideFacts(
        name=content["name"],
        width=content["width"],
        height=content["height"],
        mpp=(content["mpp"][0], content["mpp"][1]),
        scale=Scale(*content["level0_px_per_working_px"]),
        raster=(content["working_size_px"][0], content["working_size_px"][1]),
        region_px=content["region_px"],
        tile_px=content["tile_px"],
        chunk_px=content["chunk_px"],
        halo_px=content["halo_px"],
        wanted=_chunks(content["wanted_chunks"]),
        tissue_chunks=_chunks(content["tissue_chunks"]),
        tissue=from_wkt(content["tissue_outline_wkt"]),
        glass_dab_od=content["glass_dab_od"],
        reader=content["reader"],
        notes=tuple(content["notes"]),
        warnings=tuple(content.get("warnings", ())),
    )


def _drawn(chunks: npt.NDArray[np.bool_]) -> list[str]:
    return ["".join("#" if chunk else "." for chunk in row) for row in chunks]


def _chunks(drawn: Sequence[str]) -> npt.NDArray[np.bool_]:
    return np.array([[char == "#" for char in row] for row in drawn], bool)


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
    if rois is None:
        return np.ones(chunk_shape(raster.width, raster.height, chunk_px=CHUNK_PX), bool)
    margin_um = _shift_um(raster, settings) + 3 * spec.min_distance_um
    return chunks_in_rois(
        rois,
        width=raster.width,
        height=raster.height,
        scale=raster.scale,
        chunk_px=CHUNK_PX,
        margin_px0=margin_um / min(raster.slide.mpp),
    )


def _to_the_edge(tissue: TissueMask, slide: Slide) -> MultiPolygon:
    """Return the outline of tissue in level-0 pixels, up to the slide's edge.

    The mask holds whole pixels only, and ends some micrometres before the slide does.
    """
    import shapely

    rows, columns = tissue.mask.shape
    end = np.array([columns * tissue.scale.x, rows * tissue.scale.y])
    return shapely.transform(
        tissue.outline(),
        lambda points: np.where(points >= end - 1e-6, (slide.width, slide.height), points),
    )


def _coarseness(path: Path, raster: Raster, *, read_mpp: float) -> tuple[str, ...]:
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


def _glass(overview: Overview, settings: Settings) -> float | None:
    stain = settings.stain
    return glass_dab_od(
        overview.thumbnail,
        overview.tissue.glass,
        stains=StainVectors(stain.hematoxylin, stain.dab, stain.background),
    )
