"""Facts of a slide that later steps need: size, scale, tissue and the chunks to work on.

``slide.json`` in a results folder keeps them, so that a rerun, ``detect`` and ``score`` need
neither the slide nor a second search for tissue.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wsi_suite.errors import OutputError
from wsi_suite.files import whole_file
from wsi_suite.geometry import Scale
from wsi_suite.slides.grid import TileGrid, plan_grid

if TYPE_CHECKING:
    from shapely.geometry import MultiPolygon


SLIDE_FILE = "slide.json"
"""What is known of a slide, in the folder of its results."""


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
    block_px: int
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
        """Plan blocks and tiles, windows being multiples of `align_px`."""
        return plan_grid(
            *self.raster,
            wanted=self.wanted,
            tissue=self.tissue_chunks,
            halo_px=self.halo_px,
            align_px=align_px,
            tile_px=self.tile_px,
            block_px=self.block_px,
            chunk_px=self.chunk_px,
        )


def write_facts(folder: Path, facts: SlideFacts) -> None:
    """Write ``slide.json``."""
    with whole_file(folder / SLIDE_FILE) as partial:
        text = json.dumps(facts_to_json(facts), indent=1, ensure_ascii=False)
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
        return facts_from_json(json.loads(path.read_text(encoding="utf-8")))
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


def facts_to_json(facts: SlideFacts) -> dict[str, Any]:
    """Return the content of ``slide.json``."""
    return {
        "name": facts.name,
        "width": facts.width,
        "height": facts.height,
        "mpp": list(facts.mpp),
        "level0_px_per_working_px": [facts.scale.x, facts.scale.y],
        "working_size_px": list(facts.raster),
        "block_px": facts.block_px,
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


def facts_from_json(content: Mapping[str, Any]) -> SlideFacts:
    """Return the facts that ``slide.json`` holds; KeyError or TypeError if it is damaged."""
    from shapely import from_wkt

    key = "block_px" if "block_px" in content else "region_px"  # the name in earlier files
    return SlideFacts(
        name=content["name"],
        width=content["width"],
        height=content["height"],
        mpp=(content["mpp"][0], content["mpp"][1]),
        scale=Scale(*content["level0_px_per_working_px"]),
        raster=(content["working_size_px"][0], content["working_size_px"][1]),
        block_px=content[key],
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
