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
        The image is rotated, cropped or made from others, or another one of the file's images.
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
    series = _value_of(image.server_args, "--series", "-s")
    named = _value_of(image.server_args, "--name", "-n")
    if named is not None or series not in (None, "0", "-1"):
        raise InputError(
            f"QuPath shows series '{named or series}' of the file, the suite reads the first; add "
            "the slide's first series to the project"
        )


def mpp_given(image: Image | None) -> float | None:
    """Return the pixel size that somebody set in QuPath, um; ``None`` where the file's counts.

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


def check_size(image: Image | None, slide: Slide) -> None:
    """Refuse a slide that has another size here than in QuPath.

    Raises
    ------
    SlideError
        Naming both sizes.
    """
    if image is not None and (image.width, image.height) != (slide.width, slide.height):
        raise SlideError(
            f"{slide.path.name}: {image.width} x {image.height} px in QuPath, but {slide.width} x "
            f"{slide.height} px here, so nuclei would lie elsewhere; add the slide to the project "
            "through OpenSlide, without rotation, crop or --no-crop"
        )


def _value_of(arguments: Sequence[str], *names: str) -> str | None:
    """Return what follows an option, ``--name value`` or ``--name=value``."""
    for number, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in names:
            return value if equals else "".join(arguments[number + 1 : number + 2])
    return None
