"""Pages of the documentation that are notebooks, run as they stand."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

DOCS = Path(__file__).parents[1] / "docs"


def _cells() -> Any:
    spec = importlib.util.spec_from_file_location("cells", DOCS / "hooks" / "cells.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CELLS = _cells()
PAGES = [path for path in sorted(DOCS.rglob("*.md")) if CELLS.is_notebook(path.read_text("utf-8"))]


def test_there_are_notebooks() -> None:
    assert {page.stem for page in PAGES} >= {"notebook_scores", "notebook_dataset"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_notebooks_run(page: Path, tmp_path: Path, one_torch_thread: None) -> None:
    mpl.use("Agg")
    shown = CELLS.with_outputs(page.read_text("utf-8"), folder=tmp_path, name=page.name)
    assert shown.count("```python\n") == page.read_text("utf-8").count("```python\n")
    assert "data:image/png;base64," in shown


def test_output_stands_below_its_cell(tmp_path: Path) -> None:
    text = "# Title\n\n```python\nx = 3\nprint('<a>\\n\\nb')\nx + 1\n```\n\nEnd\n"
    shown = CELLS.with_outputs(text, folder=tmp_path, name="page.md")
    below = shown.partition("```\n")[2]
    assert "&lt;a&gt;" in below
    assert "<pre>4</pre>" in below
    assert below.endswith("\nEnd\n")
    assert "\n\n" not in below[below.index("<pre>") : below.index("</pre>")]


def test_error_names_page_and_line(tmp_path: Path) -> None:
    text = "# Title\n\n```python\n1 / 0\n```\n"
    with pytest.raises(RuntimeError, match=r"page\.md, line 4: ZeroDivisionError"):
        CELLS.with_outputs(text, folder=tmp_path, name="page.md")


def test_notebook_for_jupyter_has_all_cells() -> None:
    for page in PAGES:
        text = page.read_text("utf-8")
        notebook = json.loads(CELLS.as_ipynb(text))
        code = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
        assert len(code) == text.count("```python\n")
        assert code[0] in text
        assert "notebook: true" not in "".join(notebook["cells"][0]["source"])
