"""Which pixel size a slide has: stated by the file or given by the user, never guessed."""

from __future__ import annotations

import math
import re
import unicodedata
from contextlib import suppress
from pathlib import Path

from wsi_suite.errors import PixelSizeError

MPP_LIMITS = (0.05, 10.0)
"""A pixel size outside is a mistake, um."""

_ANISOTROPY_LIMIT = 0.02
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")

# Word and symbol of each prefix, and its power of ten.
_PREFIXES = (
    ("yotta", "Y", 24), ("zetta", "Z", 21), ("exa", "E", 18), ("peta", "P", 15), ("tera", "T", 12),
    ("giga", "G", 9), ("mega", "M", 6), ("kilo", "k", 3), ("hecto", "h", 2), ("deca", "da", 1),
    ("", "", 0), ("deci", "d", -1), ("centi", "c", -2), ("milli", "m", -3), ("micro", "u", -6),
    ("micro", "\N{GREEK SMALL LETTER MU}", -6), ("nano", "n", -9), ("pico", "p", -12),
    ("femto", "f", -15), ("atto", "a", -18), ("zepto", "z", -21), ("yocto", "y", -24),
)  # fmt: skip
_INCH_UM = 25_400.0
# Symbols as OME-XML writes them; after NFKC both signs for micro are the Greek letter.
_SYMBOLS_UM = {f"{symbol}m": float(f"1e{power + 6}") for _, symbol, power in _PREFIXES} | {
    "\N{LATIN CAPITAL LETTER A WITH RING ABOVE}": 1e-4, "in": _INCH_UM, '"': _INCH_UM,
    "thou": _INCH_UM / 1000, "pt": _INCH_UM / 72, "li": _INCH_UM / 12, "ft": 12 * _INCH_UM,
    "yd": 36 * _INCH_UM, "mi": 63_360 * _INCH_UM,
}  # fmt: skip
# Words, in lower case and singular, as ImageJ and OME-Zarr write them.
_WORDS_UM = {f"{word}meter": float(f"1e{power + 6}") for word, _, power in _PREFIXES} | {
    "micron": 1.0, "angstrom": 1e-4, "inch": _INCH_UM, "foot": 12 * _INCH_UM,
    "yard": 36 * _INCH_UM, "mile": 63_360 * _INCH_UM,
}  # fmt: skip


def number_in(text: str | None) -> float | None:
    """Return the number that a text holds, or ``None`` if it holds none.

    The decimal sign is a point or a comma. Infinity and NaN are no numbers.

    Examples
    --------
    >>> number_in("0,5000"), number_in("unknown")
    (0.5, None)
    """
    if text is None or not _NUMBER.fullmatch(text.strip()):
        return None
    value = float(text.strip().replace(",", "."))
    return value if math.isfinite(value) else None


def unit_um(unit: str | None) -> float | None:
    """Return how many um a unit of length has, or ``None`` if it is not one.

    Examples
    --------
    >>> unit_um("mm"), unit_um("microns"), unit_um("pixel")
    (1000.0, 1.0, None)
    """
    if unit is None:
        return None
    # ImageJ writes what is not ASCII as an escape.
    plain = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), unit.strip())
    with suppress(UnicodeError):  # UTF-8 that a writer took for Latin letters
        plain = plain.encode("cp1252").decode("utf-8")
    plain = unicodedata.normalize("NFKC", plain)
    word = plain.lower().replace("metre", "meter")
    word = "inch" if word == "inches" else word.removesuffix("s")
    return _SYMBOLS_UM.get(plain, _WORDS_UM.get(word))


def stated_size(x: float | None, y: float | None) -> tuple[float, float] | None:
    """Return um per pixel along x and y, or ``None`` if one of them is no length."""
    if x is None or y is None:
        return None
    return (x, y) if all(math.isfinite(size) and size > 0 for size in (x, y)) else None


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
