"""Pictures of an evaluation: curves, reliability, counts (PNG), and tiles with errors (JPEG)."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wsi_suite.colours import COLOURS, class_colour
from wsi_suite.pages import PLOT_STYLE, png_of
from wsi_suite.training.evaluation import classed_right, precision_recall
from wsi_suite.training.matches import join_matches
from wsi_suite.training.roc import Roc
from wsi_suite.training.tile_pictures import beside, draw_found, enlarge
from wsi_suite.training.trial import Trial

_BINS = 10


def draw_curves(trial: Trial) -> bytes:
    """Draw precision over recall: of each class, and without classes."""
    with style.context(PLOT_STYLE):
        figure = Figure(figsize=(4.2, 3.6), layout="constrained")
        axes = figure.add_subplot()
        parts = [
            (name, class_colour(index), [tile.ranked[index] for tile in trial.matches])
            for index, name in enumerate(trial.classes)
        ]
        parts.append(("without classes", "0.4", [tile.agnostic for tile in trial.matches]))
        for name, colour, matches in parts:
            joined = join_matches(matches)
            if joined.nuclei:
                recall, precision = precision_recall(joined)
                axes.plot(recall, precision, color=colour, label=name)
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(frameon=False, loc="lower left")
        return png_of(figure)


def draw_rocs(rocs: Sequence[Roc], classes: Sequence[str]) -> bytes:
    """Draw how class probabilities tell the classes of found nuclei apart, a curve a class."""
    with style.context(PLOT_STYLE):
        figure = Figure(figsize=(4.2, 3.6), layout="constrained")
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color="0.8", zorder=0)
        for roc in rocs:
            axes.plot(
                roc.false_rate,
                roc.true_rate,
                color=class_colour(classes.index(roc.positive)),
                label=f"{roc.positive} vs. {roc.negative}: area {roc.area:.3f}",
            )
        axes.set(
            xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1.02)
        )
        axes.legend(frameon=False, loc="lower right")
        return png_of(figure)


def draw_reliability(trial: Trial) -> bytes:
    """Draw how often probabilities are right: of nuclei, and of their classes."""
    nuclei = join_matches([tile.agnostic for tile in trial.matches])
    right, likely = classed_right(trial.matches, trial.min_confidence)
    with style.context(PLOT_STYLE):
        figure = Figure(figsize=(6.4, 3.4), layout="constrained")
        left, second = figure.subplots(1, 2)
        _draw_bins(left, nuclei.hit, nuclei.confidence, "confidence", "share that match")
        _draw_bins(
            second,
            right,
            likely,
            "class probability",
            "share of the right class",
        )
        return png_of(figure)


def _draw_bins(
    axes: Axes,
    right: npt.NDArray[np.bool_],
    probability: npt.NDArray[np.float32],
    name: str,
    share: str,
) -> None:
    place = np.minimum((probability * _BINS).astype(int), _BINS - 1)
    number = np.bincount(place, minlength=_BINS)
    there = np.flatnonzero(number)
    mean = np.bincount(place, weights=probability, minlength=_BINS)[there] / number[there]
    hit = np.bincount(place, weights=right, minlength=_BINS)[there] / number[there]
    axes.plot([0, 1], [0, 1], color="0.8", zorder=0)
    axes.bar((there + 0.5) / _BINS, number[there] / max(1, number.max()), 0.9 / _BINS, color="0.92")
    axes.plot(mean, hit, "o-", color=COLOURS[0])
    axes.set(xlabel=name, ylabel=share, xlim=(0, 1), ylim=(0, 1.02))


def draw_counts(names: Sequence[str], counts: Sequence[npt.NDArray[np.int_]]) -> bytes:
    """Draw detections over labelled nuclei, a point a tile.

    Parameters
    ----------
    names
        Of the parts.
    counts
        ``(tiles, 2)`` labelled and detected nuclei of each part.
    """
    with style.context(PLOT_STYLE):
        figure = Figure(figsize=(2.6 * len(names), 2.8), layout="constrained")
        colours = ("0.4", *COLOURS)
        for place, (name, values) in enumerate(zip(names, counts, strict=True)):
            axes = figure.add_subplot(1, len(names), place + 1)
            most = max(1, int(values.max(initial=1))) * 1.05
            axes.plot([0, most], [0, most], color="0.8", zorder=0)
            axes.plot(
                values[:, 0],
                values[:, 1],
                "o",
                ms=3,
                color=colours[place % len(colours)],
                alpha=0.6,
            )
            axes.set(
                title=name, xlabel="labelled", ylabel="detected", xlim=(0, most), ylim=(0, most)
            )
            axes.set_aspect("equal")
        return png_of(figure)


def draw_tile(trial: Trial, row: int, *, mpp: float) -> bytes:
    """Draw a tile as it is, and beside it with its nuclei, as :func:`draw_found` does.

    Parameters
    ----------
    trial, row
        The tile.
    mpp
        Resolution, um per pixel.
    """
    pixels = trial.tiles[row].read(mpp)
    marked = draw_found(
        pixels,
        trial.truth[row],
        trial.found[row],
        trial.matches[row],
        min_confidence=trial.min_confidence,
    )
    both = beside(enlarge(pixels), marked)
    _, data = cv2.imencode(".jpg", both[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    return data.tobytes()
