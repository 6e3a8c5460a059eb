"""Results into QuPath projects, and what people made of them back out.

One image that fails never stops the others.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsi_suite.errors import InputError, OutputConflictError, SlideError, WsiSuiteError
from wsi_suite.files import file_names
from wsi_suite.nuclei.parquet import read_provenance
from wsi_suite.qupath.project import Project, ProjectImage
from wsi_suite.run_folder import SUMMARY_NAME, TABLE_NAME, read_run
from wsi_suite.slides.identity import SlideIdentity

log = logging.getLogger(__name__)

Progress = Callable[[str, float], None]
"""Hears of the image at hand, and which fraction of it is done."""

PULLED_NAMES = ("annotations.geojson", "nuclei.geojson", "nuclei.csv")


@dataclass(frozen=True)
class Transfer:
    """How a push or a pull of one image ended.

    Attributes
    ----------
    name
        The slide or image.
    folder
        The folder it came from, or went to.
    image
        What the project calls it, where it was found or added.
    counts
        Of a push: ``placed``, ``removed``, ``changed``, ``deleted``, ``added`` (the last three were
        kept), ``suppressed``, ``regions``. Of a pull: ``untouched``, ``corrected``, ``deleted``,
        ``added``, ``annotations``.
    backup
        The image's objects as they were before the push.
    notes
        What the user should know.
    error
        Why it failed.
    """

    name: str
    folder: Path | None
    image: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    backup: Path | None = None
    notes: tuple[str, ...] = ()
    error: WsiSuiteError | None = None


@dataclass(frozen=True)
class _Result:
    """A results folder: its slide, as the run had it, and its scores."""

    folder: Path
    slide: Path
    identity: SlideIdentity
    regions: tuple[dict[str, Any], ...]


def push_results(
    folders: Sequence[Path],
    project: Path,
    *,
    create: bool = False,
    image_type: str | None = None,
    shape: str = "polygon",
    discard_corrections: bool = False,
    progress: Progress = lambda name, fraction: None,
) -> list[Transfer]:
    """Put results into a QuPath project.

    Slides that are missing in the project are added. Nuclei of an earlier push go, but for those
    that somebody corrected; nothing of anybody else's is touched. It can be repeated.

    Parameters
    ----------
    folders
        Results folders, or folders of them.
    project
        A project file or its folder.
    create
        Make the project where there is none.
    image_type
        What images are to be, such as ``brightfield_h_dab``, whatever they are now; ``None``:
        H-DAB with the run's stain vectors where nobody has set a type.
    shape
        ``polygon``, ``ellipse`` or ``point``.
    discard_corrections
        Keep nothing of ours that somebody corrected.
    progress
        Hears what is done.

    Raises
    ------
    InputError
        There are no results, or the project cannot be used at all.
    """
    transfers: list[Transfer] = []
    pushed: dict[tuple[int, str], Path] = {}
    content_of = functools.cache(_content_of)
    with Project(project, create=create) as opened:
        images = opened.images()
        for folder in _results_folders(folders):
            progress(folder.name, 0)
            try:
                result = _read_result(folder)
                first = pushed.setdefault(result.identity.content, folder)
                if first != folder:
                    raise InputError(f"{folder}: of the same slide as {first}; push one of the two")
                image, notes = _image_of(result, images, project=opened, content_of=content_of)
                answer = opened.push(
                    image,
                    table=folder / TABLE_NAME,
                    regions=result.regions,
                    image_type=image_type,
                    shape=shape,
                    discard_corrections=discard_corrections,
                    progress=functools.partial(progress, folder.name),
                )
            except WsiSuiteError as error:
                transfers.append(Transfer(folder.name, folder, error=error))
                continue
            transfers.append(
                Transfer(
                    result.identity.name,
                    folder,
                    image=image.name,
                    counts={**answer["counts"], "regions": answer["regions"]},
                    backup=Path(answer["backup"]) if answer["backup"] else None,
                    notes=(*notes, *answer["notes"]),
                )
            )
    return transfers


def pull_project(
    project: Path,
    out: Path,
    *,
    overwrite: bool = False,
    progress: Progress = lambda name, fraction: None,
) -> list[Transfer]:
    """Write what a project holds: its annotations, and our nuclei with what became of each.

    Each image that has objects gets a folder with ``annotations.geojson``, ``nuclei.geojson`` and
    ``nuclei.csv``; the state of a nucleus is untouched, corrected, deleted or added.

    Parameters
    ----------
    project
        A project file or its folder; it is not changed.
    out
        Gets the folders.
    overwrite
        Replace what an earlier pull left.
    progress
        Hears what is done.

    Raises
    ------
    InputError
        The project cannot be used at all.
    """
    transfers = []
    with Project(project, readonly=True) as opened:
        images = [image for image in opened.images() if image.data.exists()]
        for image, name in zip(images, file_names(one.name for one in images), strict=True):
            progress(image.name, 0)
            folder = out / name
            try:
                _claim(folder, overwrite=overwrite)
                counts = opened.pull(image, folder=folder)
            except WsiSuiteError as error:
                transfers.append(Transfer(image.name, folder, image=image.name, error=error))
                continue
            transfers.append(Transfer(image.name, folder, image=image.name, counts=counts))
    return transfers


def _results_folders(folders: Sequence[Path]) -> list[Path]:
    """Return the results folders among folders and one level below, each once.

    Raises
    ------
    InputError
        One holds none.
    """
    found: dict[Path, None] = {}
    for folder in folders:
        inside = [folder] if (folder / TABLE_NAME).exists() or not folder.is_dir() else []
        inside = inside or sorted(path.parent for path in folder.glob(f"*/{TABLE_NAME}"))
        if not inside or not folder.exists():
            raise InputError(f"{folder}: no results here; make them with 'wsi-suite run'")
        found |= dict.fromkeys(path.resolve() for path in inside)
    return list(found)


def _read_result(folder: Path) -> _Result:
    run = read_run(folder)
    if run is None or run["state"] != "done":
        raise InputError(f"{folder}: its run is not finished; give the same 'wsi-suite run' again")
    provenance = read_provenance(folder / TABLE_NAME)
    try:
        summary = json.loads((folder / SUMMARY_NAME).read_text("utf-8"))
        regions = tuple(
            {
                "name": roi["name"],
                "class": roi["class"],
                "wkb": roi["wkb"],
                "measurements": _scores_of(region),
            }
            for roi, region in zip(provenance["rois"] or (), summary["regions"], strict=True)
        )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{folder / SUMMARY_NAME}: missing or damaged ({error}); run again with --overwrite"
        ) from None
    slide = Path(run["slide_path"])
    return _Result(folder, slide, SlideIdentity(**run["fingerprint"]["slide"]), regions)


def _scores_of(region: Mapping[str, Any]) -> dict[str, float]:
    """Return a region's scores as measurements; QuPath's own columns keep their names."""
    values = {"wsi-suite: area mm^2": region["area_mm2"]}
    for name, score in region["scores"].items():
        values[f"wsi-suite: {name}: nuclei"] = score["nuclei"]
        values[f"wsi-suite: {name}: Positive %"] = score["positive_percent"]
        values[f"wsi-suite: {name}: H-score"] = score["h_score"]
    return {name: float(value) for name, value in values.items() if value is not None}


def _image_of(
    result: _Result,
    images: list[ProjectImage],
    *,
    project: Project,
    content_of: Callable[[Path], tuple[int, str] | None],
) -> tuple[ProjectImage, tuple[str, ...]]:
    """Return the image of a result's slide, added where it is missing, and what is to be told."""
    here = [image for image in images if _is_at(image, result.slide)]
    notes: tuple[str, ...] = ()
    if not here:
        # A copy of the slide has its name; one that is gone may have been given another.
        named = [image for image in images if _is_called(image, result.identity.name)]
        likely = named if result.slide.exists() else [*named, *images]
        content = result.identity.content
        copy = next((one for one in likely if one.path and content_of(one.path) == content), None)
        if copy is not None:
            here = [image for image in images if image.path == copy.path]
            notes = (f"the slide was moved: it is now {copy.path}",)
    if not here:
        lost = [image for image in images if _lost(image, result.identity.name)]
        if lost:
            raise InputError(
                f"{result.identity.name}: is in the project as {lost[0].path}, which is missing; "
                "open the project in QuPath, which asks for its new place"
            )
        if not result.slide.exists():
            raise InputError(
                f"{result.slide}: the slide is no longer there and not in the project; move it "
                "back, or add it to the project in QuPath"
            )
        here = [project.add(result.slide)]
        images.extend(here)
    return _only(here, result, project), notes


