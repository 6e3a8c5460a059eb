"""H-score, positive percentage and Allred score, as QuPath computes them, and the IRS.

All come from four counts. Comparisons are of integers, so that a third or two thirds of the
nuclei fall on the side of the border where QuPath has them.

One thing differs from QuPath. If all nuclei are negative, H-score and Allred score are 0, which
is the diagnosis "negative". QuPath shows no such columns for an image without positive nuclei.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from wsi_suite.nuclei.table import INTENSITIES, NOT_MEASURABLE, Nuclei
from wsi_suite.scoring.intensity import Grades


class Allred(NamedTuple):
    """Allred score: how many nuclei are positive (0 - 5), how strongly (0 - 3), and the sum.

    The sum is 0 or 2 to 8.
    """

    proportion: int
    intensity: int
    score: int


class Irs(NamedTuple):
    """Immunoreactive score: positive nuclei (0 - 4), their intensity (0 - 3), and the product.

    The product is 0, 1, 2, 3, 4, 6, 8, 9 or 12.
    """

    proportion: int
    intensity: int
    score: int


@dataclass(frozen=True)
class Score:
    """Counts of nuclei by intensity, and the scores that follow from them.

    Attributes
    ----------
    negative, one, two, three
        Nuclei that are Negative, 1+, 2+, 3+.
    not_measurable
        Nuclei without a measurement; they stay out of every score.
    """

    negative: int
    one: int
    two: int
    three: int
    not_measurable: int = 0

    @property
    def positive(self) -> int:
        """Nuclei of 1+, 2+ or 3+."""
        return self.one + self.two + self.three

    @property
    def measured(self) -> int:
        """Nuclei of any intensity: the denominator of the scores."""
        return self.negative + self.positive

    @property
    def nuclei(self) -> int:
        """All nuclei, those without a measurement too."""
        return self.measured + self.not_measurable

    @property
    def positive_percent(self) -> float | None:
        """See :func:`positive_percent`."""
        return positive_percent(self)

    @property
    def h_score(self) -> float | None:
        """See :func:`h_score`."""
        return h_score(self)

    @property
    def allred(self) -> Allred | None:
        """See :func:`allred`."""
        return allred(self)

    @property
    def irs(self) -> Irs | None:
        """See :func:`irs`."""
        return irs(self)

    @property
    def why_no_score(self) -> str | None:
        """Why there is no score of any kind, or ``None`` if there are scores."""
        if self.measured:
            return None
        return "no measurable nuclei" if self.not_measurable else "no nuclei"


def positive_percent(counts: Score) -> float | None:
    """Return the share of positive nuclei in percent; ``None`` without measured nuclei."""
    return counts.positive / counts.measured * 100 if counts.measured else None


def h_score(counts: Score) -> float | None:
    """Return ``100 (n1 + 2 n2 + 3 n3) / n``, 0 to 300; ``None`` without measured nuclei.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> from wsi_suite.types import Score
    >>> ws.h_score(Score(negative=50, one=20, two=20, three=10))
    90.0
    """
    return _weighted(counts) / counts.measured * 100 if counts.measured else None


def allred(counts: Score) -> Allred | None:
    """Return the Allred score; ``None`` without measured nuclei.

    The proportion is 0 without positive nuclei, 1 above 0, 2 from 1 %, 3 from 10 %, 4 above 1/3 and
    5 above 2/3. The intensity is :func:`mean_intensity`.
    """
    if not counts.measured:
        return None
    if not counts.positive:
        return Allred(0, 0, 0)
    positive, total = counts.positive, counts.measured
    proportion = 1 + sum(
        (
            100 * positive >= total,
            10 * positive >= total,
            3 * positive > total,
            3 * positive > 2 * total,
        )
    )
    intensity = mean_intensity(counts)
    return Allred(proportion, intensity, proportion + intensity)


def irs(counts: Score) -> Irs | None:
    """Return the immunoreactive score; ``None`` without measured nuclei.

    The proportion is 0 without positive nuclei, 1 below 10 %, 2 from 10 % to 50 %, 3 above 50 % and
    4 above 80 %. The original leaves open what lies between 50 % and 51 %: here it is 3. The
    intensity is :func:`mean_intensity`.

    References
    ----------
    W. Remmele and H. E. Stegner, Der Pathologe 8 (1987), 138 - 140.
    """
    if not counts.measured:
        return None
    positive, total = counts.positive, counts.measured
    proportion = sum(
        (positive > 0, 10 * positive >= total, 2 * positive > total, 5 * positive > 4 * total)
    )
    intensity = mean_intensity(counts)
    return Irs(proportion, intensity, proportion * intensity)


def mean_intensity(counts: Score) -> int:
    """Return the average intensity of the positive nuclei, 0 to 3, as in QuPath's Allred score.

    0 without positive nuclei, else 1; 2 if their mean grade is above 5/3, and 3 if it is above 7/3.
    """
    positive, weighted = counts.positive, _weighted(counts)
    if not positive:
        return 0
    return 1 + (3 * weighted > 5 * positive) + (3 * weighted > 7 * positive)


def score_nuclei(
    nuclei: Nuclei, grades: Grades, *, rows: npt.NDArray[np.int_] | None = None
) -> dict[str, Score]:
    """Return the score of each class, and last of all classes together under their joint name.

    Parameters
    ----------
    nuclei
        The table, N nuclei.
    grades
        ``(N,)``, see :func:`~wsi_suite.scoring.intensity.grade_nuclei`.
    rows
        The nuclei that count; ``None``: all.
    """
    label, grade = (nuclei.label, grades) if rows is None else (nuclei.label[rows], grades[rows])
    unknown, kinds = len(INTENSITIES), len(INTENSITIES) + 1
    codes = label.astype(np.intp) * kinds + np.where(grade == NOT_MEASURABLE, unknown, grade)
    table = np.bincount(codes, minlength=len(nuclei.classes) * kinds).reshape(-1, kinds)
    scores = {name: Score(*map(int, row)) for name, row in zip(nuclei.classes, table, strict=True)}
    scores[pooled_name(nuclei.classes)] = Score(*map(int, table.sum(axis=0)))
    return scores


def pooled_name(classes: tuple[str, ...]) -> str:
    """Return QuPath's name for all classes together, such as ``Epithelium + Stroma``."""
    return " + ".join(sorted(classes))


def _weighted(counts: Score) -> int:
    return counts.one + 2 * counts.two + 3 * counts.three
