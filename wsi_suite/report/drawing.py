"""Pictures of a report: JPEG from pixels, and paths of SVG from outlines."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from shapely.geometry import MultiPolygon

from wsi_suite.geometry import Box
from wsi_suite.measurements import OUTLINE_RAYS
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.overview.insets import ReadBox
from wsi_suite.overview.style import shown_grades

_LARGEST_PX = 640
_QUALITY = 85
_POINT_RADIUS_UM = 1.5

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Outlines:
    """Outlines of nuclei of one class and intensity.

    Attributes
    ----------
    grade
        0 to 3, or 4 if they are not measurable.
    label
        Index of their class.
    path
        Of SVG, in level-0 pixels from the corner of a box.
    centres
        ``(x, y)`` in the same frame.
    """

    grade: int
    label: int
    path: str
    centres: tuple[tuple[float, float], ...]


def jpeg(pixels: Pixels, *, largest_px: int = _LARGEST_PX, quality: int = _QUALITY) -> bytes:
    """Return a JPEG of ``(H, W, 3)`` pixels, made smaller if a side is longer than wanted."""
    image = Image.fromarray(pixels)
    factor = max(image.size) / largest_px
    if factor > 1:
        size = (max(1, round(image.width / factor)), max(1, round(image.height / factor)))
        image = image.resize(size, Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, subsampling=0, optimize=True)
    return file.getvalue()


def photograph(box: Box, *, read: ReadBox | None, largest_px: int = _LARGEST_PX) -> bytes | None:
    """Return a JPEG of a box of level-0 pixels, or ``None`` without pictures."""
    return None if read is None else jpeg(read(box), largest_px=largest_px)


def draw_nuclei(
    nuclei: Nuclei, grades: npt.NDArray[np.uint8], *, box: Box, mpp: tuple[float, float]
) -> list[Outlines]:
    """Return the outlines of nuclei, one entry a class and intensity.

    Parameters
    ----------
    nuclei, grades
        Those to draw.
    box
        Paths start at its corner, level-0 pixels.
    mpp
        Um per level-0 pixel; nuclei without an outline are small circles.
    """
    rings = _rings(nuclei, mpp=mpp) - (box.x, box.y)
    centres = nuclei.points - (box.x, box.y)
    shown = shown_grades(grades)
    drawn = []
    for grade, label in sorted(set(zip(shown.tolist(), nuclei.label.tolist(), strict=True))):
        these = (shown == grade) & (nuclei.label == label)
        drawn.append(
            Outlines(
                grade=grade,
                label=label,
                path="".join(map(_ring_path, rings[these])),
                centres=tuple((round(x, 1), round(y, 1)) for x, y in centres[these].tolist()),
            )
        )
    return drawn


def area_path(area: MultiPolygon, *, tolerance_px0: float) -> str:
    """Return the border of an area as a path of SVG, in level-0 pixels.

    Parameters
    ----------
    area
        The area.
    tolerance_px0
        By how much the path may differ.
    """
    simple = area.simplify(tolerance_px0)
    polygons = getattr(simple, "geoms", [simple])
    rings = (ring for polygon in polygons for ring in (polygon.exterior, *polygon.interiors))
    return "".join(_ring_path(np.asarray(ring.coords)[:-1, :2], digits=0) for ring in rings)


def _rings(nuclei: Nuclei, *, mpp: tuple[float, float]) -> npt.NDArray[np.float64]:
    """Return ``(N, 16, 2)`` vertices, level-0 pixels."""
    angle = 2 * np.pi * np.arange(OUTLINE_RAYS) / OUTLINE_RAYS
    rays = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    radii = np.full((len(nuclei), OUTLINE_RAYS), _POINT_RADIUS_UM / mpp[0])
    if nuclei.outline is not None:
        radii = np.where(np.isfinite(nuclei.outline), nuclei.outline, radii)
    return np.asarray(nuclei.detected_points[:, None] + radii[..., None] * rays)


def _ring_path(ring: npt.NDArray[np.float64], digits: int = 1) -> str:
    points = " ".join(f"{x:.{digits}f},{y:.{digits}f}" for x, y in ring.tolist())
    return f"M{points}Z" if points else ""
