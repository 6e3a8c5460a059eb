"""The document ``slide.json`` of a results folder: facts of a slide."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import AliasChoices, Field, model_validator

from wsi_suite.analysis.facts import SlideFacts, outline_text
from wsi_suite.analysis.stain_sample import SampledStains
from wsi_suite.documents import Document, read_document, write_document
from wsi_suite.errors import OutputError
from wsi_suite.geometry import Box, Scale
from wsi_suite.nuclei.quality import SlideQuality

if TYPE_CHECKING:
    from shapely.geometry import MultiPolygon

SLIDE_FILE = "slide.json"

_FAULT, _REMEDY = "damaged", "give --overwrite to 'wsi-suite run'"

Pair = tuple[float, float]


class SlideRecord(Document):
    """Facts of a slide as ``slide.json`` holds them; see :class:`SlideFacts`.

    Attributes
    ----------
    wanted_chunks, tissue_cells
        A text for each row of chunks or cells, ``#`` where it is one of them, else ``.``.
    cell_px
        Side of a cell. Format 1 told tissue by chunks only, which then are the cells.
    tissue_outline_wkt
        Outline of the tissue as WKT, level-0 pixels, to 0.1 px.
    sample_px
        Left, top, width and height of each field of the sample, working pixels.
    """

    format: int = 2
    name: str
    width: int
    height: int
    mpp: Pair
    level0_px_per_working_px: Pair
    working_size_px: tuple[int, int]
    # The second name stands in files that were written before blocks were called so.
    block_px: int = Field(validation_alias=AliasChoices("block_px", "region_px"))
    tile_px: int
    chunk_px: int
    halo_px: int
    tissue_area_mm2: float
    glass_rgb: tuple[float, float, float] | None = None
    glass_dab_od: float | None = Field(None, exclude=True)  # of earlier versions
    stains: SampledStains | None = None
    quality: SlideQuality | None = None
    reader: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    wanted_chunks: tuple[str, ...]
    cell_px: int
    tissue_cells: tuple[str, ...]
    tissue_outline_wkt: str
    sample_px: tuple[tuple[int, int, int, int], ...] | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:  # noqa: ANN401 - pydantic's
        """Return the values of a record of format 1 as those of this one."""
        if isinstance(values, dict) and values.get("format", 1) == 1 and "tissue_chunks" in values:
            chunks = {"cell_px": values.get("chunk_px"), "tissue_cells": values["tissue_chunks"]}
            return {**values, **chunks}
        return values


def write_facts(folder: Path, facts: SlideFacts, *, staging: Path | None = None) -> None:
    """Write ``slide.json``; `staging` is as for :func:`~wsi_suite.files.whole_file`."""
    write_document(folder / SLIDE_FILE, _record(facts), indent=1, staging=staging)


def read_facts(folder: Path) -> SlideFacts | None:
    """Read ``slide.json``; ``None`` if there is none.

    Raises
    ------
    OutputError
        The file is damaged, or of a later format.
    """
    path = folder / SLIDE_FILE
    record = read_document(SlideRecord, path, fault=_FAULT, remedy=_REMEDY)
    try:
        return None if record is None else _facts(record)
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise OutputError(f"{path}: {_FAULT} ({reason}); {_REMEDY}") from None


def as_stored(facts: SlideFacts) -> SlideFacts:
    """Return facts with the numbers that ``slide.json`` will hold, the outline to 0.1 px."""
    return _facts(_record(facts))


def _record(facts: SlideFacts) -> SlideRecord:
    return SlideRecord(
        name=facts.name,
        width=facts.width,
        height=facts.height,
        mpp=facts.mpp,
        level0_px_per_working_px=(facts.scale.x, facts.scale.y),
        working_size_px=facts.raster,
        block_px=facts.block_px,
        tile_px=facts.tile_px,
        chunk_px=facts.chunk_px,
        halo_px=facts.halo_px,
        tissue_area_mm2=facts.tissue_area_mm2,
        glass_rgb=facts.glass_rgb,
        stains=facts.stains,
        quality=facts.quality,
        reader=facts.reader,
        notes=facts.notes,
        warnings=facts.warnings,
        wanted_chunks=_drawn(facts.wanted),
        cell_px=facts.cell_px,
        tissue_cells=_drawn(facts.tissue_cells),
        tissue_outline_wkt=outline_text(facts.tissue),
        sample_px=None
        if facts.sample is None
        else tuple((box.x, box.y, box.width, box.height) for box in facts.sample),
    )


def _facts(record: SlideRecord) -> SlideFacts:
    """Return the facts that a record holds; ValueError if its drawings or outline are damaged."""
    return SlideFacts(
        name=record.name,
        width=record.width,
        height=record.height,
        mpp=record.mpp,
        scale=Scale(*record.level0_px_per_working_px),
        raster=record.working_size_px,
        block_px=record.block_px,
        tile_px=record.tile_px,
        chunk_px=record.chunk_px,
        halo_px=record.halo_px,
        wanted=_chunks(record.wanted_chunks),
        cell_px=record.cell_px,
        tissue_cells=_chunks(record.tissue_cells),
        tissue=_outline(record.tissue_outline_wkt),
        glass_rgb=record.glass_rgb,
        glass_dab_od=record.glass_dab_od,
        stains=record.stains,
        quality=record.quality,
        reader=record.reader,
        notes=record.notes,
        warnings=record.warnings,
        sample=None if record.sample_px is None else tuple(Box(*box) for box in record.sample_px),
    )


def _outline(text: str) -> MultiPolygon:
    from shapely import from_wkt
    from shapely.errors import GEOSException
    from shapely.geometry import MultiPolygon

    try:
        outline = from_wkt(text)
    except GEOSException as error:
        raise ValueError(f"tissue_outline_wkt: {error}") from None
    if not isinstance(outline, MultiPolygon):
        raise ValueError(f"tissue_outline_wkt: expected MULTIPOLYGON, found {outline.geom_type}")
    return outline


def _drawn(chunks: npt.NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple("".join("#" if chunk else "." for chunk in row) for row in chunks)


def _chunks(drawn: Sequence[str]) -> npt.NDArray[np.bool_]:
    return np.array([[char == "#" for char in row] for row in drawn], bool)
