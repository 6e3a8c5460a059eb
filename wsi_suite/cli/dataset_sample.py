"""``dataset sample``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from wsi_suite.cli.options import Debug, Device, Slides
from wsi_suite.errors import ConfigError, OutputConflictError

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
SampleSeed = Annotated[int, typer.Option("--seed", help="Of the draw.")]

_SUFFIXES = {"cvat": ".xml", "coco": ".json", "label-studio": ".json", "points": ".csv"}


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
    """
    from wsi_suite.cli.progress import working
    from wsi_suite.cli.terminal import note, say
    from wsi_suite.datasets.formats import WriteOptions, writer_of
    from wsi_suite.detector.detector import load_detector
    from wsi_suite.files import whole_file
    from wsi_suite.slides.sources import expand_slides
    from wsi_suite.studies.field_project import check_field_project, write_field_project
    from wsi_suite.studies.field_sample import (
        POOL,
        cut_fields,
        most_doubtful,
        pre_annotate,
        sample_fields,
        write_field_annotations,
        write_pictures,
    )

    if doubt is not None and model is None:
        raise ConfigError("--doubt: give the model whose doubt is meant, as --model")
    if out.exists():
        raise OutputConflictError(f"{out}: is there already; give another folder")
    if project is not None:
        check_field_project(project)
    write = writer_of(target_format)
    detector = None if model is None else load_detector(model, device=device or "auto")
    other = None
    if doubt is not None and model is not None:
        flips = doubt == "flips"
        other = load_detector(model if flips else doubt, device=device or "auto", flips=flips)
    paths = expand_slides(slides, tell=note)
    with (
        tempfile.TemporaryDirectory(prefix="wsi-suite-fields-") as scratch,
        working(f"looking at {len(paths)} slides"),
    ):
        pool = count * (POOL if doubt else 1)
        fields = sample_fields(paths, count=pool, size_um=size_um, mpp=mpp, seed=seed)
        chosen = cut_fields(fields, Path(scratch), mpp=mpp)
        if detector is not None:
            chosen = most_doubtful(pre_annotate(chosen, detector, other), count=count)
        images = [one.image for one in chosen]
        with whole_file(out) as made:
            made.mkdir()
            lost = write(images, made / f"labels{_SUFFIXES.get(target_format, '')}", WriteOptions())
            write_pictures(images, made)
            write_field_annotations(chosen, made)
            if project is not None:
                write_field_project(chosen, project, slides=paths, detector=detector, tell=note)
    for sentence in lost:
        note(sentence)
    nuclei = sum(len(image.labels) for image in images)
    say(f"{out}: {len(images)} fields of {len(paths)} slides, {nuclei:,} nuclei.")
    if project is not None:
        say(f"{project}: the project; in QuPath run Automate > Project scripts > Next_field.")
    if len(images) < count:
        note(f"{count - len(images)} fields were left out: they look like others")
