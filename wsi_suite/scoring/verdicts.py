"""Slides that get no verdict: those that do not show hematoxylin and DAB.

Thresholds, guidelines and cut-offs are made for DAB beside hematoxylin. On other stains nuclei
still have optical densities and thus figures, which mean nothing. The figures stay; everything that
is said of them by a guideline or a cut-off is withheld here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from wsi_suite.nuclei.provenance import StainCheck
from wsi_suite.scoring.ki67 import Ki67Figures
from wsi_suite.scoring.receptors import ReceptorStatus
from wsi_suite.scoring.slide_scores import ScoreFigures, SlideScores
from wsi_suite.scoring.stain_check import StainFigures

_SHOWN = {
    "H&E": "hematoxylin and eosin",
    "DAB": "DAB without a counterstain",
    "empty": "hardly any stain",
}
"""What slides without a verdict show. Hematoxylin alone is what a negative slide shows."""

NOT_TO_BE_USED = "not to be used"
"""Mark of the figures of a slide without a verdict, wherever they stand."""

Codes = npt.NDArray[np.uint8]
S = TypeVar("S", bound=SlideScores)


def why_no_verdict(stains: StainFigures | StainCheck | None) -> str | None:
    """Return why a slide of these stains gets no verdict, or ``None`` if it gets one."""
    if stains is None or stains.kind not in _SHOWN:
        return None
    return f"the slide shows {_SHOWN[stains.kind]}, not hematoxylin and DAB"


def without_verdicts(scores: S) -> S:
    """Return the scores without any verdict if the slide is of another stain, else as they are.

    What is measured stays: counts, scores, intervals, hot-spots and the labelling index. The status
    of a receptor, the range and the counted fields of Ki-67, and cut-offs go, in all that is scored
    and in each region. Nothing changes the second time.
    """
    why = None if scores.scored_tissue_mm2 == 0 else why_no_verdict(scores.stains)
    if why is None:
        return scores
    regions = (
        region.model_copy(update={"scores": _without_cut_offs(region.scores)})
        for region in scores.regions
    )
    return scores.model_copy(
        update={
            "no_verdict": why,
            "scores": _without_cut_offs(scores.scores),
            "regions": tuple(regions),
            "receptor": _without_status(scores.receptor, why),
            "ki67": _without_range(scores.ki67, why),
        }
    )


def marked(name: str, scores: SlideScores) -> str:
    """Return the name of a figure, marked if the slide gets no verdict.

    For figures that stand alone, as among the measurements of an annotation in QuPath.
    """
    return name if scores.no_verdict is None else f"{name} ({NOT_TO_BE_USED})"


def shown_intensities(grades: Codes, no_verdict: str | None) -> Codes | None:
    """Return the intensities that nuclei may have in QuPath: none if the slide gets no verdict.

    QuPath computes H-scores and positive % from the classes of nuclei, and cannot mark them.
    """
    return grades if no_verdict is None else None


def no_verdict_warnings(scores: SlideScores) -> list[str]:
    """Return that the figures of a slide are not to be used, if it gets no verdict."""
    if scores.no_verdict is None:
        return []
    return [f"No verdict: {scores.no_verdict}; the figures are {NOT_TO_BE_USED}."]


def _without_cut_offs(scores: Mapping[str, ScoreFigures]) -> dict[str, ScoreFigures]:
    return {
        name: figures
        if figures.certainty is None
        else figures.model_copy(
            update={"certainty": figures.certainty.model_copy(update={"cut_off": None})}
        )
        for name, figures in scores.items()
    }


def _without_status(found: ReceptorStatus | None, why: str) -> ReceptorStatus | None:
    if found is None:
        return None
    withheld = {"status": None, "intensity": None, "comment": None, "report_controls": False}
    return found.model_copy(update={**withheld, "reason": why})


def _without_range(found: Ki67Figures | None, why: str) -> Ki67Figures | None:
    if found is None:
        return None
    withheld: dict[str, object] = {"range": None, "reliable": None, "levels": {}, "fields": ()}
    withheld |= {"unweighted_percent": None, "weighted_percent": None, "reason": why}
    return found.model_copy(update=withheld)
