"""The status of a receptor and Ki-67 in one line each."""

from __future__ import annotations

from wsi_suite.scoring.ki67 import Ki67Figures
from wsi_suite.scoring.receptors import ReceptorStatus
from wsi_suite.scoring.slide_scores import SlideScores


def clinical_lines(scores: SlideScores) -> list[str]:
    """Return what the guideline of the marker has to say of a slide; nothing without one."""
    lines = []
    if scores.receptor is not None and scores.receptor.status is not None:
        lines.append(_receptor(scores.receptor))
    if scores.ki67 is not None and scores.ki67.index_percent is not None:
        lines.append(_ki67(scores.ki67))
    return lines


def _receptor(found: ReceptorStatus) -> str:
    intensity = f", {found.intensity}" if found.intensity else ""
    return (
        f"{found.status} ({found.positive_percent:.1f} % of {found.class_name}{intensity}; "
        f"{found.guideline})"
    )


def _ki67(found: Ki67Figures) -> str:
    parts = [f"Ki-67 {found.index_percent:.1f} % of all nuclei of {found.class_name}"]
    if found.weighted_percent is not None and found.unweighted_percent is not None:
        parts.append(
            f"{found.unweighted_percent:.1f} % in {len(found.fields)} fields, "
            f"{found.weighted_percent:.1f} % weighted"
        )
    if found.hot_spot_percent is not None:
        parts.append(f"{found.hot_spot_percent:.1f} % in the hottest spot")
    agree = "well" if found.reliable else "little"
    return f"{'; '.join(parts)} ({found.guideline}; {found.range}, where observers agree {agree})"
