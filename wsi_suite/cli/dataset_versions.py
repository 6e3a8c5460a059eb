"""``dataset``: ``split``, ``log``, ``diff``, ``verify``, ``revoke`` and ``card``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from wsi_suite.cli.datasets import Message, Place, VersionName
from wsi_suite.cli.options import Debug, Json
from wsi_suite.errors import ConfigError

Parts = Annotated[
    str,
    typer.Option(
        "--parts",
        help="Parts and their shares; train, val and test are those that 'train' knows.",
        metavar="NAME=SHARE,...",
    ),
]
Folds = Annotated[
    int | None,
    typer.Option(
        "--folds",
        help="As many parts of equal size, called 1, 2, ..., in place of --parts.",
        metavar="K",
        min=2,
        show_default=False,
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Decides between groups of equal size.")]
Before = Annotated[
    str,
    typer.Argument(help="A version: number, or beginning of its digest.", metavar="VERSION"),
]
After = Annotated[
    str | None,
    typer.Argument(
        help="The version to compare it with.", metavar="[VERSION]", show_default="the newest"
    ),
]
Patient = Annotated[
    str | None,
    typer.Option("--patient", help="Id of the patient.", metavar="ID", show_default=False),
]
SlideName = Annotated[
    str | None, typer.Option("--slide", help="Name of the slide.", metavar="ID", show_default=False)
]
PictureName = Annotated[
    str | None,
    typer.Option("--picture", help="Name of one picture.", metavar="NAME", show_default=False),
]
Reason = Annotated[
    str,
    typer.Option("--reason", help="Why, for the tombstone; name no patient.", metavar="TEXT"),
]
ModelFolders = Annotated[
    list[Path] | None,
    typer.Option(
        "--models",
        help="Folder in which to look for models that learned from the data; may be repeated.",
        metavar="DIR",
        show_default=False,
    ),
]


def split(
    *,
    dataset: Place,
    parts: Parts = "train=80,val=10,test=10",
    folds: Folds = None,
    seed: Seed = 0,
    message: Message = "",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Part a dataset, as a new version: patients, slides and pictures that look alike stay whole.

    Parts are balanced by pictures, nuclei of each class, stain and laboratory, as far as whole
    patients and slides allow.
    """
    from wsi_suite.cli.terminal import print_json, say
    from wsi_suite.commands import dataset_versions

    shares = None if folds else _shares(parts)
    made = dataset_versions.split(dataset, parts=shares, folds=folds, seed=seed, message=message)
    rows = [dataclasses.asdict(part) for part in made.parts]
    if as_json:
        print_json(rows)
        return
    names = ", ".join(shares or map(str, range(1, (folds or 0) + 1)))
    say(f"{dataset}: version {made.version.number}, split into {names}.")
    _show_balance(rows)


def log(*, dataset: Place, as_json: Json = False, debug: Debug = False) -> None:
    """List the versions and the revocations of a dataset."""
    from wsi_suite.cli.terminal import note, print_json, show_table
    from wsi_suite.commands import dataset_versions

    told = dataset_versions.log(dataset)
    if as_json:
        print_json(
            {
                "versions": [version.as_json() for version in told.versions],
                "revocations": [one.as_json() for one in told.revocations],
            }
        )
        return
    show_table(
        ("version", "made", "pictures", "nuclei", "digest", "what changed"),
        [
            (one.number, one.created[:10], one.images, one.nuclei, one.digest[:10], one.message)
            for one in told.versions
        ],
    )
    for gone in told.revocations:
        why = f" ({gone.reason})" if gone.reason else ""
        state = "" if gone.finished else "; interrupted: give the command again"
        note(f"{gone.date[:10]}: {len(gone.pictures)} pictures were revoked{why}{state}")


