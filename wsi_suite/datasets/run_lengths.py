"""Masks in run lengths, as outlines: those of COCO and of CVAT.

The pixels of a mask are counted from the top left: first those outside, then those inside, and so
on. COCO counts column by column, over the whole picture; ``counts`` is a list of these numbers, or
a text that holds them in groups of five bits. CVAT counts row by row, in a box about the mask.
Sources: the COCO API, https://github.com/cocodataset/cocoapi (``common/maskApi.c``); CVAT's
documentation of its XML, https://docs.cvat.ai/docs/manual/advanced/xml_format/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    column, top, bottom = _pieces(runs, length=height)
    return _joined(shapely.box(column, top, column + 1, bottom))


def outline_of_rows(
    counts: Sequence[int], *, corner: tuple[int, int], size: tuple[int, int]
) -> Shape | None:
    """Return the outline of a mask whose pixels are counted row by row in a box.

    Parameters
    ----------
    counts
        Lengths of the runs, first one outside.
    corner
        ``(x, y)`` of the box, pixels of the picture.
    size
        Width and height of the box.

    Raises
    ------
    ValueError
        The counts are not those of as many pixels.
    """
    (x, y), (width, height) = corner, size
    runs = np.array(counts, np.int64).reshape(-1)
    if width < 1 or height < 1 or (runs < 0).any() or runs.sum() != width * height:
        raise ValueError(f"run lengths of {runs.sum()} px, expected {width} x {height}")
    row, left, right = _pieces(runs, length=width)
    return _joined(shapely.box(x + left, y + row, x + right, y + row + 1))


def rows_of_mask(mask: npt.NDArray[np.bool_]) -> list[int]:
    """Return the run lengths of a ``(H, W)`` mask row by row, first one outside."""
    pixels = np.concatenate([[False], mask.ravel(), [not mask.ravel()[-1]]])
    changes = np.flatnonzero(pixels[1:] != pixels[:-1])
    lengths: list[int] = np.diff(changes, prepend=0).tolist()
    return lengths


def _pieces(
    runs: npt.NDArray[np.int64], *, length: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return line, start and end in it of the runs inside, one for each line of a run."""
    ends = runs.cumsum()
    first, last = (ends - runs)[1::2], ends[1::2]
    first, last = first[last > first], last[last > first]
    lines = (last - 1) // length - first // length + 1
    run = np.repeat(np.arange(len(first)), lines)
    nth = np.arange(len(run)) - np.repeat(lines.cumsum() - lines, lines)
    line = first[run] // length + nth
    start = np.maximum(first[run] - line * length, 0)
    return line, start, np.minimum(last[run] - line * length, length)


def _joined(boxes: npt.NDArray[np.object_]) -> Shape | None:
    if not len(boxes):
        return None
    whole = shapely.union_all(boxes)
    assert isinstance(whole, Polygon | MultiPolygon)
    return whole


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
