"""An analysis of one slide: what its results depend on, wherever they go."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import wsi_suite
from wsi_suite.config import Settings
from wsi_suite.engine import DetectJob, SlideJob
from wsi_suite.errors import ConfigError, OutputConflictError, did_you_mean
from wsi_suite.geometry import Roi
from wsi_suite.plan import SlideFacts, needed_halo_px, outline_text
from wsi_suite.run_folder import Fingerprint
from wsi_suite.scoring.hscore import pooled_name
from wsi_suite.slides.grid import TileGrid
from wsi_suite.slides.identity import SlideIdentity
from wsi_suite.staining.deconvolution import StainVectors

if TYPE_CHECKING:
    from wsi_suite.nuclei.detector import Compute
    from wsi_suite.nuclei.weights import ModelFolder

TILES_VERSION = 2
"""What stored pixels and the plan of regions depend on beside settings: raise it with every change
of reading, of tissue or of the plan after which a slide gives other pixels or regions."""

RESULTS_VERSION = 2
"""What nuclei, measurements and scores depend on beside tiles and settings: raise it with every
change after which the same pixels give other results, beyond what rounding hides."""


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """What is to be found out of one slide.

    Attributes
    ----------
    slide
        The slide's file; for ``detect`` the folder with its tiles.
    identity
        What tells it from others.
    settings
        All settings, completed by :func:`complete_settings`.
    model
        The model; for ``tile`` it gives the resolution.
    compute
        How forward passes are run; ``None`` for ``tile``.
    rois
        Regions of interest that are scored, or ``None`` for all tissue.
    threads
        Of each worker.
    """

    slide: Path
    identity: SlideIdentity
    settings: Settings
    model: ModelFolder
    compute: Compute | None
    rois: tuple[Roi, ...] | None = None
    threads: int = 1


def complete_settings(settings: Settings, model: ModelFolder) -> Settings:
    """Fill in what a model decides where the user does not.

    Raises
    ------
    ConfigError
        The model does not know the headline class, or the stain vectors cannot be used.
    """
    detect, score, spec = settings.detect, settings.score, model.spec
    _stains(settings)  # refused here, once, where they cannot be told apart
    known = (*spec.classes, pooled_name(spec.classes))
    if detect.min_score is None:
        detect = detect.model_copy(update={"min_score": spec.min_score})
    if score.headline_class is None:
        score = score.model_copy(update={"headline_class": spec.headline_class})
    elif score.headline_class not in known:
        hint = did_you_mean(score.headline_class, known)
        raise ConfigError(
            f"score.headline_class = '{score.headline_class}': model '{spec.name}' knows "
            f"{', '.join(known)}{hint}"
        )
    return settings.model_copy(update={"detect": detect, "score": score})


def plan_analysis(analysis: Analysis, facts: SlideFacts) -> tuple[TileGrid, SlideJob]:
    """Plan the regions of an analysis, and what they have in common: no tiles are stored.

    Raises
    ------
    OutputConflictError
        The slide was looked at for a smaller halo than this analysis needs.
    """
    settings, model = analysis.settings, analysis.model
    halo_px = needed_halo_px(model.spec, settings.measure, mpp=facts.working_mpp)
    if halo_px > facts.halo_px:
        raise OutputConflictError(
            f"{analysis.slide}: its tiles reach {facts.halo_px} px beyond the tissue, but model "
            f"'{model.spec.name}' with measure.max_radius_um = {settings.measure.max_radius_um:g} "
            f"needs {halo_px}; make them again with these settings and --overwrite"
        )
    grid = facts.grid(align_px=model.spec.network.align_px)
    return grid, SlideJob(
        run=uuid.uuid4().hex,
        slide=analysis.slide.resolve(),
        mpp_given=settings.mpp,
        read_mpp=model.spec.read_mpp,
        mpp=facts.working_mpp,
        scale=facts.scale,
        grid=replace(grid, regions=()),
        store=None,
        detect=_detect_job(analysis),
        threads=analysis.threads,
    )


def fingerprint_of(analysis: Analysis) -> Fingerprint:
    """Return all that a run's results depend on; ``tile`` leaves out what only detecting needs."""
    settings, model = analysis.settings, analysis.model
    plain = settings.model_dump(mode="json")
    values: dict[str, Any] = {
        "tiles_version": TILES_VERSION,
        "mpp": settings.mpp,
        "read_mpp": model.spec.read_mpp,
        "tissue": plain["tissue"],
        "rois": None if analysis.rois is None else _roi_hash(analysis.rois),
        "tiles": {"ome_zarr_version": settings.tiles.ome_zarr_version},
    }
    if analysis.compute is not None:
        values |= {
            "results_version": RESULTS_VERSION,
            "model": {"name": model.spec.name, "hash": model.hash},
            "detect": {"min_score": settings.detect.min_score},
            "stain": plain["stain"],
            "measure": plain["measure"],
            "score": plain["score"],
            "compute": _describe(analysis.compute),
        }
    return Fingerprint(analysis.identity, values)


def provenance_of(analysis: Analysis, facts: SlideFacts) -> dict[str, Any]:
    """Return what is remembered inside the results: nothing that differs between like runs."""
    settings, model = analysis.settings, analysis.model
    assert analysis.compute is not None
    return {
        "slide": facts.name,
        "slide_sha256": analysis.identity.sha256,
        "size_px0": [facts.width, facts.height],
        "mpp": list(facts.mpp),
        "read_mpp": list(facts.working_mpp),
        "model": {"name": model.spec.name, "hash": model.hash},
        "compute": _describe(analysis.compute),
        "min_score": settings.detect.min_score,
        "measure": settings.measure.model_dump(mode="json"),
        "stain_vectors": _stains(settings).to_qupath(),
        "score": settings.score.model_dump(mode="json"),
        "rois": None if analysis.rois is None else [_plain(roi) for roi in analysis.rois],
        "tissue_area_mm2": facts.tissue_area_mm2,
        "tissue_wkt": outline_text(facts.tissue),
        "glass_dab_od": facts.glass_dab_od,
        "notes": list(facts.notes),
        "tissue_warnings": list(facts.warnings),
        "seen": None if model.spec.seen is None else model.spec.seen.model_dump(mode="json"),
        "results_version": RESULTS_VERSION,
        "wsi_suite": wsi_suite.__version__,
    }


def device_kind(compute: Compute) -> str:
    """Return the kind of device: which of several like ones it was changes no result."""
    return compute.device.partition(":")[0]


def _detect_job(analysis: Analysis) -> DetectJob | None:
    if analysis.compute is None:
        return None
    settings, model = analysis.settings, analysis.model
    assert settings.detect.min_score is not None, "settings are completed"
    return DetectJob(
        model=model.path.resolve(),
        model_hash=model.hash,
        compute=analysis.compute,
        min_score=settings.detect.min_score,
        stain=settings.stain,
        measure=settings.measure,
    )


def _stains(settings: Settings) -> StainVectors:
    """Return the stain vectors that settings give."""
    stain = settings.stain
    return StainVectors(stain.hematoxylin, stain.dab, stain.background)


def _describe(compute: Compute) -> dict[str, Any]:
    return {**compute.as_dict(), "device": device_kind(compute)}


def _plain(roi: Roi) -> dict[str, Any]:
    return {"name": roi.name, "class": roi.class_name, "wkb": roi.area.wkb_hex}


def _roi_hash(rois: Sequence[Roi]) -> str:
    described = repr([(roi.name, roi.class_name, roi.area.wkb_hex) for roi in rois])
    return hashlib.sha256(described.encode()).hexdigest()[:16]
