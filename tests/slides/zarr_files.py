"""OME-Zarr images for tests, with one trait each that readers get wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import zarr

TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
UM = {"y": "micrometer", "x": "micrometer"}


def scale(*values: float) -> list[dict[str, Any]]:
    """Return coordinate transformations of one scale."""
    return [{"type": "scale", "scale": list(values)}]


def write_image(
    path: Path | zarr.Group,
    pixels: npt.NDArray[Any],
    *,
    axes: str = "cyx",
    factors: Sequence[int] = (1,),
    names: Sequence[str] = (),
    units: Mapping[str, str] = UM,
    mpp: float = 0.5,
    zarr_format: int = 2,
    separator: str = "/",
    attributes: Mapping[str, Any] | None = None,
    multiscale: Mapping[str, Any] | None = None,
    **array: Any,
) -> Path | zarr.Group:
    """Write ``(H, W, C)`` pixels, every n-th of them at each further level.

    Parameters
    ----------
    attributes, multiscale
        In place of what would be written there.
    array
        Of every array, for zarr.
    """
    group = (
        zarr.open_group(path, mode="w", zarr_format=zarr_format) if isinstance(path, Path) else path
    )
    names = names or [str(number) for number in range(len(factors))]
    datasets = []
    for name, factor in zip(names, factors, strict=True):
        level = pixels[::factor, ::factor]
        kept = [axis for axis in axes if axis in "yxc"]
        data = level.transpose([{"y": 0, "x": 1, "c": 2}[axis] for axis in kept])
        data = data.reshape([level.shape["yxc".index(a)] if a in "yxc" else 1 for a in axes])
        chunks = tuple(256 if axis in "yx" else 3 if axis == "c" else 1 for axis in axes)
        encoding = {"name": "default" if zarr_format == 3 else "v2", "separator": separator}
        group.create_array(
            name, data=data, chunk_key_encoding=encoding, **{"chunks": chunks, **array}
        )
        sizes = [mpp * factor if axis in "yx" else 1.0 for axis in axes]
        datasets.append({"path": name, "coordinateTransformations": scale(*sizes)})
    stated = [
        {"name": axis, "type": TYPES[axis], **({"unit": units[axis]} if axis in units else {})}
        for axis in axes
    ]
    entry = {"axes": stated, "datasets": datasets, **(multiscale or {})}
    ome = {"multiscales": [entry], **(attributes or {})}
    group.attrs.update({"ome": {"version": "0.5", **ome}} if zarr_format == 3 else ome)
    return path


def colours(*values: str) -> dict[str, Any]:
    """Return the attribute ``omero`` with channels of these colours."""
    return {"omero": {"channels": [{"color": colour} for colour in values]}}
