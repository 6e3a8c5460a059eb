"""Results of one slide in memory, and the summary computed from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wsi_suite.analysis.facts import SlideFacts
from wsi_suite.config import ScoreSettings, Settings
from wsi_suite.geometry import Roi
from wsi_suite.nuclei.provenance import Provenance
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.scoring.summary import summarise


@dataclass(frozen=True, eq=False)
class Results:
    """Everything that results are written from.

    Attributes
    ----------
    facts
        What is known of the slide.
    nuclei
        All nuclei, merged and sorted.
    rois
        Regions of interest that are scored, if any.
    settings
        Of the run, complete.
    provenance
        What is remembered in the table and the summary.
    """

    facts: SlideFacts
    nuclei: Nuclei
    rois: tuple[Roi, ...] | None
    settings: Settings
    provenance: Provenance


def summary_of(results: Results) -> dict[str, Any]:
    """Return the content of ``summary.json``; see :func:`compose_summary`."""
    return compose_summary(
        results.nuclei, results.settings.score, provenance=results.provenance, rois=results.rois
    )


def compose_summary(
    nuclei: Nuclei,
    settings: ScoreSettings,
    *,
    provenance: Provenance,
    rois: Sequence[Roi] | None,
) -> dict[str, Any]:
    """Return the content of ``summary.json``.

    Parameters
    ----------
    nuclei
        All nuclei of the slide.
    settings
        Thresholds, headline class and marker, complete.
    provenance
        Of the table, as :func:`~wsi_suite.analysis.provenance.provenance_of` made it.
    rois
        Regions of interest to score, or ``None`` for all tissue.
    """
    return {
        "slide": provenance.slide,
        "model": provenance.model.model_dump(),
        "compute": provenance.compute.model_dump(),
        "notes": list(provenance.notes),
        **summarise(
            nuclei,
            settings,
            mpp=provenance.mpp,
            tissue_area_mm2=provenance.tissue_area_mm2,
            tissue=provenance.tissue(),
            size_px0=provenance.size_px0,
            rois=rois,
            glass_dab_od=provenance.glass_dab_od,
            tissue_warnings=provenance.tissue_warnings,
            seen=provenance.seen,
        ),
    }
