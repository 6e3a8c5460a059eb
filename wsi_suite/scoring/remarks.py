"""Warnings that everybody who uses the scores of a slide should read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from wsi_suite.config import ScoreSettings
from wsi_suite.nuclei.seen import SeenFields, compare_fields
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.scoring.names import of_regions, some_of
from wsi_suite.scoring.regions import IGNORED_CLASS
from wsi_suite.scoring.slide_scores import ScoreFigures, SlideScores

SATURATED_SHARE = 0.7
GLASS_LIMIT_OD = 0.05
_PARTLY = 0.5


def little_tissue_warnings(scores: SlideScores) -> list[str]:
    """Return a warning if little tissue was found, since only nuclei in tissue count."""
    regions, tissue_mm2 = scores.regions, scores.scored_tissue_mm2
    known = [
        (region.name, region.tissue_area_mm2, region.area_mm2)
        for region in regions
        if region.tissue_area_mm2 is not None
    ]
    empty = [name for name, tissue, _ in known if tissue == 0]
    partly = [name for name, tissue, area in known if 0 < tissue < _PARTLY * area]
    warnings = []
    if tissue_mm2 == 0 and scores.ignored_area_mm2 and scores.tissue_area_mm2 and not regions:
        return [f"All tissue lies in regions of class {IGNORED_CLASS}: nothing is scored."]
    if tissue_mm2 == 0 or empty:
        where = f" in {of_regions(empty, of=len(regions))}" if empty else ""
        warnings.append(
            f"No tissue was found{where}, and nuclei count in tissue only: if there is some, take "
            "the whole slide for tissue (--set tissue.whole_slide=true), best with regions (--roi)."
        )
    if partly:
        warnings.append(
            f"Less than half of the area was found to be tissue in "
            f"{of_regions(partly, of=len(regions))}, and nuclei count in tissue only."
        )
    return warnings


def missing_cores_warnings(names: Sequence[str]) -> list[str]:
    """Return that cores of a microarray are missing, which are scored nowhere."""
    if not names:
        return []
    cores = "1 core" if len(names) == 1 else f"{len(names)} cores"
    return [f"{cores} of the microarray missing: {some_of(names)}."]


def unfamiliar_warnings(
    nuclei: Nuclei,
    scored: npt.NDArray[np.int_] | None,
    *,
    regions: Sequence[tuple[str, Nuclei]],
    seen: SeenFields | None,
    mpp: tuple[float, float],
) -> list[str]:
    """Return a warning if most fields, or most of a region's, are unlike the training fields."""
    if seen is None:
        return []
    all_scored = nuclei if scored is None else nuclei.take(scored)
    parts = [("what is scored", all_scored)] if len(regions) < 2 else regions
    compared = [(name, compare_fields(part, seen, mpp=mpp)) for name, part in parts]
    unseen = [(name, result) for name, result in compared if result.mostly]
    if not unseen:
        return []
    names = [name for name, _ in unseen]
    where = f"Most of {names[0]}"
    if len(parts) > 1:
        where = f"In {of_regions(names, of=len(parts))} most of the tissue"
    fields = sum(result.fields for _, result in unseen)
    outside = sum(result.outside for _, result in unseen)
    reasons = list(dict.fromkeys(kind for _, result in unseen for kind in result.reasons))
    return [
        f"{where} is unlike what the model was trained on "
        f"({outside} of {fields} fields of 100 um: {', '.join(reasons)}): "
        "check its nuclei and their classes before use."
    ]


def glass_warnings(dab_od: float | None, colour: tuple[float, float, float] | None) -> list[str]:
    """Return a warning if empty glass, of the given colour, reads too much DAB."""
    if dab_od is None or dab_od <= GLASS_LIMIT_OD:
        return []
    remedy = "stain.background"
    if colour is not None:
        remedy = f"--set stain.background=[{','.join(f'{value:.0f}' for value in colour)}]"
    return [
        f"Empty glass reads a DAB optical density of {dab_od:.2f}, above {GLASS_LIMIT_OD:g}: all "
        f"nuclei read too high; set the background of the stains ({remedy})."
    ]


def count_warnings(pooled: ScoreFigures, settings: ScoreSettings) -> list[str]:
    """Return warnings of the marker, the thresholds, and the counts of all classes together."""
    warnings = []
    if settings.marker is None:
        warnings.append(
            "The marker is not set (score.marker): a nuclear H-score means nothing for a "
            "membranous or cytoplasmic stain."
        )
    elif settings.marker == "other":
        warnings.append(
            "The marker is 'other': unless it is a nuclear one, a nuclear H-score means nothing, "
            "as for a membranous or cytoplasmic stain."
        )
    if settings.thresholds_origin == "default":
        low, middle, high = settings.thresholds_od
        warnings.append(
            f"The thresholds {low:g} / {middle:g} / {high:g} are the defaults and not calibrated "
            "for this laboratory (score.thresholds_od; see 'wsi-suite calibrate')."
        )
    if pooled.three > SATURATED_SHARE * pooled.measured:
        warnings.append(
            f"{100 * pooled.three / pooled.measured:.0f} % of the nuclei are 3+: the thresholds "
            "are probably too low for this stain and the H-score says little."
        )
    if pooled.not_measurable:
        warnings.append(
            f"{pooled.not_measurable} of {pooled.nuclei} nuclei could not be measured and are "
            "left out of the scores."
        )
    return warnings
