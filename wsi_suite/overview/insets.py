"""Close-ups at full resolution, in which each nucleus can be checked by eye."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from wsi_suite.geometry import Box
from wsi_suite.measurements import OUTLINE_RAYS
from wsi_suite.nuclei.table import NOT_MEASURABLE, Nuclei
from wsi_suite.overview.style import (
    GRADE_COLOURS,
    INK,
    draw_scale_bar,
    draw_tag,
    shown_grades,
)

ReadBox = Callable[[Box], npt.NDArray[np.uint8]]

FIELD_UM = 128.0
"""Side of a close-up: some hundred nuclei, each large enough to judge its outline."""

_FINE = 2
_POINT_RADIUS_UM = 1.5
_EDGE = (255, 255, 255, 180)


@dataclass(frozen=True)
class Field:
    """A square of the slide and why it was chosen."""

    letter: str
    reason: str
    box: Box


def choose_fields(
    nuclei: Nuclei,
    grades: npt.NDArray[np.uint8],
    *,
    side_px0: int,
    size_px0: tuple[int, int],
) -> list[Field]:
    """Choose up to three fields of a grid: the densest, the most typical, the strongest stained.

    Typical is the field whose number of nuclei and mean intensity come nearest to those of the
    slide's other well-filled fields. The choice depends on the nuclei alone.
    """
    if not len(nuclei):
        return []
    columns = -(-size_px0[0] // side_px0)
    cell = (nuclei.points // side_px0).astype(np.int64) @ np.array([1, columns])
    cells, own, counts = np.unique(cell, return_inverse=True, return_counts=True)
    measured = grades != NOT_MEASURABLE
    total = np.bincount(own, np.where(measured, grades, 0), len(cells))
    mean = total / np.maximum(np.bincount(own, measured, len(cells)), 1)

    filled = counts >= np.median(counts[own]) / 2
    usual = np.median(counts[filled])
    overall = np.average(mean[filled], weights=counts[filled])
    unlike = np.abs(np.log(counts / usual)) + np.abs(mean - overall)
    wishes = [
        ("densest", counts.astype(float)),
        ("typical", -unlike),
        ("strongest stain", np.where(filled, mean, -np.inf)),
    ]
    fields: list[Field] = []
    free = np.ones(len(cells), bool)
    for reason, wish in wishes[: len(cells)]:
        best = int(np.argmax(np.where(free, wish, -np.inf)))
        free[best] = False
        row, column = divmod(int(cells[best]), columns)
        x = max(0, min(column * side_px0, size_px0[0] - side_px0))
        y = max(0, min(row * side_px0, size_px0[1] - side_px0))
        fields.append(Field("ABC"[len(fields)], reason, Box(x, y, side_px0, side_px0)))
    return fields


def draw_field(
    field: Field,
    *,
    side: int,
    read: ReadBox,
    mpp: tuple[float, float],
    nuclei: Nuclei,
    grades: npt.NDArray[np.uint8],
    solid_class: str | None,
    unit: int,
) -> Image.Image:
    """Return a close-up of `side` pixels with the outlines of its nuclei.

    Outlines of `solid_class` (of all classes, if ``None``) are drawn through, those of
    other compartments broken.
    """
    pixels = Image.fromarray(read(field.box))
    image = pixels.resize((side, side), Image.Resampling.BICUBIC)
    zoom = side * _FINE / field.box.width
    around = field.box.expand(field.box.width // 8).contains(nuclei.points)
    lines = Image.new("RGBA", (side * _FINE, side * _FINE))
    _draw_nuclei(
        ImageDraw.Draw(lines),
        nuclei.take(around),
        shown_grades(grades[around]),
        corner=np.array([field.box.x, field.box.y]),
        zoom=zoom,
        point_radius_px0=_POINT_RADIUS_UM / mpp[0],
        solid_class=solid_class,
        width=max(4, side // 90),
    )
    smooth = lines.reduce(_FINE)
    image.paste(smooth, (0, 0), smooth)
    draw_scale_bar(image, um_per_px=mpp[0] * _FINE / zoom, size=round(0.8 * unit))
    ImageDraw.Draw(image).rectangle((0, 0, side - 1, side - 1), outline=INK, width=2)
    draw_tag(image, (0, 0), text=f"{field.letter}  {field.reason}", size=unit)
    return image


def _draw_nuclei(
    draw: ImageDraw.ImageDraw,
    nuclei: Nuclei,
    shown: npt.NDArray[np.intp],
    *,
    corner: npt.NDArray[np.int_],
    zoom: float,
    point_radius_px0: float,
    solid_class: str | None,
    width: int,
) -> None:
    angle = 2 * np.pi * np.arange(OUTLINE_RAYS + 1) / OUTLINE_RAYS
    rays = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    radii = np.full((len(nuclei), OUTLINE_RAYS), point_radius_px0)
    if nuclei.outline is not None:
        radii = np.where(np.isfinite(nuclei.outline), nuclei.outline, radii)
    closed = np.concatenate([radii, radii[:, :1]], axis=1)
    rings = (nuclei.detected_points[:, None] + closed[..., None] * rays - corner) * zoom
    for ring, grade, label in zip(rings.tolist(), shown, nuclei.label, strict=True):
        vertices = [tuple(vertex) for vertex in ring]
        broken = solid_class is not None and nuclei.classes[label] != solid_class
        runs = [vertices[k : k + 2] for k in range(0, OUTLINE_RAYS, 2)] if broken else [vertices]
        # A white edge keeps red and orange apart from brown stain.
        for colour, thickness in ((_EDGE, width + 2), ((*GRADE_COLOURS[grade], 255), width)):
            for run in runs:
                draw.line(run, colour, thickness, joint="curve")
