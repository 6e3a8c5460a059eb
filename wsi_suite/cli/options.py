"""Options that several commands share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsi_suite.cli.verbosity import set_debug

if TYPE_CHECKING:
    from wsi_suite.config import Settings


class Shape(StrEnum):
    """How nuclei are drawn."""

    POLYGON = "polygon"
    ELLIPSE = "ellipse"
    POINT = "point"


_RUNNING, _RESULTS = "How it is run", "What results depend on"


Slides = Annotated[
    list[str],
    typer.Argument(
        help="Slide files, folders of slides, or patterns such as 'slides/*.svs'.",
        metavar="SLIDE...",
        show_default=False,
    ),
]
Out = Annotated[
    Path,
    typer.Option("--out", "-o", help="Folder for the results.", metavar="DIR", show_default=False),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="A model's name ('wsi-suite models' lists them), or a model folder.",
        metavar="NAME|FOLDER",
        show_default="endonuke-resnet18",
        rich_help_panel=_RESULTS,
    ),
]
Mpp = Annotated[
    float | None,
    typer.Option(
        "--mpp",
        help="um per level-0 pixel, 0.05 to 10, if the file does not say.",
        metavar="UM",
        rich_help_panel=_RESULTS,
    ),
]
RoiFile = Annotated[
    Path | None,
    typer.Option(
        "--roi",
        help="Score only inside these QuPath annotations or TMA cores; with several slides a"
        " folder of <slide's stem>.geojson.",
        metavar="GEOJSON",
        rich_help_panel=_RESULTS,
    ),
]
ConfigFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--config",
        help="YAML file of settings, as sample_configs/run.yaml; may be repeated, a later one goes"
        " over an earlier one.",
        metavar="FILE",
        rich_help_panel=_RESULTS,
    ),
]
SetValue = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="One setting, as score.marker=ER; may be repeated, goes over --config.",
        metavar="KEY=VALUE",
        rich_help_panel=_RESULTS,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="auto, cpu, cuda, cuda:N or mps.",
        metavar="DEVICE",
        show_default="auto",
        rich_help_panel=_RUNNING,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        help="Worker processes.",
        metavar="N",
        show_default="one, or one per GPU",
        rich_help_panel=_RUNNING,
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        help="Work on the workers of this Dask scheduler, as tcp://host:8786.",
        metavar="ADDRESS",
        rich_help_panel=_RUNNING,
    ),
]
ClusterFile = Annotated[
    Path | None,
    typer.Option(
        "--cluster",
        help="Start workers on the cluster of this file, as sample_configs/cluster_slurm.yaml.",
        metavar="FILE.yaml",
        rich_help_panel=_RUNNING,
    ),
]
KeepTiles = Annotated[
    bool | None,
    typer.Option(
        "--keep-tiles/--no-keep-tiles",
        help="Keep tiles.ome.zarr beside the results.",
        show_default="keep-tiles",
        rich_help_panel=_RUNNING,
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Throw away what an earlier run left and start again.",
        rich_help_panel=_RUNNING,
    ),
]
WhichScore = Annotated[
    str, typer.Option("--score", help="h_score or positive_percent.", metavar="NAME")
]
OfClass = Annotated[
    str | None,
    typer.Option(
        "--class",
        help="Class of nuclei whose score is taken.",
        metavar="NAME",
        show_default="the headline's",
    ),
]
ConfigOut = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="Write the settings to this YAML file, for --config of later runs.",
        metavar="FILE.yaml",
        show_default="print only",
    ),
]
OverwriteConfig = Annotated[
    bool, typer.Option("--overwrite", help="Replace the file that --out names.")
]
Share = Annotated[
    bool,
    typer.Option(
        "--share",
        help="Share the slides with other processes that were started with the same command.",
        rich_help_panel=_RUNNING,
    ),
]
StageDir = Annotated[
    Path | None,
    typer.Option(
        "--stage",
        help="Copy slides to this folder of a local disk before they are read, as from a slow"
        " share, and remove the copies.",
        metavar="DIR",
        show_default=False,
        rich_help_panel=_RUNNING,
    ),
]
StageGb = Annotated[
    float | None,
    typer.Option(
        "--stage-gb",
        help="Most that these copies may take.",
        metavar="GB",
        show_default="half of what is free",
        rich_help_panel=_RUNNING,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Debug = Annotated[
    bool,
    typer.Option("--debug", help="Show what happens, and tracebacks.", callback=set_debug),
]


def settings_from(
    config: Sequence[Path] | None, overrides: Sequence[str] | None, **options: object
) -> Settings:
    """Merge files, ``--set`` and the options that have a name of their own (dots as ``__``).

    What one file changes of another is told.
    """
    from wsi_suite.cli.terminal import note
    from wsi_suite.config import load_settings

    named = [
        f"{name.replace('__', '.')}={json.dumps(value, ensure_ascii=False)}"
        for name, value in options.items()
        if value is not None
    ]
    return load_settings(*(config or ()), overrides=[*(overrides or []), *named], tell=note)


def score_column(option: str, *, of: str) -> typer.models.OptionInfo:
    """Return the option that names the column of a table with the score."""
    found: typer.models.OptionInfo = typer.Option(
        option, help=f"{of} the score.", metavar="NAME", show_default="found by its name"
    )
    return found
