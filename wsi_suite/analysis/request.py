"""Request for the analysis of one slide, independent of where its results go."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from wsi_suite.analysis.blocks import DetectJob, SlideJob
from wsi_suite.analysis.facts import SlideFacts
from wsi_suite.analysis.survey import needed_halo_px
from wsi_suite.config import Settings
from wsi_suite.errors import ConfigError, OutputConflictError, did_you_mean
from wsi_suite.geometry import Roi
from wsi_suite.scoring.hscore import pooled_name
from wsi_suite.slides.grid import TileGrid
from wsi_suite.slides.identity import SlideIdentity
from wsi_suite.staining.deconvolution import StainVectors

if TYPE_CHECKING:
    from wsi_suite.detector.detector import Compute
    from wsi_suite.detector.model_folder import ModelFolder


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """Slide, settings, model and regions of one analysis.

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
        Regions as drawn, those of class ``Ignore*`` among them; ``None`` for all tissue.
    missing_cores
        Names of the cores of a microarray that are missing, and thus among no regions.
    threads
        Of each worker.
    """

    slide: Path
    identity: SlideIdentity
    settings: Settings
    model: ModelFolder
    compute: Compute | None
    rois: tuple[Roi, ...] | None = None
    missing_cores: tuple[str, ...] = ()
    threads: int = 1

    @property
    def read_timeout_s(self) -> float:
        """How long a read of the slide may take, seconds."""
        return 60 * self.settings.run.read_timeout_min


def complete_settings(settings: Settings, model: ModelFolder) -> Settings:
    """Complete settings with the defaults of a model.

    Raises
    ------
    ConfigError
        The model does not know the headline class, or the stain vectors cannot be used.
    """
    detect, score, spec = settings.detect, settings.score, model.spec
    StainVectors.of(settings.stain)  # refused here, once, if they cannot be told apart
    known = (*spec.classes, pooled_name(spec.classes))
    if detect.min_confidence is None:
        detect = detect.model_copy(update={"min_confidence": spec.min_confidence})
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
    """Plan the blocks of an analysis and their common parameters; no tiles are stored.

    Raises
    ------
    OutputConflictError
        The slide was looked at for a smaller halo than this analysis needs.
    ModelError
        What the model says of its training fields cannot be read.
    """
    settings, model = analysis.settings, analysis.model
    halo_px = needed_halo_px(model.spec, settings.measure, mpp=facts.working_mpp)
    if halo_px > facts.halo_px:
        raise OutputConflictError(
            f"{analysis.slide}: its tiles reach {facts.halo_px} px beyond the tissue, but model "
            f"'{model.spec.name}' with measure.max_radius_um = {settings.measure.max_radius_um:g} "
            f"needs {halo_px}; make them again with these settings and --overwrite"
        )
    compute = analysis.compute
    # Batches have one shape, and the whole maps that flips need take twice the memory.
    fitted = compute is None or (compute.batch == 1 and not compute.flips)
    grid = facts.grid(align_px=model.spec.network.align_px, fitted=fitted)
    return grid, SlideJob(
        run=uuid.uuid4().hex,
        slide=analysis.slide.resolve(),
        mpp_given=settings.mpp,
        read_mpp=model.spec.read_mpp,
        mpp=facts.working_mpp,
        scale=facts.scale,
        grid=replace(grid, blocks=()),
        store=None,
        detect=_detect_job(analysis),
        threads=analysis.threads,
        content=analysis.identity.content,
        read_timeout_s=analysis.read_timeout_s,
    )


def _detect_job(analysis: Analysis) -> DetectJob | None:
    if analysis.compute is None:
        return None
    from wsi_suite.detector.known_fields import read_known_fields

    settings, model = analysis.settings, analysis.model
    read_known_fields(model)  # what cannot be read is refused here, before hours of work
    assert settings.detect.min_confidence is not None, "settings are completed"
    return DetectJob(
        model=model.path.resolve(),
        model_hash=model.hash,
        compute=analysis.compute,
        min_confidence=settings.detect.min_confidence,
        stain=settings.stain,
        measure=settings.measure,
    )
