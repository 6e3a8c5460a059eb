"""Hot-spots, receptor status and Ki-67 of the headline class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wsi_suite.config import ScoreSettings
from wsi_suite.geometry import Points
from wsi_suite.nuclei.table import NOT_MEASURABLE, Nuclei
from wsi_suite.scoring.hotspots import Circle, Window, find_hot_spots
from wsi_suite.scoring.hscore import score_nuclei
from wsi_suite.scoring.intensity import Grades
from wsi_suite.scoring.ki67 import Ki67Figures, ki67_figures
from wsi_suite.scoring.receptors import ReceptorStatus, receptor_status
from wsi_suite.scoring.slide_scores import HotSpot, HotSpots, ScoreFigures

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry


@dataclass(frozen=True, eq=False)
class HeadlineNuclei:
    """The scored nuclei of the headline class: M of the table's.

    Attributes
    ----------
    name
        The class, or the joint name of all.
    nuclei, grades
        ``(M,)`` nuclei, in whatever order, and their intensity.
    mpp
        Um per level-0 pixel, x and y.
    """

    name: str
    nuclei: Nuclei
    grades: Grades
    mpp: tuple[float, float]

    @classmethod
    def of(
        cls,
        nuclei: Nuclei,
        grades: Grades,
        *,
        name: str,
        rows: npt.NDArray[np.int_] | None,
        mpp: tuple[float, float],
    ) -> HeadlineNuclei:
        """Take them from the table: those at `rows`, or all."""
        if rows is None:
            rows = np.arange(len(nuclei))
        if name in nuclei.classes:
            rows = rows[nuclei.label[rows] == nuclei.classes.index(name)]
        return cls(name, nuclei.take(rows), grades[rows], mpp)

    @property
    def measured(self) -> tuple[Points, npt.NDArray[np.bool_]]:
        """``(K, 2)`` places of those that were measured, and whether they are positive."""
        rows = self.grades != NOT_MEASURABLE
        return self.nuclei.points[rows], self.grades[rows] > 0


def hot_spots_of(
    headline: HeadlineNuclei, settings: ScoreSettings, *, inside: BaseGeometry | None
) -> dict[str, HotSpots]:
    """Return the hot-spots of the headline class, by density and by the share of positive nuclei.

    Parameters
    ----------
    headline
        Its nuclei.
    settings
        How many hot-spots, and how large.
    inside
        Area in level-0 pixels that hot-spots may not leave; ``None``: no bounds.
    """
    if settings.hot_spots == 0:
        return {}
    window = Window(settings.hot_spot_nuclei, settings.hot_spot_mm2, settings.hot_spot_min_nuclei)
    measured, positive = headline.measured
    found = {}
    for name, points, hot in (
        (headline.name, headline.nuclei.points, None),
        (f"{headline.name}: Positive", measured, positive),
    ):
        circles = find_hot_spots(
            points, hot, window=window, wanted=settings.hot_spots, mpp=headline.mpp, inside=inside
        )
        spots = tuple(_hot_spot(circle, headline) for circle in circles)
        found[name] = HotSpots(
            spots=spots, reason=None if spots else _why_none(points, hot, headline, window=window)
        )
    return found


def receptor_of(headline: HeadlineNuclei, settings: ScoreSettings) -> ReceptorStatus | None:
    """Return the status of the receptor, if the marker is one."""
    if not settings.breast_guidelines or settings.marker not in ("ER", "PR"):
        return None
    score = score_nuclei(headline.nuclei, headline.grades)[headline.name]
    return receptor_status(score, settings.marker, class_name=headline.name)


def ki67_of(
    headline: HeadlineNuclei, settings: ScoreSettings, *, hot_spots: dict[str, HotSpots]
) -> Ki67Figures | None:
    """Return the figures of Ki-67, if that is the marker."""
    if not settings.breast_guidelines or settings.marker != "Ki-67":
        return None
    points, positive = headline.measured
    hottest = hot_spots.get(f"{headline.name}: Positive")
    if hottest is None:
        hottest = HotSpots(spots=(), reason="none is looked for (score.hot_spots = 0)")
    percent = hottest.spots[0].figures.positive_percent if hottest.spots else None
    return ki67_figures(
        points,
        positive,
        class_name=headline.name,
        hot_spot_percent=percent,
        no_hot_spot=hottest.reason,
    )


def _hot_spot(circle: Circle, headline: HeadlineNuclei) -> HotSpot:
    away_um = (headline.nuclei.points - (circle.x, circle.y)) * headline.mpp
    rows = np.flatnonzero(np.hypot(*away_um.T) <= circle.radius_um)
    score = score_nuclei(headline.nuclei, headline.grades, rows=rows)[headline.name]
    return HotSpot(
        x_px0=circle.x,
        y_px0=circle.y,
        radius_um=circle.radius_um,
        area_mm2=circle.area_mm2,
        figures=ScoreFigures.of(score, area_mm2=circle.area_mm2),
    )


def _why_none(
    points: Points,
    hot: npt.NDArray[np.bool_] | None,
    headline: HeadlineNuclei,
    *,
    window: Window,
) -> str:
    kind = "nuclei" if hot is None else "measured nuclei"
    if len(points) < window.least:
        return (
            f"{len(points)} {kind} of {headline.name}, fewer than the {window.least} of a hot-spot"
        )
    if hot is not None and not hot.any():
        return f"no positive nuclei of {headline.name}"
    size = (
        f"{window.nuclei}"
        if window.area_mm2 is None
        else f"{window.area_mm2:g} mm2 with {window.least}"
    )
    return f"no circle of {size} {kind} of {headline.name} lies wholly inside the scored area"
