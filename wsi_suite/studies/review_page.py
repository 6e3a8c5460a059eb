"""The page of doubtful labels: pictures to look at, the surest doubts first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2

from wsi_suite.pages import inline, write_page
from wsi_suite.studies.label_review import KINDS, Doubt, close_up
from wsi_suite.training.labelled import LabelledTile

MOST_PICTURES = 60
"""Pictures of each kind on a page."""


def write_review_page(
    path: Path,
    doubts: Sequence[Doubt],
    tiles: Sequence[LabelledTile],
    *,
    title: str,
    model: str,
    learned: int,
    rare: Mapping[str, int],
) -> None:
    """Write the page, whole or not at all.

    Parameters
    ----------
    path
        The file.
    doubts
        In the order in which they are shown.
    tiles
        All tiles; the doubts name some of them.
    title
        What was reviewed.
    model
        Name of the model.
    learned
        How many of the pictures the model has learned from.
    rare
        Classes of few nuclei.
    """
    by_id = {tile.id: tile for tile in tiles}
    counts = Counter(doubt.kind for doubt in doubts)
    groups = [
        (
            kind,
            words,
            counts[kind],
            [
                (doubt, inline(_jpeg(by_id[doubt.tile], doubt), "jpeg"))
                for doubt in [one for one in doubts if one.kind == kind][:MOST_PICTURES]
            ],
        )
        for kind, words in KINDS.items()
        if counts[kind]
    ]
    nuclei = sum(len(tile.label) for tile in tiles)
    write_page(
        path,
        "review_page.html",
        package="wsi_suite.studies",
        title=title,
        model=model,
        learned=learned,
        rare=rare,
        groups=groups,
        pictures=len(tiles),
        nuclei=nuclei,
        most=MOST_PICTURES,
    )


def _jpeg(tile: LabelledTile, doubt: Doubt) -> bytes:
    picture = close_up(tile, doubt.x, doubt.y)
    return cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
