"""Morphology of masks: touching and large components, growing, closing."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from wsi_suite.slides.strips import in_strips, strips

Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.int32]


def touching(mask: Mask, seeds: Mask) -> Mask:
    """Return the pieces of `mask` that hold a seed."""
    count, labels = label(mask)
    keep = count_labels(labels, seeds & mask, count=count) > 0
    keep[0] = False
    return labelled(np.asarray(labels, np.int32), keep)


def large(mask: Mask, *, min_px: float) -> Mask:
    """Return the pieces of `mask` that have an area of at least `min_px` pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8))
    keep = stats[:, cv2.CC_STAT_AREA] >= min_px
    keep[0] = False
    return labelled(np.asarray(labels, np.int32), keep)


def label(mask: Mask) -> tuple[int, Labels]:
    """Return the number of labels, the background's 0 among them, and the label of each pixel."""
    count, labels = cv2.connectedComponents(mask.view(np.uint8))
    return count, np.asarray(labels, np.int32)


def count_labels(labels: Labels, where: Mask, *, count: int) -> npt.NDArray[np.int64]:
    """Return the number of pixels of each label where a mask is true."""
    found = np.zeros(count, np.int64)
    for strip in strips(where.shape):
        found += np.bincount(labels[strip.rows][where[strip.rows]], minlength=count)
    return found


def labelled(labels: Labels, keep: Mask) -> Mask:
    """Return the pixels of the labels to keep."""
    return in_strips(lambda part: keep[part], labels)


def close(mask: Mask, *, radius_px: float) -> Mask:
    """Fill gaps narrower than twice the radius; the border counts as more of the same."""
    disc = _disc(radius_px)
    pad = disc.shape[0]
    padded = np.pad(mask.view(np.uint8), pad, mode="edge")
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, disc)
    return np.asarray(closed[pad:-pad, pad:-pad] > 0)


def grow(mask: Mask, *, radius_px: float) -> Mask:
    """Return a mask with all pixels within a radius of it."""
    return np.asarray(cv2.dilate(mask.view(np.uint8), _disc(radius_px)) > 0)


def _disc(radius_px: float) -> npt.NDArray[np.uint8]:
    reach = math.ceil(radius_px)
    offsets = np.arange(-reach, reach + 1)
    return (np.hypot(offsets[:, None], offsets) <= max(radius_px, 0.0)).astype(np.uint8)
