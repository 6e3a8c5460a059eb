"""Tiles with their nuclei drawn over them."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from wsi_suite.colours import class_colour
from wsi_suite.training.labelled import TilePixels
from wsi_suite.training.matches import FloatArray, Labelled, TileMatches

_SIDE_PX = 1200  # of a picture; a larger tile is shown as it is
_GAP_PX = 6
_WHITE = 255, 255, 255

Picture = npt.NDArray[np.uint8]


def enlarge(pixels: TilePixels) -> Picture:
    """Return the picture of a tile, enlarged up to three times as far as it stays handy."""
    height, width = pixels.rgb.shape[:2]
    size = width * _factor(pixels), height * _factor(pixels)
    return cv2.resize(pixels.rgb, size, interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def draw_labelled(pixels: TilePixels, truth: Labelled) -> Picture:
    """Draw a tile with a ring of the class' colour around each labelled nucleus.

    Parameters
    ----------
    pixels
        The tile.
    truth
        Its nuclei, in um.
    """
    marked = enlarge(pixels)
    for place, kind in zip(_places(truth.points, pixels), truth.label, strict=True):
        _ring(marked, place, int(kind))
    return marked


def draw_found(
    pixels: TilePixels,
    truth: Labelled,
    found: Labelled,
    matches: TileMatches,
    *,
    min_confidence: float,
) -> Picture:
    """Draw a tile with its found, false and missed nuclei.

    A filled disc is a detection of the right class, in the colour of that class; a disc with a ring
    one of the wrong class, the ring in the colour of the right one; a cross a detection that takes
    no nucleus; an empty ring a nucleus that was missed.

    Parameters
    ----------
    pixels
        The tile.
    truth, found
        Labelled and detected nuclei, in um.
    matches
        Their matches.
    min_confidence
        Weaker detections are left out.
    """
    marked = enlarge(pixels)
    kept = found.confidence >= min_confidence
    for place, kind, there in zip(
        _places(found.points[kept], pixels), found.label[kept], matches.truth[kept], strict=True
    ):
        if there < 0:
            cv2.drawMarker(marked, place, (0, 0, 0), cv2.MARKER_TILTED_CROSS, 11, 4)
            cv2.drawMarker(marked, place, _rgb(kind), cv2.MARKER_TILTED_CROSS, 11, 2)
            continue
        cv2.circle(marked, place, 6, _WHITE, -1, cv2.LINE_AA)
        cv2.circle(marked, place, 5, _rgb(kind), -1, cv2.LINE_AA)
        if there != kind:
            cv2.circle(marked, place, 9, _rgb(int(there)), 2, cv2.LINE_AA)
    missed = matches.missed(min_confidence)
    for place, kind in zip(_places(truth.points[missed], pixels), truth.label[missed], strict=True):
        _ring(marked, place, int(kind))
    return marked


def beside(left: Picture, right: Picture) -> Picture:
    """Return two pictures of one height side by side."""
    return np.hstack([left, np.full((len(left), _GAP_PX, 3), 255, np.uint8), right])


def _factor(pixels: TilePixels) -> int:
    side: int = max(pixels.rgb.shape[:2])
    return max(1, min(3, _SIDE_PX // side))


def _places(points_um: FloatArray, pixels: TilePixels) -> list[tuple[int, int]]:
    scaled = points_um * (_factor(pixels) / np.array(pixels.mpp))
    return [(int(x), int(y)) for x, y in scaled]


def _ring(marked: Picture, place: tuple[int, int], kind: int) -> None:
    cv2.circle(marked, place, 8, _WHITE, 4, cv2.LINE_AA)
    cv2.circle(marked, place, 8, _rgb(kind), 2, cv2.LINE_AA)


def _rgb(index: int) -> tuple[int, int, int]:
    colour = class_colour(index)
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
