"""Options that several commands share."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from wsi_suite.config import Settings

_RUNNING, _RESULTS = "How it is run", "What it depends on"


def _set_debug(wanted: bool) -> bool:
    if wanted:
        logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
        logging.getLogger("wsi_suite").setLevel(logging.DEBUG)
    return wanted


def debug_wanted() -> bool:
    """Return whether ``--debug`` was given."""
    return logging.getLogger("wsi_suite").level == logging.DEBUG


Slides = Annotated[
    list[str],
    typer.Argument(help="Slide files, folders of slides, or patterns such as 'slides/*.svs'.",
                   metavar="SLIDE..."),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.", metavar="DIR")]
Model = Annotated[
    str | None,
    typer.Option(help="A bundled model's name, or a model folder.", metavar="NAME|FOLDER",
                 rich_help_panel=_RESULTS),
]
Mpp = Annotated[
    float | None,
    typer.Option(help="um per level-0 pixel, where the file does not say.", metavar="F",
                 rich_help_panel=_RESULTS),
]
RoiFile = Annotated[
    Path | None,
    typer.Option("--roi", help="Score only inside these QuPath annotations; with several slides "
                 "a folder of <slide's stem>.geojson.", metavar="GEOJSON",
                 rich_help_panel=_RESULTS),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="YAML file of settings (see sample_configs/run.yaml).",
                 metavar="FILE", rich_help_panel=_RESULTS),
]
SetValue = Annotated[
    list[str] | None,
    typer.Option("--set", help="One setting, as score.marker=ER; may be repeated.",
                 metavar="KEY=VALUE", rich_help_panel=_RESULTS),
]
Device = Annotated[
    str | None,
    typer.Option(help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel=_RUNNING),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Worker processes; by default one, or one per GPU.", metavar="N",
                 rich_help_panel=_RUNNING),
]
Scheduler = Annotated[
    str | None,
    typer.Option(help="Address of a Dask scheduler, as tcp://host:8786.", metavar="ADDRESS",
                 rich_help_panel=_RUNNING),
]
KeepTiles = Annotated[
    bool | None,
    typer.Option("--keep-tiles/--no-keep-tiles", help="Keep tiles.ome.zarr (default: keep).",
                 rich_help_panel=_RUNNING, show_default=False),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Throw away what an earlier run left and start anew.",
                 rich_help_panel=_RUNNING),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Debug = Annotated[
    bool,
    typer.Option("--debug", help="Show what happens, and tracebacks.", callback=_set_debug),
]


def settings_from(
    config: Path | None, overrides: list[str] | None, **options: Any  # noqa: ANN401
) -> Settings:
    """Merge a file, ``--set`` and the options that have a name of their own (dots as ``__``)."""
    from wsi_suite.config import load_settings

    named = [
        f"{name.replace('__', '.')}={json.dumps(value)}"
        for name, value in options.items()
        if value is not None
    ]
    return load_settings(config, overrides=[*(overrides or []), *named])
