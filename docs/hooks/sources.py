"""Texts from outside ``docs/`` as pages, and links between the files of the tree.

The links of all texts are those of the tree, as they are on a page that shows the repository.
Here they become links of the site; a file that is no page is copied, so that it can be read.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

TREE = Path(__file__).parents[2]

PAGES = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "benchmarks/README.md",
    "models/README.md",
    "models/endonuke-resnet18/MODEL_CARD.md",
)
"""Pages of the site that stand outside docs/, under the same paths."""

FOLDERS = {"README.md": "index.md", "benchmarks": "benchmarks/README.md"}
"""Links that lead to another page than the path says."""

SETTINGS = "sample_configs/run.yaml"

_ABOUT_SETTINGS = f"""# Settings

The file `{SETTINGS}`; `wsi-suite config --init lab.yaml` writes it. With `--init --schema` its JSON
schema is written beside it and named in its first line, so that editors that know YAML (VS Code
with the extension *YAML*, Neovim, JetBrains) complete and check it. `wsi-suite config --check
lab.yaml` shows what a file sets.
"""

_LINK = re.compile(r"(\]\()(?!\w+:|#)([^)\s#]+)(#[^)\s]*)?\)")
_INCLUDE = re.compile(r"^<!-- include (\S+?)#(.+?) -->$", re.M)
_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc):<code>~?([\w.]+)</code>")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages and files from outside docs/."""
    for path in PAGES:
        files.append(File.generated(config, path, content=(TREE / path).read_text("utf-8")))
    settings = (TREE / SETTINGS).read_text("utf-8")
    text = f"{_ABOUT_SETTINGS}\n```yaml\n{settings}```\n"
    files.append(File.generated(config, "settings.md", content=text))
    _list_guides(files, config=config)
    return files


def _list_guides(files: Files, *, config: MkDocsConfig) -> None:
    """List the pages of docs/ itself that mkdocs.yml does not name under "Guides"."""
    listed = str(config.nav)
    guides = next(section["Guides"] for section in config.nav or () if "Guides" in section)
    for file in files.documentation_pages():
        if "/" not in file.src_uri and f"'{file.src_uri}'" not in listed:
            guides.append(file.src_uri)


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put in the sections that are included, and turn links of the tree into links of the site."""
    here = page.file.src_uri
    origin = here if here in PAGES else f"docs/{here}"

    def included(match: re.Match[str]) -> str:
        return _site_links(
            _section(match[1], match[2]), origin=match[1], page=here, config=config, files=files
        )

    own = _site_links(markdown, origin=origin, page=here, config=config, files=files)
    return _INCLUDE.sub(included, own) + (_other_names(markdown) if here == "python.md" else "")


def _other_names(markdown: str) -> str:
    """Return the entries of the public names that the reference does not place itself."""
    import wsi_suite

    told = re.findall(r"^::: wsi_suite\.(\w+)$", markdown, re.M)
    others = [name for name in wsi_suite.__all__ if name not in (*told, "__version__")]
    entries = "".join(f"\n::: wsi_suite.{name}\n" for name in others)
    return f"\n## More\n{entries}" if others else ""


def on_page_content(html: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn Sphinx' roles in docstrings into references."""

    def reference(match: re.Match[str]) -> str:
        shown = match[1].rpartition(".")[2]
        return f'<autoref identifier="{match[1]}" optional><code>{shown}</code></autoref>'

    return _ROLE.sub(reference, html)


def _section(path: str, title: str) -> str:
    """Return what stands under a heading of the second level, or before the first ("top")."""
    parts = re.split(r"^## (.+)\n", (TREE / path).read_text("utf-8"), flags=re.M)
    if title == "top":
        return parts[0].partition("\n")[2].strip()
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    if title not in sections:
        raise PluginError(f"{path} has no section '{title}'; it has {', '.join(sections)}")
    return sections[title].strip()


def _site_links(text: str, *, origin: str, page: str, config: MkDocsConfig, files: Files) -> str:
    def link(match: re.Match[str]) -> str:
        path = posixpath.normpath(PurePosixPath(origin).parent / match[2])
        path = FOLDERS.get(path, path).removeprefix("docs/")
        if files.get_file_from_path(path) is None:
            if not (TREE / path).is_file():
                return match[0]  # mkdocs warns of it
            files.append(File.generated(config, path, abs_src_path=str(TREE / path)))
        target = posixpath.relpath(path, PurePosixPath(page).parent)
        return f"{match[1]}{target}{match[3] or ''})"

    return _LINK.sub(link, text)
