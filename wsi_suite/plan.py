"""What is to be done on one slide, and what was learned of it on the way.

``slide.json`` in a results folder keeps the second part, so that a rerun, ``detect`` and ``score``
need neither the slide nor a second search for tissue.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wsi_suite.config import Settings
from wsi_suite.errors import OutputError
from wsi_suite.files import whole_file
from wsi_suite.geometry import Roi, Scale
from wsi_suite.slides.grid import (
    TileGrid,
    chunks_in_rois,
    chunks_with_tissue,
    plan_grid,
)
from wsi_suite.slides.slide import open_slide
from wsi_suite.slides.tissue import TissueMask, find_tissue
from wsi_suite.staining.deconvolution import StainVectors
from wsi_suite.staining.glass import glass_dab_od

if TYPE_CHECKING:
    from shapely.geometry import MultiPolygon

    from wsi_suite.slides.slide import Slide

log = logging.getLogger(__name__)

SLIDE_FILE = "slide.json"


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
    wanted
        ``(rows, cols)``, whether a chunk is worked on.
    tissue
        Its outline, level-0 pixels.
    glass_dab_od
        DAB that empty glass seems to hold; ``None`` where there is no glass.
    reader, notes
        How the file is read, and what the user should know of that.
    """

    name: str
    width: int
    height: int
    mpp: tuple[float, float]
    scale: Scale
    raster: tuple[int, int]
    wanted: npt.NDArray[np.bool_]
    tissue: MultiPolygon
    glass_dab_od: float | None
    reader: str
    notes: tuple[str, ...]

    @property
    def working_mpp(self) -> tuple[float, float]:
        """Um per working pixel, x and y."""
        return self.mpp[0] * self.scale.x, self.mpp[1] * self.scale.y

    @property
    def tissue_area_mm2(self) -> float:
        """Area of the tissue."""
        return float(self.tissue.area) * self.mpp[0] * self.mpp[1] / 1e6

    def grid(self, *, halo_px: int) -> TileGrid:
        """Plan regions and tiles."""
        return plan_grid(*self.raster, wanted=self.wanted, halo_px=halo_px)


def survey_slide(
    path: Path, settings: Settings, *, read_mpp: float, rois: Sequence[Roi] | None = None
) -> SlideFacts:
    """Open a slide, find its tissue and choose the chunks to work on.

    Inside regions of interest the tissue mask does not apply.

    Raises
    ------
    SlideError
        The slide cannot be read.
    """
    with open_slide(path, mpp=settings.mpp) as slide:
        tissue = find_tissue(slide, settings.tissue)
        raster = slide.raster(read_mpp)
        size = {"width": raster.width, "height": raster.height, "scale": raster.scale}
        if rois is None:
            wanted = chunks_with_tissue(tissue, **size)
        else:
            wanted = chunks_in_rois(rois, **size)
        for note in slide.notes:
            log.info("%s: %s", path.name, note)
        return SlideFacts(
            name=path.name,
            width=slide.width,
            height=slide.height,
            mpp=slide.mpp,
            scale=raster.scale,
            raster=(raster.width, raster.height),
            wanted=wanted,
            tissue=tissue.outline(),
            glass_dab_od=_glass(slide, tissue, settings),
            reader=slide.reader,
            notes=slide.notes,
        )


def write_facts(folder: Path, facts: SlideFacts) -> None:
    """Write ``slide.json``."""
    from shapely import to_wkt

    content = {
        "name": facts.name,
        "width": facts.width,
        "height": facts.height,
        "mpp": list(facts.mpp),
        "level0_px_per_working_px": [facts.scale.x, facts.scale.y],
        "working_size_px": list(facts.raster),
        "tissue_area_mm2": facts.tissue_area_mm2,
        "glass_dab_od": facts.glass_dab_od,
        "reader": facts.reader,
        "notes": list(facts.notes),
        "wanted_chunks": ["".join("#" if chunk else "." for chunk in row) for row in facts.wanted],
        "tissue_outline_wkt": to_wkt(facts.tissue, rounding_precision=1),
    }
    with whole_file(folder / SLIDE_FILE) as partial:
        partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")


def read_facts(folder: Path) -> SlideFacts | None:
    """Read ``slide.json``; ``None`` where there is none.

    Raises
    ------
    OutputError
        The file is damaged.
    """
    from shapely import from_wkt

    path = folder / SLIDE_FILE
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return SlideFacts(
            name=content["name"],
            width=content["width"],
            height=content["height"],
            mpp=(content["mpp"][0], content["mpp"][1]),
            scale=Scale(*content["level0_px_per_working_px"]),
            raster=(content["working_size_px"][0], content["working_size_px"][1]),
            wanted=np.array([[c == "#" for c in row] for row in content["wanted_chunks"]], bool),
            tissue=from_wkt(content["tissue_outline_wkt"]),
            glass_dab_od=content["glass_dab_od"],
            reader=content["reader"],
            notes=tuple(content["notes"]),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{path}: damaged ({error}); give --overwrite") from None


def _glass(slide: Slide, tissue: TissueMask, settings: Settings) -> float | None:
    thumbnail, _ = slide.thumbnail(1024)
    rows = np.linspace(0, tissue.mask.shape[0], thumbnail.shape[0], endpoint=False).astype(int)
    cols = np.linspace(0, tissue.mask.shape[1], thumbnail.shape[1], endpoint=False).astype(int)
    stain = settings.stain
    return glass_dab_od(
        thumbnail,
        tissue.mask[np.ix_(rows, cols)],
        stains=StainVectors(stain.hematoxylin, stain.dab, stain.background),
    )
