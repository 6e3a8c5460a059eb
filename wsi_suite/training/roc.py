"""How well class probabilities tell the classes of nuclei apart that were found.

Only matches count: whether a nucleus is found at all is a question of its own. No threshold of the
class probability is involved.

Source: Fawcett, *An introduction to ROC analysis*, 2006 (curve, ties, area).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wsi_suite.training.matches import BoolArray, FloatArray
from wsi_suite.training.trial import Trial


@dataclass(frozen=True)
class Roc:
    """A receiver operating characteristic.

    Attributes
    ----------
    positive, negative
        Name of the class that is sought, and of the other.
    false_rate, true_rate
        ``(N,)`` share of the negative and of the positive nuclei from each probability up, from
        (0, 0) to (1, 1).
    """

    positive: str
    negative: str
    false_rate: FloatArray
    true_rate: FloatArray

    @property
    def area(self) -> float:
        """Area under the curve.

        It is the probability that a positive nucleus has a higher class probability than a negative
        one, where equal ones count half.
        """
        return float(np.trapezoid(self.true_rate, self.false_rate))


def class_rocs(trial: Trial) -> list[Roc]:
    """Return the curves of a trial's matches from its threshold up.

    Of two classes there is one curve, of the second class against the first; of more, each against
    all others. A class without matches, or a model without class probabilities, has none.
    """
    tiles = [part for part in zip(trial.matches, trial.found, strict=True) if len(part[1].label)]
    if any(found.class_probability is None for _, found in tiles):
        return []
    truth, probability = [np.zeros(0, np.int64)], [np.zeros((0, len(trial.classes)))]
    for matches, found in tiles:
        assert found.class_probability is not None
        rows = (matches.truth >= 0) & (found.confidence >= trial.min_confidence)
        truth.append(matches.truth[rows])
        probability.append(found.class_probability[rows].astype(np.float64))
    labels, likely = np.concatenate(truth), np.concatenate(probability)
    sought = range(1, 2) if len(trial.classes) == 2 else range(len(trial.classes))
    curves = [_curve(labels == index, likely[:, index]) for index in sought]
    return [
        Roc(trial.classes[index], _others(trial.classes, index), *curve)
        for index, curve in zip(sought, curves, strict=True)
        if curve is not None
    ]


def class_areas(trial: Trial) -> dict[str, float | None]:
    """Return the area under the curve of each class; ``None`` for a class without curve."""
    areas = {roc.positive: roc.area for roc in class_rocs(trial)}
    if len(trial.classes) == 2 and areas:  # one curve turned round is the other
        areas = dict.fromkeys(trial.classes, next(iter(areas.values())))
    return {name: areas.get(name) for name in trial.classes}


def _others(classes: Sequence[str], index: int) -> str:
    return classes[0] if len(classes) == 2 else "others"


def _curve(
    positive: BoolArray, probability: npt.NDArray[np.float64]
) -> tuple[FloatArray, FloatArray] | None:
    """Return false and true rates by falling probability; ``None`` if either part is empty."""
    number = int(positive.sum())
    if number in (0, len(positive)):
        return None
    order = np.argsort(-probability, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(probability[order])), len(order) - 1)  # ties together
    true = np.cumsum(positive[order])[ends]
    false = ends + 1 - true
    return (
        np.append(0.0, false / (len(positive) - number)),
        np.append(0.0, true / number),
    )
