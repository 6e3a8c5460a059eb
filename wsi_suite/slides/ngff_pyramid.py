"""The levels of an OME-Zarr image, as far as they show level 0 smaller and nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zarr

from wsi_suite.errors import SlideError
from wsi_suite.slides.ngff import (
    Transform,
    axis_names,
    axis_unit_um,
    ome_attributes,
    transform_of,
)
from wsi_suite.slides.pixel_size import stated_size
from wsi_suite.slides.reader import is_smaller_copy
from wsi_suite.slides.zarr_chunks import lacks_chunks
from wsi_suite.slides.zarr_codecs import unknown_codec


@dataclass(frozen=True)
class StoredLevel:
    """A level as it is stored.

    Attributes
    ----------
    name
        Path of its array.
    array
        Its pixels.
    transform
        To the units of the axes, without what all levels share; ``None`` if none is stated.
    """

    name: str
    array: zarr.Array[Any]
    transform: Transform | None


@dataclass(frozen=True)
class Pyramid:
    """One entry of ``multiscales``.

    Attributes
    ----------
    axes
        One letter an axis of its arrays; x and y are among them.
    levels
        Largest first.
    mpp
        um per pixel of the largest along x and y, if they are stated.
    notes
        What is left out, and why.
    """

    axes: str
    levels: tuple[StoredLevel, ...]
    mpp: tuple[float, float] | None
    notes: tuple[str, ...]

    @property
    def pixels(self) -> int:
        """Pixels of the largest level."""
        width, height = self.size(0)
        return width * height

    def size(self, number: int) -> tuple[int, int]:
        """Return ``(width, height)`` of a level."""
        return _size(self.levels[number], self.axes)


def read_pyramid(path: Path, group: zarr.Group) -> Pyramid:
    """Return the pyramid of an image; the largest one if it has several.

    Raises
    ------
    SlideError
        It has none, its largest level cannot be read, or its axes are not known.
    """
    stated = ome_attributes(group).get("multiscales")
    entries = (
        [one for one in stated if isinstance(one, Mapping)] if isinstance(stated, list) else []
    )
    if not entries:
        raise SlideError(f"{path}: its 'multiscales' hold no image; copy the folder again")
    pyramids = [_pyramid(path, group, entry) for entry in entries]
    return max(pyramids, key=lambda pyramid: pyramid.pixels)


def _pyramid(path: Path, group: zarr.Group, multiscale: Mapping[str, Any]) -> Pyramid:
    levels, notes = _stored_levels(path, group, multiscale)
    dimensions = levels[0].array.ndim
    axes = axis_names(multiscale, dimensions=dimensions)
    if any(axes.count(axis) != 1 for axis in "yx") or any(axes.count(axis) > 1 for axis in "czt"):
        raise SlideError(
            f"{path}: its axes are not known ({multiscale.get('axes')!s:.200}); expected x, y and"
            " c, with or without z and t of one plane"
        )
    levels.sort(key=lambda level: -math.prod(_size(level, axes)))
    kept = levels[:1]
    for level in levels[1:]:
        difference = _difference(level, levels[0], axes=axes)
        if difference is None and lacks_chunks(level.array, kept[-1].array, axes=axes):
            difference = "chunks of it were never written"
        if difference is None:
            kept.append(level)
        else:
            notes.append(f"level '{level.name}' left out: {difference}")
    mpp = _stated_mpp(multiscale, levels[0].transform, axes=axes)
    return Pyramid(axes, tuple(kept), mpp, tuple(notes))


def _stored_levels(
    path: Path, group: zarr.Group, multiscale: Mapping[str, Any]
) -> tuple[list[StoredLevel], list[str]]:
    """Return the levels that can be read, the first of those listed among them, and notes."""
    levels: list[StoredLevel] = []
    notes: list[str] = []
    datasets = multiscale.get("datasets")
    for dataset in datasets if isinstance(datasets, list) else []:
        stated = dataset if isinstance(dataset, Mapping) else {"path": dataset}
        name = str(stated.get("path"))
        array = _array(group, name)
        if isinstance(array, str) and not levels:
            raise SlideError(
                f"{path}: its largest level '{name}' cannot be read ({array}); copy the folder"
                " again, or store it with a common codec such as zstd"
            )
        if isinstance(array, str) or (levels and array.ndim != levels[0].array.ndim):
            reason = array if isinstance(array, str) else "it has other axes"
            notes.append(f"level '{name}' left out: {reason}")
            continue
        transform = stated.get("coordinateTransformations")
        levels.append(StoredLevel(name, array, transform_of(transform, dimensions=array.ndim)))
    if not levels:
        raise SlideError(f"{path}: its 'multiscales' list no levels; copy the folder again")
    return levels, notes


def _array(group: zarr.Group, name: str) -> zarr.Array[Any] | str:
    """Return an array, or why there is none."""
    try:
        found = group[name]
    except Exception as error:  # absent, damaged, a codec that is not installed
        return " ".join(str(error).split()) or type(error).__name__
    if not isinstance(found, zarr.Array):
        return "it is no array"
    if (codec := unknown_codec(found)) is not None:
        return f"its codec '{codec}' is none for pixels"
    return found if 0 not in (*found.shape, *found.chunks) else "it is empty"


def _size(level: StoredLevel, axes: str) -> tuple[int, int]:
    return level.array.shape[axes.index("x")], level.array.shape[axes.index("y")]


def _difference(level: StoredLevel, first: StoredLevel, *, axes: str) -> str | None:
    """Return why a level does not show the first one smaller, ``None`` if it does."""
    size0, size = _size(first, axes), _size(level, axes)
    shape = f"{size[0]} x {size[1]} px"
    if level.array.dtype != first.array.dtype or _planes(level, axes) != _planes(first, axes):
        return "it has other channels or pixels than the largest"
    if not is_smaller_copy(size0, size):
        return f"{shape} is another shape than {size0[0]} x {size0[1]} px"
    if level.transform is None or first.transform is None:
        return None
    for axis, whole, part in zip("xy", size0, size, strict=True):
        at = axes.index(axis)
        unit = first.transform.scale[at]
        ratio = level.transform.scale[at] / unit
        shift = (level.transform.translation[at] - first.transform.translation[at]) / unit
        if abs(whole / ratio - part) > 1:
            return f"its scale along {axis} says {ratio:.4g} times smaller, its size of {shape} not"
        # Pixels are counted from their centres by some and from their corners by others.
        if abs(shift) > ratio / 2 + 0.01:
            return f"it is shifted along {axis} by {shift:.4g} px of the largest level"
    return None


def _planes(level: StoredLevel, axes: str) -> list[int]:
    lengths = zip(axes, level.array.shape, strict=True)
    return [length for axis, length in lengths if axis not in "yx"]


def _stated_mpp(
    multiscale: Mapping[str, Any], transform: Transform | None, *, axes: str
) -> tuple[float, float] | None:
    """Return um per pixel along x and y: the level's scale, times the common one, in its unit."""
    shared = multiscale.get("coordinateTransformations")
    common = transform_of(shared or [{"type": "identity"}], dimensions=len(axes))
    if transform is None or common is None:
        return None
    sizes = []
    for axis in "xy":
        at = axes.index(axis)
        unit = axis_unit_um(multiscale, at)
        sizes.append(None if unit is None else transform.scale[at] * common.scale[at] * unit)
    return stated_size(*sizes)
