"""``push``, ``pull`` and ``run --project``: QuPath projects."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wsi_suite.cli.options import Debug, Json, Overwrite, Shape

if TYPE_CHECKING:
    from wsi_suite.progress import Progress
    from wsi_suite.runs.outcome import Tell
    from wsi_suite.runs.transfers import Transfer

_KEPT = ("changed", "deleted", "added")


class ImageType(StrEnum):
    """QuPath's types of brightfield images."""

    BRIGHTFIELD_H_DAB = "brightfield_h_dab"
    BRIGHTFIELD_H_E = "brightfield_h_e"
    BRIGHTFIELD_OTHER = "brightfield_other"


Results = Annotated[
    list[Path],
    typer.Argument(
        help="Folders that a run left, or folders of them.", metavar="DIR...", show_default=False
    ),
]
ProjectPath = Annotated[
    Path,
    typer.Option(
        "--project",
        "-p",
        help="A QuPath project: its folder or its .qpproj file.",
        metavar="PATH",
        show_default=False,
    ),
]
Create = Annotated[
    bool, typer.Option("--create", help="Make the project if there is none, in an empty folder.")
]
Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Write even while QuPath is running. The program that saves last wins: close the"
        " image in QuPath before, and open it again afterwards.",
    ),
]
Entries = Annotated[
    list[str] | None,
    typer.Option(
        "--entry",
        help="Only the image with this id in the project; can be given several times. It tells two"
        " images of one slide apart.",
        metavar="ID",
        show_default=False,
    ),
]
PullOut = Annotated[
    Path,
    typer.Option(
        "--out", "-o", help="Gets a folder for each image.", metavar="DIR", show_default=False
    ),
]


