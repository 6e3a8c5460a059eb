"""The file ``int8.json`` beside a model: how large the values between its layers become.

In int8 each of these values is one of 256 steps between zero and the largest. The file says which
is the largest, as measured on training tiles.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from wsi_suite.detector.companions import read_companion
from wsi_suite.detector.model_folder import ModelFolder
from wsi_suite.documents import ModelDocument
from wsi_suite.errors import ModelError

RANGES_FILE = "int8.json"

PYRAMID = "smooth"
"""Name of the values that enter the layer of this name; they alone may be negative."""


class Int8Ranges(ModelDocument):
    """Largest values between the layers of a network.

    Attributes
    ----------
    tiles
        Number of tiles that they were measured on.
    largest
        By the name of the layer that they leave: of each ReLU of the backbone, and of the last
        layer before the heads; and of the pyramid's sum, :data:`PYRAMID`, whose sign is dropped.
    """

    tiles: int
    largest: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]


def read_ranges(model: ModelFolder) -> tuple[Int8Ranges, str]:
    """Return the largest values between a model's layers, and the SHA-256 of the file.

    Raises
    ------
    ModelError
        The model does not say; or the file is damaged, of a later format, or was made with other
        weights.
    """
    remedy = "copy the model again, or take detect.precision fp32"
    found = read_companion(Int8Ranges, model, RANGES_FILE, remedy=remedy)
    if found is None:
        raise ModelError(
            f"{model.path}: has no {RANGES_FILE}, which detect.precision int8 needs; models that "
            "'wsi-suite train' makes have one, if their backbone is a plain ResNet; take fp32"
        )
    return found
