"""``dataset``: ``agree``, ``consensus`` and ``review``."""

from __future__ import annotations

import csv
import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsi_suite.cli.datasets import Message, Place, VersionName
from wsi_suite.cli.evaluation import TriedModel
from wsi_suite.cli.options import Debug, Device, Json
from wsi_suite.commands.defaults import DEFAULT_MODEL
from wsi_suite.errors import ConfigError

if TYPE_CHECKING:
    from wsi_suite.datasets.agreement import Confusion, PairAgreement

WithinUm = Annotated[
    float,
    typer.Option(
        "--match-um", help="Largest distance of two points of one nucleus.", metavar="UM", min=0.1
    ),
]
Reference = Annotated[
    str | None,
    typer.Option(
        "--reference",
        help="Compare every annotator with this one only.",
        metavar="NAME",
        show_default=False,
    ),
]
PassingMark = Annotated[
    float | None,
    typer.Option(
        "--passing",
        help="Least kappa with --reference or --key; the exit code is 1 if one annotator is below"
        " it.",
        metavar="KAPPA",
        show_default=False,
    ),
]
Key = Annotated[
    Path | None,
    typer.Option(
        "--key",
        help="Compare every annotator with the truth of the controls that 'dataset sample"
        " --control' hid, by this key.",
        metavar="FILE.json",
        show_default=False,
    ),
]
LeastShare = Annotated[
    float,
    typer.Option(
        "--least-share",
        help="Keep nuclei that more than this share of a picture's annotators labelled.",
        metavar="SHARE",
        min=0.0,
        max=0.99,
    ),
]


ReviewPage = Annotated[
    Path | None,
    typer.Option(
        "--report",
        help="Write a page with a picture of each doubt.",
        metavar="FILE.html",
        show_default=False,
    ),
]
ReviewTable = Annotated[
    Path | None,
    typer.Option(
        "--table", help="Write all doubts as CSV.", metavar="FILE.csv", show_default=False
    ),
]