def push(
    *,
    results: Results,
    project: ProjectPath,
    create: Create = False,
    image_type: Annotated[
        ImageType | None,
        typer.Option(
            "--image-type",
            help="brightfield_h_dab, brightfield_h_e or brightfield_other: make images this type,"
            " with the run's stain vectors if it is H-DAB. Without it a type or stain vectors that"
            " somebody has set stay, and only images without a type become H-DAB.",
            metavar="TYPE",
            show_default=False,
        ),
    ] = None,
    shape: Annotated[
        Shape,
        typer.Option("--shape", help="Draw nuclei as polygon, ellipse or point.", metavar="SHAPE"),
    ] = Shape.POLYGON,
    discard_corrections: Annotated[
        bool,
        typer.Option(
            "--discard-corrections",
            help="Also replace nuclei that somebody corrected, and put deleted ones back.",
        ),
    ] = False,
    entry: Entries = None,
    force: Force = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Put results into a QuPath project: nuclei with their classes and measurements, and regions.

    Slides that the project lacks are added. Nuclei of an earlier push are replaced, so it can be
    repeated after every run. What people made of them stays: a nucleus of ours that was given
    another class, moved, redrawn, named or locked is kept; one that was deleted stays deleted;
    if one was added (as a point, or as a small annotation of the same class) none of ours is
    put. A changed intensity alone is no correction. Other people's objects are never touched.

    An image ends with the nuclei of these results: those of an earlier push go, inside and outside
    of the regions that were scored now.

    Before an image is changed, its objects are kept beside them as data.qpdata.before-push.
    """
    from wsi_suite.cli.terminal import note
    from wsi_suite.runs.project_push import push_results

    running = _check_qupath(force=force)
    with _progress() as progress:
        transfers = push_results(
            results,
            project,
            create=create,
            image_type=image_type and image_type.value,
            shape=shape.value,
            discard_corrections=discard_corrections,
            entries=entry or (),
            qupath=running,
            tell=note,
            progress=progress,
        )
    _show_pushes(transfers, as_json=as_json)
    _leave(transfers)


def pull(
    *,
    project: ProjectPath,
    out: PullOut,
    overwrite: Overwrite = False,
    entry: Entries = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Get annotations and corrected nuclei out of a QuPath project.

    Each image gets a folder with [bold]annotations.geojson[/bold] (for --roi),
    [bold]nuclei.geojson[/bold] and nuclei.csv: every nucleus that was pushed, its class then and
    now, and whether it is untouched, corrected, deleted or added. The project is not changed.
    """
    from wsi_suite.cli.terminal import note, print_json, say, show_table
    from wsi_suite.runs.project_pull import pull_project

    with _progress() as progress:
        transfers = pull_project(
            project, out, overwrite=overwrite, entries=entry or (), tell=note, progress=progress
        )
    if as_json:
        print_json([_as_json(transfer) for transfer in transfers])
    else:
        columns = ("untouched", "corrected", "deleted", "added", "annotations")
        pulled = [done for done in transfers if done.error is None]
        if pulled:
            show_table(
                ("image", *columns),
                [(done.name, *(done.counts[name] for name in columns)) for done in pulled],
            )
            for done in pulled:
                for remark in done.notes:
                    note(f"{done.name}: {remark}")
            say(f"A folder an image: {out}")
        elif not transfers:
            note(f"{project}: no image has objects yet, so that nothing was pulled")
    _leave(transfers)


def run_on_project(project: Path, *, force: bool, as_json: bool, **asked: Any) -> None:  # noqa: ANN401 - run_project's
    """Run on the images of a project, print the outcomes and exit with the right code."""
    from wsi_suite.cli.outcomes import show_scores
    from wsi_suite.cli.terminal import INTERRUPTED, INTERRUPTED_OVERWRITING, note, print_json, say
    from wsi_suite.runs.project_run import Display, run_project
    from wsi_suite.runs.transfers import Transfer

    running = _check_qupath(force=force)
    slides = partial(
        _slides, interrupted=INTERRUPTED_OVERWRITING if asked["overwrite"] else INTERRUPTED
    )
    done = run_project(
        project, qupath=running, tell=note, display=Display(_progress, slides), **asked
    )
    failed = [
        Transfer(outcome.slide.name, outcome.folder, error=outcome.error)
        for outcome in done.outcomes
        if outcome.error is not None
    ]
    ended = [*done.pushed, *done.unread, *failed]
    if as_json:
        summaries = {
            str(outcome.folder): outcome.summary.as_json()
            for outcome in done.outcomes
            if outcome.summary is not None
        }
        print_json(
            [{**_as_json(each), "summary": summaries.get(str(each.folder))} for each in ended]
        )
    else:
        scored = [outcome for outcome in done.outcomes if outcome.summary is not None]
        if scored:
            show_scores(scored)
            say(f"Results: {done.out}")
        _show_pushes(done.pushed, as_json=False)
    _leave(ended, shown=failed)


@contextmanager
def _slides(*, interrupted: str) -> Iterator[tuple[Progress, Tell]]:
    from wsi_suite.cli.progress import slide_progress

    with slide_progress(interrupted=interrupted) as shown:
        yield shown.step, shown.tell


def _check_qupath(*, force: bool) -> list[int] | None:
    """Ask, or refuse, if QuPath is running: it may have the project open."""
    from wsi_suite.cli.terminal import stderr
    from wsi_suite.commands.projects import qupath_beside

    asks = stderr.is_terminal and sys.stdin.isatty()

    def confirm(told: str) -> bool:
        return asks and typer.confirm(f"{told}. Go on?", err=True)

    return qupath_beside(force=force, confirm=confirm)


@contextmanager
def _progress() -> Iterator[Progress]:
    """Show which image is at hand: a line that moves in a terminal, a line each anywhere else."""
    from wsi_suite.cli.terminal import say, shows_bars, stderr

    starting = "starting QuPath's Java"
    if shows_bars():
        with stderr.status(starting) as status:
            yield lambda step: status.update(f"{step.name}  {100 * step.fraction:.0f} %")
        return
    say(starting)
    yield lambda step: say(step.name) if step.done == 0 else None


def _show_pushes(transfers: Sequence[Transfer], *, as_json: bool) -> None:
    from wsi_suite.cli.terminal import note, print_json, show_table

    if as_json:
        print_json([_as_json(transfer) for transfer in transfers])
        return
    done = [transfer for transfer in transfers if transfer.error is None]
    if done:
        show_table(
            ("image", "nuclei", "replaced", "kept", "left out"),
            [
                (
                    transfer.image,
                    *(transfer.counts[name] for name in ("placed", "removed")),
                    _kept(transfer),
                    transfer.counts["suppressed"],
                )
                for transfer in done
            ],
        )
    for transfer in done:
        for remark in transfer.notes:
            note(f"{transfer.image}: {remark}")
        if transfer.backup is not None:
            note(f"{transfer.image}: as it was before: {transfer.backup}")


def _kept(transfer: Transfer) -> str | None:
    """Return the corrections that were kept, in words."""
    words = [f"{transfer.counts[kind]:,} {kind}" for kind in _KEPT if transfer.counts[kind]]
    return ", ".join(words) or None


def _leave(transfers: Sequence[Transfer], *, shown: Sequence[Transfer] = ()) -> None:
    """Print the failures not shown before, and exit with the right code."""
    from wsi_suite.cli.outcomes import leave
    from wsi_suite.cli.terminal import show_error

    for transfer in transfers:
        if transfer.error is not None and transfer not in shown:
            show_error(transfer.error)
    leave([transfer.error for transfer in transfers if transfer.error], of=len(transfers))


def _as_json(transfer: Transfer) -> dict[str, Any]:
    return {
        "slide": transfer.name,
        "folder": str(transfer.folder) if transfer.folder else None,
        "image": transfer.image,
        "entry": transfer.entry,
        "counts": dict(transfer.counts),
        "backup": str(transfer.backup) if transfer.backup else None,
        "notes": list(transfer.notes),
        "error": str(transfer.error) if transfer.error else None,
    }
