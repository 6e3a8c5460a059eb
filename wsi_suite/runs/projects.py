"""Push of results into QuPath projects, and pull of the corrected nuclei.

One image that fails never stops the others.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsi_suite.analysis.summary import SUMMARY_FILE, read_summary
from wsi_suite.documents import RUN_FILE
from wsi_suite.errors import InputError, OutputConflictError, SlideError, WsiSuiteError
from wsi_suite.files import file_names, remove_leftovers
from wsi_suite.nuclei.parquet import read_provenance
from wsi_suite.progress import Progress, Step, no_progress
from wsi_suite.qupath.project import Project, ProjectImage
from wsi_suite.qupath.project_files import has_data, missing_folders, remove_folders
from wsi_suite.runs.folder import TABLE_NAME
from wsi_suite.runs.run_record import read_run
from wsi_suite.runs.state import State
from wsi_suite.scoring.slide_scores import RegionScores
from wsi_suite.slides.identity import SlideIdentity
from wsi_suite.slides.store_layout import writing

log = logging.getLogger(__name__)

PULLED_NAMES = ("annotations.geojson", "nuclei.geojson", "nuclei.csv")

_HOUR_S = 3600


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
    entry
        The id of the image in the project.
    """

    name: str
    folder: Path | None
    image: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    backup: Path | None = None
    notes: tuple[str, ...] = ()
    error: WsiSuiteError | None = None
    entry: str | None = None


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
    entries: Collection[str] = (),
    qupath: Collection[int] | None = None,
    tell: Callable[[str], None] = log.warning,
    progress: Progress = no_progress,
) -> list[Transfer]:
    """Put results into a QuPath project.

    Slides that are missing in the project are added. Nuclei of an earlier push go, but for those
    that somebody corrected; nothing of anybody else's is touched. It can be repeated. While the
    project is written no other push writes to it.

    Parameters
    ----------
    folders
        Results folders, or folders of them. Other files are left out; a folder that cannot be used
        is a failed transfer.
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
    entries
        Ids of images of the project; if there are any, nuclei go into these alone.
    qupath
        Processes of QuPath that may run meanwhile; ``None``: any. Another one that is found before
        an image is written is an error of this image.
    tell
        Hears what the user should know at once: who is waited for, what is left out.
    progress
        Receives the share of each image that is done.

    Raises
    ------
    InputError
        There are no results, or the project cannot be used at all.
    """
    found, transfers = _results_folders(folders, tell=tell)
    pushed: dict[tuple[int, str], Path] = {}
    content_of = functools.cache(_content_of)
    with Project(project, create=create, qupath=qupath, tell=tell) as opened:
        check_entries(entries, opened.images())
        for folder in found:
            progress(Step(folder.name, 0, 1))
            try:
                images = opened.images()  # as they are now: the project may have been opened anew
                result = _read_result(folder)
                first = pushed.setdefault(result.identity.content, folder)
                if first != folder:
                    raise InputError(f"{folder}: of the same slide as {first}; push one of the two")
                image, notes = _image_of(
                    result, images, entries=entries, project=opened, content_of=content_of
                )
                answer = opened.push(
                    image,
                    table=folder / TABLE_NAME,
                    regions=result.regions,
                    image_type=image_type,
                    shape=shape,
                    discard_corrections=discard_corrections,
                    progress=functools.partial(_part, progress, folder.name),
                )
            except WsiSuiteError as error:
                transfers.append(Transfer(folder.name, folder, error=error))
                continue
            transfers.append(
                Transfer(
                    result.identity.name,
                    folder,
                    image=image.name,
                    entry=image.id,
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
    entries: Collection[str] = (),
    tell: Callable[[str], None] = log.warning,
    progress: Progress = no_progress,
) -> list[Transfer]:
    """Write the annotations of a project, and our nuclei with the state of each.

    Each image that has objects gets a folder with ``annotations.geojson``, ``nuclei.geojson`` and
    ``nuclei.csv``; the state of a nucleus is untouched, corrected, deleted or added. The same
    project gives the same bytes.

    Parameters
    ----------
    project
        A project file or its folder; it is not changed.
    out
        Gets the folders.
    overwrite
        Replace what an earlier pull left.
    entries
        Ids of the images to pull; without any all that have objects.
    tell
        Hears what the user should know at once.
    progress
        Receives the share of each image that is done.

    Raises
    ------
    InputError
        The project cannot be used at all.
    """
    transfers = []
    with Project(project, readonly=True, tell=tell) as opened:
        images = opened.images()
        check_entries(entries, images)
        # Names follow from all images, so that they stay when others get objects.
        for image, name in zip(images, file_names(one.name for one in images), strict=True):
            if image.id not in entries if entries else not has_data(image.data.parent):
                continue
            progress(Step(image.name, 0, 1))
            folder = out / name
            made = missing_folders(folder)
            try:
                _claim(folder, overwrite=overwrite)
                counts = opened.pull(image, folder=folder)
            except BaseException as error:
                if made:  # nobody else writes there
                    remove_leftovers(folder)
                remove_folders(made)
                if not isinstance(error, WsiSuiteError):
                    raise
                transfers.append(
                    Transfer(image.name, folder, image=image.name, entry=image.id, error=error)
                )
                continue
            notes = tuple(counts.pop("notes", ()))
            transfers.append(
                Transfer(
                    image.name, folder, image=image.name, entry=image.id, counts=counts, notes=notes
                )
            )
    return transfers


def _part(progress: Progress, name: str, fraction: float) -> None:
    progress(Step(name, fraction, 1))


def check_entries(entries: Collection[str], images: Sequence[ProjectImage]) -> None:
    """Refuse ids that no image of the project has."""
    unknown = sorted(set(entries) - {image.id for image in images})
    if unknown:
        raise InputError(
            f"--entry {unknown[0]}: no image of the project has this id; there are "
            f"{_listed(images)}"
        )


def _listed(images: Sequence[ProjectImage]) -> str:
    """Return ids and names of images, for the user."""
    more = f" and {len(images) - 20} more" if len(images) > 20 else ""
    return ", ".join(f"{image.id} ('{image.name}')" for image in images[:20]) + more


def _results_folders(
    places: Sequence[Path], *, tell: Callable[[str], None]
) -> tuple[list[Path], list[Transfer]]:
    """Return the results folders among folders and one level below, each once, and bad folders.

    A pattern such as ``night/*`` also names files, such as ``summary.csv``: they are left out.

    Raises
    ------
    InputError
        There are no results at all.
    """
    found: dict[Path, None] = {}
    refused: list[Transfer] = []
    files = []
    for place in places:
        if place.is_file():
            files.append(place)
            continue
        inside = [place] if _is_of_run(place) else []
        inside = inside or sorted(path for path in place.glob("*") if _is_of_run(path))
        if not inside:
            why = "no results here; make them with 'wsi-suite run'"
            refused.append(Transfer(place.name, place, error=InputError(f"{place}: {why}")))
        found |= dict.fromkeys(path.resolve() for path in inside)
    if not found:
        if refused and refused[0].error is not None:
            raise refused[0].error
        raise InputError(f"{files[0]}: no results here; name the folder of a run")
    if files:
        tell(f"left out, because they are no folders of a run: {', '.join(map(str, files))}")
    return list(found), refused


def _is_of_run(folder: Path) -> bool:
    return (folder / TABLE_NAME).is_file() or (folder / RUN_FILE).is_file()


def _read_result(folder: Path) -> _Result:
    run = read_run(folder)
    if run is None or run.state is not State.DONE or not (folder / TABLE_NAME).is_file():
        raise InputError(f"{folder}: its run is not finished; give the same 'wsi-suite run' again")
    provenance = read_provenance(folder / TABLE_NAME)
    summary, rois = read_summary(folder), provenance.rois or ()
    if summary is None or len(summary.regions) != len(rois):
        raise InputError(
            f"{folder / SUMMARY_FILE}: missing, or of other regions than {TABLE_NAME}; run again "
            "with --overwrite"
        )
    regions = tuple(
        {
            "name": roi.name,
            "class": roi.class_name,
            "wkb": roi.wkb,
            "measurements": _scores_of(region),
        }
        for roi, region in zip(rois, summary.regions, strict=True)
    )
    slide = Path(run.slide_path)
    return _Result(folder, slide, run.fingerprint.slide, regions)


def _scores_of(region: RegionScores) -> dict[str, float]:
    """Return a region's scores as measurements; QuPath's own columns keep their names."""
    values: dict[str, float | None] = {"wsi-suite: area mm^2": region.area_mm2}
    for name, score in region.scores.items():
        values[f"wsi-suite: {name}: nuclei"] = score.nuclei
        values[f"wsi-suite: {name}: Positive %"] = score.positive_percent
        values[f"wsi-suite: {name}: H-score"] = score.h_score
    return {name: float(value) for name, value in values.items() if value is not None}


def _image_of(
    result: _Result,
    images: Sequence[ProjectImage],
    *,
    entries: Collection[str],
    project: Project,
    content_of: Callable[[Path], tuple[int, str] | None],
) -> tuple[ProjectImage, tuple[str, ...]]:
    """Return the image of a result's slide, added if it is missing, and notes."""
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
        if entries:
            raise InputError(
                f"{result.identity.name}: none of the images that --entry names is of this slide"
            )
        here = [project.add(result.slide)]
    return _only(here, result, entries=entries, project=project), notes


def _only(
    images: Sequence[ProjectImage],
    result: _Result,
    *,
    entries: Collection[str],
    project: Project,
) -> ProjectImage:
    """Return which of several images of a file is meant: that of the run's size."""
    name = result.identity.name
    chosen = [image for image in images if image.id in entries] if entries else list(images)
    if not chosen:
        raise InputError(
            f"{name}: none of the images that --entry names is of this slide; those of it are "
            f"{_listed(images)}"
        )
    if len(chosen) == 1:
        return chosen[0]
    size = read_provenance(result.folder / TABLE_NAME).size_px0
    fitting = []
    for image in chosen:
        frame = project.frame(image)
        if (frame.width, frame.height) == size and not frame.moved:
            fitting.append(image)
    named = [image for image in fitting if image.name == name]
    if len(fitting) == 1 or len(named) == 1:
        return (named or fitting)[0]
    raise several_images(name, fitting or chosen)


def several_images(name: str, images: Sequence[ProjectImage]) -> InputError:
    """Return the error of a slide whose images in a project cannot be told apart."""
    names = ", ".join(f"'{image.name}'" for image in images)
    return InputError(
        f"{name}: is in the project more than once ({names}); give --entry with the id of the one "
        f"that is meant: {_listed(images)}"
    )


def _is_at(image: ProjectImage, path: Path) -> bool:
    return image.path is not None and image.path.resolve() == path.resolve()


def _is_called(image: ProjectImage, name: str) -> bool:
    return image.path is not None and image.path.name == name


def _content_of(path: Path) -> tuple[int, str] | None:
    """Return the content key of a slide, equal for copies; ``None`` if there is no slide."""
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
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder, older_than_s=_HOUR_S)  # another pull may be writing there
