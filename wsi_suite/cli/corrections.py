"""``corrections``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsi_suite.cli.options import Debug, Json

if TYPE_CHECKING:
    from wsi_suite.studies.corrections import Corrections

Pulled = Annotated[
    Path,
    typer.Argument(help="Folder that 'wsi-suite pull' wrote.", metavar="DIR", show_default=False),
]
Results = Annotated[
    Path | None,
    typer.Option(
        "--results",
        help="Results folder that was pushed; it tells the classes of deleted nuclei that a project"
        " of an earlier version does not tell.",
        metavar="DIR",
        show_default=False,
    ),
]


def corrections(
    *, pulled: Pulled, results: Results = None, as_json: Json = False, debug: Debug = False
) -> None:
    """Tell from corrections in QuPath how good the detections were: missed, false, wrong class.

    Images in which nothing was corrected do not count: nobody may have looked at them. Nor does a
    nucleus outside the part of an image that was looked at, so correct whole fields.
    """
    from wsi_suite.cli.terminal import note, print_json, say, show_table
    from wsi_suite.commands import studies
    from wsi_suite.studies.corrections import NO_CLASS, total

    found = studies.corrections(pulled, results=results)
    seen = [one for one in found if one.is_corrected]
    rows = [*seen, total(found)] if len(seen) > 1 else seen
    if as_json:
        print_json([_as_json(one) for one in rows])
        return
    if seen:
        show_table(
            ("image", "right", "missed", "false", "wrong class", "precision", "recall", "class"),
            map(_row, rows),
        )
        renamed = total(found).renamed
        for (before, now), count in sorted(renamed.items(), key=lambda one: -one[1]):
            say(f"{count:,} {before or 'without class'} became {now or 'without class'}")
    unknown = total(found).false.get(NO_CLASS, 0)
    if unknown:
        note(
            f"the class of {unknown:,} deleted nuclei is not known: "
            + (
                f"{results} holds no results of these images with a nucleus there"
                if results
                else "give --results with the folder that was pushed"
            )
        )
    if len(seen) < len(found):
        say(f"{len(found) - len(seen)} of {len(found)} images were not corrected, and do not count")


def _row(one: Corrections) -> tuple[object, ...]:
    wrong = sum(one.renamed.values())
    return (
        one.image,
        one.found - wrong,
        sum(one.missed.values()),
        sum(one.false.values()),
        wrong,
        *(one.precision, one.recall, one.class_accuracy),
    )


def _as_json(one: Corrections) -> dict[str, object]:
    return {
        "image": one.image,
        **{
            part: dict(sorted(getattr(one, part).items()))
            for part in ("untouched", "false", "missed", "reshaped")
        },
        "renamed": [
            {"from": before, "to": now, "nuclei": count}
            for (before, now), count in sorted(one.renamed.items())
        ],
        "precision": one.precision,
        "recall": one.recall,
        "class_accuracy": one.class_accuracy,
    }
