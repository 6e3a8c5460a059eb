"""Which pixel size a TIFF file states for one of its pictures."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import tifffile
from tifffile import RESUNIT

from wsi_suite.slides.pixel_size import number_in, stated_size, unit_um

_APERIO_MPP = re.compile(r"\|\s*MPP\s*=([^|]*)")
_RESOLUTION_UM = {
    RESUNIT.INCH: 25_400.0,
    RESUNIT.CENTIMETER: 10_000.0,
    RESUNIT.MILLIMETER: 1_000.0,
    RESUNIT.MICROMETER: 1.0,
}


def tiff_mpp(tif: tifffile.TiffFile, page: tifffile.TiffPage) -> tuple[float, float] | None:
    """Return um per pixel of a page along x and y; ``None`` if nothing that can be read says so."""
    if tif.is_ome:
        return _ome_mpp(tif.ome_metadata or "", page)
    if tif.is_svs:
        found = _APERIO_MPP.search(page.description)
        mpp = number_in(found[1]) if found else None
        return stated_size(mpp, mpp)
    if page.is_imagej:
        units = _imagej_units(page.description)
        if units is not None:
            return _size_by_tags(page, units)
    unit = _RESOLUTION_UM.get(page.tags.valueof("ResolutionUnit", RESUNIT.INCH))
    return _size_by_tags(page, (unit, unit))


def _size_by_tags(
    page: tifffile.TiffPage, units_um: tuple[float | None, float | None]
) -> tuple[float, float] | None:
    """Return the size from the tags for pixels per unit, which has a number of um along x and y."""
    sizes = []
    for name, unit in zip(("XResolution", "YResolution"), units_um, strict=True):
        pixels, units = _rational(page.tags.valueof(name))
        sizes.append(unit * units / pixels if unit and pixels else None)
    return stated_size(*sizes)


def _rational(value: object) -> tuple[float, float]:
    """Return numerator and denominator; 0 and 0 if the value is no rational number."""
    match value:
        case (int(numerator), int(denominator)):
            return numerator, denominator
        # Some writers store another number in place of a rational.
        case float(number) | int(number) | (float(number) | int(number),):
            return number, 1
    return 0, 0


def _imagej_units(description: str) -> tuple[float | None, float | None] | None:
    """Return the um that ImageJ's units have along x and y; ``None`` if it names none."""
    lines = (line.partition("=") for line in description.splitlines())
    named = {key.strip(): value.strip() for key, _, value in lines}
    if "unit" not in named:
        return None
    return unit_um(named["unit"]), unit_um(named.get("yunit", named["unit"]))


def _ome_mpp(xml: str, page: tifffile.TiffPage) -> tuple[float, float] | None:
    """Return PhysicalSizeX and Y of a page's image."""
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return None
    pixels = _ome_pixels(root, page)
    return None if pixels is None else physical_size(pixels)


def physical_size(pixels: ElementTree.Element) -> tuple[float, float] | None:
    """Return PhysicalSizeX and Y of the element Pixels, in um if no unit stands (OME 2016)."""
    sizes = []
    for axis in "XY":
        size = number_in(pixels.get(f"PhysicalSize{axis}"))
        unit = unit_um(pixels.get(f"PhysicalSize{axis}Unit", "um"))
        sizes.append(size * unit if size and unit else None)
    return stated_size(*sizes)


def _ome_pixels(root: ElementTree.Element, page: tifffile.TiffPage) -> ElementTree.Element | None:
    """Return the element of the image whose planes include a page; of one image, always that."""
    found = root.findall(".//{*}Image/{*}Pixels")
    if len(found) == 1:
        return found[0]
    size = (str(page.imagewidth), str(page.imagelength))
    alike = [pixels for pixels in found if (pixels.get("SizeX"), pixels.get("SizeY")) == size]
    holding = [pixels for pixels in alike if _holds(pixels, page.index, uuid=root.get("UUID"))]
    return next(iter(holding or alike), None)


def _holds(pixels: ElementTree.Element, ifd: int, *, uuid: str | None) -> bool:
    """Return whether planes of an image lie at an index of the file with this UUID."""
    for data in pixels.findall("{*}TiffData"):
        other = data.findtext("{*}UUID")
        if other and uuid and other.strip() != uuid:
            continue
        start, planes = (_whole(data.get(key), default) for key, default in _TIFF_DATA)
        if start <= ifd < start + planes:
            return True
    return False


_TIFF_DATA = (("IFD", 0), ("PlaneCount", 1))


def _whole(text: str | None, default: int) -> int:
    return int(text) if text and text.isdecimal() else default
