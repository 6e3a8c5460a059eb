"""Metadata of an OME-Zarr image."""

from __future__ import annotations

from typing import Any, Literal
from uuid import NAMESPACE_URL, uuid5

OmeZarrVersion = Literal["0.4", "0.5"]

_COLOURS = {"Red": 0xFF0000, "Green": 0x00FF00, "Blue": 0x0000FF}


def image_attributes(
    name: str, *, mpp: tuple[float, float], levels: int, version: OmeZarrVersion
) -> dict[str, Any]:
    """Return the attributes of the group of an RGB pyramid with axes c, y, x.

    There is a scale and no translation: a pixel of level k covers ``2^k x 2^k`` of level 0, and
    the corners of all levels meet in the origin.

    Parameters
    ----------
    mpp
        um per level-0 pixel of the pyramid, x and y.
    levels
        Levels of the pyramid, each half as large as the one before.
    """
    from yaozarrs import DimSpec, v04, v05

    dims = [
        DimSpec(name="c", size=3, type="channel"),
        DimSpec(name="y", scale=mpp[1], unit="micrometer", type="space", scale_factor=2),
        DimSpec(name="x", scale=mpp[0], unit="micrometer", type="space", scale_factor=2),
    ]
    model = v04 if version == "0.4" else v05
    multiscale = model.Multiscale.from_dims(dims, name=name, n_levels=levels)
    image = model.Image.model_validate(
        {
            "multiscales": [multiscale.model_copy(update={"type": "area average"})],
            "omero": {"name": name, "channels": _channels(), "rdefs": {"model": "color"}},
        }
    )
    attributes = image.model_dump(mode="json", exclude_none=True)
    return attributes if version == "0.4" else {"ome": attributes}


def ome_xml(name: str, *, width: int, height: int, mpp: tuple[float, float]) -> str:
    """Return the OME-XML from which Bio-Formats takes pixel size and colours of a 0.4 image.

    Without it Bio-Formats, and QuPath with it, knows neither (0.6.0 of its Zarr reader looks for
    ``OME/METADATA.ome.xml`` and does not keep what it reads in ``multiscales`` and ``omero``).
    """
    from tifffile import OmeXml

    xml = OmeXml(UUID=str(uuid5(NAMESPACE_URL, name)), Creator="wsi-suite")
    xml.addimage(
        "uint8",
        (3, height, width),
        (3, 1, 1, height, width, 1),
        axes="CYX",
        Name=name,
        PhysicalSizeX=mpp[0],
        PhysicalSizeXUnit="µm",
        PhysicalSizeY=mpp[1],
        PhysicalSizeYUnit="µm",
        Channel={"Name": list(_COLOURS), "Color": [_rgba(rgb) for rgb in _COLOURS.values()]},
    )
    return xml.tostring(declaration=True)


def _channels() -> list[dict[str, Any]]:
    window = {"min": 0, "max": 255, "start": 0, "end": 255}
    return [
        {"label": label, "color": f"{rgb:06X}", "window": window, "active": True}
        for label, rgb in _COLOURS.items()
    ]


def _rgba(rgb: int) -> int:
    # OME-XML: red, green, blue and alpha in one signed 32-bit number.
    value = rgb << 8 | 0xFF
    return value - (1 << 32) if value >= 1 << 31 else value
