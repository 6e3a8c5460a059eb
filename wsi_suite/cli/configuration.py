"""``config``: a file of settings to begin with, their JSON schema, and what a file sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wsi_suite.cli.options import Debug, Json

if TYPE_CHECKING:
    from wsi_suite.config import Settings

Files = Annotated[
    list[Path] | None,
    typer.Argument(
        help="With --init or --schema the file to write, else printed; with --check the files to"
        " read, a later one goes over an earlier one.",
        metavar="[FILE...]",
        show_default=False,
    ),
]
Init = Annotated[
    bool,
    typer.Option("--init", help="Write all settings with defaults and comments, as YAML."),
]
Schema = Annotated[
    bool,
    typer.Option(
        "--schema",
        help="Write the JSON schema of the settings; with --init beside FILE, as"
        " <stem>.schema.json, and name it in FILE.",
    ),
]
Check = Annotated[
    bool, typer.Option("--check", help="Show what the files set, or what is wrong in them.")
]


def config(
    *,
    files: Files = None,
    init: Init = False,
    schema: Schema = False,
    check: Check = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a file of settings to edit, or check one.

    Give --init, --schema or --check. Existing files are never overwritten. Editors that know YAML
    complete and check the settings of a file made with --init --schema.
    """
    from wsi_suite.errors import ConfigError

    files = files or []
    if check and not (init or schema):
        if not files:
            raise ConfigError("--check: FILE is missing; name the files to check")
        _check(files, as_json=as_json)
        return
    if check or not (init or schema):
        raise ConfigError("give --init, --schema or both, or --check")
    if as_json:
        raise ConfigError("--json: goes with --check")
    if len(files) > 1:
        raise ConfigError(f"{files[1]}: a second FILE; expected one, or none to print")
    file = None if not files or files[0] == Path("-") else files[0]
    if file is None and init and schema:
        raise ConfigError("--init --schema: expected a FILE, beside which the schema is written")
    _write(file, init=init, schema=schema)


def _write(file: Path | None, *, init: bool, schema: bool) -> None:
    """Write or print the settings, their schema, or both."""
    from wsi_suite.cli.terminal import say, stdout

    if file is None:
        stdout.file.write(_sample() if init else _schema())
        return
    beside = file.with_name(f"{file.stem}.schema.json")
    texts: dict[Path, str] = {}
    if schema:
        texts[beside if init else file] = _schema()
    if init:
        named = f"# yaml-language-server: $schema={beside.name}\n" if schema else ""
        texts[file] = named + _sample()
    _write_new(texts)
    if init:
        say(f"For later runs: --config {file}")


def _write_new(texts: dict[Path, str]) -> None:
    """Write files that do not exist yet."""
    from wsi_suite.errors import OutputConflictError, OutputError
    from wsi_suite.files import whole_file

    for path in texts:
        if path.exists():
            raise OutputConflictError(f"{path}: exists; remove it, or name another FILE")
        if not path.parent.is_dir():
            raise OutputError(f"{path}: there is no folder {path.parent}; make it first")
    for path, text in texts.items():
        with whole_file(path, remedy="name another FILE") as partial:
            partial.write_text(text, "utf-8", newline="\n")


def _sample() -> str:
    from wsi_suite.resources import sample_configs_folder

    return (sample_configs_folder() / "run.yaml").read_text("utf-8")


def _schema() -> str:
    from wsi_suite.settings_schema import settings_schema

    return json.dumps(settings_schema(), indent=2, ensure_ascii=False) + "\n"


def _check(files: list[Path], *, as_json: bool) -> None:
    """Print the settings that differ from their defaults; raise for a file that is wrong."""
    from wsi_suite.cli.terminal import note, print_json, say, show_table
    from wsi_suite.config import Settings, load_settings

    settings = load_settings(*files, tell=note)
    if as_json:
        print_json(settings.model_dump(mode="json"))
        return
    rows = [
        (key, _shown(value), _shown(default))
        for key, value, default in _differences(settings, Settings())
    ]
    if rows:
        show_table(("setting", "value", "default"), rows)
    else:
        say("All settings have their defaults.")


def _differences(settings: Settings, defaults: Settings) -> list[tuple[str, object, object]]:
    from wsi_suite.config import setting_keys

    """Return the settings that are not as usual: dotted name, value, default."""
    found = []
    given, usual = settings.model_dump(mode="json"), defaults.model_dump(mode="json")
    for key in setting_keys(type(settings)):
        value: Any = given
        default: Any = usual
        for part in key.split("."):
            value, default = value[part], default[part]
        if value != default:
            found.append((key, value, default))
    return found


def _shown(value: object) -> str:
    """Return a value as YAML has it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
