import doctest
import math

import pytest

from wsi_suite.slides import pixel_size
from wsi_suite.slides.pixel_size import number_in, stated_size, unit_um


def test_examples():
    assert doctest.testmod(pixel_size).failed == 0


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0.5", 0.5),
        ("0,5000", 0.5),
        (" 2.5e-1 ", 0.25),
        ("2,5E-1", 0.25),
        (".5", 0.5),
        ("5.", 5),
        ("-0.5", -0.5),
        *((text, None) for text in ("", " ", "unknown", "nan", "inf", "1e999", "0.5 um")),
        *((text, None) for text in ("1.234,5", "1_0", "0x10", "\u0665", None)),
    ],
)
def test_a_number_has_a_point_or_a_comma(text, number):
    assert number_in(text) == number


@pytest.mark.parametrize(
    ("units", "um"),
    [
        (("um", "\u00b5m", "\u03bcm", "\\u00B5m", "micron", "Microns", "micrometre"), 1),
        (("nm", "nanometer"), 1e-3),
        (("mm", "millimeter", "millimetres"), 1e3),
        (("cm", "centimeter"), 1e4),
        (("in", "inch", "inches"), 25400),
        (("m", "meter"), 1e6),
        (("Mm", "megameter"), 1e12),
        (("pm", "picometers"), 1e-6),
        (("ft", "foot"), 304_800),
        (("\u00c5", "\u212b", "angstrom"), 1e-4),
        (("", "pixel", "pixels", "MM", "reference frame", "px", "?", None), None),
    ],
)
def test_units_of_length(units, um):
    assert [unit_um(unit) for unit in units] == [um] * len(units)


@pytest.mark.parametrize("size", [None, 0.0, -0.5, math.nan, math.inf])
def test_what_is_no_length_is_not_stated(size):
    assert stated_size(0.5, 0.5) == (0.5, 0.5)
    assert stated_size(size, 0.5) is None
    assert stated_size(0.5, size) is None
