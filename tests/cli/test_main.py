"""The program itself: its help, its speed, how it ends."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from command_line import Cli

import wsi_suite
from wsi_suite import cli
from wsi_suite.slides import sources

GROUPS = typer.main.get_command(cli.app).commands
COMMANDS = GROUPS | {
    f"{name} {below}": command
    for name, group in GROUPS.items()
    for below, command in getattr(group, "commands", {}).items()
}
HEAVY = ("numpy", "pydantic", "yaml", "torch", "dask", "tiatoolbox", "openslide", "rich.progress")


def python(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONUTF8": "1", **variables}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        encoding="utf-8",
        env=environment,
        check=True,
    )


def test_the_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from wsi_suite.cli import main\n"
        "try:\n"
        "    main(['--help'])\n"
        "except SystemExit as left:\n"
        "    assert left.code == 0\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    assert python("-c", code).stdout.splitlines()[-1] == "[]"


def test_python_m_is_the_same_program() -> None:
    assert python("-m", "wsi_suite", "--version").stdout == f"wsi-suite {wsi_suite.__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, wsi: Cli) -> None:
    command = COMMANDS[name]
    assert command.help
    for parameter in command.params:
        if parameter.param_type_name == "option" and "--help" not in parameter.opts:
            assert parameter.help, f"{name} {parameter.name}"
            assert parameter.opts == [flag.lower() for flag in parameter.opts], name
    answer = wsi(*name.split(), "--help")
    assert answer.code == 0
    assert "Example: wsi-suite " in answer.out
    assert max(map(len, answer.out.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_can_be_typed(name: str) -> None:
    for example in COMMANDS[name].epilog.split("\n\n"):
        words = shlex.split(example.removeprefix("[dim]Example:[/dim] "))
        path = ["wsi-suite", *name.split()]
        assert words[: len(path)] == path
        COMMANDS[name].make_context(name, words[len(path) :])


@pytest.mark.parametrize(
    "typed", [("rin",), ("run", "--devise", "cpu"), ("info",), ("models", "x")]
)
def test_a_mistyped_command_or_option_is_one_line(typed: tuple[str, ...], wsi: Cli) -> None:
    answer = wsi(*typed)
    assert answer.code == 2
    assert answer.err.startswith("error: ")
    assert answer.err.endswith(" --help'.\n")
    assert len(answer.err.splitlines()) == 1


def test_without_a_command_the_help_comes(wsi: Cli) -> None:
    answer = wsi()
    assert answer.code == 2
    assert "Score slides" in answer.out + answer.err


def test_colours_are_off_where_nobody_looks_or_wants_them(slide: Path) -> None:
    for variables in ({}, {"NO_COLOR": "1"}, {"FORCE_COLOR": "1", "NO_COLOR": "1"}):
        ran = python("-m", "wsi_suite", "info", str(slide), **variables)
        assert "\x1b[3" not in ran.stdout + ran.stderr


def test_models_are_listed(wsi: Cli) -> None:
    answer = wsi("models", "--json")
    for model in json.loads(answer.out):
        assert Path(model["path"], "model.yaml").is_file()
        assert model["name"] in wsi("models").out


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (PermissionError(13, "Permission denied", "slides"), 1, "slides: Permission denied\n"),
    ],
)
def test_what_goes_wrong_is_one_line(
    error: BaseException, code: int, said: str, wsi: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(paths: object, **_: object) -> None:
        raise error

    monkeypatch.setattr(sources, "expand_slides", fail)
    answer = wsi("info", "a.svs")
    assert answer.code == code
    assert answer.err.endswith(said)
    assert len(answer.err.splitlines()) == 1


def test_debug_shows_the_traceback(wsi: Cli, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "wsi_suite", "info", str(tmp_path / "none.svs"), "--debug"]
    ran = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: ")
    assert "Traceback" in ran.stderr
    assert "InputError" in ran.stderr
