"""Masks of COCO in run lengths, as outlines.

The pixels of a mask are counted column by column, from the top left: first those outside, then
those inside, and so on. ``counts`` is a list of these numbers, or a text that holds them in groups
of five bits. Source: the COCO API, https://github.com/cocodataset/cocoapi (``common/maskApi.c``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry import MultiPolygon, Polygon

from wsi_suite.datasets.labelled_image import Shape


def outline_of_runs(mask: Mapping[str, Any], *, size: tuple[int, int]) -> Shape | None:
    """Return the outline of a mask along the borders of its pixels; ``None`` if it is empty.

    Parameters
    ----------
    mask
        ``size`` (height, width) and ``counts``, as COCO has them.
    size
        Width and height of the picture.

    Raises
    ------
    ValueError
        The mask is not of the picture's size, or its counts are damaged.
    """
    height, width = map(int, mask["size"])
    if (width, height) != size:
        raise ValueError(
            f"a mask of {width} x {height} px, but the picture has {size[0]} x {size[1]}"
        )
    counts = mask["counts"]
    runs = np.array(
        _counts_of(counts) if isinstance(counts, str | bytes) else counts, np.int64
    ).reshape(-1)
    if (runs < 0).any() or runs.sum() != width * height:
        raise ValueError(f"run lengths of {runs.sum()} px, expected {width * height}")
    ends = runs.cumsum()
    first, last = (ends - runs)[1::2], ends[1::2]
    boxes = _boxes(first[last > first], last[last > first], height=height)
    if not len(boxes):
        return None
    whole = shapely.union_all(boxes)
    assert isinstance(whole, Polygon | MultiPolygon)
    return whole


def _boxes(
    first: npt.NDArray[np.int64], last: npt.NDArray[np.int64], *, height: int
) -> npt.NDArray[np.object_]:
    """Return the rectangles of runs of pixels, one for each column of a run."""
    columns = (last - 1) // height - first // height + 1
    run = np.repeat(np.arange(len(first)), columns)
    nth = np.arange(len(run)) - np.repeat(columns.cumsum() - columns, columns)
    x = first[run] // height + nth
    top = np.maximum(first[run] - x * height, 0)
    bottom = np.minimum(last[run] - x * height, height)
    boxes: npt.NDArray[np.object_] = shapely.box(x, top, x + 1, bottom)
    return boxes


def _counts_of(text: str | bytes) -> list[int]:
    """Return the numbers in compressed counts."""
    codes = text.encode("latin-1") if isinstance(text, str) else text
    counts: list[int] = []
    value = shift = 0
    for code in codes:
        bits = code - 48
        if not 0 <= bits < 64:
            raise ValueError(f"run lengths with the character {chr(code)!r}")
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        # From the fourth number on it is the difference to the one before the last.
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("run lengths that break off")
    return counts
