"""Whether QuPath's image and our slide have the same pixels at the same places."""

from __future__ import annotations

import math
from collections.abc import Sequence

from wsi_suite.errors import InputError, SlideError
from wsi_suite.service.messages import Image
from wsi_suite.slides.slide import Slide

PLAIN_SERVERS = (
    "OpenslideImageServer",
    "BioFormatsImageServer",
    "WrappedBufferedImageServer",
    "ImageJServer",
    "PyramidGeneratingImageServer",  # what it wraps is looked at by the script
)
"""QuPath's image servers that show a file as it is."""

_ISOTROPIC = 0.02


def check_server(image: Image) -> None:
    """Refuse images whose pixels may lie elsewhere than in the slide's file.

    Raises
    ------
    InputError
        The image is rotated, cropped or made from others.
    """
    name = image.server_class.rpartition(".")[2]
    if name not in PLAIN_SERVERS:
        raise InputError(
            f"QuPath's {name}: rotated, cropped or computed images lie in another frame than the "
            "slide; add the slide to the project as it is, and open that"
        )
    rotation = _value_of(image.server_args, "--rotate")
    if rotation not in (None, "ROTATE_NONE"):
        raise InputError(
            f"rotated in QuPath ({rotation}): add the slide to the project without a rotation"
        )


def mpp_given(image: Image | None) -> float | None:
    """Return the pixel size set by hand in QuPath, um; ``None`` if the file's applies.

    Raises
    ------
    InputError
        It differs between x and y.
    """
    if image is None or image.mpp is None or not image.mpp_set_by_hand:
        return None
    x, y = image.mpp
    if min(x, y) <= 0 or abs(x / y - 1) > _ISOTROPIC:
        raise InputError(
            f"pixel size {x:g} x {y:g} um set in QuPath: expected square pixels; correct it in the "
            "Image tab"
        )
    return x if x == y else math.sqrt(x * y)


def check_picture(image: Image | None, slide: Slide) -> None:
    """Refuse a slide that is not the picture that QuPath shows, or perhaps not.

    Of a file of several pictures, the largest one is read here, and any of them may be shown there.

    Raises
    ------
    SlideError
        Naming both sizes, or the series that cannot be told from others of its size.
    """
    if image is None:
        return
    series = _series_of(image)
    if (image.width, image.height) != (slide.width, slide.height):
        shown = f"series '{series}', {image.width}" if series else f"{image.width}"
        raise SlideError(
            f"{slide.path.name}: {shown} x {image.height} px in QuPath, but {slide.width} x "
            f"{slide.height} px here, so nuclei would lie elsewhere; add the slide to the project "
            "through OpenSlide, without rotation, crop or --no-crop, or its largest series"
        )
    if series and slide.twins:
        raise SlideError(
            f"{slide.path.name}: QuPath shows series '{series}', and the file has"
            f" {slide.twins + 1} pictures of that size, of which the first is read here; save the"
            " series as a file of its own, and add that to the project"
        )


def _series_of(image: Image) -> str | None:
    """Return the name or number of the series that QuPath shows; ``None``: the first."""
    series = _value_of(image.server_args, "--series", "-s")
    named = _value_of(image.server_args, "--name", "-n")
    return named or (None if series in (None, "0", "-1") else series)


def _value_of(arguments: Sequence[str], *names: str) -> str | None:
    """Return the value of an option, ``--name value`` or ``--name=value``."""
    for number, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in names:
            return value if equals else "".join(arguments[number + 1 : number + 2])
    return None
