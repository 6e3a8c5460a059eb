"""Pixel sizes as other programs write them into TIFF files."""

import numpy as np
import pytest
import tifffile
from slide_files import picture, write_tiff

from wsi_suite.errors import PixelSizeError
from wsi_suite.slides.slide import open_slide

RGB = picture(128, 64)
TAGS = {256: ("I", 128), 257: ("I", 64), 258: ("H", [8, 8, 8]), 259: ("H", 1), 262: ("H", 2)}
TAGS |= {277: ("H", 3), 278: ("I", 64)}
OME = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
    '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="128" SizeY="64" SizeC="3"'
    ' SizeZ="1" SizeT="1" {}><Channel ID="Channel:0:0" SamplesPerPixel="3"/>'
    '<TiffData IFD="0" PlaneCount="1"/></Pixels></Image></OME>'
)


def assert_states(path, mpp):
    """The file states a size, or none; the user's size opens it in any case."""
    if mpp is None:
        with pytest.raises(PixelSizeError, match="states no pixel size"):
            open_slide(path)
    else:
        with open_slide(path) as slide:
            assert slide.mpp == pytest.approx((mpp, mpp))
    with open_slide(path, mpp=0.4) as slide:
        assert slide.mpp == (0.4, 0.4)
        assert np.array_equal(slide.read_level(0, slide.levels[0].box), RGB)


@pytest.mark.parametrize(
    ("text", "mpp"),
    [
        ("0.5000", 0.5),
        ("0,5000", 0.5),
        *((text, None) for text in ("unknown", "", "nan", "0", "-1")),
    ],
)
@pytest.mark.parametrize("tiled", [True, False])
def test_aperio(tmp_path, text, mpp, tiled):
    path = tmp_path / "slide.svs"
    description = f"Aperio Image Library v11\r\n128x64 |AppMag = much|MPP = {text}"
    options = {"tile": (64, 64)} if tiled else {}
    tifffile.imwrite(
        path, RGB, photometric="rgb", metadata=None, description=description, **options
    )
    assert_states(path, mpp)


@pytest.mark.parametrize(
    ("size", "unit", "mpp"),
    [
        ("0.5", None, 0.5),
        ("0,5", "µm", 0.5),
        ("0.5", "\u03bcm", 0.5),
        ("500", "nm", 0.5),
        ("0.0005", "mm", 0.5),
        ("5e-5", "cm", 0.5),
        ("1.9685039370e-05", "in", 0.5),
        ("0.0014173228", "pt", 0.5),
        ("5e-10", "km", 0.5),
        ("500000000", "fm", 0.5),
        ("5000", "\u212b", 0.5),
        ("0.5", "Âµm", 0.5),
        ("0.5", "Î¼m", 0.5),
        ("0.5", "?m", None),
        *((size, None, None) for size in ("NaN", "", "INF", "0", "-0.5", "half")),
        ("0.5", "pixel", None),
        ("0.5", "reference frame", None),
    ],
)
def test_ome(tmp_path, size, unit, mpp):
    attributes = [f'PhysicalSize{axis}="{size}"' for axis in "XY"]
    attributes += [f'PhysicalSize{axis}Unit="{unit}"' for axis in "XY" if unit]
    description = OME.format(" ".join(attributes)).encode()
    path = tmp_path / "slide.ome.tif"
    tifffile.imwrite(
        path, RGB, photometric="rgb", metadata=None, ome=False, description=description
    )
    assert_states(path, mpp)


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ('SizeZ="1"', ""),
        ('SizeX="128"', 'SizeX="wide"'),
        ('SizeX="128"', 'SizeX="999"'),
        ('SizeC="3"', 'SizeC="1"'),
        ("XYCZT", "any"),
        ('Type="uint8"', 'Type="float"'),
        ("</Image>", "</Image><!-- a comment -->"),
        ("OME xmlns", 'OME Creator="me" xmlns'),
        ("2016-06", "2011-06"),
    ],
)
def test_ome_xml_with_other_values_that_make_no_sense(tmp_path, written, instead):
    xml = OME.format('PhysicalSizeX="0.5" PhysicalSizeY="0.5"').replace(written, instead)
    path = tmp_path / "slide.ome.tif"
    tifffile.imwrite(path, RGB, photometric="rgb", metadata=None, ome=False, description=xml)
    assert_states(path, 0.5)


@pytest.mark.parametrize("resolution_unit", [None, 1])
@pytest.mark.parametrize(
    ("unit", "per_unit", "mpp"),
    [
        ("micron", 2, 0.5),
        ("um", 2, 0.5),
        ("\\u00B5m", 2, 0.5),
        ("mm", 2000, 0.5),
        ("cm", 20000, 0.5),
        ("inch", 50800, 0.5),
        ("nm", 1, None),
        ("pixel", 2, None),
        ("", 2, None),
    ],
)
def test_imagej(tmp_path, unit, per_unit, mpp, resolution_unit):
    rate = [1, 500] if unit == "nm" else [per_unit, 1]
    description = f"ImageJ=1.54f\nunit={unit}\n\0".encode()
    tags = {**TAGS, 270: ("s", description), 282: ("R", rate), 283: ("R", rate)}
    if resolution_unit is not None:
        tags[296] = ("H", resolution_unit)
    path = write_tiff(tmp_path / "slide.tif", (tags, [RGB.tobytes()]), order=">")
    assert_states(path, 0.5 if unit == "nm" else mpp)


@pytest.mark.parametrize(
    ("rate", "unit", "mpp"),
    [
        ([20000, 1], 3, 0.5),
        ([50800, 1], 2, 0.5),
        ([50800, 1], None, 0.5),
        ([20000, 1], 1, None),
        ([20000, 1], 77, None),
        ([0, 0], 3, None),
        ([0, 1], 3, None),
        ([1, 0], 3, None),
        (None, 3, None),
    ],
)
def test_resolution_tags(tmp_path, rate, unit, mpp):
    tags = dict(TAGS)
    if rate is not None:
        tags |= {282: ("R", rate), 283: ("R", rate)}
    if unit is not None:
        tags[296] = ("H", unit)
    assert_states(write_tiff(tmp_path / "slide.tif", (tags, [RGB.tobytes()])), mpp)


@pytest.mark.parametrize("kind", ["H", "I"])
def test_a_resolution_that_is_no_rational(tmp_path, kind):
    tags = {**TAGS, 282: (kind, 20000), 283: (kind, 20000), 296: ("H", 3)}
    assert_states(write_tiff(tmp_path / "slide.tif", (tags, [RGB.tobytes()])), 0.5)


def test_the_default_of_photo_programs_is_no_size_of_a_slide(tmp_path):
    tags = {**TAGS, 282: ("R", [72, 1]), 283: ("R", [72, 1]), 296: ("H", 2)}
    path = write_tiff(tmp_path / "slide.tif", (tags, [RGB.tobytes()]))
    with pytest.raises(PixelSizeError, match=r"352\.8.*--mpp"):
        open_slide(path)
