"""Morphology of masks: touching and large components, growing, closing."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]


def touching(mask: Mask, seeds: Mask) -> Mask:
    """Return the pieces of `mask` that hold a seed."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8))
    keep = np.bincount(labels[seeds & mask], minlength=count) > 0
    keep[0] = False
    return np.asarray(keep[labels])


def large(mask: Mask, *, min_px: float) -> Mask:
    """Return the pieces of `mask` that have an area of at least `min_px` pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    keep = stats[:, cv2.CC_STAT_AREA] >= min_px
    keep[0] = False
    return np.asarray(keep[labels])


def close(mask: Mask, *, radius_px: float) -> Mask:
    """Fill gaps narrower than twice the radius; the border counts as more of the same."""
    disc = _disc(radius_px)
    pad = disc.shape[0]
    padded = np.pad(mask.astype(np.uint8), pad, mode="edge")
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, disc)
    return np.asarray(closed[pad:-pad, pad:-pad] > 0)


def grow(mask: Mask, *, radius_px: float) -> Mask:
    """Return a mask with all pixels within a radius of it."""
    return np.asarray(cv2.dilate(mask.astype(np.uint8), _disc(radius_px)) > 0)


def _disc(radius_px: float) -> npt.NDArray[np.uint8]:
    reach = math.ceil(radius_px)
    offsets = np.arange(-reach, reach + 1)
    return (np.hypot(offsets[:, None], offsets) <= max(radius_px, 0.0)).astype(np.uint8)
