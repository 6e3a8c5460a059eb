"""High-power fields and doubtful nuclei on the page of a slide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wsi_suite.geometry import Box
from wsi_suite.measurements import CLASS_PROBABILITY
from wsi_suite.overview.style import shown_grades
from wsi_suite.pages import inline
from wsi_suite.report.drawing import Outlines, draw_nuclei, photograph
from wsi_suite.report.fields import (
    CROP_UM,
    FIELD_UM,
    Field,
    choose_fields,
    crop_box,
    most_doubtful,
)
from wsi_suite.report.spots import ShownSpot
from wsi_suite.scoring.intensity import intensity_measurement

if TYPE_CHECKING:
    from wsi_suite.report.slide_page import SlideResult

_CROP_PX = 160
_BAR_UM = 20


@dataclass(frozen=True)
class ShownField:
    """A field with its picture, or an empty text, and outlines."""

    field: Field
    picture: str
    outlines: tuple[Outlines, ...]
    bar_um: int
    bar_px0: float


@dataclass(frozen=True)
class ShownNucleus:
    """A doubtful nucleus: picture, outline, and the classes that the suite gives it."""

    x: int
    y: int
    picture: str
    width: int
    height: int
    outlines: tuple[Outlines, ...]
    grade: int
    class_name: str
    class_probability: float | None
    confidence: float
    dab_od: float | None


def show_fields(
    result: SlideResult,
    grades: npt.NDArray[np.uint8],
    *,
    scored: npt.NDArray[np.int_],
    spots: Sequence[ShownSpot] = (),
) -> list[ShownField]:
    """Return the fields of a slide to look at.

    Parameters
    ----------
    result
        The slide's.
    grades
        ``(N,)`` intensities of all nuclei.
    scored
        Rows of the nuclei that are scored.
    spots
        Hot-spots, the hottest first.
    """
    nuclei, mpp = result.nuclei, result.provenance.mpp
    name = result.summary.headline.class_name
    fields = choose_fields(
        nuclei.take(scored),
        grades[scored],
        of_class=nuclei.classes.index(name) if name in nuclei.classes else None,
        side_px0=_side(FIELD_UM, mpp),
        size_px0=result.provenance.size_px0,
        hot_spot=spots[0] if spots else None,
    )
    shown = []
    for field in fields:
        near = np.flatnonzero(field.box.expand(field.box.width // 16).contains(nuclei.points))
        outlines = draw_nuclei(nuclei.take(near), grades[near], box=field.box, mpp=mpp)
        picture = _picture(result, field.box)
        shown.append(ShownField(field, picture, tuple(outlines), _BAR_UM, _BAR_UM / mpp[0]))
    return shown


def show_doubtful(
    result: SlideResult, grades: npt.NDArray[np.uint8], *, scored: npt.NDArray[np.int_]
) -> list[ShownNucleus]:
    """Return the nuclei of a slide that are doubted most, first the most doubtful one.

    Parameters are those of :func:`show_fields`.
    """
    nuclei, mpp = result.nuclei, result.provenance.mpp
    shown = []
    for row in most_doubtful(nuclei, rows=scored).tolist():
        one = nuclei.take(np.array([row]))
        box = crop_box(nuclei.x[row], nuclei.y[row], side_px0=_side(CROP_UM, mpp))
        probability = nuclei.measurements.get(CLASS_PROBABILITY)
        dab_od = nuclei.measurements[intensity_measurement(nuclei.measurements)][row]
        shown.append(
            ShownNucleus(
                x=round(nuclei.x[row]),
                y=round(nuclei.y[row]),
                picture=_picture(result, box, largest_px=_CROP_PX),
                width=box.width,
                height=box.height,
                outlines=tuple(draw_nuclei(one, grades[[row]], box=box, mpp=mpp)),
                grade=int(shown_grades(grades[[row]])[0]),
                class_name=nuclei.classes[nuclei.label[row]],
                class_probability=_known(None if probability is None else probability[row]),
                confidence=float(nuclei.confidence[row]),
                dab_od=_known(dab_od),
            )
        )
    return shown


def _picture(result: SlideResult, box: Box, **options: int) -> str:
    picture = photograph(box, read=result.read, **options)
    return "" if picture is None else inline(picture, "jpeg")


def _side(side_um: float, mpp: tuple[float, float]) -> tuple[int, int]:
    return max(1, round(side_um / mpp[0])), max(1, round(side_um / mpp[1]))


def _known(value: np.floating | None) -> float | None:
    return None if value is None or np.isnan(value) else float(value)
