"""Commands ``demo``, ``info`` and ``doctor``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wsi_suite.cli.options import (
    Debug,
    Device,
    Json,
    Model,
    Mpp,
    Overwrite,
    Slides,
    Workers,
    settings_from,
)

if TYPE_CHECKING:
    from wsi_suite.demo import Comparison

DemoOut = Annotated[
    Path, typer.Option("--out", "-o", help="Folder for slide and results.", metavar="DIR")
]
Side = Annotated[
    int,
    typer.Option(
        "--side", min=2048, max=100_000, help="Side of the slide, px of 0.25 um.", metavar="PX"
    ),
]


def demo(
    *,
    out: DemoOut = Path("wsi-suite-demo"),
    side: Side = 8000,
    model: Model = None,
    device: Device = None,
    workers: Workers = None,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Make a synthetic slide with known nuclei, score it and compare with the truth.

    About two minutes on two cores. Look at [bold]overview.png[/bold] in the results.
    """
    from wsi_suite.cli.progress import slide_progress, working
    from wsi_suite.cli.terminal import INTERRUPTED, INTERRUPTED_OVERWRITING

    settings = settings_from(
        None,
        ["score.marker=ER"],
        detect__model=model,
        run__device=device,
        run__workers=workers,
    )
    with working(f"drawing a synthetic slide of {side} x {side} px"):
        from wsi_suite.demo import make_example, run_example

        slide = make_example(out, side_px=side, overwrite=overwrite)
    interrupted = INTERRUPTED_OVERWRITING if overwrite else INTERRUPTED
    with slide_progress(interrupted=interrupted) as shown:
        result = run_example(
            slide, settings=settings, overwrite=overwrite, progress=shown.step, tell=shown.tell
        )
    _show_comparison(result)
    _show_outputs(result, slide)


def info(*, slides: Slides, mpp: Mpp = None, as_json: Json = False, debug: Debug = False) -> None:
    """Show a slide's levels, pixel size, vendor, which reader is used, and its kind of stain."""
    from wsi_suite.analysis.slide_stains import kind_of_slide
    from wsi_suite.cli.terminal import note, print_json, show_error
    from wsi_suite.errors import WsiSuiteError
    from wsi_suite.slides.slide import open_slide
    from wsi_suite.slides.sources import expand_slides

    paths = expand_slides(slides, tell=note)
    described: list[dict[str, Any]] = []
    failed: list[WsiSuiteError] = []
    for path in paths:
        try:
            with open_slide(path, mpp=mpp) as slide:
                described.append({**slide.describe(), "stain": kind_of_slide(slide)})
        except WsiSuiteError as error:
            show_error(error)
            failed.append(error)
        else:
            if not as_json:
                _show_slide(described[-1])
    if as_json:
        print_json(described)
    if failed:
        raise typer.Exit(1 if len(paths) > 1 else failed[0].exit_code)


def doctor(*, as_json: Json = False, debug: Debug = False) -> None:
    """Show the installed parts: OpenSlide, torch and device, models, QuPath, disk."""
    from dataclasses import asdict

    from wsi_suite.cli.terminal import print_json, stderr
    from wsi_suite.doctor import examine

    checks = []
    with stderr.status("looking"):
        for check in examine():
            checks.append(check)
            if not as_json:
                _show_check(check.state, f"{check.name:<11} {check.found}", remedy=check.remedy)
    if as_json:
        print_json([asdict(check) for check in checks])
    if any(check.state == "bad" for check in checks):
        raise typer.Exit(1)


def _show_comparison(result: Comparison) -> None:
    from wsi_suite.cli.terminal import show_table

    rows = (
        (row.name, row.there, row.found, f"{row.f1:.2f}", _whole(row.h_score), _whole(row.measured))
        for row in result.rows()
    )
    show_table(("class", "nuclei", "found", "F1", "true H-score", "H-score"), rows)


def _show_outputs(result: Comparison, slide: Path) -> None:
    from rich.text import Text

    from wsi_suite.cli.terminal import stdout

    folder = result.outcome.folder or slide.parent
    for path, what in (
        (folder / "overview.png", "the picture: look at this first"),
        (folder / "summary.json", "counts and scores"),
        (folder / "nuclei.geojson", "drag it onto the slide in QuPath"),
        (folder / "nuclei.parquet", "one row a nucleus"),
        (slide, "the slide; truth.geojson beside it"),
    ):
        stdout.print(Text.assemble((str(path), "bold"), "  ", (what, "dim")), soft_wrap=True)


def _show_slide(facts: dict[str, Any]) -> None:
    from rich.text import Text

    from wsi_suite.cli.terminal import show_table, stdout

    um = facts["mpp"]
    size = f"{facts['width'] * um[0] / 1000:.1f} x {facts['height'] * um[1] / 1000:.1f} mm"
    power = f", {facts['objective_power']:g}x" if facts["objective_power"] else ""
    stdout.print(Text(Path(facts["path"]).name, "bold"), soft_wrap=True)
    stdout.print(
        f"{facts['width']} x {facts['height']} px, {size}, "
        f"{um[0]:.4g} x {um[1]:.4g} um per pixel{power}"
    )
    stdout.print(f"vendor {facts['vendor']}, read through: {facts['reader']}", markup=False)
    stdout.print(f"stain: {facts['stain']}", markup=False)
    for remark in facts["notes"]:
        stdout.print(Text.assemble(("note: ", "yellow"), remark))
    columns = ("level", "size", "downsample", "um/px", "tile", "compression")
    show_table(columns, _level_rows(facts))
    stdout.print()


def _level_rows(facts: dict[str, Any]) -> Iterator[tuple[object, ...]]:
    for number, level in enumerate(facts["levels"]):
        yield (
            number,
            f"{level['width']} x {level['height']}",
            float(level["downsample"][0]),
            facts["mpp"][0] * level["downsample"][0],
            "x".join(map(str, level["tile"])) if level["tile"] else None,
            level["compression"],
        )


def _show_check(state: str, text: str, *, remedy: str) -> None:
    from rich.text import Text

    from wsi_suite.cli.terminal import stdout

    mark = {"ok": ("ok", "green"), "absent": ("--", "yellow"), "bad": ("!!", "red")}[state]
    stdout.print(Text.assemble(mark, "  ", text), soft_wrap=True)
    if remedy:
        stdout.print(Text(f"{'':<15} {remedy}", "dim"), soft_wrap=True)


def _whole(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
