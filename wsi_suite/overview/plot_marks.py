"""Outlines and points of nuclei in axes of matplotlib."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection

from wsi_suite.geometry import Points
from wsi_suite.nuclei.outlines import outline_rings
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.overview.plot_shades import Floats, Shades
from wsi_suite.overview.slide_map import mark_diameter

MOST_OUTLINES = 20_000
"""Nuclei of which outlines are drawn; of more, points show as much."""

_POINT_PX0 = 24.0  # where no outline tells how large nuclei are
_FILLED_BELOW_PT = 5.0  # smaller nuclei are filled, as a line would fill them anyway


def draw_marks(axes: Axes, nuclei: Nuclei, shades: Shades, *, on_picture: bool) -> None:
    """Draw nuclei in their colours; the axes have their limits already.

    Parameters
    ----------
    axes
        Of level-0 pixels.
    nuclei, shades
        What is shown, and its colours.
    on_picture
        Whether pixels lie beneath, which outlines leave to be seen.
    """
    if not len(nuclei):
        return
    outlined: npt.NDArray[np.bool_] = np.zeros(len(nuclei), bool)
    if nuclei.outline is not None and len(nuclei) <= MOST_OUTLINES:
        outlined = np.asarray(np.isfinite(nuclei.outline).all(axis=1))
    if outlined.any():
        _draw_outlines(
            axes,
            nuclei.take(outlined),
            shades.colours[outlined],
            filled=shades.bar is not None,
            on_picture=on_picture,
        )
    if not outlined.all():
        _draw_points(axes, nuclei.points[~outlined], shades.colours[~outlined])


def _draw_outlines(
    axes: Axes, nuclei: Nuclei, colours: Floats, *, filled: bool, on_picture: bool
) -> None:
    assert nuclei.outline is not None
    diameter_pt = 2 * float(np.median(nuclei.outline)) * points_per_px0(axes)
    opacity = 0.8
    if on_picture and diameter_pt > _FILLED_BELOW_PT:
        opacity = 0.6 if filled else 0.15
    faces = np.column_stack([colours, np.full(len(colours), opacity)])
    width = float(np.clip(diameter_pt / 10, 0.15, 1.3))
    axes.add_collection(
        PolyCollection(
            list(outline_rings(nuclei.detected_points, nuclei.outline)),
            facecolors=faces,
            edgecolors=colours,
            linewidths=width,
            zorder=3,
        ),
        autolim=False,
    )


def _draw_points(axes: Axes, points: Points, colours: Floats) -> None:
    """Draw points; a fixed shuffle decides which is on top, so that no colour hides the others."""
    order = np.random.default_rng(0).permutation(len(points))
    per_px0 = points_per_px0(axes)
    (left, right), (bottom, top) = sorted(axes.get_xlim()), sorted(axes.get_ylim())
    size = (int((right - left) * per_px0) + 1, int((top - bottom) * per_px0) + 1)
    placed = (points - (left, bottom)) * per_px0
    diameter = min(mark_diameter(placed, size=size), max(_POINT_PX0 * per_px0, 2.0))
    axes.scatter(
        points[order, 0],
        points[order, 1],
        s=diameter**2,
        c=colours[order],
        linewidths=0,
        rasterized=True,
        zorder=3,
    )


def points_per_px0(axes: Axes) -> float:
    """Return how many points (1/72 inch) a level-0 pixel takes in the axes as they are."""
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    box = axes.get_window_extent()
    dots: npt.NDArray[np.float64] = np.array(
        [box.width / abs(right - left), box.height / abs(top - bottom)]
    )
    return float(dots.min() * 72 / axes.get_figure(root=True).dpi)  # type: ignore[union-attr]
