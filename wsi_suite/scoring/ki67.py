"""Ki-67 in breast cancer as the International Ki67 in Breast Cancer Working Group scores it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from wsi_suite.documents import Part

GUIDELINE = "IKWG 2021"

Level = Literal["negligible", "low", "medium", "high"]


class Ki67Field(Part):
    """A field of 100 nuclei that is counted.

    Attributes
    ----------
    level
        How much of Ki-67 there is in the part of the tissue that it stands for.
    x_px0, y_px0, radius_um
        Centre of the circle that holds its nuclei, in level-0 pixels, and its radius.
    nuclei, positive
        Nuclei of the headline class that are counted, and the positive ones among them.
    positive_percent
        Their share.
    """

    level: Level
    x_px0: float
    y_px0: float
    radius_um: float
    nuclei: int
    positive: int
    positive_percent: float


class Ki67Figures(Part):
    """Labelling index of Ki-67: of all nuclei, of counted fields, and of the hottest spot.

    Attributes
    ----------
    guideline
        "IKWG 2021".
    class_name
        The class that was counted.
    nuclei, positive
        Its measured nuclei, and the positive ones among them.
    index_percent
        Their share: the labelling index over all nuclei.
    range
        Where that lies: the group finds Ki-67 reliable at 5 % or less and at 30 % or more.
    reliable
        Whether it lies there.
    unweighted_percent, weighted_percent
        Global score of the fields, unweighted and weighted by `levels`.
    hot_spot_percent
        Labelling index of the hottest spot.
    levels
        Percent of the nuclei that stand in parts of each level.
    fields
        The fields that were counted.
    reason
        Why there is no index, or no field; else ``None``.
    """

    guideline: str = GUIDELINE
    class_name: str = Field(alias="class")
    nuclei: int
    positive: int
    index_percent: float | None
    range: Literal["5 % or less", "between 5 % and 30 %", "30 % or more"] | None
    reliable: bool | None
    unweighted_percent: float | None
    weighted_percent: float | None
    hot_spot_percent: float | None
    levels: dict[Level, float]
    fields: tuple[Ki67Field, ...]
    reason: str | None
