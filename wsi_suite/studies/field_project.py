"""A QuPath project of fields to annotate: each on its slide, with a model's nuclei to correct."""

from __future__ import annotations

import hashlib
import logging
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import shapely

import wsi_suite
from wsi_suite.errors import ConfigError, OutputConflictError
from wsi_suite.qupath.objects import FIELD_TO_DO, MODEL, RUN, SOURCE
from wsi_suite.qupath.program import GET_QUPATH, find_qupath
from wsi_suite.qupath.project import Project
from wsi_suite.qupath.project_files import check_project, project_file
from wsi_suite.qupath.project_messages import FoundNuclei, Region
from wsi_suite.resources import qupath_scripts_folder
from wsi_suite.studies.field_sample import ChosenField, by_slide, field_name

if TYPE_CHECKING:
    from wsi_suite.detector.detector import Detector

log = logging.getLogger(__name__)

NEXT_SCRIPT = "Next_field.groovy"


def check_field_project(project: Path) -> None:
    """Refuse a project that cannot be made, before any work is done.

    Raises
    ------
    OutputConflictError
        There is one already.
    InputError
        Its folder holds something else.
    ConfigError
        QuPath is not found.
    """
    if project_file(project).exists():
        raise OutputConflictError(f"{project}: is a project already; give a new folder")
    check_project(project, create=True, writes=True)
    try:
        find_qupath()
    except ConfigError as error:
        raise ConfigError(f"--project: QuPath was {error}; {GET_QUPATH}") from None


def write_field_project(
    chosen: Sequence[ChosenField],
    project: Path,
    *,
    slides: Sequence[Path],
    detector: Detector | None = None,
    tell: Callable[[str], None] = log.warning,
) -> None:
    """Make a project whose images are the slides, with the fields as annotations.

    Fields are named by their order, those of most doubt first; their class is "Field: to do", and
    the script *Next field* among the project's scripts goes from one to the next.

    Parameters
    ----------
    chosen
        The fields, with labels if they are to be corrected.
    project
        A new folder, or the project file in one.
    slides
        Files of the slides, in the order in which their images are to stand.
    detector
        The model whose nuclei are to be corrected; ``None``: the fields are empty.
    tell
        Receives what the user should know.

    Raises
    ------
    InputError, OutputError
        QuPath cannot open a slide, or the project cannot be written.
    """
    fields = by_slide(chosen)
    with Project(project, create=True, tell=tell) as opened:
        for path in sorted(slides, key=lambda path: _first(fields.get(path))):
            if path not in fields:
                continue
            image = opened.add(path)
            done = opened.add_fields(
                image,
                fields=[_region(one, number) for number, one in enumerate(fields[path], start=1)],
                found=None if detector is None else _found(fields[path], detector),
                mpp=math.sqrt(math.prod(fields[path][0].image.mpp or ())),
                size=fields[path][0].size_px0,
            )
            for remark in done.notes:
                tell(f"{image.name}: {remark}")
        scripts = opened.file.parent / "scripts"
        scripts.mkdir(exist_ok=True)
        shutil.copyfile(qupath_scripts_folder() / NEXT_SCRIPT, scripts / NEXT_SCRIPT)


def _first(fields: Sequence[ChosenField] | None) -> float:
    return -fields[0].doubt if fields else 0.0


def _region(field: ChosenField, number: int) -> Region:
    return Region(field_name(number), FIELD_TO_DO, wkb=field.area.wkb_hex, measurements={})


def _found(fields: Sequence[ChosenField], detector: Detector) -> FoundNuclei:
    """Return the nuclei of the fields of a slide in its frame."""
    points: list[tuple[float, float]] = []
    confidence: list[float] = []
    label: list[int] = []
    digest = hashlib.sha256()
    for field in fields:
        left, top = field.image.corner_px0 or (0.0, 0.0)
        points += [(x + left, y + top) for x, y in field.image.labels.points.tolist()]
        confidence += field.confidence.tolist()
        label += [detector.classes.index(name or "") for name in field.image.labels.class_names]
        digest.update(shapely.to_wkb(field.area))
    model = detector.model
    origin = {
        SOURCE: f"wsi-suite {wsi_suite.__version__}",
        MODEL: f"{model.spec.name} {model.hash[:12]}",
        RUN: hashlib.sha256(f"{model.hash} {digest.hexdigest()}".encode()).hexdigest()[:12],
    }
    return FoundNuclei(tuple(points), tuple(confidence), tuple(label), detector.classes, origin)
