"""Type, colours and small marks that all parts of the picture share."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from wsi_suite.nuclei.table import INTENSITIES
from wsi_suite.qupath.objects import INTENSITY_COLOURS, Colour

PAPER: Colour = (252, 252, 250)
INK: Colour = (26, 30, 36)
MUTED: Colour = (98, 106, 116)
RULE: Colour = (218, 221, 225)
WARNING_PAPER: Colour = (255, 244, 214)
WARNING_INK: Colour = (120, 76, 0)
TISSUE: Colour = (20, 110, 110)
HOT_SPOT: Colour = (150, 20, 150)
ARTEFACT: Colour = (200, 120, 0)

GRADE_NAMES = (*INTENSITIES, "not measurable")
GRADE_COLOURS: tuple[Colour, ...] = (*INTENSITY_COLOURS, (140, 140, 140))

_REPLACED = str.maketrans({"µ": "u", "μ": "u", "ß": "ss", "×": "x", "–": "-", "—": "-", "ø": "o"})


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Return Pillow's own typeface, so that the picture is the same on every machine."""
    typeface = ImageFont.load_default(size)
    assert isinstance(typeface, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return typeface


def plain(text: str) -> str:
    """Return `text` in letters that Pillow's typeface has: Müller -> Muller, µm² -> um2."""
    decomposed = unicodedata.normalize("NFKD", text.translate(_REPLACED)).translate(_REPLACED)
    letters = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return letters.encode("ascii", "replace").decode()


def width_of(text: str, *, size: int) -> int:
    """Return the width of a line of text in pixels."""
    return int(np.ceil(font(size).getlength(text)))


def shortened(text: str, *, size: int, width: int) -> str:
    """Return `text` with its middle left out if it is wider than `width` pixels."""
    if width_of(text, size=size) <= width:
        return text
    kept = len(text)
    while kept > 2 and width_of(f"{text[: kept // 2]}...{text[-(kept // 2) :]}", size=size) > width:
        kept -= 2
    return f"{text[: kept // 2]}...{text[-(kept // 2) :]}"


def wrapped(words: Iterable[str], *, size: int, width: int, joint: str = " ") -> list[str]:
    """Fill lines of at most `width` pixels with words; one that is too long is shortened."""
    lines: list[str] = []
    for word in words:
        longer = f"{lines[-1]}{joint}{word}" if lines else word
        if lines and width_of(longer, size=size) <= width:
            lines[-1] = longer
        else:
            lines.append(shortened(word, size=size, width=width))
    return lines


def shown_grades(grades: npt.NDArray[np.uint8]) -> npt.NDArray[np.intp]:
    """Return indices into `GRADE_NAMES` and `GRADE_COLOURS`."""
    return np.minimum(grades, len(INTENSITIES)).astype(np.intp)


def round_length(longest_um: float) -> tuple[float, str]:
    """Return the largest length of 1, 2 or 5 x 10^n um up to `longest_um`, and its name.

    Examples
    --------
    >>> round_length(640)
    (500.0, '500 um')
    """
    unit = 10.0 ** float(np.floor(np.log10(longest_um)))
    length_um = max(step * unit for step in (1, 2, 5) if step * unit <= longest_um * 1.001)
    return length_um, f"{length_um / 1000:g} mm" if length_um >= 1000 else f"{length_um:g} um"


def draw_scale_bar(image: Image.Image, *, um_per_px: float, size: int) -> None:
    """Draw a bar of 1, 2 or 5 x 10^n um, about a sixth of the width, in the lower left corner."""
    length_um, text = round_length(image.width * um_per_px / 6)
    length, gap, thick = round(length_um / um_per_px), size // 2, max(3, size // 6)
    plate_width = max(length, width_of(text, size=size)) + 2 * gap
    plate_height = size + thick + 2 * gap + gap // 2
    left, top = gap, image.height - gap - plate_height
    draw = ImageDraw.Draw(image)
    draw.rectangle((left, top, left + plate_width, top + plate_height), fill=PAPER)
    draw.text((left + gap, top + gap // 2), text, font=font(size), fill=INK)
    bar = top + plate_height - gap - thick
    draw.rectangle((left + gap, bar, left + gap + length, bar + thick - 1), fill=INK)


def draw_tag(image: Image.Image, corner: tuple[int, int], *, text: str, size: int) -> None:
    """Draw light text on a dark plate at `corner` (upper left), moved so that all of it shows."""
    pad = max(2, size // 4)
    width, height = width_of(text, size=size) + 2 * pad, size + 2 * pad
    x = max(0, min(corner[0], image.width - width - 1))
    y = max(0, min(corner[1], image.height - height - 1))
    draw = ImageDraw.Draw(image)
    draw.rectangle((x, y, x + width, y + height), fill=INK)
    draw.text((x + pad, y + pad + size // 2), text, font=font(size), fill=PAPER, anchor="lm")
