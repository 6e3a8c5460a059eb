"""Pages of the command line, made from its own help: one page for each panel of ``wsi-suite``."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

_FOLDER = "commands"


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages of the commands."""
    from wsi_suite.cli import app

    root = typer.main.get_command(app)
    assert isinstance(root, click.Group)
    panels: dict[str, list[tuple[str, click.Command]]] = {}
    for name, command in root.commands.items():
        panel = str(getattr(command, "rich_help_panel", None))
        panels.setdefault(panel, []).append((f"wsi-suite {name}", command))
    pages = {slug(panel): _page(panel, commands) for panel, commands in panels.items()}
    for name, text in {"index": _index(panels), **pages}.items():
        files.append(File.generated(config, f"{_FOLDER}/{name}.md", content=text))
    return files


def slug(title: str) -> str:
    """Return the name of a page, or the anchor of a heading."""
    return re.sub(r"[^\w -]", "", title).lower().replace(" ", "-")


def _index(panels: dict[str, list[tuple[str, click.Command]]]) -> str:
    lines = [
        "# Commands\n",
        "`wsi-suite COMMAND --help` shows the same. Progress goes to stderr, results to stdout. "
        "The exit code is 0 if all was done, 1 if something failed on the way (of several slides: "
        "some), 2 if the input cannot be used, 130 after an interruption.\n",
    ]
    for panel, commands in panels.items():
        lines += [f"\n## {panel}\n", "| command | purpose |", "|---|---|"]
        for path, command in commands:
            link = f"{slug(panel)}.md#{slug(path)}"
            lines.append(f"| [`{path}`]({link}) | {_first_sentence(command)} |")
    return "\n".join(lines)


def _page(panel: str, commands: list[tuple[str, click.Command]]) -> str:
    return f"# {panel}\n\n" + "\n".join(
        section for path, command in commands for section in _sections(path, command, level=2)
    )


def _sections(path: str, command: click.Command, *, level: int) -> Iterator[str]:
    """Yield the text of a command, and of those below it."""
    below = command.commands if isinstance(command, click.Group) else {}
    lines = [f"{'#' * level} {path}\n", f"{_escaped(command.help or '')}\n"]
    context = click.Context(command, info_name=path)
    usage = " ".join(command.collect_usage_pieces(context))
    lines.append(f"```\n{path} {usage}\n```\n")
    for title, kind in (("Argument", click.Argument), ("Option", click.Option)):
        shown = [one for one in command.params if isinstance(one, kind)]
        shown = [one for one in shown if not getattr(one, "hidden", False)]
        if shown:
            lines += [f"| {title} | |", "|---|---|", *(_row(one) for one in shown), ""]
    examples = re.findall(r"\[dim\]Example:\[/dim\] (.+)", command.epilog or "")
    if examples:
        lines += ["```console", *examples, "```\n"]
    yield "\n".join(lines)
    for name, one in below.items():
        yield from _sections(f"{path} {name}", one, level=level + 1)


def _row(parameter: click.Parameter) -> str:
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    if isinstance(parameter, click.Argument):
        names = parameter.human_readable_name
    text = _escaped(getattr(parameter, "help", None) or "")
    default = getattr(parameter, "show_default", None)
    if isinstance(parameter, click.Option) and not parameter.is_flag:
        value = parameter.default
        if default and value not in (None, (), [], "") and not callable(value):
            text += f" Default: `{getattr(value, 'value', value)}`."
    if parameter.required:
        text += " Required."
    return f"| `{names}` | {text} |"


def _first_sentence(command: click.Command) -> str:
    return _escaped((command.help or "").split("\n\n")[0])


def _escaped(text: str) -> str:
    """Return help as Markdown that shows it as it is, without the markup of the terminal."""
    plain = re.sub(r"\[/?(dim|bold|b|i|italic)\]", "", text).replace("<", "&lt;")
    return re.sub(r"([|*_\[\]])", r"\\\1", plain)
