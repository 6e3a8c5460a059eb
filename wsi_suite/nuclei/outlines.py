"""Outlines of nuclei as rings of vertices."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wsi_suite.measurements import OUTLINE_RAYS

Floats = npt.NDArray[np.float64]

# Rays of at least this length (level-0 px) keep their order of angles when vertices are rounded to
# 0.01 px, and a polygon whose vertices go round its centre in order cannot cross itself.
SMALLEST_RADIUS_PX0 = 0.1


def outline_rings(points: Floats, outline: npt.NDArray[np.floating]) -> Floats:
    """Return the vertices of outlines as QuPath is given them, rounded to 0.01 px.

    Parameters
    ----------
    points
        ``(N, 2)``, where the rays start, level-0 pixels.
    outline
        ``(N, 16)``, lengths of the rays, level-0 pixels; the first one points along x.

    Returns
    -------
    ndarray
        ``(N, 16, 2)`` float64, level-0 pixels, not closed.

    Examples
    --------
    >>> outline_rings(np.array([[5.0, 5.0]]), np.full((1, 16), 2.0))[0, :2].tolist()
    [[7.0, 5.0], [6.85, 5.77]]
    """
    length = np.maximum(outline.astype(np.float64), SMALLEST_RADIUS_PX0)
    angle = 2 * np.pi * np.arange(OUTLINE_RAYS) / OUTLINE_RAYS
    rays = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return np.asarray(np.rint((points[:, None] + length[..., None] * rays) * 100) / 100)
