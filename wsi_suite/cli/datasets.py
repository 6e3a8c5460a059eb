"""``dataset``: ``import``, ``export``, ``formats`` and ``show``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from wsi_suite.cli.options import Debug, Json
from wsi_suite.errors import ConfigError

Place = Annotated[
    str,
    typer.Argument(
        help="Folder of the dataset, or its URL, as s3://bucket/mine.",
        metavar="DATASET",
        show_default=False,
    ),
]
Source = Annotated[
    Path,
    typer.Argument(
        help="File or folder with the labels.",
        metavar="SOURCE",
        show_default=False,
    ),
]
SourceFormat = Annotated[
    str,
    typer.Option(
        "--from",
        help="Format of SOURCE; 'wsi-suite dataset formats' lists them.",
        metavar="FORMAT",
        show_default=False,
    ),
]
TargetFormat = Annotated[
    str,
    typer.Option(
        "--to",
        help="Format to write; 'wsi-suite dataset formats' lists them.",
        metavar="FORMAT",
        show_default=False,
    ),
]
Pictures = Annotated[
    Path | None,
    typer.Option(
        "--images",
        help="Folder of the pictures, if they do not lie where the format has them.",
        metavar="DIR",
        show_default=False,
    ),
]
PictureMpp = Annotated[
    float | None,
    typer.Option(
        "--mpp",
        help="um per pixel of pictures whose source does not say.",
        metavar="UM",
        show_default=False,
    ),
]
FieldClass = Annotated[
    str | None,
    typer.Option(
        "--in-class",
        help="Class of the annotations that are fields in which all nuclei are right; for qupath.",
        metavar="CLASS",
        show_default="any but Ignore*",
    ),
]
ClassNames = Annotated[
    list[str] | None,
    typer.Option(
        "--class",
        help="Another name for a class, as Tumor=Epithelium; 'Other=' leaves its nuclei out,"
        " '=Stroma' names those without class. May be repeated.",
        metavar="OLD=NEW",
        show_default=False,
    ),
]
Message = Annotated[
    str,
    typer.Option("--message", "-m", help="What changed, for the log.", metavar="TEXT"),
]
Replace = Annotated[
    bool,
    typer.Option("--replace", help="Take the new labels of pictures that are there already."),
]
Labeller = Annotated[
    str | None,
    typer.Option(
        "--annotator",
        help="Who made these labels, whatever the source says. Pictures that are there already keep"
        " the labels of others.",
        metavar="NAME",
        show_default=False,
    ),
]
NewClasses = Annotated[
    bool,
    typer.Option("--new-classes", help="Add classes that the dataset does not have yet."),
]
VersionName = Annotated[
    str | None,
    typer.Option(
        "--version",
        help="Number of a version, or the beginning of its digest.",
        metavar="N|DIGEST",
        show_default="the newest",
    ),
]
Target = Annotated[
    Path,
    typer.Argument(
        help="File or folder to write; it must not be there yet.",
        metavar="OUT",
        show_default=False,
    ),
]
CopySource = Annotated[
    str,
    typer.Argument(help="Folder or URL of the dataset.", metavar="SOURCE", show_default=False),
]
CopyTarget = Annotated[
    str,
    typer.Argument(
        help="Folder that is not there yet, or URL, as s3://bucket/mine.",
        metavar="TARGET",
        show_default=False,
    ),
]
RadiusUm = Annotated[
    float | None,
    typer.Option(
        "--radius-um",
        help="Radius of nuclei of which none is known, for formats that need an extent.",
        metavar="UM",
        show_default=False,
    ),
]


def formats(*, as_json: Json = False, debug: Debug = False) -> None:
    """List the formats that datasets are made from, and written in."""
    from wsi_suite.cli.terminal import print_json, show_table
    from wsi_suite.datasets.formats import FORMATS

    if as_json:
        print_json(
            [
                {"name": name, "title": one.title, "reads": one.reads, "writes": one.writes}
                for name, one in FORMATS.items()
            ]
        )
        return
    marks = {True: "yes", False: "-"}
    show_table(
        ("format", "what it is", "import", "export", "source"),
        [
            (name, one.title, marks[one.reads], marks[one.writes], one.source)
            for name, one in FORMATS.items()
        ],
    )


def import_labels(
    *,
    source: Source,
    dataset: Place,
    source_format: SourceFormat,
    images: Pictures = None,
    mpp: PictureMpp = None,
    in_class: FieldClass = None,
    classes: ClassNames = None,
    message: Message = "",
    replace: Replace = False,
    annotator: Labeller = None,
    new_classes: NewClasses = False,
    debug: Debug = False,
) -> None:
    """Add pictures and labels to a dataset, as a new version; make the dataset if there is none."""
    from wsi_suite.cli.terminal import note, say
    from wsi_suite.commands import dataset_files

    added = dataset_files.import_labels(
        source,
        dataset,
        format=source_format,
        images=images,
        mpp=mpp,
        in_class=in_class,
        classes=_class_names(classes or ()),
        message=message,
        replace=replace,
        annotator=annotator,
        new_classes=new_classes,
        tell=note,
    )
    version = added.version
    if not added.is_new:
        say(f"{dataset}: nothing new; version {version.number} stays.")
        return
    say(f"{dataset}: version {version.number}, {_counts(version.images, version.classes)}.")


def export_labels(
    *,
    dataset: Place,
    out: Target,
    target_format: TargetFormat,
    version: VersionName = None,
    classes: ClassNames = None,
    radius_um: RadiusUm = None,
    debug: Debug = False,
) -> None:
    """Write a version of a dataset in another format."""
    from wsi_suite.cli.terminal import note, say
    from wsi_suite.commands import dataset_files

    written = dataset_files.export_labels(
        dataset,
        out,
        format=target_format,
        version=version,
        classes=_class_names(classes or ()),
        radius_um=radius_um,
        tell=note,
    )
    for lost in written.losses:
        note(lost)
    say(f"{out}: {_counts(written.pictures, written.classes)}.")


def copy(*, source: CopySource, target: CopyTarget, debug: Debug = False) -> None:
    """Copy a dataset with all its versions to another folder or URL, or from one.

    Every file is checked, and every version is whole or not there. At a URL that holds earlier
    versions of the same dataset the later ones are added: so a copy that was stopped goes on.
    """
    from wsi_suite.cli.terminal import say
    from wsi_suite.commands import dataset_files

    versions = dataset_files.copy(source, target)
    say(f"{target}: {versions} versions and their pictures are whole.")


def show(
    *, dataset: Place, version: VersionName = None, as_json: Json = False, debug: Debug = False
) -> None:
    """Show a version of a dataset: its card, its nuclei by class, and the parts of its split."""
    from wsi_suite.cli.terminal import print_json, say, show_table
    from wsi_suite.datasets.remote import at_hand
    from wsi_suite.datasets.store import open_dataset

    with at_hand(dataset) as folder:
        opened = open_dataset(folder, version=version)
    card, shown = opened.card, opened.version
    if as_json:
        print_json({"card": card.as_json(), "version": shown.as_json()})
        return
    say(f"{card.name}: {card.description}" if card.description else card.name, style="bold")
    facts = {
        "version": f"{shown.number}, of {shown.created[:10]}, digest {shown.digest[:10]}",
        "licence": card.license or "not stated",
        "citation": card.citation or "not stated",
        "pictures": shown.images,
        **{f"nuclei: {name or 'without class'}": count for name, count in shown.classes.items()},
    }
    show_table(("what", "value"), list(facts.items()))


def _class_names(texts: Sequence[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    for text in texts:
        old, equals, new = (part.strip() for part in text.partition("="))
        if not equals:
            raise ConfigError(f"--class {text}: expected OLD=NEW, as Tumor=Epithelium")
        if names.setdefault(old, new) != new:
            raise ConfigError(f"--class {text}: '{old}' is '{names[old]}' already; give it once")
    return names


def _counts(images: int, classes: dict[str, int]) -> str:
    each = ", ".join(f"{count:,} {name or 'without class'}" for name, count in classes.items())
    return f"{images:,} pictures, {sum(classes.values()):,} nuclei" + (f" ({each})" if each else "")
