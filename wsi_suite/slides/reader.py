"""Interface of the readers of slide files, and their common functions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from wsi_suite.geometry import Box, Scale, snapped_downsample

Pixels = npt.NDArray[np.uint8]
"""``(H, W, 3)`` uint8 RGB."""

WHITE = (255, 255, 255)

_OVERVIEW = re.compile(
    r"(?:^|[\n=:>\"'|\[(])\s*(macro|label|overview|thumbnail|barcode|preview)(?:image)?(?![a-z])",
    re.IGNORECASE,
)
"""A name of a picture that is no scan, at the start of a line, a value or a bracket."""

ORIENTATION_NOTE = "orientation tag not applied: pixels are taken as stored"
"""Of pictures that say they are turned: QuPath's frame is that of the stored pixels."""


@dataclass(frozen=True)
class Level:
    """One stored resolution of a slide.

    Attributes
    ----------
    width, height
        Size within the slide's bounds, in pixels of this level.
    scale
        Level-0 pixels per pixel of this level, along each axis.
    tile
        ``(width, height)`` of the tiles in the file, if it has any.
    compression
        How the file stores its pixels, as ``JPEG`` or ``JPEG 2000``, if that is known.
    """

    width: int
    height: int
    scale: Scale
    tile: tuple[int, int] | None = None
    compression: str | None = None

    @property
    def box(self) -> Box:
        """All pixels of the level."""
        return Box(0, 0, self.width, self.height)


@dataclass(frozen=True)
class Facts:
    """Metadata stated by a file.

    Attributes
    ----------
    vendor
        Maker or kind of the file, as OpenSlide names it if it knows the file.
    levels
        From the finest to the coarsest; the first one is level 0.
    mpp
        um per level-0 pixel along x and y as the file states it, sensible or not; ``None`` where
        it says nothing.
    objective_power
        Magnification of the objective, for the user to see: no pixel size is derived from it.
    background
        Colour of what was not scanned.
    notes
        What the user should know of how the file is read.
    twins
        Number of other pictures in the file that have the size of this one.
    """

    vendor: str
    levels: tuple[Level, ...]
    mpp: tuple[float, float] | None = None
    objective_power: float | None = None
    background: tuple[int, int, int] = WHITE
    notes: tuple[str, ...] = ()
    twins: int = 0


class Reader(Protocol):
    """Reads the pixels of one file; several threads may read at once."""

    @property
    def name(self) -> str:
        """Name of the reader, as shown to the user."""

    @property
    def facts(self) -> Facts:
        """Metadata stated by the file."""

    def read(self, level: int, box: Box) -> Pixels:
        """Return the pixels of `box`, which lies inside the level, in a new array.

        Raises
        ------
        DamageError
            The file is damaged there.
        SlideError
            The file cannot be read any more.
        """

    def close(self) -> None:
        """Release the file."""


def level_scale(size0: tuple[int, int], size: tuple[int, int]) -> Scale:
    """Return the scale of a level from the ``(width, height)`` of level 0 and its own.

    Both axes were shrunk by one factor, and rounding hides it least along the longer one.
    """
    reported = max(size0) / max(size)
    snapped = [
        snapped_downsample(whole, part, reported) for whole, part in zip(size0, size, strict=True)
    ]
    x, y = (
        factor if factor.is_integer() else whole / part
        for factor, whole, part in zip(snapped, size0, size, strict=True)
    )
    return Scale(x, y)


def is_smaller_copy(size0: tuple[int, int], size: tuple[int, int]) -> bool:
    """Return whether one factor, but for rounding, makes the second size of the first.

    A picture of another shape shows another part of the slide than level 0 does.

    Parameters
    ----------
    size0, size
        ``(width, height)`` of level 0 and of what may be a smaller level.

    Examples
    --------
    >>> is_smaller_copy((1500, 1201), (375, 300)), is_smaller_copy((1500, 1200), (260, 100))
    (True, False)
    """
    pairs = list(zip(size0, size, strict=True))
    if not all(1 <= part < whole for whole, part in pairs):
        return False
    least = max(whole / (part + 1) for whole, part in pairs)
    most = min(whole / (part - 1) if part > 1 else float("inf") for whole, part in pairs)
    return least < most


def overview_named(name: str) -> str:
    """Return the kind of a picture that is no scan, such as ``label``; empty for a scan."""
    found = _OVERVIEW.search(name)
    return found[1].lower() if found else ""


def flatten(
    rgba: Pixels, *, background: tuple[int, int, int] = WHITE, premultiplied: bool = False
) -> Pixels:
    """Lay ``(H, W, 4)`` pixels on a background, by their transparency."""
    alpha = rgba[..., 3:].astype(np.float32) / 255
    colour = rgba[..., :3] * (1 if premultiplied else alpha)
    laid = colour + np.array(background, np.float32) * (1 - alpha)
    # A premultiplied colour that exceeds its alpha is a rounding error of the writer's.
    return np.asarray(np.minimum(laid + 0.5, 255), np.uint8)
