"""Cards: objects as notebooks show them, in HTML that needs nothing beside it.

Styles stand in the elements and take the notebook's own colours, so that a card is readable on
light and dark pages, and in a saved notebook.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from PIL import Image

PICTURE_PX = 240
"""Longest side of the picture of a card."""

_LINE = "rgba(128,128,128,0.4)"
_WARNING = "#e69f00"
_CELL = "border:none;background:none;text-align:left;vertical-align:top;padding:1px 12px 1px 0;"
_WRAPPED = "overflow-wrap:anywhere;white-space:normal;max-width:36em;"


class Row(NamedTuple):
    """A line of a card: a name, its value, and maybe a colour that stands for it."""

    name: str
    value: str
    colour: str | None = None


def card(
    title: str,
    rows: Iterable[Row],
    *,
    picture: Image.Image | None = None,
    remarks: Sequence[str] = (),
) -> str:
    """Return a card as HTML; all texts are escaped.

    Parameters
    ----------
    title
        First line.
    rows
        Lines below it.
    picture
        Stands beside the rows, with no side longer than `PICTURE_PX`; transparent where the page
        shall show.
    remarks
        Sentences below.
    """
    lines = "".join(
        f'<tr style="border:none;background:none;"><td style="{_CELL}opacity:0.7;'
        f'white-space:nowrap;">{_swatch(row.colour)}{escape(row.name)}</td>'
        f'<td style="{_CELL}{_WRAPPED}">{escape(row.value)}</td></tr>'
        for row in rows
    )
    told = "".join(
        f'<div style="border-left:3px solid {_WARNING};padding-left:8px;margin-top:4px;{_WRAPPED}">'
        f"{escape(remark)}</div>"
        for remark in remarks
    )
    return (
        f'<div style="display:inline-flex;flex-wrap:wrap;gap:16px;border:1px solid {_LINE};'
        f'border-radius:6px;padding:10px 12px;font-size:13px;line-height:1.45;">'
        f"{_img(picture)}<div>"
        f'<div style="font-weight:600;margin-bottom:4px;{_WRAPPED}">{escape(title)}</div>'
        f'<table style="border:none;border-collapse:collapse;margin:0;font-size:13px;">{lines}'
        f"</table>{told}</div></div>"
    )


def table_card(title: str, header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a card that is a table, as HTML; all texts are escaped."""
    cell = f"{_CELL}border-bottom:1px solid {_LINE};{_WRAPPED}"
    head = "".join(f'<th style="{cell}font-weight:600;">{escape(name)}</th>' for name in header)
    body = "".join(
        '<tr style="background:none;">'
        + "".join(f'<td style="{cell}">{escape(text)}</td>' for text in line)
        + "</tr>"
        for line in lines
    )
    return (
        f'<div style="font-size:13px;"><div style="font-weight:600;">{escape(title)}</div>'
        f'<table style="border:none;border-collapse:collapse;margin:4px 0;font-size:13px;">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def mpp_in_words(mpp: tuple[float, float]) -> str:
    """Return a pixel size, such as ``0.25 um/px``; both axes where they differ.

    Examples
    --------
    >>> mpp_in_words((0.25, 0.25))
    '0.25 um/px'
    """
    x, y = (f"{value:.4g}" for value in mpp)
    return f"{x} um/px" if x == y else f"{x} x {y} um/px"


def first_few(texts: Sequence[str], *, most: int, rest: str = "{} more") -> list[str]:
    """Return the first texts, and in place of the others how many they are.

    Examples
    --------
    >>> first_few(["a", "b", "c"], most=1)
    ['a', '2 more']
    """
    if len(texts) <= most:
        return list(texts)
    return [*texts[:most], rest.format(len(texts) - most)]


def cut(text: str, *, longest: int = 40) -> str:
    """Return a text in one line of at most so many characters, its end left out if need be."""
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def _swatch(colour: str | None) -> str:
    if colour is None:
        return ""
    return (
        '<span style="display:inline-block;width:10px;height:10px;margin-right:6px;'
        f'border-radius:2px;background:{escape(colour)};"></span>'
    )


def _img(picture: Image.Image | None) -> str:
    if picture is None:
        return ""
    small = picture.copy()
    small.thumbnail((PICTURE_PX, PICTURE_PX))
    kind = "png" if small.mode == "RGBA" else "jpeg"  # which has no transparency
    stream = io.BytesIO()
    (small if kind == "png" else small.convert("RGB")).save(stream, kind, quality=85)
    source = f"data:image/{kind};base64," + base64.b64encode(stream.getvalue()).decode("ascii")
    return (
        f'<img alt="" src="{source}" width="{small.width}" height="{small.height}" '
        'style="align-self:flex-start;margin:0;max-width:none;">'
    )