def _only(images: Sequence[ProjectImage], result: _Result, project: Project) -> ProjectImage:
    """Return which of several images of a file is meant: that of the run's size."""
    if len(images) == 1:
        return images[0]
    size = tuple(read_provenance(result.folder / TABLE_NAME)["size_px0"])
    fitting = []
    for image in images:
        frame = project.frame(image)
        if (frame.width, frame.height) == size:
            fitting.append(image)
    named = [image for image in fitting if image.name == result.identity.name]
    if len(fitting) == 1 or len(named) == 1:
        return (named or fitting)[0]
    names = ", ".join(f"'{image.name}'" for image in fitting or images)
    raise InputError(
        f"{result.identity.name}: is in the project more than once ({names}); name the one that is "
        f"meant '{result.identity.name}'"
    )


def _is_at(image: ProjectImage, path: Path) -> bool:
    return image.path is not None and image.path.resolve() == path.resolve()


def _is_called(image: ProjectImage, name: str) -> bool:
    return image.path is not None and image.path.name == name


def _content_of(path: Path) -> tuple[int, str] | None:
    """Return what copies of a slide share; ``None`` where there is no slide."""
    try:
        return SlideIdentity.of(path).content
    except SlideError:
        return None


def _lost(image: ProjectImage, name: str) -> bool:
    return _is_called(image, name) and image.path is not None and not image.path.exists()


def _claim(folder: Path, *, overwrite: bool) -> None:
    if any((folder / name).exists() for name in PULLED_NAMES) and not overwrite:
        raise OutputConflictError(
            f"{folder}: holds an earlier pull; give --overwrite or another --out"
        )
    folder.mkdir(parents=True, exist_ok=True)
