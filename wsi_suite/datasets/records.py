"""A labelled picture as plain values, for formats that hold JSON."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import shapely

from wsi_suite.datasets.labelled_image import UNGRADED, LabelledImage


def facts_of(image: LabelledImage) -> dict[str, Any]:
    """Return the facts of a picture without its labels; unknown ones are ``None``."""
    return {
        "name": image.name,
        "width_px": image.size_px[0],
        "height_px": image.size_px[1],
        "mpp_x": image.mpp[0] if image.mpp else None,
        "mpp_y": image.mpp[1] if image.mpp else None,
        "patient": image.patient,
        "slide": image.slide,
        "laboratory": image.laboratory,
        "stain": image.stain,
        "split": image.split,
        "corner_px0": list(image.corner_px0) if image.corner_px0 else None,
        "annotated": None if image.annotated is None else shapely.to_wkt(image.annotated, -1),
    }


def part_name(part: str) -> str:
    """Return the name of a part of a split in letters, digits and ``_``, for files and programs."""
    return re.sub(r"\W+", "_", part)


def nuclei_of(image: LabelledImage) -> dict[str, list[Any]]:
    """Return the columns of the labels, all of one length; unknown ones are ``None``."""
    labels = image.labels
    return {
        "x": labels.points[:, 0].tolist(),
        "y": labels.points[:, 1].tolist(),
        "class": list(labels.class_names),
        "radius_px": [None if np.isnan(one) else one for one in labels.radii_px.tolist()],
        "grade": [None if one == UNGRADED else one for one in labels.grades.tolist()],
        "annotator": list(labels.annotators),
        "outline": [None if one is None else shapely.to_wkt(one, -1) for one in labels.outlines],
    }
