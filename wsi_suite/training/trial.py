"""A model tried on labelled tiles, how sure its figures are, and two models side by side.

Nuclei of one tile, and tiles of one run, are alike: figures are drawn again from runs, and from
tiles within them, never from single nuclei.

Source: Davison and Hinkley, *Bootstrap Methods and their Application*, 1997, 3.8 (resampling of
hierarchical data).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from wsi_suite.detector.detector import Detector
from wsi_suite.documents import Part
from wsi_suite.errors import DataError
from wsi_suite.training.evaluation import Evaluation, evaluate_matches
from wsi_suite.training.labelled import LabelledTile
from wsi_suite.training.matches import MATCH_UM, Labelled, TileMatches, match_tile
from wsi_suite.training.tiles import PixelChange, detect_tiles

LEVEL = 0.95
"""Share of the resamples that an interval holds."""

RESAMPLES = 1000
"""Number of times that tiles are drawn again."""


@dataclass(frozen=True)
class Trial:
    """A model's detections on labelled tiles, matched.

    Attributes
    ----------
    model, model_hash
        Name and hash of the model.
    classes
        Its class names.
    min_confidence
        Its threshold.
    match_um
        Largest distance of a match.
    tiles, truth, found, matches
        Each tile, its labelled and its detected nuclei in um, and their matches.
    """

    model: str
    model_hash: str
    classes: tuple[str, ...]
    min_confidence: float
    match_um: float
    tiles: tuple[LabelledTile, ...]
    truth: tuple[Labelled, ...]
    found: tuple[Labelled, ...]
    matches: tuple[TileMatches, ...]

    @property
    def runs(self) -> list[str]:
        """The runs of the tiles, sorted."""
        return sorted({tile.run for tile in self.tiles})

    def evaluate(self, rows: Sequence[int] | npt.NDArray[np.int_] | None = None) -> Evaluation:
        """Return the figures of all tiles, or of those at `rows`, each as often as it is there."""
        chosen = range(len(self.matches)) if rows is None else rows
        return evaluate_matches(
            [self.matches[row] for row in chosen],
            classes=self.classes,
            min_confidence=self.min_confidence,
            match_um=self.match_um,
        )

    def of_run(self, run: str) -> list[int]:
        """Return the rows of the tiles of a run."""
        return [row for row, tile in enumerate(self.tiles) if tile.run == run]

    def within(self, match_um: float) -> Trial:
        """Return the trial with another largest distance of a match."""
        matches = _match(self.truth, self.found, classes=len(self.classes), match_um=match_um)
        return replace(self, match_um=match_um, matches=matches)


def try_model(
    detector: Detector,
    tiles: Sequence[LabelledTile],
    *,
    match_um: float = MATCH_UM,
    change: PixelChange | None = None,
) -> Trial:
    """Detect in labelled tiles and match.

    Parameters
    ----------
    detector
        The model, on a device.
    tiles
        Labelled with the model's classes, ``detector.spec.labels``.
    match_um
        Largest distance of a match.
    change
        As in :func:`~wsi_suite.training.tiles.detect_tiles`.
    """
    truth, found = detect_tiles(
        detector.network, tiles, spec=detector.spec, change=change, look=detector.look
    )
    return Trial(
        model=detector.spec.name,
        model_hash=detector.model.hash,
        classes=detector.classes,
        min_confidence=detector.spec.min_confidence,
        match_um=match_um,
        tiles=tuple(tiles),
        truth=tuple(truth),
        found=tuple(found),
        matches=_match(truth, found, classes=len(detector.classes), match_um=match_um),
    )


def _match(
    truth: Sequence[Labelled], found: Sequence[Labelled], *, classes: int, match_um: float
) -> tuple[TileMatches, ...]:
    return tuple(
        match_tile(there, here, classes=classes, match_um=match_um)
        for there, here in zip(truth, found, strict=True)
    )


class FigureInterval(Part):
    """An interval that holds :data:`LEVEL` of the resamples.

    ``None`` if a figure has no value, or if there is one tile: drawn again it is the same tile.
    """

    low: float | None
    high: float | None

    @classmethod
    def of(cls, values: npt.NDArray[np.float64]) -> FigureInterval:
        """Return the interval of some values; those that are not numbers are left out."""
        values = values[~np.isnan(values)]
        if not len(values):
            return cls(low=None, high=None)
        low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return cls(low=float(low), high=float(high))


class FigureDifference(Part):
    """How much larger a figure of one model is than that of another on the same tiles.

    Attributes
    ----------
    value
        The difference; ``None`` if a figure has no value.
    low, high
        Its interval; ``None`` of one tile, as ``p``.
    p
        Twice the share of the resamples in which the difference has the other sign or none: how
        easily it comes about by chance, from ``2 / RESAMPLES`` to 1.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None


