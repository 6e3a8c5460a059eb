"""``cores``: the cores of a tissue microarray."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsi_suite.commands.checks import check_out
from wsi_suite.config import TissueSettings
from wsi_suite.errors import OutputConflictError, SlideError
from wsi_suite.given_values import number_of, path_of

if TYPE_CHECKING:
    from wsi_suite.slides.cores import CoreGrid


def find_cores(
    slide: str | Path,
    *,
    out: str | Path | None = None,
    rows: int | None = None,
    columns: int | None = None,
    diameter_um: float | None = None,
    mpp: float | None = None,
    overwrite: bool = False,
) -> CoreGrid:
    """Find the cores of a tissue microarray, and name them as QuPath does: A-1, A-2, ...

    Parameters
    ----------
    slide
        Path of the slide.
    out
        Gets ``<slide's stem>.geojson`` with a circle for each core, which `rois` arguments take;
        nothing is written without it.
    rows, columns
        Size of the grid; by default as it is seen.
    diameter_um
        Diameter of a core, um; by default as it is seen.
    mpp
        um per level-0 pixel, in place of that of the file.
    overwrite
        Replace the file of an earlier call.

    Returns
    -------
    CoreGrid
        The cores, and the names of those that are missing.

    Raises
    ------
    WsiSuiteError
        The slide cannot be read or shows no grid of cores, or the file exists or cannot be written.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> grid = ws.find_cores("tma.svs", out="cores")
    >>> grid.rows, grid.columns, grid.missing
    (3, 4, ('B-3',))
    >>> [roi.name for roi in ws.read_rois("cores/tma.geojson")][:3]
    ['A-1', 'A-2', 'A-3']
    """
    from wsi_suite.slides.cores import CoreError
    from wsi_suite.slides.cores import find_cores as find_in_mask
    from wsi_suite.slides.slide import open_slide
    from wsi_suite.slides.tissue import find_tissue

    path, folder = path_of(slide, option="slide"), path_of(out, option="--out", optional=True)
    if diameter_um is not None:
        diameter_um = number_of(diameter_um, option="--diameter-um", least=100)
    if folder is not None:
        check_out(folder)
        check_cores_file(cores_file(path, folder), overwrite=overwrite)
    with open_slide(path, mpp=mpp) as opened:
        um = opened.mpp
        tissue = find_tissue(opened, TissueSettings(margin_um=0))
    try:
        grid = find_in_mask(tissue, mpp=um, rows=rows, columns=columns, diameter_um=diameter_um)
    except CoreError as error:
        raise SlideError(
            f"{path}: no grid of cores ({error}); expected a tissue microarray: give --rows, "
            "--columns and --diameter-um, or draw its grid in QuPath (TMA dearrayer) and give "
            "that to --roi"
        ) from None
    if folder is not None:
        _write(grid, cores_file(path, folder), mpp=um)
    return grid


def cores_file(slide: Path, out: Path) -> Path:
    """Return the path of the file with the cores of a slide."""
    from wsi_suite.slides.identity import slide_stem

    return out / f"{slide_stem(slide)}.geojson"


def check_cores_file(file: Path, *, overwrite: bool) -> None:
    """Refuse, before the work, a file that exists."""
    if file.exists() and not overwrite:
        raise OutputConflictError(f"{file}: exists; give another --out, or --overwrite")


def _write(grid: CoreGrid, file: Path, *, mpp: tuple[float, float]) -> None:
    from wsi_suite.qupath.annotations import write_annotations
    from wsi_suite.qupath.rois import MISSING_CORES
    from wsi_suite.slides.store_layout import writing

    with writing(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
    write_annotations(
        _annotations(grid, mpp=mpp),
        file,
        origin={},
        locked=False,
        about={MISSING_CORES: grid.missing},
    )


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
