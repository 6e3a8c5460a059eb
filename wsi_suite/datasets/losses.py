"""Losses of an export: facts of labels that a format cannot hold, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator

import numpy as np

from wsi_suite.datasets.labelled_image import UNGRADED, LabelledImage

SPLIT = "part of the split"
NUCLEUS_FACTS = ("outline", "radius", "grade", "annotator")
IMAGE_FACTS = (
    *("pixel size", "patient", "slide", "laboratory", "stain"),
    *("place in its slide", "annotated part", SPLIT),
)


def tally(
    images: Iterable[LabelledImage], lost: Counter[str], *, holds: Collection[str]
) -> Iterator[LabelledImage]:
    """Yield the pictures, and count in `lost` the facts that a format does not hold.

    Parameters
    ----------
    images
        The pictures.
    lost
        Gets the number of nuclei or pictures by fact.
    holds
        The facts that the format holds, of ``NUCLEUS_FACTS`` and ``IMAGE_FACTS``.
    """
    assert set(holds) <= {*NUCLEUS_FACTS, *IMAGE_FACTS}
    for image in images:
        for fact, count in _facts(image).items():
            if count and fact not in holds:
                lost[fact] += count
        yield image


def describe_losses(lost: Counter[str], *, title: str) -> list[str]:
    """Return one sentence for each fact that was lost."""
    return [
        f"{title} does not hold the {fact}: lost for {lost[fact]:,} "
        + ("nuclei" if fact in NUCLEUS_FACTS else "pictures")
        for fact in (*NUCLEUS_FACTS, *IMAGE_FACTS)
        if lost[fact]
    ]


def _facts(image: LabelledImage) -> dict[str, int]:
    labels = image.labels
    outlined = np.array([outline is not None for outline in labels.outlines], bool)
    return {
        "outline": int(outlined.sum()),
        # The radius of an outlined nucleus follows from its outline.
        "radius": int((~np.isnan(labels.radii_px) & ~outlined).sum()),
        "grade": int((labels.grades != UNGRADED).sum()),
        "annotator": sum(name is not None for name in labels.annotators),
        "pixel size": image.mpp is not None,
        "patient": image.patient is not None,
        "slide": image.slide is not None,
        "laboratory": image.laboratory is not None,
        "stain": image.stain is not None,
        "place in its slide": image.corner_px0 is not None,
        "annotated part": image.annotated is not None,
        SPLIT: image.split is not None,
    }
