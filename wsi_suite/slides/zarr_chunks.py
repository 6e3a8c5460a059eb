"""Whether the chunks of a Zarr array were ever written.

A chunk that is not there reads as the array's fill value, black as a rule. So a level that was not
written whole, or not copied whole, would read as black in silence.
"""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import LocalStore

from wsi_suite.files import long_path

_METADATA = ("zarr.json", ".zarray", ".zattrs")
_SAMPLES = 8


def has_no_chunks(array: zarr.Array[Any]) -> bool:
    """Return whether no chunk lies where the array's metadata say, as ``0.0`` or as ``0/0``."""
    key = array.metadata.encode_chunk_key((0,) * array.ndim)
    found = _folder(array).glob("/".join("*" for _ in key.split("/")))
    return all(file.name in _METADATA or not file.is_file() for file in found)


def lacks_chunks(coarse: zarr.Array[Any], fine: zarr.Array[Any], *, axes: str) -> bool:
    """Return whether a level misses a chunk where a finer one has chunks.

    Looked for on a grid of 8 x 8 chunks, because there may be many on a slow disk.

    Parameters
    ----------
    coarse, fine
        The levels.
    axes
        One letter an axis.
    """
    places = [axes.index("y"), axes.index("x")]
    sides, finer = _stored_shape(coarse), _stored_shape(fine)
    factors = [fine.shape[at] / coarse.shape[at] for at in places]
    counts = [math.ceil(coarse.shape[at] / sides[at]) for at in places]
    sampled = (np.unique(np.linspace(0, n - 1, _SAMPLES).astype(int)) for n in counts)
    for place in product(*(numbers.tolist() for numbers in sampled)):
        if _is_stored(coarse, place, axes=axes):
            continue
        below = (
            # Chunks of the finer level wholly below this one.
            range(
                math.ceil(n * sides[at] * factor / finer[at]),
                int((n + 1) * sides[at] * factor / finer[at]),
            )
            for n, at, factor in zip(place, places, factors, strict=True)
        )
        if any(_is_stored(fine, inner, axes=axes) for inner in product(*below)):
            return True
    return False


def _stored_shape(array: zarr.Array[Any]) -> tuple[int, ...]:
    """Return the shape of the part of an array in one file."""
    return array.shards or array.chunks


def _is_stored(array: zarr.Array[Any], place: tuple[int, ...], *, axes: str) -> bool:
    """Return whether a file holds pixels of a row and column of chunks."""
    row, column = place
    lengths = zip(axes, array.shape, _stored_shape(array), strict=True)
    numbers = [
        {"y": range(row, row + 1), "x": range(column, column + 1)}.get(
            axis, range(math.ceil(length / side))
        )
        for axis, length, side in lengths
    ]
    keys = (array.metadata.encode_chunk_key(coordinates) for coordinates in product(*numbers))
    folder = _folder(array)
    return any((folder / key).is_file() for key in keys)


def _folder(array: zarr.Array[Any]) -> Path:
    store = array.store_path.store
    assert isinstance(store, LocalStore), "slides are folders"
    return long_path(store.root / array.store_path.path)
