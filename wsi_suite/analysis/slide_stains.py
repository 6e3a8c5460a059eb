"""Stains of whole slides: their kind, their vectors, and one set of vectors for a laboratory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from wsi_suite.analysis.stain_sample import (
    estimate_or_none,
    sample_fields,
    sample_pixels,
    usable_background,
)
from wsi_suite.analysis.survey import look_at_slide
from wsi_suite.config import WHITE_RGB, StainSettings, TissueSettings
from wsi_suite.errors import InputError
from wsi_suite.scoring.remarks import GLASS_LIMIT_OD
from wsi_suite.scoring.stain_check import DAB_LIMIT_DEGREES, HEMATOXYLIN_LIMIT_DEGREES
from wsi_suite.slides.chunks import CHUNK_PX, chunk_shape
from wsi_suite.slides.slide import Slide, open_slide
from wsi_suite.slides.tissue import is_fluorescence
from wsi_suite.staining.deconvolution import StainVectors, Vector
from wsi_suite.staining.estimation import Method, StainEstimate, angle_degrees
from wsi_suite.staining.glass import glass_dab_od
from wsi_suite.staining.kinds import Kind, stain_kind

SlideKind = Kind | Literal["fluorescence"]

_MPP = 0.5
_SHOWN = 3
_FIELDS = 48  # at most 0.8 million pixels


@dataclass(frozen=True)
class SlideStains:
    """Stains of a slide.

    Attributes
    ----------
    slide
        Its file.
    kind
        Kind of stain.
    glass_rgb
        Colour of empty glass; ``None`` if it shows none.
    estimate
        Its stain vectors; ``None`` with the `reason`.
    reason
        Why it is left out of a laboratory's vectors, or ``None``.
    """

    slide: Path
    kind: SlideKind
    glass_rgb: Vector | None
    estimate: StainEstimate | None
    reason: str | None


def kind_of_slide(slide: Slide) -> SlideKind:
    """Return the kind of stain of a slide, which takes seconds on a large one.

    Raises
    ------
    SlideError
        It cannot be read.
    """
    thumbnail, _ = slide.thumbnail(1024)
    if is_fluorescence(thumbnail):
        return "fluorescence"
    stains = _look(slide, TissueSettings())
    return stain_kind(stains.pixels, glass=usable_background(stains.glass_rgb))


def estimate_slide(
    path: Path,
    *,
    method: Method = "qupath",
    background: bool = False,
    mpp: float | None = None,
    tissue: TissueSettings | None = None,
) -> SlideStains:
    """Estimate the stain vectors of a slide from fields spread over its tissue.

    Parameters
    ----------
    path
        The slide.
    method
        See :func:`~wsi_suite.staining.estimation.estimate_stains`.
    background
        Whether its glass is the background; else it is white.
    mpp
        um per level-0 pixel, in place of what the file states.
    tissue
        Where tissue is looked for.

    Raises
    ------
    SlideError
        It cannot be read, or is no brightfield slide.
    """
    with open_slide(path, mpp=mpp) as slide:
        seen = _look(slide, tissue or TissueSettings())
    kind = stain_kind(seen.pixels, glass=usable_background(seen.glass_rgb))
    reason = _WORDS.get(kind)
    if background and seen.glass_rgb is None:
        reason = reason or "shows no glass beside tissue, pen and air bubbles"
    estimate = None
    if reason is None:
        colour = usable_background(seen.glass_rgb) if background else WHITE_RGB
        estimate = estimate_or_none(seen.pixels, background=colour, method=method)
        reason = None if estimate else "has too few pixels with both stains"
    return SlideStains(path, kind, seen.glass_rgb, estimate, reason)


def pool_stains(slides: Sequence[SlideStains]) -> StainSettings:
    """Return the stain settings for all slides of a laboratory or batch.

    Vectors are the medians of the slides' unit vectors, component by component, made unit again,
    so that a slide that was stained otherwise moves them little. The background likewise.

    Raises
    ------
    InputError
        No slide has an estimate.
    """
    estimates = [slide.estimate for slide in slides if slide.estimate is not None]
    if not estimates:
        reasons = "; ".join(f"{each.slide.name} {each.reason}" for each in slides[:_SHOWN])
        more = f"; and {len(slides) - _SHOWN} more" if len(slides) > _SHOWN else ""
        raise InputError(
            f"stain vectors cannot be estimated: {reasons}{more}; expected slides with hematoxylin "
            "and DAB"
        )
    return StainSettings(
        hematoxylin=_median([estimate.hematoxylin for estimate in estimates], unit=True),
        dab=_median([estimate.dab for estimate in estimates], unit=True),
        background=_median([estimate.background for estimate in estimates]),
    )


def unlike_pooled(slides: Sequence[SlideStains], pooled: StainSettings) -> list[str]:
    """Return remarks on slides whose vectors or glass are far from the settings for all of them."""
    remarks, tinted = [], []
    stains = StainVectors.of(pooled)
    for slide in slides:
        if slide.estimate is None:
            continue
        hematoxylin = angle_degrees(slide.estimate.hematoxylin, pooled.hematoxylin)
        dab = angle_degrees(slide.estimate.dab, pooled.dab)
        if hematoxylin > HEMATOXYLIN_LIMIT_DEGREES or dab > DAB_LIMIT_DEGREES:
            remarks.append(
                f"{slide.slide.name}: {hematoxylin:.0f} degrees (hematoxylin) and {dab:.0f} (DAB) "
                "off the vectors of all: another staining protocol or scanner?"
            )
        if slide.glass_rgb and glass_dab_od(slide.glass_rgb, stains) > GLASS_LIMIT_OD:
            tinted.append(slide.slide.name)
    if tinted:
        some = ", ".join(tinted[:_SHOWN]) + (", ..." if len(tinted) > _SHOWN else "")
        white = pooled.background == WHITE_RGB
        remedy = "give --background" if white else "estimate slides of each scanner by themselves"
        remarks.append(
            f"empty glass reads a DAB optical density above {GLASS_LIMIT_OD:g}, and so would "
            f"nuclei ({len(tinted)} of {len(slides)} slides: {some}): {remedy}"
        )
    return remarks


_WORDS = {
    "H&E": "looks like H&E",
    "hematoxylin": "shows hematoxylin alone",
    "DAB": "shows DAB alone",
    "empty": "shows hardly any stain",
}


@dataclass(frozen=True, eq=False)
class _Seen:
    pixels: np.ndarray[tuple[int, int], np.dtype[np.uint8]]
    glass_rgb: Vector | None


def _look(slide: Slide, tissue: TissueSettings) -> _Seen:
    overview = look_at_slide(slide, tissue)
    raster = slide.raster(_MPP)
    fields = sample_fields(
        overview.tissue,
        raster,
        wanted=np.ones(chunk_shape(raster.width, raster.height), np.bool_),
        chunk_px=CHUNK_PX,
        count=_FIELDS,
    )
    return _Seen(sample_pixels(raster.read, fields), overview.glass_rgb)


def _median(vectors: Sequence[Vector], *, unit: bool = False) -> Vector:
    middle = np.median(np.asarray(vectors), axis=0)
    if unit:
        middle = middle / np.linalg.norm(middle)
    red, green, blue = (round(float(value), 5) for value in middle)
    return red, green, blue
