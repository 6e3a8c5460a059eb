"""The document of a calibration, and the configuration that later runs take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from wsi_suite.config import MeasureSettings, StainSettings
from wsi_suite.documents import Document, Part
from wsi_suite.errors import OutputConflictError
from wsi_suite.files import whole_file
from wsi_suite.scoring.agreement import Figure, Limits
from wsi_suite.scoring.calibration import Range, Thresholds

Kind = Literal["grades", "h_score", "positive_percent"]


class CalibratedSlide(Part):
    """A slide or region of a calibration, and its score: H-score, or positive percent.

    Attributes
    ----------
    slide
        Its name.
    nuclei
        Number of nuclei that the score is of.
    labelled, fitted
        Score by the labels, and by the thresholds.
    held_out
        By thresholds that were fitted without the slide; ``None`` if there are none.
    """

    slide: str
    nuclei: int
    labelled: float
    fitted: float
    held_out: float | None


class HeldOut(Part):
    """How well thresholds do on slides that they were not fitted to.

    Attributes
    ----------
    error
        Root of the mean squared error: of grades, or of scores.
    thresholds_od
        Lowest and highest value of each threshold among the fits.
    limits, concordance
        Agreement of the slides' scores, thresholds less labels.
    confusion
        Of graded nuclei: by the grade of the label (rows) and of the thresholds.
    kappa
        Of that table, with quadratic weights.
    failed
        Slides without which no thresholds could be fitted.
    """

    error: float
    thresholds_od: tuple[Range | None, ...]
    limits: Limits
    concordance: Figure
    confusion: tuple[tuple[int, ...], ...] | None
    kappa: Figure | None
    failed: tuple[str, ...]


class Histogram(Part):
    """Numbers of nuclei by density.

    Attributes
    ----------
    start_od, step_od
        Where the first bin begins, and the width of all.
    nuclei
        All nuclei of the slides.
    by_grade
        Labelled nuclei of each grade; ``None`` if scores were labelled.
    """

    start_od: float
    step_od: float
    nuclei: tuple[int, ...]
    by_grade: tuple[tuple[int, ...], ...] | None


class Calibration(Document):
    """Thresholds that were fitted to labels, and how well they do.

    Attributes
    ----------
    kind
        What the labels are: grades of nuclei, or scores of slides.
    source
        File of the labels, and the first digits of its SHA-256.
    measure, stain
        How the densities were measured: thresholds hold for this.
    class_name
        Class of nuclei that scores are of; ``None``: the headline's.
    thresholds_od
        Where 1+, 2+ and 3+ begin.
    ranges_od
        Their intervals of 95 %; ``None`` for one that is not fitted.
    run_thresholds_od
        Those of the runs, if they had the same.
    error
        On the labels themselves.
    held_out
        On slides left out in turn; ``None`` with one slide.
    slides
        Slides or regions.
    histogram
        Densities of the nuclei.
    strong_share
        Share of all nuclei that are 3+ with these thresholds.
    otsu_od, quartiles_od
        Cuts that know nothing of the labels, to compare with.
    warnings
        Sentences that everybody who uses the thresholds should read.
    """

    kind: Kind
    source: str
    measure: MeasureSettings
    stain: StainSettings
    class_name: str | None
    thresholds_od: Thresholds
    ranges_od: tuple[Range | None, ...]
    run_thresholds_od: Thresholds | None
    error: float
    held_out: HeldOut | None
    slides: tuple[CalibratedSlide, ...]
    histogram: Histogram
    strong_share: float
    otsu_od: Thresholds | None
    quartiles_od: Thresholds
    warnings: tuple[str, ...]


LABELS: dict[Kind, str] = {
    "grades": "grades of nuclei",
    "h_score": "H-scores",
    "positive_percent": "positive percentages",
}
"""What people call the labels."""


def write_config(path: Path, calibration: Calibration, *, overwrite: bool = False) -> None:
    """Write thresholds and their origin as a configuration for ``--config``.

    Raises
    ------
    OutputConflictError
        The file exists.
    OutputError
        It cannot be written.
    """
    if path.exists() and not overwrite:
        raise OutputConflictError(f"{path}: exists; give --overwrite or another --out")
    nuclei, slides = sum(slide.nuclei for slide in calibration.slides), len(calibration.slides)
    held_out = calibration.held_out
    counted = f"{slides} {'slide or region' if slides == 1 else 'slides or regions'}"
    lines = [
        f"# Intensity thresholds, fitted by 'wsi-suite calibrate' to {LABELS[calibration.kind]}:",
        f"# {nuclei} nuclei of {counted}. Root mean squared error {calibration.error:.3g}"
        + ("." if held_out is None else f", {held_out.error:.3g} on slides left out."),
        *(f"# {warning}" for warning in calibration.warnings),
        "score:",
        f"  thresholds_od: {json.dumps(calibration.thresholds_od)}",
        "  thresholds_origin: calibrated",
        f"  thresholds_source: {json.dumps(calibration.source, ensure_ascii=False)}",
        "measure:  # of the densities that the thresholds hold for",
        *(f"  {name}: {value}" for name, value in calibration.measure.model_dump().items()),
        "stain:  # likewise",
        *(f"  {name}: {list(value)}" for name, value in calibration.stain.model_dump().items()),
    ]
    with whole_file(path) as written:
        written.write_text("\n".join(lines) + "\n", encoding="utf-8")
