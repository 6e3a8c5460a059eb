"""Stain vectors as QuPath writes them, in scripts and in the workflow of an image.

QuPath 0.2 to 0.7 write ``{"Name" : "H-DAB default", "Stain 1" : "Hematoxylin", "Values 1" :
"0.65111 0.70119 0.29049", "Stain 2" : "DAB", "Values 2" : "...", "Background" : " 255 255 255"}``
as the argument of ``setColorDeconvolutionStains``; a third stain stands there unless it is the
residual (``qupath.lib.color.ColorDeconvolutionStains``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from wsi_suite.errors import ConfigError, DataError
from wsi_suite.staining.deconvolution import StainVectors, Vector

_ARGUMENT = re.compile(r"\{[^{}]*Stain 1[^{}]*\}")
_HEMATOXYLIN = ("haematoxylin", "hematoxylin", "haem", "h")  # as QuPath knows them
_DAB = ("dab", "d")


class NamedStains(NamedTuple):
    """Stain vectors, and the name that they have in QuPath."""

    name: str
    vectors: StainVectors


def stains_of_qupath(text: str, *, source: str) -> NamedStains:
    """Return the stain vectors in a text of QuPath.

    Parameters
    ----------
    text
        The argument of ``setColorDeconvolutionStains``, that call, or a script with it.
    source
        Where the text is from, to begin errors with.

    Raises
    ------
    DataError
        There are no vectors of hematoxylin and DAB, several that differ, or some that this package
        cannot measure with.
    """
    plain = text.replace('\\"', '"')  # a string within a string of a script
    found = {_parse(argument, source=source) for argument in _ARGUMENT.findall(plain)}
    if not found:
        raise DataError(
            f"{source}: no stain vectors in it; expected what QuPath's workflow shows, "
            'setColorDeconvolutionStains(\'{"Name" : ..., "Stain 1" : ...}\'), or a file with it '
            "(a shell may have taken the quotes away)"
        )
    if len({stains.vectors for stains in found}) > 1:
        names = ", ".join(sorted(repr(stains.name) for stains in found))
        raise DataError(f"{source}: {len(found)} different stain vectors ({names}); keep one")
    return min(found)


def _parse(argument: str, *, source: str) -> NamedStains:
    try:
        said = json.loads(argument)
    except ValueError as error:
        raise DataError(f"{source}: stain vectors that are not JSON ({error})") from None
    third = str(said.get("Stain 3", "residual")).strip()
    if third.casefold() != "residual":
        raise DataError(
            f"{source}: three stains, the third is {third}; measured are hematoxylin and DAB, "
            "the third must be the residual"
        )
    names = [str(said.get(f"Stain {number}", "nothing")).strip() for number in (1, 2)]
    vectors = [_numbers(said, f"Values {number}", source=source) for number in (1, 2)]
    if names[0].casefold() in _DAB:
        names, vectors = names[::-1], vectors[::-1]
    if names[0].casefold() not in _HEMATOXYLIN or names[1].casefold() not in _DAB:
        raise DataError(
            f"{source}: stains are {' and '.join(names)}; expected Hematoxylin and DAB (image type "
            "Brightfield (H-DAB) in QuPath)"
        )
    hematoxylin, dab = vectors
    background = _numbers(said, "Background", source=source)
    try:
        return NamedStains(str(said.get("Name", "")), StainVectors(hematoxylin, dab, background))
    except ConfigError as error:
        raise DataError(f"{source}: {error}") from None


def _numbers(said: Mapping[str, Any], key: str, *, source: str) -> Vector:
    cell = str(said.get(key, ""))
    try:
        red, green, blue = (float(part.replace(",", ".")) for part in cell.split())
    except ValueError:
        raise DataError(f"{source}: \"{key}\" = '{cell}': expected three numbers") from None
    return red, green, blue
