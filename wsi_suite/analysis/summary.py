"""The document ``summary.json``: scores of a slide and their settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wsi_suite.config import ScoreSettings
from wsi_suite.documents import Document, read_document, write_document
from wsi_suite.geometry import Roi
from wsi_suite.nuclei.provenance import ComputeRecord, ModelIdentity, Provenance
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.scoring.remarks import missing_cores_warnings
from wsi_suite.scoring.slide_scores import SlideScores
from wsi_suite.scoring.summary import summarise
from wsi_suite.scoring.verdicts import without_verdicts

SUMMARY_FILE = "summary.json"


class _Origin(Document):
    format: int = 3  # from 2 on, thresholds_origin may be "calibrated"; from 3 on, no_verdict
    slide: str
    model: ModelIdentity
    compute: ComputeRecord
    notes: tuple[str, ...] = ()
    missing_cores: tuple[str, ...] = ()


class Summary(SlideScores, _Origin):  # in the document the fields of the last base stand first
    """Scores of a slide, as :class:`~wsi_suite.scoring.slide_scores.SlideScores`, and their origin.

    Attributes
    ----------
    slide
        Name of the slide.
    model, compute
        Model, and how it was computed.
    notes
        How the slide was read.
    missing_cores
        Names of the cores of a microarray that are missing: they are scored nowhere.
    """


def compose_summary(
    nuclei: Nuclei,
    settings: ScoreSettings,
    *,
    provenance: Provenance,
    rois: Sequence[Roi] | None,
    missing_cores: Sequence[str] = (),
) -> Summary:
    """Return the summary of a slide.

    Parameters
    ----------
    nuclei
        All nuclei of the slide.
    settings
        Thresholds, headline class and marker, complete.
    provenance
        Of the table.
    rois
        Regions of interest to score, or ``None`` for all tissue.
    missing_cores
        Names of the cores of a microarray that are missing.
    """
    scores = summarise(
        nuclei,
        settings,
        mpp=provenance.mpp,
        tissue_area_mm2=provenance.tissue_area_mm2,
        tissue=provenance.tissue(),
        size_px0=provenance.size_px0,
        rois=rois,
        glass_dab_od=provenance.glass_dab_od,
        glass_rgb=provenance.glass_rgb,
        stains=provenance.stains,
        tissue_warnings=provenance.tissue_warnings,
        quality=provenance.quality,
        seen=provenance.seen,
        familiarity=provenance.familiarity,
    )
    return Summary(
        slide=provenance.slide,
        model=provenance.model,
        compute=provenance.compute,
        notes=provenance.notes,
        missing_cores=tuple(missing_cores),
        **{**dict(scores), "warnings": (*scores.warnings, *missing_cores_warnings(missing_cores))},
    )


def write_summary(folder: Path, summary: Summary) -> None:
    """Write ``summary.json``, whole or not at all."""
    write_document(folder / SUMMARY_FILE, summary)


def read_summary(folder: Path) -> Summary | None:
    """Read ``summary.json``; ``None`` if there is none.

    Earlier formats gave verdicts whatever stain the slide shows: these are withheld here.

    Raises
    ------
    OutputError
        The file is damaged, or of a later format.
    """
    found = read_document(
        Summary, folder / SUMMARY_FILE, fault="damaged", remedy="remove it and run again"
    )
    return None if found is None else without_verdicts(found)
