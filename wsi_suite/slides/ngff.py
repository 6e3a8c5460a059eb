"""The metadata of OME-Zarr images (NGFF 0.1 - 0.5): where images, levels and scales stand.

https://ngff.openmicroscopy.org/specifications/index.html
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import zarr
from zarr.errors import ContainsArrayError

from wsi_suite.errors import SlideError
from wsi_suite.files import long_path
from wsi_suite.slides.listing import is_zarr
from wsi_suite.slides.pixel_size import unit_um
from wsi_suite.slides.stated_size import physical_size

_NOT_IMAGES = {
    "plate": "a plate of many wells; give the folder of one image, as plate.zarr/A/1/0",
    "well": "a well of several fields; give the folder of one image, as plate.zarr/A/1/0",
    "image-label": "an image of labels; expected a brightfield RGB slide",
    "labels": "images of labels; expected a brightfield RGB slide",
}
_Described = tuple[str | None, tuple[float, float] | None]
_RGB = ("FF0000", "00FF00", "0000FF")


@dataclass(frozen=True)
class ImageGroup:
    """An image in an OME-Zarr folder.

    Attributes
    ----------
    group
        Its Zarr group.
    title
        What its writer called it, else the path of its group.
    mpp_in_xml
        um per pixel along x and y as ``OME/METADATA.ome.xml`` states it.
    """

    group: zarr.Group
    title: str
    mpp_in_xml: tuple[float, float] | None = None


@dataclass(frozen=True)
class Transform:
    """Sum of coordinate transformations: scale, then translation, along each axis.

    Attributes
    ----------
    scale, translation
        One number an axis, in the unit of the axis.
    """

    scale: tuple[float, ...]
    translation: tuple[float, ...]


def image_groups(path: Path) -> list[ImageGroup]:
    """Return the images in an OME-Zarr folder.

    That is the folder itself, or its series (``bioformats2raw.layout``), or the images in groups
    up to two levels below it.

    Raises
    ------
    SlideError
        It is not Zarr, holds no image, or something else than images.
    """
    root = _open_group(path)
    attributes = ome_attributes(root)
    for key, what in _NOT_IMAGES.items():
        if key in attributes:
            raise SlideError(f"{path}: {what}")
    described = _images_in_xml(path)
    if "multiscales" in attributes:
        image = _titled(root, path.name)
        return [replace(image, mpp_in_xml=described[0][1])] if len(described) == 1 else [image]
    found = _series(root, described) or _images_below(path, depth=2)
    if not found:
        raise SlideError(
            f"{path}: holds no OME-Zarr image ('multiscales' in the attributes of a group); give"
            " the folder of an image"
        )
    return found


def ome_attributes(group: zarr.Group) -> dict[str, Any]:
    """Return a group's OME attributes; since 0.5 they stand below ``ome``."""
    attributes = dict(group.attrs)
    below = attributes.get("ome")
    return dict(below) if isinstance(below, Mapping) else attributes


def axis_names(multiscale: Mapping[str, Any], *, dimensions: int) -> str:
    """Return one letter an axis, as ``tczyx``; ``?`` if none is known.

    Until 0.2 the axes were always those; in 0.3 they are names, since 0.4 mappings.
    """
    stated = multiscale.get("axes")
    if stated is None and dimensions == 5:
        return "tczyx"
    if not isinstance(stated, list) or len(stated) != dimensions:
        return "?" * dimensions
    return "".join(_letter(axis) for axis in stated)


def axis_unit_um(multiscale: Mapping[str, Any], number: int) -> float | None:
    """Return the unit of an axis in um, ``None`` if it states none, or none of length."""
    axes = multiscale.get("axes")
    axis = axes[number] if isinstance(axes, list) and number < len(axes) else None
    unit = axis.get("unit") if isinstance(axis, Mapping) else None
    return unit_um(unit) if isinstance(unit, str) else None


def transform_of(stated: object, *, dimensions: int) -> Transform | None:
    """Add up coordinate transformations; ``None`` if none are stated, or not as numbers."""
    if not isinstance(stated, list) or not stated:
        return None
    scale, translation = [1.0] * dimensions, [0.0] * dimensions
    for one in stated:
        kind = one.get("type") if isinstance(one, Mapping) else None
        if kind == "identity":
            continue
        values = _numbers(one.get(kind), count=dimensions) if isinstance(kind, str) else None
        if values is None:
            return None
        if kind == "scale" and min(values) > 0:
            scale = [old * new for old, new in zip(scale, values, strict=True)]
            translation = [old * new for old, new in zip(translation, values, strict=True)]
        elif kind == "translation":
            translation = [old + new for old, new in zip(translation, values, strict=True)]
        else:
            return None
    return Transform(tuple(scale), tuple(translation))


