"""Type and stain vectors of an image in a project."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from wsi_suite.qupath.project_messages import ImageStains

_DIGITS = 5  # as QuPath writes them into an image's workflow


def read_stains(data: Any) -> ImageStains:  # noqa: ANN401
    """Return type and stain vectors of an image."""
    import jpype

    kind, stains = data.getImageType(), data.getColorDeconvolutionStains()
    in_java = jpype.JClass("qupath.lib.color.ColorDeconvolutionStains")
    written = in_java.getColorDeconvolutionStainsAsString(stains, _DIGITS)
    return ImageStains("UNSET" if kind is None else str(kind.name()), str(written))


def set_type(data: Any, wanted: str | None, provenance: Mapping[str, Any]) -> list[str]:  # noqa: ANN401
    """Set image type and stain vectors if they are unset or on request; return notes."""
    from paquo.java import ImageType

    stains = _stains(provenance["stain_vectors"])
    kind = data.getImageType()
    if wanted is None and kind not in (None, ImageType.UNSET):
        now = data.getColorDeconvolutionStains()
        if kind == ImageType.BRIGHTFIELD_H_DAB and _differ(now, stains):
            return [
                "the image's stain vectors are not those of the run and were kept; "
                "--image-type brightfield_h_dab sets those of the run"
            ]
        if kind != ImageType.BRIGHTFIELD_H_DAB:
            return [f"the image's type is '{kind}' and was kept; --image-type sets another"]
        return []
    kind = ImageType.valueOf((wanted or "brightfield_h_dab").upper())
    data.setImageType(kind)
    if kind == ImageType.BRIGHTFIELD_H_DAB:
        data.setColorDeconvolutionStains(stains)
    return []


def _stains(argument: str) -> Any:  # noqa: ANN401
    import jpype

    stains = jpype.JClass("qupath.lib.color.ColorDeconvolutionStains")
    return stains.parseColorDeconvolutionStainsArg(argument)


def _differ(one: Any, other: Any) -> bool:  # noqa: ANN401
    """Return whether stain vectors differ by more than rounding."""

    def values(stains: Any) -> list[float]:  # noqa: ANN401
        vectors = [*stains.getStain(1).getArray(), *stains.getStain(2).getArray()]
        glass = (stains.getMaxRed(), stains.getMaxGreen(), stains.getMaxBlue())
        return [*map(float, vectors), *(float(value) / 255 for value in glass)]

    return not np.allclose(values(one), values(other), atol=2e-3)
