"""Pages that are notebooks: their code is run, its output shown, and a Jupyter notebook offered."""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath

from cells import as_ipynb, is_notebook, with_outputs
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add each notebook as a file for Jupyter."""
    for file in list(files.documentation_pages()):
        if is_notebook(file.content_string):
            path = str(PurePosixPath(file.src_uri).with_suffix(".ipynb"))
            files.append(File.generated(config, path, content=as_ipynb(file.content_string)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Run the code of a notebook, and show its output."""
    if not page.meta.get("notebook"):
        return markdown
    import matplotlib as mpl

    mpl.use("Agg")
    title, _, rest = markdown.strip().partition("\n")
    name = PurePosixPath(page.file.src_uri)
    offer = f"[Download as a Jupyter notebook]({name.with_suffix('.ipynb').name})"
    try:
        with tempfile.TemporaryDirectory(prefix="wsi-suite-docs-") as folder:
            shown = with_outputs(f"{rest}\n", folder=Path(folder), name=str(name))
    except RuntimeError as error:
        raise PluginError(str(error)) from error
    return f"{title}\n\n{offer}\n{shown}"
