"""Pages of a report: one HTML file that needs no other, and the style of its pictures."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure

import wsi_suite
from wsi_suite.files import whole_file

PLOT_STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
"""Style of plots, for :func:`matplotlib.style.context`."""


def write_page(
    path: Path,
    template: str,
    *,
    package: str,
    filters: Mapping[str, Callable[..., object]] | None = None,
    **values: object,
) -> None:
    """Write a page, whole or not at all; the same values give the same bytes.

    Parameters
    ----------
    path
        The file.
    template
        Name of a template in `package`; it extends ``page.html``.
    package
        A package of the suite, such as ``wsi_suite.training``.
    filters
        More filters, by their names.
    values
        What the template shows. Its filters: ``three`` (decimals), ``one``, and ``percent`` of a
        share, with its sign.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    pages = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader(package, "."), jinja2.PackageLoader("wsi_suite", ".")]
        ),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    pages.filters["one"] = lambda value: as_text(value, ".1f")
    pages.filters["three"] = lambda value: as_text(value, ".3f")
    pages.filters["percent"] = lambda value: (
        "–" if value is None else as_text(100 * value, "+.1f") + " %"
    )
    pages.filters |= filters or {}
    page = pages.get_template(template).render(version=wsi_suite.__version__, **values)
    with whole_file(path) as partial:
        partial.write_text(page, encoding="utf-8", newline="\n")


def page_part(package: str, name: str) -> Markup:
    """Return a style sheet or a script of a package, to be put into a page as it stands."""
    return Markup(resources.files(package).joinpath(name).read_text(encoding="utf-8"))


def content_policy(*, styles: Sequence[str] = (), scripts: Sequence[str] = ()) -> str:
    """Return a Content-Security-Policy that lets these styles and scripts run, and nothing else.

    Pictures may stand in the page as ``data:``. Source: https://www.w3.org/TR/CSP3/ (hashes).

    Parameters
    ----------
    styles, scripts
        Content of the ``style`` and ``script`` elements, to the byte.
    """
    policy = {
        "default-src": ["'none'"],
        "img-src": ["data:"],
        "style-src": [_hash_source(text) for text in styles] or ["'none'"],
        "script-src": [_hash_source(text) for text in scripts] or ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
    }
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in policy.items())


def _hash_source(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def as_text(value: float | None, form: str) -> str:
    """Return a number for people: with a true minus; a dash for ``None``."""
    return "–" if value is None else format(value, form).replace("-", "−")


def png_of(figure: Figure) -> bytes:
    """Return a figure as PNG; the same figure gives the same bytes."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=130, metadata={"Software": None})
    return stream.getvalue()


def inline(picture: bytes, kind: str = "png") -> str:
    """Return a picture as the source of an ``img`` element."""
    return f"data:image/{kind};base64," + base64.b64encode(picture).decode("ascii")
