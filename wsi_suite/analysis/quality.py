"""Search for artefacts of a slide, and their removal from the tissue."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry import MultiPolygon

from wsi_suite.analysis.facts import outline_text
from wsi_suite.config import Artefact
from wsi_suite.nuclei.quality import QualityKind, SlideQuality
from wsi_suite.slides.bubbles import Bubbles, find_bubbles
from wsi_suite.slides.focus import find_blurred
from wsi_suite.slides.folds import find_folds
from wsi_suite.slides.mask_shapes import grow
from wsi_suite.slides.slide import Slide
from wsi_suite.slides.tissue import TissueMask, outline_of

Mask = npt.NDArray[np.bool_]

_TOO_COARSE = "the pixels of the slide or of the tissue's mask are too coarse"
_LEAST_CLEAR = 0.05  # of the glass


@dataclass(frozen=True, eq=False)
class Artefacts:
    """Artefacts of a slide.

    Attributes
    ----------
    quality
        What was found of each kind; nothing is excluded.
    masks
        The kinds that can be taken out of the tissue, of the shape of its mask.
    clear_glass
        Glass that does not lie under an air bubble, of the same shape; nothing if that is less than
        a twentieth of the glass, as what is left about a bubble.
    """

    quality: SlideQuality
    masks: Mapping[Artefact, Mask]
    clear_glass: Mask


def find_artefacts(slide: Slide, tissue: TissueMask) -> Artefacts:
    """Look for all kinds of artefacts on a slide, in its tissue; errors as of reading it."""
    (focus, blurred), (folds, folded) = _focus(slide, tissue), _folds(slide, tissue)
    found = find_bubbles(slide, tissue)
    bubbles, covered = _bubbles(found, slide, tissue)
    pen, missed = _pen(slide, tissue), _stain_outside(slide, tissue)
    return Artefacts(
        SlideQuality(focus=focus, pen=pen, folds=folds, bubbles=bubbles, stain_outside=missed),
        {"focus": blurred, "folds": folded, "bubbles": covered},
        _clear_glass(tissue, found),
    )


def outline_to_the_edge(mask: Mask, tissue: TissueMask, slide: Slide) -> MultiPolygon:
    """Return the outline of a mask like that of the tissue in level-0 px, up to the slide's edge.

    The mask holds whole pixels only, and ends some micrometres before the slide does.
    """
    rows, columns = mask.shape
    end = np.array([columns * tissue.scale.x, rows * tissue.scale.y])
    return shapely.transform(
        outline_of(mask, scale=tissue.scale),
        lambda points: np.where(points >= end - 1e-6, (slide.width, slide.height), points),
    )


def _focus(slide: Slide, tissue: TissueMask) -> tuple[QualityKind, Mask]:
    focus = find_blurred(slide, tissue)
    nothing = np.zeros_like(tissue.mask)
    if focus is None:
        return QualityKind(reason="the slide's pixels are too coarse"), nothing
    if not tissue.mask.any():
        return QualityKind(reason="there is no tissue"), nothing
    tissue_um2 = tissue.area_px0 * slide.mpp[0] * slide.mpp[1]
    found = QualityKind(
        mpp=round(focus.mpp, 4),
        sampled_share=min(1.0, focus.sampled_um2 / tissue_um2),
        judged_share=np.count_nonzero(focus.judged) / np.count_nonzero(tissue.mask),
        wkt=outline_text(outline_to_the_edge(focus.blurred, tissue, slide)),
        unjudged_wkt=outline_text(outline_to_the_edge(tissue.mask & ~focus.judged, tissue, slide)),
    )
    return found, focus.blurred


def _folds(slide: Slide, tissue: TissueMask) -> tuple[QualityKind, Mask]:
    found = find_folds(slide, tissue)
    if found is None:
        return QualityKind(reason=_TOO_COARSE), np.zeros_like(tissue.mask)
    if not tissue.mask.any():
        return QualityKind(reason="there is no tissue"), found.folded
    kind = _seen_whole(found.folded, tissue, slide)
    unjudged = outline_text(outline_to_the_edge(tissue.mask & ~found.judged, tissue, slide))
    judged_share = np.count_nonzero(found.judged) / np.count_nonzero(tissue.mask)
    changes = {"judged_share": judged_share, "unjudged_wkt": unjudged}
    return kind.model_copy(update=changes), found.folded


def _bubbles(found: Bubbles | None, slide: Slide, tissue: TissueMask) -> tuple[QualityKind, Mask]:
    if found is None:
        return QualityKind(reason=_TOO_COARSE), np.zeros_like(tissue.mask)
    if not tissue.mask.any():
        return QualityKind(reason="there is no tissue"), found.covered
    kind = _seen_whole(found.covered, tissue, slide)
    # A rim that is missed leaves no trace: which share would have been found is not known.
    return kind.model_copy(update={"judged_share": None}), found.covered


def _clear_glass(tissue: TissueMask, bubbles: Bubbles | None) -> Mask:
    glass = tissue.glass
    if bubbles is None or not bubbles.everywhere.any():
        return glass
    clear = glass & ~grow(bubbles.everywhere, radius_px=1)  # with the outer edge of rims
    enough = np.count_nonzero(clear) >= _LEAST_CLEAR * np.count_nonzero(glass)
    return clear if enough else np.zeros_like(clear)


def _pen(slide: Slide, tissue: TissueMask) -> QualityKind:
    if tissue.ink is None:
        return QualityKind(reason="tissue.exclude_pen is off, or tissue.whole_slide on")
    return _seen_whole(tissue.ink, tissue, slide)


def _stain_outside(slide: Slide, tissue: TissueMask) -> QualityKind | None:
    return None if tissue.missed is None else _seen_whole(tissue.missed, tissue, slide)


def _seen_whole(found: Mask, tissue: TissueMask, slide: Slide) -> QualityKind:
    """Return an artefact over all of the slide, at the resolution of the tissue's mask."""
    return QualityKind(
        mpp=round(math.sqrt(slide.mpp[0] * tissue.scale.x * slide.mpp[1] * tissue.scale.y), 4),
        sampled_share=1.0,
        judged_share=1.0,
        wkt=outline_text(outline_to_the_edge(found, tissue, slide)),
    )