def channel_order(path: Path, group: zarr.Group) -> tuple[int, ...]:
    """Return which channels are red, green and blue: by their colours, if these are stated.

    Channels of one colour, or without any that can be read, are in the order red, green, blue.

    Raises
    ------
    SlideError
        Their colours are others, as those of stains in fluorescence are.
    """
    omero = ome_attributes(group).get("omero")
    channels = omero.get("channels") if isinstance(omero, Mapping) else None
    if not isinstance(channels, list) or not all(isinstance(one, Mapping) for one in channels):
        return 0, 1, 2
    colours = [str(one.get("color", "")).lstrip("#").upper()[:6] for one in channels]
    are_stated = all(re.fullmatch("[0-9A-F]{6}", colour) for colour in colours)
    if len(colours) != 3 or len(set(colours)) == 1 or not are_stated:
        return 0, 1, 2
    if sorted(colours) != sorted(_RGB):
        raise SlideError(
            f"{path}: its channels are coloured {', '.join(colours)}; expected those of a"
            f" brightfield slide, {', '.join(_RGB)}: correct 'omero' if it is one"
        )
    return tuple(colours.index(colour) for colour in _RGB)


def _open_group(path: Path) -> zarr.Group:
    try:
        # Consolidated metadata may be older than the groups themselves.
        return zarr.open_group(str(long_path(path)), mode="r", use_consolidated=False)
    except ContainsArrayError:
        raise SlideError(
            f"{path}: a Zarr array; expected a group of arrays with 'multiscales', give the folder"
            " of the image around it"
        ) from None
    except Exception as error:  # a different one for each way to be damaged
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SlideError(
            f"{path}: not an OME-Zarr image ({reason}); give the folder of an image, or copy it"
            " again"
        ) from None


def _titled(group: zarr.Group, name: str) -> ImageGroup:
    multiscales = ome_attributes(group).get("multiscales")
    first = multiscales[0] if isinstance(multiscales, list) and multiscales else None
    title = first.get("name") if isinstance(first, Mapping) else None
    return ImageGroup(group, str(title) if title not in (None, "", "/") else name)


def _series(root: zarr.Group, described: list[_Described]) -> list[ImageGroup]:
    """Return the series that bioformats2raw wrote: listed in the group OME, else 0, 1, ..."""
    if "bioformats2raw.layout" not in ome_attributes(root):
        return []
    ome = _child(root, "OME")
    listed = ome_attributes(ome).get("series") if ome is not None else None
    if not isinstance(listed, list):
        listed = []
        while _child(root, str(len(listed))) is not None:
            listed.append(str(len(listed)))
    described = described + [(None, None)] * len(listed)
    found = []
    for name, (title, mpp) in zip(map(str, listed), described, strict=False):
        group = _child(root, name)
        if group is not None and "multiscales" in ome_attributes(group):
            image = _titled(group, name)
            found.append(ImageGroup(group, title or image.title, mpp))
    return found


def _child(group: zarr.Group, name: str) -> zarr.Group | None:
    try:
        child = group[name]
    except Exception:  # absent, damaged, or a name that leads elsewhere
        return None
    return child if isinstance(child, zarr.Group) else None


def _images_in_xml(path: Path) -> list[_Described]:
    """Return names and pixel sizes in ``OME/METADATA.ome.xml``, as far as it can be read."""
    file = long_path(path) / "OME" / "METADATA.ome.xml"
    try:
        images = ElementTree.parse(file).getroot().findall("{*}Image")
    except (OSError, ElementTree.ParseError, ValueError):
        return []
    found = []
    for image in images:
        pixels = image.find("{*}Pixels")
        found.append((image.get("Name"), None if pixels is None else physical_size(pixels)))
    return found


def _images_below(folder: Path, *, depth: int) -> list[ImageGroup]:
    found: list[ImageGroup] = []
    for inside in sorted(long_path(folder).iterdir()):
        if inside.name == "labels" or not is_zarr(inside):
            continue
        try:
            group = _open_group(inside)
        except SlideError:
            continue
        attributes = ome_attributes(group)
        if "multiscales" in attributes and "image-label" not in attributes:
            found.append(_titled(group, inside.name))
        elif depth > 1:
            found += _images_below(inside, depth=depth - 1)
    return found


def _letter(axis: object) -> str:
    if isinstance(axis, Mapping):
        if axis.get("type") in ("channel", "time"):
            return str(axis["type"])[0]
        axis = axis.get("name")
    name = axis.lower() if isinstance(axis, str) else ""
    return {"s": "c"}.get(name, name) if len(name) == 1 else "?"  # s: samples


def _numbers(values: object, *, count: int) -> list[float] | None:
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != count:
        return None
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        return None
    return numbers if all(map(math.isfinite, numbers)) else None
