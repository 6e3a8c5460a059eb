"""Oestrogen and progesterone receptor in breast cancer, reported as ASCO/CAP 2020 asks for.

References
----------
K. H. Allison et al., Journal of Clinical Oncology 38 (2020), 1346 - 1366,
doi 10.1200/JCO.19.02309.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from wsi_suite.documents import Part
from wsi_suite.scoring.decimals import fixed
from wsi_suite.scoring.hscore import Score, mean_intensity

GUIDELINE = "ASCO/CAP 2020"

LOW_POSITIVE_COMMENT = (
    "The cancer in this sample has a low level (1%-10%) of ER expression by IHC. There are limited "
    "data on the overall benefit of endocrine therapies for patients with low level (1%-10%) ER "
    "expression but they currently suggest possible benefit, so patients are considered eligible "
    "for endocrine treatment. There are data that suggest invasive cancers with these results are "
    "heterogeneous in both behavior and biology and often have gene expression profiles more "
    "similar to ER-negative cancers."
)
"""The comment that the guideline recommends for ER Low Positive, in substance.

Its wording was not compared with the guideline's.
"""

Receptor = Literal["ER", "PR"]
_WORDS: tuple[Literal["weak", "moderate", "strong"], ...] = ("weak", "moderate", "strong")


class ReceptorStatus(Part):
    """Status of a receptor by the guideline, of the headline class.

    Attributes
    ----------
    guideline
        "ASCO/CAP 2020".
    marker
        ER or PR.
    class_name
        The class that was counted.
    status
        "ER negative", "ER Low Positive", "ER positive", "PR negative" or "PR positive"; ``None``
        without measured nuclei, and on slides that get no verdict.
    positive_percent
        Share of positive nuclei.
    intensity
        Average intensity of the positive nuclei; ``None`` without any.
    comment
        The comment that the guideline recommends for this status, if there is one.
    report_controls
        Whether the status of the controls is to be reported: at 0 % to 10 %.
    reason
        Why there is no status, or ``None``.
    """

    guideline: str = GUIDELINE
    marker: Receptor
    class_name: str = Field(alias="class")
    status: str | None
    positive_percent: float | None
    intensity: Literal["weak", "moderate", "strong"] | None
    comment: str | None
    report_controls: bool
    reason: str | None


def receptor_status(score: Score, marker: Receptor, *, class_name: str) -> ReceptorStatus:
    """Return the status of a receptor.

    Below 1 % it is negative; from 1 % to 10 % ER is Low Positive, and above 10 % positive. PR has
    no such category and is positive from 1 %. Comparisons are of integers.

    Parameters
    ----------
    score
        Counts of the headline class, of the whole sample.
    marker
        ER or PR.
    class_name
        Name of that class.
    """
    positive, total = score.positive, score.measured
    low = total > 0 and 10 * positive <= total
    if not total:
        word = None
    elif 100 * positive < total:
        word = "negative"
    else:
        word = "Low Positive" if low and marker == "ER" else "positive"
    return ReceptorStatus(
        marker=marker,
        class_name=class_name,
        status=None if word is None else f"{marker} {word}",
        positive_percent=score.positive_percent,
        intensity=_WORDS[mean_intensity(score) - 1] if positive else None,
        comment=LOW_POSITIVE_COMMENT if word == "Low Positive" else None,
        report_controls=low,
        reason=score.why_no_score,
    )


def controls_warning(status: ReceptorStatus) -> list[str]:
    """Return the request to report the controls, if the guideline asks for it."""
    if not status.report_controls:
        return []
    return [
        f"{status.marker} is positive in {fixed(status.positive_percent, 1)} % of the nuclei of "
        f"{status.class_name}: from 0 % to 10 % {GUIDELINE} wants the status of the controls "
        "reported; check that internal and external controls stain as expected."
    ]
