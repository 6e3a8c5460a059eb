"""``dataset sample``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsi_suite.cli.options import Debug, Device, Slides
from wsi_suite.errors import ConfigError, OutputConflictError

if TYPE_CHECKING:
    from wsi_suite.datasets.controls import ControlKey
    from wsi_suite.detector.detector import Detector

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
    from wsi_suite.cli.progress import working
    from wsi_suite.cli.terminal import note
    from wsi_suite.datasets.formats import WriteOptions, writer_of
    from wsi_suite.documents import write_document
    from wsi_suite.files import whole_file
    from wsi_suite.slides.sources import expand_slides
    from wsi_suite.studies.control_fields import with_controls
    from wsi_suite.studies.field_project import write_field_project
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
    key = _check_outputs(out, project=project, control=control, key=key)
    write = writer_of(target_format)
    detector, other = _detectors(model, doubt, device=device or "auto")
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
        images, hidden = [one.image for one in chosen], None
        if control is not None:
            images, hidden = with_controls(
                chosen, control, Path(scratch) / "controls",
                count=controls, size_um=size_um, detector=detector, seed=seed,
            )  # fmt: skip
        with whole_file(out) as made:
            made.mkdir()
            lost = write(images, made / f"labels{_SUFFIXES.get(target_format, '')}", WriteOptions())
            write_pictures(images, made)
            if hidden is not None:
                write_document(key, hidden)
            else:
                write_field_annotations(chosen, made)
            if project is not None:
                write_field_project(chosen, project, slides=paths, detector=detector, tell=note)
    for sentence in lost:
        note(sentence)
    nuclei = sum(len(image.labels) for image in images)
    _tell_made(out, f"{len(chosen)} fields of {len(paths)} slides, {nuclei:,} nuclei", project)
    if hidden is not None:
        _tell_key(key, hidden)
    if len(chosen) < count:
        note(f"{count - len(chosen)} fields were left out: they look like others")


def _check_outputs(
    out: Path, *, project: Path | None, control: Path | None, key: Path | None
) -> Path:
    """Refuse what cannot be written, before any work is done; return the file of the key."""
    from wsi_suite.studies.field_project import check_field_project

    if out.exists():
        raise OutputConflictError(f"{out}: is there already; give another folder")
    if control is None and key is not None:
        raise ConfigError("--key: name the labelled pictures to hide, as --control")
    if control is not None and project is not None:
        raise ConfigError(
            "--control: in a project on their slides controls would be known; leave out --project"
        )
    key = key or out.with_name(f"{out.name}.key.json")
    if control is not None and key.exists():
        raise OutputConflictError(f"{key}: is there already; give another --key")
    if key.resolve().is_relative_to(out.resolve()):
        raise ConfigError(f"--key {key}: lies in {out}, which annotators get; give another place")
    if project is not None:
        check_field_project(project)
    return key


def _detectors(
    model: str | None, doubt: str | None, *, device: str
) -> tuple[Detector | None, Detector | None]:
    """Return the model whose nuclei are put in, and the one that it is compared with."""
    from wsi_suite.detector.detector import load_detector

    if model is None:
        return None, None
    first = load_detector(model, device=device)
    if doubt is None:
        return first, None
    flips = doubt == "flips"
    return first, load_detector(model if flips else doubt, device=device, flips=flips)


def _tell_made(out: Path, what: str, project: Path | None) -> None:
    from wsi_suite.cli.terminal import say

    say(f"{out}: {what}.")
    if project is not None:
        say(f"{project}: the project; in QuPath run Automate > Project scripts > Next_field.")


def _tell_key(key: Path, hidden: ControlKey) -> None:
    from wsi_suite.cli.terminal import note, say
    from wsi_suite.studies.control_fields import unlike_scales

    say(f"{key}: the key to {len(hidden.controls)} controls among them; keep it to yourself.")
    if unlike_scales(hidden):
        note("pixel sizes of controls are none of the slides': an annotator may see that")
