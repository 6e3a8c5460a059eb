"""Command ``qupath``: scripts and menu for QuPath."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsi_suite.cli.options import Debug, Json

UserDir = Annotated[
    list[Path] | None,
    typer.Option(
        "--user-dir",
        help="QuPath's user directory; may be repeated.",
        metavar="DIR",
        show_default="those found, such as ~/QuPath/v0.6",
    ),
]
_PREFERENCE = "under Edit > Preferences... > Extensions"
Replace = Annotated[
    bool, typer.Option("--overwrite", help="Replace scripts that you changed, too.")
]


def install_scripts(
    *,
    user_dir: UserDir = None,
    overwrite: Replace = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Put the scripts into QuPath's user directory, where its menu lists them.

    Repeat it after the suite was updated or moved: scripts of an earlier version are replaced.
    """
    from wsi_suite.cli.terminal import print_json, say, stdout
    from wsi_suite.errors import InputError
    from wsi_suite.qupath.scripts import find_user_folders, install_scripts

    folders = user_dir or find_user_folders()
    if not folders:
        raise InputError(
            f"no user directory of QuPath was found. In QuPath, {_PREFERENCE}, choose a folder as "
            "'QuPath user directory'; then repeat this with --user-dir and that folder"
        )
    done = [install_scripts(folder, overwrite=overwrite) for folder in folders]
    if as_json:
        print_json(
            [
                {"folder": str(each.folder), "scripts": each.scripts, "removed": each.removed}
                for each in done
            ]
        )
        return
    for each in done:
        stdout.print(str(each.folder), soft_wrap=True)
    say(
        "Next, once, in QuPath: Automate > User scripts... > WSI Suite > Install menu, then "
        "press Run in the window that opens. From then on: Extensions > WSI Suite."
    )
    say(
        f"If QuPath does not list WSI Suite there: {_PREFERENCE}, set 'QuPath user directory' to "
        f"{' or '.join(map(str, folders))}."
    )
