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
                found[path] = _find(path, file, mpp=mpp, given=(rows, columns, diameter_um))
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
    from wsi_suite.errors import InputError, OutputConflictError
    from wsi_suite.slides.identity import slide_stem

    files: dict[Path, Path] = {}
    taken: dict[Path, Path] = {}
    for path in paths:
        file = out / f"{slide_stem(path)}.geojson"
        if file in taken:
            raise InputError(
                f"{taken[file]} and {path}: both would be {file}; give them one at a time, each "
                "with its own --out"
            )
        if file.exists() and not overwrite:
            raise OutputConflictError(f"{file}: exists; give another --out, or --overwrite")
        files[path], taken[file] = file, path
    return files


def _find(
    path: Path,
    file: Path,
    *,
    mpp: float | None,
    given: tuple[int | None, int | None, float | None],
) -> CoreGrid:
    """Find the cores of a slide and write them."""
    from wsi_suite.config import TissueSettings
    from wsi_suite.errors import SlideError
    from wsi_suite.qupath.annotations import write_annotations
    from wsi_suite.qupath.rois import MISSING_CORES
    from wsi_suite.slides.cores import CoreError, find_cores
    from wsi_suite.slides.slide import open_slide
    from wsi_suite.slides.store_layout import writing
    from wsi_suite.slides.tissue import find_tissue

    rows, columns, diameter_um = given
    with open_slide(path, mpp=mpp) as slide:
        um = slide.mpp
        tissue = find_tissue(slide, TissueSettings(margin_um=0))
    try:
        grid = find_cores(tissue, mpp=um, rows=rows, columns=columns, diameter_um=diameter_um)
    except CoreError as error:
        raise SlideError(
            f"{path}: no grid of cores ({error}); expected a tissue microarray: give --rows, "
            "--columns and --diameter-um, or draw its grid in QuPath (TMA dearrayer) and give "
            "that to --roi"
        ) from None
    with writing(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
    write_annotations(
        _annotations(grid, mpp=um),
        file,
        origin={},
        locked=False,
        about={MISSING_CORES: grid.missing},
    )
    return grid


def _annotations(grid: CoreGrid, *, mpp: tuple[float, float]) -> list[Any]:
    from wsi_suite.qupath.annotations import Annotation

    width, height = grid.circle_um / 2 / mpp[0], grid.circle_um / 2 / mpp[1]
    return [
        Annotation(
            core.name,
            None,
            left=core.x_px0 - width,
            top=core.y_px0 - height,
            right=core.x_px0 + width,
            bottom=core.y_px0 + height,
            is_ellipse=True,
            measurements={"wsi-suite: tissue share": round(core.tissue_share, 4)},
        )
        for core in grid.cores
    ]


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