FIGURES: Mapping[str, Callable[[Evaluation], float]] = {
    "map": lambda evaluation: evaluation.map,
    "f1": lambda evaluation: evaluation.f1,
    "f1_agnostic": lambda evaluation: evaluation.agnostic.f1,
}
"""The figures that have intervals, by their names in :class:`EvaluationFigures`."""


def draw_again(
    runs: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0
) -> Iterator[npt.NDArray[np.int_]]:
    """Draw tiles again: runs with replacement, and in each run its tiles with replacement.

    Of one run alone only the tiles are drawn, so that what differs between runs is not in the
    interval.

    Parameters
    ----------
    runs
        The run of each tile.
    resamples
        How often.
    seed
        Of the draws.
    """
    rng = np.random.default_rng(seed)
    groups = rows_by_run(runs)
    for _ in range(resamples):
        yield draw_rows(groups, rng)


def rows_by_run(runs: Sequence[str]) -> list[npt.NDArray[np.int_]]:
    """Return the rows of the tiles of each run."""
    return [np.flatnonzero(np.array(runs) == run) for run in sorted(set(runs))]


def draw_rows(
    groups: Sequence[npt.NDArray[np.int_]], rng: np.random.Generator
) -> npt.NDArray[np.int_]:
    """Draw groups with replacement, and in each its rows with replacement."""
    drawn = rng.integers(len(groups), size=len(groups))
    return np.concatenate([rng.choice(groups[i], size=len(groups[i])) for i in drawn])


def find_intervals(trial: Trial, *, resamples: int = RESAMPLES) -> dict[str, FigureInterval]:
    """Return the interval of each of :data:`FIGURES`."""
    values = _resampled([trial], resamples=resamples)[0]
    return {name: FigureInterval.of(values[name]) for name in FIGURES}


def compare_models(
    trial: Trial, other: Trial, *, resamples: int = RESAMPLES
) -> dict[str, FigureDifference]:
    """Compare two models on the same tiles, drawn again together.

    Returns
    -------
    dict
        For each of :data:`FIGURES` the figure of `trial` less that of `other`.

    Raises
    ------
    DataError
        The classes of the models differ.
    """
    if trial.classes != other.classes:
        raise DataError(
            f"{other.model}: its classes ({', '.join(other.classes)}) are not those of "
            f"{trial.model} ({', '.join(trial.classes)}); only models of the same can be compared"
        )
    ours, theirs = _resampled([trial, other], resamples=resamples)
    differences = {}
    for name, figure in FIGURES.items():
        value = figure(trial.evaluate()) - figure(other.evaluate())
        differences[name] = difference_of(value, ours[name] - theirs[name])
    return differences


def difference_of(value: float, drawn: npt.NDArray[np.float64]) -> FigureDifference:
    """Return a difference with its interval and p.

    Parameters
    ----------
    value
        The difference.
    drawn
        ``(N,)`` the difference in each resample; those that are not numbers are left out.
    """
    drawn = drawn[~np.isnan(drawn)]
    if np.isnan(value):
        return FigureDifference(value=None)
    if not len(drawn):
        return FigureDifference(value=float(value))
    interval = FigureInterval.of(drawn)
    against = (drawn <= 0).sum() if value > 0 else (drawn >= 0).sum()
    return FigureDifference(
        value=float(value),
        low=interval.low,
        high=interval.high,
        p=float(min(1.0, 2 * max(int(against), 1) / len(drawn))),
    )


def _resampled(
    trials: Sequence[Trial], *, resamples: int
) -> list[dict[str, npt.NDArray[np.float64]]]:
    """Return each figure of each trial on the same draws of tiles; of one tile there are none."""
    runs = [tile.run for tile in trials[0].tiles]
    draws = list(draw_again(runs, resamples=resamples)) if len(runs) > 1 else []
    results = []
    for trial in trials:
        evaluations = [trial.evaluate(rows) for rows in draws]
        results.append(
            {
                name: np.array([figure(evaluation) for evaluation in evaluations])
                for name, figure in FIGURES.items()
            }
        )
    return results
