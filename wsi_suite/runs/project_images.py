"""The images of a QuPath project as slides to run on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsi_suite.errors import InputError, WsiSuiteError
from wsi_suite.qupath.project import Project
from wsi_suite.qupath.project_files import project_file
from wsi_suite.qupath.project_messages import ProjectImage
from wsi_suite.runs.transfers import Transfer, check_entries, several_images
from wsi_suite.slides.identity import slide_stem


@dataclass(frozen=True)
class ProjectBatch:
    """Images of a project that can be run together.

    Attributes
    ----------
    slides
        Their files.
    rois
        Folder of ``<stem>.geojson`` with the regions to look at; ``None``: all tissue.
    mpp
        The pixel size that somebody set in QuPath; ``None``: the files'.
    """

    slides: tuple[Path, ...]
    rois: Path | None
    mpp: float | None


def project_batches(
    project: Path, *, in_class: str | None, folder: Path, entries: Collection[str] = ()
) -> tuple[list[ProjectBatch], list[Transfer]]:
    """Return the images of a project as batches, and those that cannot be run.

    Parameters
    ----------
    project
        A project file or its folder.
    in_class
        Look only inside annotations of this class, in images that have any.
    folder
        Gets the regions, as GeoJSON.
    entries
        Ids of the images to run on; without any all. Several images of one file cannot be told
        apart without them, unless one is the largest or has the file's name.
    """
    refused: list[Transfer] = []
    together: dict[tuple[bool, float | None, int], list[Path]] = {}
    rois: dict[tuple[bool, float | None, int], Path] = {}
    seen: set[Path] = set()
    with Project(project, readonly=True) as opened:
        images = opened.images()
        check_entries(entries, images)
        files = Counter(image.path.resolve() for image in images if image.path is not None)
        for image in images:
            if entries and image.id not in entries:
                continue
            try:
                slide = _file_of(image)
                alone = files[slide.resolve()] == 1
                if not (alone or entries or _is_meant(image, images, opened)):
                    continue
                if slide in seen:
                    raise InputError(
                        f"{image.name}: of the same slide as another --entry; run it by itself, "
                        "with another --out"
                    )
                seen.add(slide)
                frame = opened.frame(image)
                drawn = folder / f"{image.id}.geojson"
                inside = in_class is not None and bool(
                    opened.write_annotations(image, file=drawn, class_name=in_class)
                )
            except WsiSuiteError as error:
                refused.append(Transfer(image.name, None, image=image.name, error=error))
                continue
            mpp = frame.mpp[0] if frame.mpp is not None and frame.mpp_set_by_hand else None
            key = _free_batch(together, slide, inside=inside, mpp=mpp)
            together.setdefault(key, []).append(slide)
            if inside:
                rois[key] = folder / f"batch-{list(together).index(key)}"
                rois[key].mkdir(exist_ok=True)
                drawn.replace(rois[key] / f"{slide_stem(slide)}.geojson")
    batches = [
        ProjectBatch(tuple(slides), rois.get(key), key[1]) for key, slides in together.items()
    ]
    return batches, refused


def default_out(project: Path) -> Path:
    """Return where the results of a run on a project go: ``results`` in its folder."""
    return project_file(project).parent / "results"


def _file_of(image: ProjectImage) -> Path:
    if image.path is None:
        raise InputError(f"{image.name}: is no file that wsi-suite could read")
    if not image.path.exists():
        raise InputError(
            f"{image.name}: {image.path} is missing; open the project in QuPath, which asks for "
            "its new place"
        )
    return image.path


def _is_meant(image: ProjectImage, images: Sequence[ProjectImage], project: Project) -> bool:
    """Return whether a run is for this image, if several show the same file.

    Raises
    ------
    InputError
        They cannot be told apart; raised for the first of them.
    """
    assert image.path is not None
    file = image.path.resolve()
    same = [other for other in images if other.path is not None and other.path.resolve() == file]
    frames = {other.id: project.frame(other) for other in same}
    plain = [other for other in same if not frames[other.id].moved] or same
    largest = max(frames[other.id].width * frames[other.id].height for other in plain)
    fitting = [
        other for other in plain if frames[other.id].width * frames[other.id].height == largest
    ]
    named = [other for other in fitting if other.name == file.name]
    if len(fitting) == 1 or len(named) == 1:
        return image == (named or fitting)[0]
    if image == same[0]:
        raise several_images(file.name, fitting)
    return False


def _free_batch(
    batches: Mapping[tuple[bool, float | None, int], Sequence[Path]],
    slide: Path,
    *,
    inside: bool,
    mpp: float | None,
) -> tuple[bool, float | None, int]:
    """Return the first batch of its kind in which no other slide has the name of this one."""
    number = 0
    while any(
        slide_stem(other).casefold() == slide_stem(slide).casefold()
        for other in batches.get((inside, mpp, number), ())
    ):
        number += 1
    return inside, mpp, number
