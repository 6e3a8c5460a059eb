"""Fingerprint of a run, and the provenance stored inside its results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import wsi_suite
from wsi_suite.analysis.facts import SlideFacts, outline_text
from wsi_suite.analysis.request import Analysis
from wsi_suite.analysis.stain_sample import check_stains
from wsi_suite.geometry import Roi
from wsi_suite.nuclei.familiarity import Familiarity
from wsi_suite.nuclei.provenance import ComputeRecord, ModelIdentity, Provenance, RegionRecord
from wsi_suite.slides.identity import SlideIdentity
from wsi_suite.staining.deconvolution import StainVectors
from wsi_suite.staining.glass import glass_dab_od

if TYPE_CHECKING:
    from wsi_suite.detector.detector import Compute

TILE_SECTIONS = ("tiles_version", "mpp", "read_mpp", "tissue", "quality", "rois", "tiles")
"""Sections of a fingerprint's settings that concern the tiles."""


@dataclass(frozen=True)
class Fingerprint:
    """Slide and settings that the results of a run depend on.

    Attributes
    ----------
    slide
        The slide.
    settings
        Every setting that changes results, nested, as JSON holds them.
    """

    slide: SlideIdentity
    settings: Mapping[str, Any]


TILES_VERSION = 2
"""What stored pixels and the plan of blocks depend on beside settings: raise it with every change
of reading, of tissue or of the plan after which a slide gives other pixels or blocks."""


RESULTS_VERSION = 2
"""What nuclei, measurements and scores depend on beside tiles and settings: raise it with every
change after which the same pixels give other results, beyond what rounding hides."""


def fingerprint_of(analysis: Analysis) -> Fingerprint:
    """Return the fingerprint of an analysis; for ``tile`` without the settings of the detector."""
    settings, model = analysis.settings, analysis.model
    plain = settings.model_dump(mode="json")
    values: dict[str, Any] = {
        "tiles_version": TILES_VERSION,
        "mpp": settings.mpp,
        "read_mpp": model.spec.read_mpp,
        "tissue": plain["tissue"],
        "quality": plain["quality"],
        "rois": None if analysis.rois is None else _roi_hash(analysis.rois),
        "tiles": {"ome_zarr_version": settings.tiles.ome_zarr_version},
    }
    if analysis.compute is not None:
        values |= {
            "results_version": RESULTS_VERSION,
            "model": {"name": model.spec.name, "hash": model.hash},
            "detect": {"min_confidence": settings.detect.min_confidence},
            "stain": plain["stain"],
            "measure": plain["measure"],
            "score": plain["score"],
            # Without what is as usual, so that runs that knew less of it are like ours.
            "compute": _record(analysis.compute).model_dump(exclude_defaults=True),
        }
    # Through JSON, so that a fingerprint equals the one that was read back from ``run.json``.
    return Fingerprint(analysis.identity, json.loads(json.dumps(values)))


def provenance_of(
    analysis: Analysis, facts: SlideFacts, *, familiarity: Familiarity | None = None
) -> Provenance:
    """Return the provenance stored in the results; equal for runs that must give equal bytes.

    Parameters
    ----------
    analysis, facts
        What was done, and the slide.
    familiarity
        How far the slide lies from what the model has seen, if that was looked at.
    """
    settings, model = analysis.settings, analysis.model
    assert analysis.compute is not None
    stains, glass = StainVectors.of(settings.stain), facts.glass_rgb
    return Provenance(
        slide=facts.name,
        slide_sha256=analysis.identity.sha256,
        size_px0=(facts.width, facts.height),
        mpp=facts.mpp,
        read_mpp=facts.working_mpp,
        model=ModelIdentity(name=model.spec.name, hash=model.hash),
        compute=_record(analysis.compute),
        min_confidence=settings.detect.min_confidence,
        measure=settings.measure,
        stain_vectors=stains.to_qupath(),
        stains=check_stains(facts.stains, stains),
        score=settings.score,
        rois=None if analysis.rois is None else tuple(map(RegionRecord.of, analysis.rois)),
        missing_cores=analysis.missing_cores,
        tissue_area_mm2=facts.tissue_area_mm2,
        tissue_wkt=outline_text(facts.tissue),
        glass_rgb=glass,
        glass_dab_od=facts.glass_dab_od if glass is None else glass_dab_od(glass, stains),
        notes=facts.notes,
        tissue_warnings=facts.warnings,
        quality=facts.quality,
        seen=model.spec.seen,
        familiarity=familiarity,
        results_version=RESULTS_VERSION,
        wsi_suite=wsi_suite.__version__,
    )


def device_kind(compute: Compute) -> str:
    """Return the kind of device: which of several like ones it was changes no result."""
    return compute.device.partition(":")[0]


def _record(compute: Compute) -> ComputeRecord:
    return ComputeRecord(
        device=device_kind(compute),
        precision=compute.precision,
        batch=compute.batch,
        flips=compute.flips,
        ranges=compute.ranges,
    )


def _roi_hash(rois: Sequence[Roi]) -> str:
    described = repr([(roi.name, roi.class_name, roi.area.wkb_hex) for roi in rois])
    return hashlib.sha256(described.encode()).hexdigest()[:16]
