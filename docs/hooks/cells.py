"""Code of pages that are notebooks: run as it stands, with its output below each cell."""

from __future__ import annotations

import ast
import base64
import html
import io
import json
import re
from collections.abc import Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

MARK = "notebook: true"
"""Stands in the first lines of a page that is a notebook."""

_HEAD = re.compile(r"\A---\n(.*?)^---\n", re.M | re.S)
_CELL = re.compile(r"^```python\n(.*?)^```\n", re.M | re.S)


def is_notebook(text: str) -> bool:
    """Return whether the file of a page is a notebook."""
    head = _HEAD.match(text)
    return head is not None and MARK in head[1].splitlines()


def with_outputs(text: str, *, folder: Path, name: str) -> str:
    """Return a page with the output of each cell below it.

    Parameters
    ----------
    text
        Markdown; its blocks of Python are the cells, which see the names of those before them.
    folder
        The current folder of the code.
    name
        Of the page, for errors.

    Raises
    ------
    RuntimeError
        A cell failed; the error names the page and the line.
    """
    names: dict[str, Any] = {"__name__": "__main__"}

    def shown(match: re.Match[str]) -> str:
        line = text.count("\n", 0, match.start()) + 2
        return match[0] + "".join(_run(match[1], names, where=f"{name}, line {line}"))

    with chdir(folder):
        return _CELL.sub(shown, text)


def as_ipynb(text: str) -> str:
    """Return a page as a Jupyter notebook, without outputs."""
    cells: list[dict[str, Any]] = []
    parts = _CELL.split(_HEAD.sub("", text))
    for number, part in enumerate(parts):
        source = part.strip().splitlines(keepends=True)
        if not source:
            continue
        cell: dict[str, Any] = {"cell_type": "markdown", "metadata": {}, "source": source}
        if number % 2:
            cell |= {"cell_type": "code", "execution_count": None, "outputs": []}
        cells.append({"id": f"cell-{number}", **cell})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


def _run(code: str, names: dict[str, Any], *, where: str) -> Iterator[str]:
    """Run a cell, and yield what it printed and the value of its last line, as HTML."""
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    try:
        with redirect_stdout(printed), redirect_stderr(io.StringIO()):
            exec(compile(tree, where, "exec"), names)
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), where, "eval"), names)
    except Exception as error:
        raise RuntimeError(f"{where}: {type(error).__name__}: {error}") from error
    if printed.getvalue():
        yield _output(f"<pre>{html.escape(printed.getvalue())}</pre>")
    if value is not None:
        yield _output(_as_html(value))


def _as_html(value: object) -> str:
    """Return a value as a notebook shows it: a picture, a card or its text."""
    if hasattr(value, "savefig") or hasattr(value, "get_figure"):
        figure, file = getattr(value, "get_figure", lambda: value)(), io.BytesIO()
        figure.savefig(file, format="png", dpi=110, bbox_inches="tight")
        data = base64.b64encode(file.getvalue()).decode()
        return f'<img alt="Output of the code above" src="data:image/png;base64,{data}">'
    if hasattr(value, "_repr_html_"):
        return str(value._repr_html_())
    return f"<pre>{html.escape(repr(value))}</pre>"


def _output(inside: str) -> str:
    """Return an output as a block of HTML, which has to be without empty lines in Markdown."""
    return f'\n<div class="cell-output">{_without_gaps(inside)}</div>\n'


def _without_gaps(text: str) -> str:
    return re.sub(r"\n(?=\s*\n)", "\n&#8203;" if "<pre>" in text else "", text)
