"""Push of results into QuPath projects.

One image that fails never stops the others.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsi_suite.analysis.summary import SUMMARY_FILE, read_summary
from wsi_suite.documents import RUN_FILE
from wsi_suite.errors import InputError, SlideError, WsiSuiteError
from wsi_suite.nuclei.parquet import read_provenance
from wsi_suite.progress import Progress, Step, no_progress
from wsi_suite.qupath.project import Project
from wsi_suite.qupath.project_messages import ProjectImage, Pushed, Region
from wsi_suite.runs.folder import TABLE_NAME
from wsi_suite.runs.run_record import read_run
from wsi_suite.runs.state import State
from wsi_suite.runs.transfers import Transfer, check_entries, listed, several_images
from wsi_suite.scoring.regions import scored_rois
from wsi_suite.scoring.slide_scores import RegionScores, SlideScores
from wsi_suite.scoring.verdicts import marked, no_verdict_warnings
from wsi_suite.slides.identity import SlideIdentity

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Result:
    """A results folder: its slide, as the run had it, and its scores."""

    folder: Path
    slide: Path
    identity: SlideIdentity
    regions: tuple[Region, ...]
    has_verdict: bool
    notes: tuple[str, ...]


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
        Make the project if there is none.
    image_type
        What images are to be, such as ``brightfield_h_dab``, whatever they are now; ``None``:
        H-DAB with the run's stain vectors if nobody has set a type.
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
        Receives what the user should know at once: who is waited for, what is left out.
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
            push = functools.partial(
                opened.push,
                table=folder / TABLE_NAME,
                image_type=image_type,
                shape=shape,
                discard_corrections=discard_corrections,
                progress=functools.partial(_part, progress, folder.name),
            )
            try:
                images = opened.images()  # as they are now: the project may have been opened again
                result = _read_result(folder)
                first = pushed.setdefault(result.identity.content, folder)
                if first != folder:
                    raise InputError(f"{folder}: of the same slide as {first}; push one of the two")
                image, notes = _image_of(
                    result, images, entries=entries, project=opened, content_of=content_of
                )
                answer = push(image, regions=result.regions, intensities=result.has_verdict)
            except WsiSuiteError as error:
                transfers.append(Transfer(folder.name, folder, error=error))
            else:
                transfers.append(_transfer(result, image, answer, notes=notes))
    return transfers


def _transfer(
    result: _Result, image: ProjectImage, answer: Pushed, *, notes: Sequence[str]
) -> Transfer:
    return Transfer(
        result.identity.name,
        result.folder,
        image=image.name,
        entry=image.id,
        counts={**answer.counts, "regions": answer.regions},
        backup=answer.backup,
        notes=(*notes, *result.notes, *answer.notes),
    )


def _part(progress: Progress, name: str, fraction: float) -> None:
    progress(Step(name, fraction, 1))


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
    summary, rois = read_summary(folder), scored_rois(provenance.regions() or ())
    if summary is None or len(summary.regions) != len(rois):
        raise InputError(
            f"{folder / SUMMARY_FILE}: missing, or of other regions than {TABLE_NAME}; run again "
            "with --overwrite"
        )
    regions = tuple(
        Region(
            roi.name, roi.class_name, wkb=roi.area.wkb_hex, measurements=_scores_of(region, summary)
        )
        for roi, region in zip(rois, summary.regions, strict=True)
    )
    slide = Path(run.slide_path)
    has_verdict = summary.no_verdict is None
    notes = tuple(
        f"{warning} Nuclei have no intensities there, so that QuPath computes no scores."
        for warning in no_verdict_warnings(summary)
    )
    return _Result(folder, slide, run.fingerprint.slide, regions, has_verdict, notes)


def _scores_of(region: RegionScores, scores: SlideScores) -> dict[str, float]:
    """Return a region's scores as measurements; QuPath's own columns keep their names.

    Those of a slide without a verdict are marked, since a measurement stands alone in a table.
    """
    values: dict[str, float | None] = {
        "wsi-suite: area mm^2": region.area_mm2,
        "wsi-suite: tissue mm^2": region.tissue_area_mm2,
    }
    for name, score in region.scores.items():
        values[f"wsi-suite: {name}: nuclei"] = score.nuclei
        values[marked(f"wsi-suite: {name}: Positive %", scores)] = score.positive_percent
        values[marked(f"wsi-suite: {name}: H-score", scores)] = score.h_score
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
            f"{listed(images)}"
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
