"""``dataset sample``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsi_suite.cli.options import Debug, Device, Slides

FieldsOut = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        help="Folder for the fields; it must not be there yet.",
        metavar="DIR",
        show_default=False,
    ),
]
FieldCount = Annotated[int, typer.Option("--fields", help="Fields in all.", metavar="N", min=1)]
FieldSize = Annotated[
    float, typer.Option("--size-um", help="Side of a field.", metavar="UM", min=20)
]
FieldFormat = Annotated[
    str,
    typer.Option(
        "--to",
        help="Format of the labels; cvat and label-studio are tasks for these programs, geojson is"
        " for QuPath.",
        metavar="FORMAT",
    ),
]
SlideMpp = Annotated[
    float | None,
    typer.Option(
        "--mpp",
        help="um per level-0 pixel of slides that do not say.",
        metavar="UM",
        show_default=False,
    ),
]
Annotator = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Put the nuclei in that this model finds, to be corrected.",
        metavar="NAME|FOLDER",
        show_default=False,
    ),
]
Doubt = Annotated[
    str | None,
    typer.Option(
        "--doubt",
        help="Take the fields in which --model and this one disagree most; 'flips': the model"
        " itself, averaged over flips.",
        metavar="MODEL|flips",
        show_default=False,
    ),
]
FieldProject = Annotated[
    Path | None,
    typer.Option(
        "--project",
        "-p",
        help="Also make a QuPath project, in a new folder: the fields as annotations on their"
        " slides, with --model its nuclei as points to drag, delete and add to.",
        metavar="PATH",
        show_default=False,
    ),
]
ControlSource = Annotated[
    Path | None,
    typer.Option(
        "--control",
        help="Hide pictures of this dataset or folder of tiles, whose labels are right, among the"
        " fields: a test of annotators.",
        metavar="DATASET|FOLDER",
        show_default=False,
    ),
]
ControlCount = Annotated[
    int, typer.Option("--controls", help="Pictures to hide, with --control.", metavar="N", min=1)
]
KeyOut = Annotated[
    Path | None,
    typer.Option(
        "--key",
        help="File that tells which pictures are controls, for 'dataset agree --key'; keep it from"
        " the annotators.",
        metavar="FILE.json",
        show_default="DIR.key.json",
    ),
]
SampleSeed = Annotated[int, typer.Option("--seed", help="Of the draw.")]


def sample(
    *,
    slides: Slides,
    out: FieldsOut,
    count: FieldCount = 200,
    size_um: FieldSize = 200.0,
    target_format: FieldFormat = "cvat",
    model: Annotator = None,
    doubt: Doubt = None,
    project: FieldProject = None,
    control: ControlSource = None,
    controls: ControlCount = 10,
    key: KeyOut = None,
    mpp: SlideMpp = None,
    seed: SampleSeed = 0,
    device: Device = None,
    debug: Debug = False,
) -> None:
    """Choose fields of slides to annotate, as pictures and, with --model, with nuclei to correct.

    Fields lie on clean tissue, in focus; weak and strong stain, loose and dense tissue and all
    slides are there alike. DIR gets images/ and the labels; DIR/fields has the fields of each slide
    as annotations for QuPath. In the QuPath project of --project the script Next field (Automate >
    Project scripts) goes from field to field, those of most doubt first, and marks which are done:
    pull it, and 'dataset import' takes the fields that are done.

    With --control pictures have neutral names in an order by chance, and there is no DIR/fields:
    on their slides controls would be known.
    """
    from wsi_suite.cli.progress import messages
    from wsi_suite.cli.terminal import note, say
    from wsi_suite.commands import dataset_sample

    with messages() as progress:
        made = dataset_sample.sample(
            slides,
            out=out,
            fields=count,
            size_um=size_um,
            format=target_format,
            model=model,
            doubt=doubt,
            project=project,
            control=control,
            controls=controls,
            key=key,
            mpp=mpp,
            seed=seed,
            device=device,
            tell=note,
            progress=progress,
        )
    say(f"{out}: {made.fields} fields of {made.slides} slides, {made.nuclei:,} nuclei.")
    if made.project is not None:
        say(f"{project}: the project; in QuPath run Automate > Project scripts > Next_field.")
    if made.key is not None:
        say(f"{made.key}: the key to {made.controls} controls among them; keep it to yourself.")
    if made.missing:
        note(f"{made.missing} fields were left out: they look like others")
