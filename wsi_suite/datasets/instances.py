"""Outlines of nuclei from maps in which each pixel has the number of its nucleus."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from wsi_suite.datasets.labelled_image import Shape


def outlines_of_map(numbers: npt.NDArray[np.integer]) -> dict[int, Shape]:
    """Return the outline of each nucleus, along the borders of its pixels.

    The area of an outline is just the number of the pixels.

    Parameters
    ----------
    numbers
        ``(H, W)`` number of the nucleus of each pixel, 0 for none.

    Returns
    -------
    dict
        Outlines in pixels from the top left corner, by number, ascending.
    """
    padded = np.pad(numbers, ((0, 0), (1, 1)))
    starts = np.argwhere((padded[:, 1:-1] != padded[:, :-2]) & (padded[:, 1:-1] != 0))
    ends = np.argwhere((padded[:, 1:-1] != padded[:, 2:]) & (padded[:, 1:-1] != 0))
    owner = numbers[starts[:, 0], starts[:, 1]]
    runs = shapely.box(starts[:, 1], starts[:, 0], ends[:, 1] + 1, starts[:, 0] + 1)
    order = np.argsort(owner, kind="stable")
    found, first = np.unique(owner[order], return_index=True)
    groups = np.split(runs[order], first[1:]) if len(found) else []
    return {
        int(number): _as_area(shapely.union_all(group))
        for number, group in zip(found, groups, strict=True)
    }


def map_of_outlines(
    outlines: npt.NDArray[np.object_], size: tuple[int, int]
) -> npt.NDArray[np.int32]:
    """Return ``(H, W)`` numbers from 1: of each pixel the last outline that holds its centre.

    Parameters
    ----------
    outlines
        ``(N,)`` shapely polygons, pixels.
    size
        Width and height.
    """
    width, height = size
    numbers = np.zeros((height, width), np.int32)
    for number, outline in enumerate(outlines, start=1):
        left, top, right, bottom = outline.bounds
        x0, y0 = max(0, int(left)), max(0, int(top))
        x1, y1 = min(width, int(np.ceil(right))), min(height, int(np.ceil(bottom)))
        if x1 <= x0 or y1 <= y0:
            continue
        y, x = np.mgrid[y0:y1, x0:x1] + 0.5
        numbers[y0:y1, x0:x1][shapely.contains_xy(outline, x, y)] = number
    return numbers


def _as_area(shape: BaseGeometry) -> Shape:
    # Pixels that touch at a corner only make the union a multipolygon.
    assert isinstance(shape, Polygon | MultiPolygon)
    return shape
