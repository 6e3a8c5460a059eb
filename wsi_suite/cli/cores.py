"""``cores``: the cores of a tissue microarray as regions of interest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wsi_suite.cli.options import Debug, Json, Mpp, Overwrite, Slides
from wsi_suite.commands.checks import check_out

if TYPE_CHECKING:
    from wsi_suite.errors import WsiSuiteError
    from wsi_suite.slides.cores import CoreGrid

CoresOut = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        help="Folder for <slide's stem>.geojson, for --roi of run and score.",
        metavar="DIR",
        show_default=False,
    ),
]
Rows = Annotated[
    int | None,
    typer.Option("--rows", min=1, help="Rows of the grid.", metavar="N", show_default="as seen"),
]
Columns = Annotated[
    int | None,
    typer.Option(
        "--columns", min=1, help="Columns of the grid.", metavar="N", show_default="as seen"
    ),
]
Diameter = Annotated[
    float | None,
    typer.Option(
        "--diameter-um",
        min=100,
        max=10_000,
        help="Diameter of a core, um.",
        metavar="UM",
        show_default="as seen",
    ),
]


def cores(
    *,
    slides: Slides,
    out: CoresOut,
    rows: Rows = None,
    columns: Columns = None,
    diameter_um: Diameter = None,
    mpp: Mpp = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Find the cores of tissue microarrays, and name them as QuPath does: A-1, A-2, ...

    Each core becomes a region of interest: 'wsi-suite run SLIDE... --out results --roi DIR' scores
    each by itself. Missing cores are named. Check the grid in QuPath: drag the GeoJSON file onto
    the slide.
    """
    from wsi_suite.cli.outcomes import leave
    from wsi_suite.cli.progress import working
    from wsi_suite.cli.terminal import note, print_json, show_error
    from wsi_suite.commands.cores import find_cores
    from wsi_suite.errors import WsiSuiteError
    from wsi_suite.slides.sources import expand_slides

    check_out(out)
    paths = expand_slides(slides, tell=note)
    files = _files(paths, out, overwrite=overwrite)
    found: dict[Path, CoreGrid] = {}
    failed: list[WsiSuiteError] = []
    for number, (path, file) in enumerate(files.items(), 1):
        try:
            with working(f"looking for cores in {path.name} ({number} of {len(files)})"):
                found[path] = find_cores(
                    path,
                    out=file.parent,
                    rows=rows,
                    columns=columns,
                    diameter_um=diameter_um,
                    mpp=mpp,
                    overwrite=overwrite,
                )
        except WsiSuiteError as error:
            show_error(error)
            failed.append(error)
    if as_json:
        print_json([_as_json(path, files[path], grid) for path, grid in found.items()])
    elif found:
        _show(found)
    for path, grid in found.items():
        for line in _remarks(grid, rows=rows, columns=columns):
            note(f"{path.name}: {line}")
    leave(failed, of=len(files))


def _files(paths: Sequence[Path], out: Path, *, overwrite: bool) -> dict[Path, Path]:
    """Return the file for each slide; refuse those that exist, and two slides for one."""
    from wsi_suite.commands.cores import check_cores_file, cores_file
    from wsi_suite.errors import InputError

    files: dict[Path, Path] = {}
    taken: dict[Path, Path] = {}
    for path in paths:
        file = cores_file(path, out)
        if file in taken:
            raise InputError(
                f"{taken[file]} and {path}: both would be {file}; give them one at a time, each "
                "with its own --out"
            )
        check_cores_file(file, overwrite=overwrite)
        files[path], taken[file] = file, path
    return files


def _show(found: dict[Path, CoreGrid]) -> None:
    from wsi_suite.cli.terminal import show_table

    columns = ("slide", "rows", "columns", "cores", "missing", "diameter um", "spacing um", "turn")
    show_table(
        columns,
        (
            (
                path.name,
                grid.rows,
                grid.columns,
                len(grid.cores),
                len(grid.missing),
                round(grid.diameter_um),
                " x ".join(f"{value:.0f}" for value in grid.spacing_um),
                f"{grid.rotation_degrees:.1f}°",
            )
            for path, grid in found.items()
        ),
    )


def _remarks(grid: CoreGrid, *, rows: int | None, columns: int | None) -> list[str]:
    remarks = []
    if grid.missing:
        remarks.append(f"{_count(len(grid.missing))} missing: {', '.join(grid.missing)}")
    for given, seen, what in ((rows, grid.seen[0], "row"), (columns, grid.seen[1], "column")):
        if given is not None and seen < given:
            remarks.append(
                f"cores are seen in {seen} {what}s of {given}; the last are taken for the empty "
                "ones: check the names in QuPath"
            )
    if grid.outside:
        places = ", ".join(f"x {x:.0f} y {y:.0f}" for x, y in grid.outside)
        remarks.append(
            f"{_count(len(grid.outside))} beside the grid left out, at {places} (level-0 pixels)"
        )
    return remarks


def _count(number: int) -> str:
    return "1 core" if number == 1 else f"{number} cores"


def _as_json(path: Path, file: Path, grid: CoreGrid) -> dict[str, Any]:
    from dataclasses import asdict

    return {"slide": str(path), "file": str(file), **asdict(grid)}
