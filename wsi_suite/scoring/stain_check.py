"""Effect of other stain vectors on the scores, and whether a slide is of the right stain."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from wsi_suite.config import ScoreSettings
from wsi_suite.documents import Part
from wsi_suite.measurements import (
    DISC_DAB,
    DISC_HEMATOXYLIN,
    NUCLEUS_DAB,
    NUCLEUS_HEMATOXYLIN,
)
from wsi_suite.nuclei.provenance import StainCheck
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.scoring.hscore import score_nuclei
from wsi_suite.scoring.intensity import intensity_grades, intensity_measurement

# An estimate from one slide is itself uncertain. On the 201 tiles of EndoNuke, whose vectors are
# QuPath's own, hematoxylin is 14 degrees off in the median and 25 at the 95th percentile, because
# dense DAB leaves little of it to be seen; DAB is 4 off, and 8.
HEMATOXYLIN_LIMIT_DEGREES = 26.0
DAB_LIMIT_DEGREES = 10.0

_PARTNER = {NUCLEUS_DAB: NUCLEUS_HEMATOXYLIN, DISC_DAB: DISC_HEMATOXYLIN}

_KIND_WARNINGS = {
    "DAB": "Nuclei without DAB cannot be seen without a counterstain: the scores are too high.",
    "hematoxylin": (
        "The slide shows no DAB: a negative slide, or one whose staining failed; see its positive "
        "control."
    ),
    "empty": "The tissue shows hardly any stain: check the slide and its staining.",
}
"""Beside what is said where a slide gets no verdict (:mod:`wsi_suite.scoring.verdicts`)."""


class StainFigures(Part):
    """Stains that a slide shows, against the vectors it was measured with.

    Attributes
    ----------
    kind
        "H-DAB", "hematoxylin", "DAB", "H&E" or "empty".
    hematoxylin, dab
        Vectors estimated from the slide as QuPath does; ``None`` where that is not possible.
    hematoxylin_degrees, dab_degrees
        Their angles to the vectors in use.
    pixel_share
        Share of the sampled pixels that the estimate uses.
    h_score, h_score_change
        Headline's H-score with the estimated vectors and the colour of glass as background, and how
        much that is more than with those in use; computed from each nucleus' means, without
        measuring again.
    """

    kind: str
    hematoxylin: tuple[float, float, float] | None
    dab: tuple[float, float, float] | None
    hematoxylin_degrees: float | None
    dab_degrees: float | None
    pixel_share: float
    h_score: float | None
    h_score_change: float | None


def stain_figures(
    check: StainCheck | None,
    nuclei: Nuclei,
    settings: ScoreSettings,
    *,
    class_name: str,
    h_score: float | None,
    rows: npt.NDArray[np.int_] | None,
) -> StainFigures | None:
    """Return how much the headline depends on the stain vectors.

    Parameters
    ----------
    check
        Of the slide; ``None`` if it was not made.
    nuclei, settings
        As they are scored.
    class_name, h_score
        The headline.
    rows
        Nuclei that are scored, or ``None`` for all.
    """
    if check is None:
        return None
    other = None
    if check.dab_od_from is not None and h_score is not None:
        dab_od = dab_with_other_vectors(nuclei.measurements, check.dab_od_from)
        if dab_od is not None:
            grades = intensity_grades(dab_od, settings.thresholds_od)
            other = score_nuclei(nuclei, grades, rows=rows)[class_name].h_score
    return StainFigures(
        kind=check.kind,
        hematoxylin=check.hematoxylin,
        dab=check.dab,
        hematoxylin_degrees=check.hematoxylin_degrees,
        dab_degrees=check.dab_degrees,
        pixel_share=check.share,
        h_score=other,
        h_score_change=None if other is None or h_score is None else other - h_score,
    )


def dab_with_other_vectors(
    measurements: Mapping[str, npt.NDArray[np.float32]], dab_od_from: tuple[float, float, float]
) -> npt.NDArray[np.float32] | None:
    """Return ``(N,)`` mean DAB optical densities as other stain vectors would have them.

    Densities are linear in the pixels' densities, and so are means. On 51 tiles of EndoNuke,
    measured again with the vectors estimated from each, single nuclei differ by 0.002 and H-scores
    by 0.5 in the mean, 2.5 at most; the vectors themselves change H-scores by 68 in the mean.

    Returns
    -------
    ``None`` if the table holds no hematoxylin.
    """
    dab = intensity_measurement(measurements)
    hematoxylin = measurements.get(_PARTNER[dab])
    if hematoxylin is None:
        return None
    by_hematoxylin, by_dab, constant = dab_od_from
    mixed = by_hematoxylin * hematoxylin.astype(np.float64) + by_dab * measurements[dab] + constant
    return np.asarray(mixed, np.float32)


def stain_warnings(figures: StainFigures | None, *, has_tissue: bool) -> list[str]:
    """Return warnings for a slide of another kind, and for vectors that do not fit it."""
    if figures is None or not has_tissue:
        return []
    warnings = [_KIND_WARNINGS[figures.kind]] if figures.kind in _KIND_WARNINGS else []
    hematoxylin, dab = figures.hematoxylin_degrees, figures.dab_degrees
    if figures.kind != "H-DAB" or hematoxylin is None or dab is None:
        return warnings  # one stain alone has no second vector
    if hematoxylin > HEMATOXYLIN_LIMIT_DEGREES or dab > DAB_LIMIT_DEGREES:
        changed = ""
        if figures.h_score is not None and figures.h_score_change is not None:
            changed = (
                f"; with them the H-score would be {figures.h_score:.0f} "
                f"({figures.h_score_change:+.0f})"
            )
        warnings.append(
            f"Stain vectors estimated from this slide are {hematoxylin:.0f} degrees (hematoxylin) "
            f"and {dab:.0f} degrees (DAB) off those in use{changed}: check the vectors of this "
            "laboratory ('wsi-suite stains estimate')."
        )
    return warnings
