"""Distance of a slide to a model's training data: statistics of fields, and distances to them.

A field is a square of tissue. It is described under several aspects, each a vector: its stain, the
size of its nuclei, its sharpness, and features of the network. Under each aspect a model keeps a
Gaussian of its training fields, and the distances of fields that this Gaussian was not fitted to.

Sources: distance in features of a network by Lee et al., *A Simple Unified Framework for Detecting
Out-of-Distribution Samples and Adversarial Attacks*, NeurIPS 2018; the Gaussian, few axes and one
variance for all the rest, is that of Tipping and Bishop, *Probabilistic Principal Component
Analysis*, J. R. Statist. Soc. B 61 (1999), 611 - 622.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from wsi_suite.documents import ModelDocument, Part

Vectors = npt.NDArray[np.float64]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Verdict = Literal["inside", "at the rim", "far"]

STAIN, SIZE, SHARPNESS, FEATURES = "stain", "size of nuclei", "sharpness", "features of the network"
ASPECTS = (STAIN, SIZE, SHARPNESS, FEATURES)

RIM_PERCENT, FAR_PERCENT = 95.0, 99.0
"""Percentiles of the distances of fields like those of training, beyond which a slide is at the rim
or far."""

FEWEST_FIELDS = 20
"""Fields that an aspect is learned from, at least."""

_MOST_AXES = 8
_FOLDS = 5  # of fields of few runs
_LEAST_VARIANCE = 1e-3  # of scaled values: no direction is certain
_DIGITS = 6

_MORE = {  # which side of the mean a value of an aspect is on, in words
    STAIN: (
        ("less hematoxylin", "more hematoxylin"),
        ("less DAB", "more DAB"),
        ("other colours", "other colours"),
    ),
    SIZE: (("smaller", "larger"),),
    SHARPNESS: (("blurred", "sharper or noisier"),),
}
_TOLD = 1.0  # standard deviations from which a side is told


class Aspect(Part):
    """Training fields under one aspect, as a Gaussian.

    Attributes
    ----------
    mean, scale
        ``(P,)``, of each value. All else is of values less their mean, over their scale.
    axes, variances
        ``(K, P)`` unit vectors along which fields differ most, and ``(K,)`` variances along them.
    rest
        Variance along every other direction.
    reference
        Distances of fields that the Gaussian was not fitted to, ascending.
    """

    mean: tuple[Finite, ...] = Field(min_length=1)
    scale: tuple[Annotated[Finite, Field(gt=0)], ...]
    axes: tuple[tuple[Finite, ...], ...]
    variances: tuple[Annotated[Finite, Field(gt=0)], ...]
    rest: float = Field(gt=0, allow_inf_nan=False)
    reference: tuple[Annotated[Finite, Field(ge=0)], ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_shapes(self) -> Aspect:
        widths = {len(self.mean), len(self.scale), *map(len, self.axes)}
        if len(widths) > 1 or len(self.axes) != len(self.variances):
            raise ValueError("mean, scale, axes and variances are not of one size")
        return self

    def scaled(self, values: Vectors) -> Vectors:
        """Return ``(N, P)`` values less their mean, over their scale."""
        return np.asarray((values - np.array(self.mean)) / np.array(self.scale))

    def distances(self, values: Vectors) -> Vectors:
        """Return ``(N,)`` distances of ``(N, P)`` values, about 1 for those of training.

        Mahalanobis distances over the root of P; NaN where a value is.
        """
        scaled = self.scaled(values)
        along = scaled @ np.array(self.axes).reshape(-1, len(self.mean)).T
        squared = (along**2 / np.array(self.variances)).sum(axis=1)
        if len(self.axes) < len(self.mean):
            beside = (scaled**2).sum(axis=1) - (along**2).sum(axis=1)
            squared += np.maximum(beside, 0) / self.rest
        return np.asarray(np.sqrt(squared / len(self.mean)))

    def limit(self, percent: float) -> float:
        """Return a percentile of the reference."""
        return float(np.percentile(self.reference, percent))


class KnownFields(ModelDocument):
    """Training fields of a model, as the file beside it holds them.

    Attributes
    ----------
    read_mpp, field_px
        Um per pixel of the fields, and their side in pixels.
    runs, fields
        Runs that the Gaussians are fitted to, and their number of fields.
    held_out
        How the reference fields were held out: by ``run``, or where there are few runs by ``tile``.
    aspects
        By their names, see :data:`ASPECTS`.
    """

    read_mpp: float = Field(gt=0)
    field_px: int = Field(gt=0)
    runs: tuple[str, ...]
    fields: int
    held_out: Literal["run", "tile"]
    aspects: dict[str, Aspect]


class AspectFigures(Part):
    """How far a slide lies from training under one aspect.

    Attributes
    ----------
    verdict
        "inside", "at the rim" or "far".
    nearer_percent
        Share of the model's reference fields that are nearer than the slide's median field.
    times_limit
        Distance of that field over the one from which a slide is far.
    outside_share
        Share of the slide's fields that are farther than that limit.
    differs
        In what the median field differs, such as "less DAB"; ``None`` for features.
    """

    verdict: Verdict
    nearer_percent: float
    times_limit: float
    outside_share: float
    differs: str | None = None


class Familiarity(Part):
    """Distance of a slide to its model's training data.

    Attributes
    ----------
    verdict
        That of the worst aspect; ``None`` if it is not known.
    fields, field_um
        Number of fields that were looked at, and their side.
    aspects
        By name, those that are known.
    statistics
        First 12 digits of the SHA-256 of the model's statistics.
    reason
        Why nothing is known, or ``None``.
    """

    verdict: Verdict | None = None
    fields: int = 0
    field_um: float | None = None
    aspects: dict[str, AspectFigures] = Field(default_factory=dict)
    statistics: str | None = None
    reason: str | None = None

    @property
    def farthest(self) -> AspectFigures | None:
        """Figures of the aspect that lies farthest out."""
        return max(self.aspects.values(), key=lambda found: found.times_limit, default=None)


def learn_aspect(values: Vectors, groups: Sequence[str], *, held_out: Vectors) -> Aspect | None:
    """Return the Gaussian of training fields, and the distances of others from it.

    Each group is measured by a Gaussian of all other groups, so that no distance is one from a
    Gaussian that knows the field.

    Parameters
    ----------
    values
        ``(N, P)``; rows with NaN are left out.
    groups
        ``(N,)`` names of what is to be left out together.
    held_out
        ``(M, P)`` fields of runs that nothing was learned from; their distances count, too.

    Returns
    -------
    Aspect or None
        ``None`` with fewer than :data:`FEWEST_FIELDS`, or without two groups.
    """
    known = np.isfinite(values).all(axis=1)
    values, names = values[known], np.asarray(groups)[known]
    held_out = held_out[np.isfinite(held_out).all(axis=1)]
    if len(values) < FEWEST_FIELDS or len(set(names.tolist())) < 2:
        return None
    distances = [
        _fitted(values[names != name]).distances(values[names == name])
        for name in sorted(set(names.tolist()))
    ]
    fitted = _fitted(values)
    reference = np.sort(np.concatenate([*distances, fitted.distances(held_out)]))
    return fitted.model_copy(update={"reference": _rounded(reference)})


def folds_of(runs: Sequence[str]) -> tuple[list[str], Literal["run", "tile"]]:
    """Return the fold of each field for leaving out: its run, or one of five where runs are few."""
    if len(set(runs)) >= 3:
        return list(runs), "run"
    return [str(number % _FOLDS) for number in range(len(runs))], "tile"


def compare_with_known(
    fields: Mapping[str, Vectors], known: KnownFields, *, statistics: str
) -> Familiarity:
    """Return how far the fields of a slide lie from those of training.

    Parameters
    ----------
    fields
        ``(N, P)`` values by aspect, N the same for all.
    known
        Of the model.
    statistics
        Name of these, for :class:`Familiarity`.
    """
    figures = {}
    for name, aspect in known.aspects.items():
        values = fields.get(name)
        if values is not None and np.isfinite(values).all(axis=1).any():
            figures[name] = _figures(values[np.isfinite(values).all(axis=1)], aspect, name=name)
    number = max((len(values) for values in fields.values()), default=0)
    if not figures:
        return Familiarity(statistics=statistics, reason="no field of tissue could be described")
    worst = max(figures.values(), key=lambda found: _SEVERITY[found.verdict])
    return Familiarity(
        verdict=worst.verdict,
        fields=number,
        field_um=round(known.field_px * known.read_mpp, 3),
        aspects=figures,
        statistics=statistics,
    )


_SEVERITY: Mapping[Verdict, int] = {"inside": 0, "at the rim": 1, "far": 2}


def _figures(values: Vectors, aspect: Aspect, *, name: str) -> AspectFigures:
    distances = aspect.distances(values)
    middle = float(np.median(distances))
    rim, far = aspect.limit(RIM_PERCENT), aspect.limit(FAR_PERCENT)
    nearer = np.searchsorted(np.array(aspect.reference), middle) / len(aspect.reference)
    verdict: Verdict = "far" if middle > far else "at the rim" if middle > rim else "inside"
    return AspectFigures(
        verdict=verdict,
        nearer_percent=round(100 * float(nearer), 1),
        times_limit=round(middle / max(far, 10**-_DIGITS), 2),
        outside_share=round(float(np.mean(distances > far)), 3),
        differs=_side(np.median(aspect.scaled(values), axis=0), name=name),
    )


def _side(middle: Vectors, *, name: str) -> str | None:
    """Return in words where the median field lies, by the value that is farthest out."""
    words = _MORE.get(name)
    if words is None:
        return None
    farthest = int(np.argmax(np.abs(middle[: len(words)])))
    if abs(middle[farthest]) < _TOLD:
        return None
    return words[farthest][int(middle[farthest] > 0)]


def _fitted(values: Vectors) -> Aspect:
    """Return the Gaussian of ``(N, P)`` values, with a reference that is still to be found."""
    mean, width = values.mean(axis=0), values.shape[1]
    spread = values.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    _, roots, axes = np.linalg.svd((values - mean) / scale, full_matrices=False)
    variances = np.maximum(roots**2 / len(values), _LEAST_VARIANCE)
    count = min(_MOST_AXES, len(variances))
    # What the axes leave, shared out among all directions that are left (Tipping and Bishop, 8).
    rest = float(variances[count:].sum()) / max(width - count, 1)
    axes = axes[:count] * np.where(axes[:count].sum(axis=1) < 0, -1, 1)[:, None]  # one of two signs
    return Aspect(
        mean=_rounded(mean),
        scale=_rounded(scale, least=10**-_DIGITS),
        axes=tuple(_rounded(axis) for axis in axes),
        variances=_rounded(variances[:count], least=_LEAST_VARIANCE),
        rest=max(round(rest, _DIGITS), _LEAST_VARIANCE),
        reference=(1.0,),
    )


def _rounded(values: Vectors, *, least: float | None = None) -> tuple[float, ...]:
    rounded = np.round(values, _DIGITS)
    return tuple((rounded if least is None else np.maximum(rounded, least)).tolist())
