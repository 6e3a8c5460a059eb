"""Looks at validation runs during a training: figures, and pictures of a few tiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wsi_suite.detector.model_folder import ModelSpec
from wsi_suite.detector.network import NucleusNet
from wsi_suite.training.evaluation import best_threshold, evaluate_matches
from wsi_suite.training.labelled import LabelledTile
from wsi_suite.training.matches import match_tile
from wsi_suite.training.settings import TrainSettings
from wsi_suite.training.tile_pictures import beside, draw_found, draw_labelled
from wsi_suite.training.tiles import detect_tiles

SHOWN_TILES = 4
"""Validation tiles that are drawn at each look."""


@dataclass(frozen=True)
class Look:
    """Figures of a network on validation runs.

    Attributes
    ----------
    figures
        ``validation/map``, ``validation/ap/<class>`` and so on; NaN for one that has no value.
    pictures
        By name of the tile, ``(H, W, 3)`` uint8: left its labels, right what is found.
    """

    figures: dict[str, float]
    pictures: dict[str, npt.NDArray[np.uint8]]


def look_at(network: NucleusNet, tiles: Sequence[LabelledTile], settings: TrainSettings) -> Look:
    """Detect in validation tiles and return figures and pictures.

    F1 and pictures are those at the threshold of confidence that a model would get now.

    Parameters
    ----------
    network
        Set to evaluation mode meanwhile.
    tiles
        Of the validation runs.
    settings
        Of the training.
    """
    spec = ModelSpec(name=settings.name, read_mpp=settings.read_mpp, labels=settings.labels)
    training = network.training
    network.eval()
    truth, found = detect_tiles(network, tiles, spec=spec)
    network.train(training)
    classes = settings.labels.names
    matches = [
        match_tile(there, here, classes=len(classes))
        for there, here in zip(truth, found, strict=True)
    ]
    threshold = best_threshold(truth, found)
    result = evaluate_matches(matches, classes=classes, min_confidence=threshold)
    figures = {
        "validation/map": result.map,
        **{f"validation/ap/{name}": value for name, value in result.ap.items()},
        "validation/f1": result.f1,
        "validation/f1_without_classes": result.agnostic.f1,
        "validation/threshold": threshold,
    }
    pictures = {}
    for row in shown_tiles(tiles):
        pixels = tiles[row].read(spec.read_mpp)
        marked = draw_found(pixels, truth[row], found[row], matches[row], min_confidence=threshold)
        pictures[tiles[row].id] = beside(draw_labelled(pixels, truth[row]), marked)
    return Look(figures, pictures)


def shown_tiles(tiles: Sequence[LabelledTile]) -> list[int]:
    """Return the rows of the tiles that are drawn: always the same, of all parts of the list."""
    rows = [row for row, tile in enumerate(tiles) if len(tile.label)]
    places = np.linspace(0, len(rows) - 1, min(SHOWN_TILES, len(rows)))
    return [rows[round(place)] for place in places]


@dataclass(frozen=True)
class BestLook:
    """The best of the looks so far.

    Attributes
    ----------
    value
        Its figure; minus infinity before the first.
    epoch
        When it was, counted from 1.
    since
        Looks since then, none of them better.
    """

    value: float = -math.inf
    epoch: int = 0
    since: int = 0

    def after(self, value: float, *, epoch: int) -> BestLook:
        """Return the best after one more look; one that is as good, or no number, is no better."""
        if value > self.value:
            return BestLook(value, epoch, 0)
        return BestLook(self.value, self.epoch, self.since + 1)