def agree(
    *,
    dataset: Place,
    version: VersionName = None,
    match_um: WithinUm = 3.5,
    reference: Reference = None,
    key: Key = None,
    passing: PassingMark = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare the annotators of a dataset: kappa with missed nuclei, and where they differ.

    Pictures count that both annotators labelled. With --reference or --key, and --passing, it is a
    test: fields that an expert labelled are given to a new annotator among others.
    """
    if key is not None:
        if reference is not None:
            raise ConfigError("--key: its controls are the reference; leave out --reference")
        _test_annotators(
            dataset, key, version=version, within_um=match_um, passing=passing, as_json=as_json
        )
        return
    from wsi_suite.cli.terminal import print_json, say, show_table
    from wsi_suite.commands import dataset_annotators

    if passing is not None and reference is None:
        raise ConfigError("--passing: name whom to compare with, as --reference or --key")
    found = dataset_annotators.agree(
        dataset, version=version, match_um=match_um, reference=reference
    )
    pairs = found.pairs
    failed = [one for one in pairs if passing is not None and not one.kappa >= passing]
    if as_json:
        print_json(
            {
                "pairs": [_as_json(one) for one in pairs],
                "fleiss_kappa": found.fleiss_kappa,
            }
        )
    else:
        show_table(
            ("first", "second", "pictures", "kappa", "kappa, both", "F1"),
            [
                (
                    *(one.first, one.second, one.pictures),
                    *map(_number, (one.kappa, one.kappa_matched, one.f1)),
                )
                for one in pairs
            ],
        )
        for one in pairs if len(pairs) <= _MOST_TABLES else ():
            _show_confusion(one.first, one.second, one.confusion)
        if reference is None:
            of_all = "-" if found.fleiss_kappa is None else _number(found.fleiss_kappa)
            say(f"Fleiss' kappa of all annotators, missed nuclei counted: {of_all}")
    for one in failed:
        other = one.second if one.first == reference else one.first
        say(f"{other}: kappa {_number(one.kappa)} is below {passing}", style="red")
    if failed:
        raise typer.Exit(1)


def _test_annotators(
    dataset: str,
    key: Path,
    *,
    version: str | None,
    within_um: float,
    passing: float | None,
    as_json: bool,
) -> None:
    """Compare annotators with the truth of hidden controls; exit with 1 if one does not pass."""
    from wsi_suite.cli.terminal import note, print_json, say, show_table
    from wsi_suite.commands import dataset_annotators

    told = dataset_annotators.score_annotators(
        dataset, key=key, version=version, match_um=within_um
    )
    scores = told.annotators
    names = ("precision", "recall", "f1", "kappa", "kappa_matched")
    rows = [
        {
            "annotator": one.annotator,
            "pictures": one.pictures,
            "controls": told.controls,
            **{name: _or_none(getattr(one, name)) for name in names},
            "passed": None if passing is None else bool(one.kappa >= passing),
        }
        for one in scores
    ]
    if as_json:
        print_json(rows)
    else:
        show_table(
            ("annotator", "controls", "precision", "recall", "F1", "kappa", "kappa, both"),
            [
                (
                    one.annotator,
                    f"{one.pictures} of {told.controls}",
                    *(_number(getattr(one, name)) for name in names),
                )
                for one in scores
            ],
        )
        for one in scores if len(scores) <= _MOST_TABLES else ():
            _show_confusion("truth", one.annotator, one.confusion)
    few = [one for one in scores if one.pictures < told.controls]
    for one in few:
        missing = told.controls - one.pictures
        note(f"{one.annotator}: {missing} controls have no labels, and do not count")
    failed = [one for one in scores if passing is not None and not one.kappa >= passing]
    for one in failed:
        say(f"{one.annotator}: kappa {_number(one.kappa)} is below {passing}", style="red")
    if failed:
        raise typer.Exit(1)


def review(
    *,
    dataset: Place,
    report: ReviewPage = None,
    table: ReviewTable = None,
    model: TriedModel = DEFAULT_MODEL,
    device: Device = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Find labels to look at again: doubles, likely misses, no nuclei, likely wrong classes.

    A model is asked, and its classes must be those of the dataset. One that has learned from these
    labels finds few of their faults: better is one that has not. DATASET may be a folder of tiles.
    Needs the extra 'review' (cleanlab).
    """
    from collections import Counter

    from wsi_suite.cli.progress import working
    from wsi_suite.cli.terminal import note, print_json, show_table
    from wsi_suite.commands.checks import check_page
    from wsi_suite.datasets.remote import on_disk
    from wsi_suite.detector.detector import load_detector
    from wsi_suite.files import whole_file
    from wsi_suite.studies.label_review import KINDS, Doubt, find_doubts, rare_classes
    from wsi_suite.studies.review_page import write_review_page
    from wsi_suite.training.labelled import load_tiles
    from wsi_suite.training.training_record import tiles_learned_from

    check_page(report, option="--report")
    detector = load_detector(model, device=device or "auto")
    folder = on_disk(dataset)
    tiles = load_tiles(folder, detector.spec.labels)
    with working(f"looking at {len(tiles)} pictures"):
        doubts = find_doubts(detector, tiles)
    learned = len(tiles_learned_from(detector.model, tiles))
    if learned:
        note(f"{model} has learned from {learned} of the pictures, and finds few of their faults")
    rare = rare_classes(tiles, detector.spec.classes)
    for name, count in rare.items():
        note(f"{name}: only {count} nuclei")
    if report is not None:
        write_review_page(
            report, doubts, tiles, title=folder.name, model=detector.spec.name, learned=learned,
            rare=rare,
        )  # fmt: skip
    rows = [dataclasses.asdict(doubt) for doubt in doubts]
    if table is not None:
        with whole_file(table) as made, made.open("w", encoding="utf-8", newline="") as file:
            names = [field.name for field in dataclasses.fields(Doubt)]
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(rows)
    if as_json:
        print_json(rows)
        return
    counts = Counter(doubt.kind for doubt in doubts)
    show_table(
        ("doubt", "labels", "what it means"),
        [(kind, counts[kind], words) for kind, words in KINDS.items()],
    )


def consensus(
    *,
    dataset: Place,
    match_um: WithinUm = 3.5,
    least_share: LeastShare = 0.5,
    message: Message = "",
    debug: Debug = False,
) -> None:
    """Add a version with the nuclei that most annotators of each picture labelled.

    A nucleus lies at the mean of their points and has the class and grade of most votes. If two
    classes have as many, it has none, to be decided by a person, or left out on export with
    --class =. Outlines are left out and counted.
    """
    from wsi_suite.cli.terminal import note, say
    from wsi_suite.commands import dataset_annotators

    added = dataset_annotators.consensus(
        dataset, match_um=match_um, least_share=least_share, message=message, tell=note
    )
    made, before = added.version, added.before
    if before is None or not added.is_new:
        say(f"{dataset}: no picture has labels of several annotators; version {made.number} stays.")
        return
    say(f"{dataset}: version {made.number}, {made.nuclei:,} nuclei of {before.nuclei:,} labels.")
    if undecided := made.classes.get("", 0):
        say(f"{undecided:,} of them are without class: as many votes for one as for another.")


_MOST_TABLES = 3


def _as_json(one: PairAgreement) -> dict[str, object]:
    values = dataclasses.asdict(one)
    values["confusion"] = [
        {"first": first, "second": second, "nuclei": count}
        for (first, second), count in one.confusion.items()
    ]
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in values.items()
    }


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _show_confusion(first: str, second: str, confusion: Confusion) -> None:
    from wsi_suite.cli.terminal import show_table
    from wsi_suite.datasets.agreement import classes_of

    names = classes_of([confusion])
    missed = "not labelled" if "missed" in names else "missed"
    titles = [missed if name is None else name or "without class" for name in names]
    show_table(
        (f"{first} \\ {second}", *titles),
        [
            (title, *(confusion.get((row, column), 0) for column in names))
            for title, row in zip(titles, names, strict=True)
        ],
    )


def _number(value: float) -> str | None:
    return None if math.isnan(value) else f"{value:.3f}"
