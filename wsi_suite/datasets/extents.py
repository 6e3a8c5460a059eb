"""Boxes around nuclei, for formats that know no points."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import shapely

from wsi_suite.datasets.labelled_image import LabelledImage
from wsi_suite.errors import DataError

Boxes = npt.NDArray[np.float64]
"""``(N, 4)`` float64: left, top, right, bottom; pixels of the picture."""


def boxes_of(image: LabelledImage, *, radius_um: float | None) -> Boxes:
    """Return the box around each nucleus: of its outline, else of the disk of its radius.

    Parameters
    ----------
    image
        The picture and its labels.
    radius_um
        Radius of nuclei of which none is known.

    Raises
    ------
    DataError
        A nucleus has no radius, and `radius_um` is not given.
    """
    labels = image.labels
    radii = np.repeat(labels.radii_px[:, None], 2, axis=1)
    if radius_um is not None and image.mpp is not None:
        radii = np.where(np.isnan(radii), np.divide(radius_um, image.mpp), radii)
    boxes = np.hstack([labels.points - radii, labels.points + radii])
    outlined = np.array([outline is not None for outline in labels.outlines], bool)
    boxes[outlined] = shapely.bounds(labels.outlines[outlined]).reshape(-1, 4)
    if np.isnan(boxes).any():
        count = int(np.isnan(boxes).any(axis=1).sum())
        raise DataError(
            f"'{image.name}': {count} nuclei have no radius, and this format needs one;"
            " give --radius-um"
        )
    return boxes