def diff(
    *,
    dataset: Place,
    before: Before,
    after: After = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show the changes between two versions: pictures, their facts, and nuclei by kind of change.

    A nucleus moved if it has a counterpart within 3.5 um.
    """
    from wsi_suite.cli.terminal import print_json, say, show_table
    from wsi_suite.commands import dataset_versions

    found = dataset_versions.diff(dataset, before, after)
    if as_json:
        print_json([dataclasses.asdict(change) for change in found.changes])
        return
    if not found.changes:
        say(f"versions {found.before.number} and {found.after.number} are equal.")
        return
    kinds = ("added", "removed", "moved", "renamed", "otherwise changed")
    show_table(
        ("picture", "what", "facts", *(f"nuclei {kind}" for kind in kinds)),
        [
            (
                one.name,
                one.kind,
                ", ".join(one.facts) or None,
                *(one.nuclei.get(kind) for kind in kinds),
            )
            for one in found.changes
        ],
    )


def verify(
    *, dataset: Place, version: VersionName = None, as_json: Json = False, debug: Debug = False
) -> None:
    """Read all of a dataset again and report damage, missing files, and leaks between parts.

    The exit code is 1 if anything is wrong.
    """
    from wsi_suite.cli.terminal import print_json, say, show_error
    from wsi_suite.commands import dataset_versions

    found = dataset_versions.verify(dataset, version=version)
    if as_json:
        leaks = [dataclasses.asdict(leak) for leak in found.leaks]
        print_json({"faults": found.faults, "leaks": leaks})
    else:
        for fault in (*found.faults, *(f"leak: {leak}" for leak in found.leaks)):
            show_error(fault)
        if found.is_whole:
            say(f"{dataset}: all {found.version.number} versions and their pictures are whole.")
    if not found.is_whole:
        raise typer.Exit(1)


def revoke(
    *,
    dataset: Place,
    patient: Patient = None,
    slide: SlideName = None,
    picture: PictureName = None,
    reason: Reason = "",
    models: ModelFolders = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Remove the data of a patient, a slide or a picture from all versions of a dataset.

    A tombstone stays, and the pictures are not taken in again. Versions that lost pictures and
    models that learned from them are listed; exports and backups are out of reach, and so are
    URLs: copy the dataset to a disk, revoke there, and copy it to a new URL.
    """
    from wsi_suite.cli.terminal import note, print_json, say
    from wsi_suite.commands import dataset_versions

    revoked = dataset_versions.revoke(
        dataset,
        patient=patient,
        slide=slide,
        picture=picture,
        reason=reason,
        models=models or (),
        tell=note,
    )
    done, learned = revoked.tombstone, revoked.models
    if as_json:
        print_json({**done.as_json(), "models": [str(path) for path in learned]})
        return
    say(
        f"{dataset}: {len(done.pictures)} pictures removed from {len(done.digests)} versions."
        " Exports and backups are out of reach."
    )
    for old, new in done.digests:
        say(f"  {old[:10]} is now {new[:10]}")
    for path in learned:
        note(f"{path}: this model learned from the data; train it again without")


def card(*, dataset: Place, version: VersionName = None, debug: Debug = False) -> None:
    """Write cards of a version for repositories: croissant.json, and Hugging Face's README.md.

    Name, description, license and citation are those of dataset.yaml; write them there first.
    """
    from wsi_suite.cli.terminal import note, say
    from wsi_suite.commands import dataset_files

    told: list[str] = []
    for path in dataset_files.card(dataset, version=version, tell=told.append):
        say(str(path))
    for remark in told:
        note(remark)


def _shares(text: str) -> dict[str, float]:
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, equals, share = (one.strip() for one in part.partition("="))
        try:
            value = float(share)
        except ValueError:
            value = 0.0
        if not equals or not name or name in shares or not 0 < value < 1e9:
            raise ConfigError(f"--parts {text}: expected names and shares, as train=80,test=20")
        shares[name] = value
    return shares


def _show_balance(rows: Sequence[Mapping[str, Any]]) -> None:
    from wsi_suite.cli.terminal import show_table

    kinds = [*rows[-1]["nuclei"]]
    strata = [*rows[-1]["strata"]]
    show_table(
        (
            *("part", "pictures", "patients", "slides"),
            *(kind or "without class" for kind in kinds),
            *strata,
        ),
        [
            (
                *(row[key] for key in ("part", "pictures", "patients", "slides")),
                *(row["nuclei"].get(kind, 0) for kind in kinds),
                *(row["strata"].get(name, 0) for name in strata),
            )
            for row in rows
        ],
    )
