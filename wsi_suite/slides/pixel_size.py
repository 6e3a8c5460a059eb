"""Which pixel size a slide has: stated by the file or given by the user, never guessed."""

from __future__ import annotations

from pathlib import Path

from wsi_suite.errors import PixelSizeError

MPP_LIMITS = (0.05, 10.0)
"""A pixel size outside is a mistake, um."""

_ANISOTROPY_LIMIT = 0.02


def settle_pixel_size(
    path: Path, *, stated: tuple[float, float] | None, given: float | None
) -> tuple[float, float]:
    """Return um per level-0 pixel along x and y.

    Raises
    ------
    PixelSizeError
        It is missing, outside 0.05 - 10 um, or differs by over 2 % between x and y.
    """
    low, high = MPP_LIMITS
    if given is not None:
        if not low <= given <= high:
            raise PixelSizeError(f"--mpp {given:g}: expected {low:g} to {high:g} um per pixel")
        return given, given
    if stated is None:
        raise PixelSizeError(
            f"{path}: the file states no pixel size; give it in um per pixel, as in --mpp 0.25"
        )
    if not all(low <= value <= high for value in stated):
        raise PixelSizeError(
            f"{path}: the file states a pixel of {size_in_words(stated)}; expected {low:g} to"
            f" {high:g} um, give the true size with --mpp"
        )
    if max(stated) / min(stated) - 1 > _ANISOTROPY_LIMIT:
        raise PixelSizeError(
            f"{path}: the file states a pixel of {size_in_words(stated)}; expected x and y within"
            " 2 %, give the true size with --mpp"
        )
    return stated


def size_in_words(mpp: tuple[float, float]) -> str:
    """Return a pixel size as the user reads it."""
    return f"{mpp[0]:.4g} x {mpp[1]:.4g} um"
