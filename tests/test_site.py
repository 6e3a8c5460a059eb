"""The documentation: pages that the site names exist, and links between texts lead somewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml

import wsi_suite
from wsi_suite.cli import app

TREE = Path(__file__).parents[1]
MADE = ("commands/", "settings.md")
TEXTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "models/**/*.md", "benchmarks/*.md")
    for path in TREE.glob(pattern)
)


class _Loader(yaml.SafeLoader):
    """Reads mkdocs.yml without the functions that it names."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def _pages(nav: object) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for one in nav.values() if isinstance(nav, dict) else nav:
            yield from _pages(one)


def _anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


def test_every_page_of_the_site_exists():
    site = yaml.load((TREE / "mkdocs.yml").read_text("utf-8"), _Loader)
    pages = list(_pages(site["nav"]))
    written = [page for page in pages if not page.startswith(MADE)]
    missing = [p for p in written if not any((TREE / at / p).is_file() for at in ("docs", "."))]
    assert not missing
    below = {path.relative_to(TREE / "docs").as_posix() for path in TREE.glob("docs/*/*.md")}
    assert not below - set(pages)  # those of docs/ itself are listed by the site


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(TREE).as_posix())
def test_links_between_texts_lead_somewhere(path: Path):
    for target, anchor in re.findall(
        r"\]\((?!\w+:)([^)\s#]*)#?([^)\s]*)\)", path.read_text("utf-8")
    ):
        found = (path.parent / target).resolve() if target else path
        docs = TREE / "docs"
        if found.is_relative_to(docs) and found.relative_to(docs).as_posix().startswith(MADE):
            continue
        assert found.exists(), f"{path.name}: {target}"
        if anchor:
            assert anchor in _anchors(found), f"{path.name}: {target}#{anchor}"


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(TREE).as_posix())
def test_included_sections_exist(path: Path):
    for source, title in re.findall(
        r"^<!-- include (\S+?)#(.+?) -->$", path.read_text("utf-8"), re.M
    ):
        text = (TREE / source).read_text("utf-8")
        assert title == "top" or f"\n## {title}\n" in text


def test_the_reference_of_python_has_public_names_only():
    text = (TREE / "docs" / "python.md").read_text("utf-8")
    told = set(re.findall(r"^::: wsi_suite\.(\w+)$", text, re.M))
    assert told <= set(wsi_suite.__all__)  # the site adds those that the page does not place


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(TREE).as_posix())
def test_commands_of_texts_can_be_typed(path: Path) -> None:
    text = path.read_text("utf-8")
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
        if line.strip().startswith("wsi-suite "):
            _type(shlex.split(line.strip(), comments=True)[1:])


def _type(words: list[str]) -> None:
    """Read the words of a command as the program does, without doing anything."""
    command = typer.main.get_command(app)
    while (commands := getattr(command, "commands", {})) and words and words[0] in commands:
        command, words = commands[words[0]], words[1:]
    try:
        command.make_context("wsi-suite", [word for word in words if word not in "&;"])
    except typer.Exit:
        assert words in (["--version"], ["--help"])
