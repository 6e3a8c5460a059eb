"""Results of one slide in memory, and the summary computed from them."""

from __future__ import annotations

from dataclasses import dataclass

from wsi_suite.analysis.facts import SlideFacts
from wsi_suite.analysis.summary import Summary, compose_summary
from wsi_suite.config import Settings
from wsi_suite.geometry import Roi
from wsi_suite.nuclei.provenance import Provenance
from wsi_suite.nuclei.table import Nuclei


@dataclass(frozen=True, eq=False)
class Results:
    """Everything that results are written from.

    Attributes
    ----------
    facts
        Facts about the slide.
    nuclei
        All nuclei, merged and sorted.
    rois
        Regions as drawn, those of class ``Ignore*`` among them, if there are any.
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


def summary_of(results: Results) -> Summary:
    """Return the summary of results; see :func:`~wsi_suite.analysis.summary.compose_summary`."""
    return compose_summary(
        results.nuclei,
        results.settings.score,
        provenance=results.provenance,
        rois=results.rois,
        missing_cores=results.provenance.missing_cores,
    )
