"""``dataset sample``: fields of slides to annotate."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wsi_suite.datasets.formats import WriteOptions, writer_of
from wsi_suite.documents import write_document
from wsi_suite.errors import ConfigError, OutputConflictError
from wsi_suite.files import whole_file
from wsi_suite.given_values import number_of, path_of
from wsi_suite.progress import Progress, Step, no_progress
from wsi_suite.slides.sources import expand_slides

if TYPE_CHECKING:
    from wsi_suite.detector.detector import Detector

log = logging.getLogger(__name__)

_SUFFIXES = {"cvat": ".xml", "coco": ".json", "label-studio": ".json", "points": ".csv"}


@dataclass(frozen=True)
class Sampled:
    """Fields of slides that were chosen to be annotated.

    Attributes
    ----------
    folder
        Holds pictures and labels.
    fields, slides, nuclei
        How many.
    missing
        How many fields fewer than were asked for: they would look like others.
    project
        The QuPath project, if one was asked for.
    key
        Tells which pictures are controls, if any were hidden; keep it from the annotators.
    controls
        How many were hidden.
    """

    folder: Path
    fields: int
    slides: int
    nuclei: int
    missing: int
    project: Path | None
    key: Path | None
    controls: int


def sample(
    slides: str | Path | Iterable[str | Path],
    *,
    out: str | Path,
    fields: int = 200,
    size_um: float = 200.0,
    format: str = "cvat",  # noqa: A002 - the word of the other functions
    model: str | Path | None = None,
    doubt: str | Path | None = None,
    project: str | Path | None = None,
    control: str | Path | None = None,
    controls: int = 10,
    key: str | Path | None = None,
    mpp: float | None = None,
    seed: int = 0,
    device: str | None = None,
    tell: Callable[[str], None] = log.warning,
    progress: Progress = no_progress,
) -> Sampled:
    """Choose fields of slides to annotate, as pictures and, with a model, with nuclei to correct.

    Fields lie on clean tissue, in focus; weak and strong stain, loose and dense tissue and all
    slides are there alike.

    Parameters
    ----------
    slides
        Slides, folders of them, or patterns.
    out
        Folder for the fields; it must not be there yet.
    fields
        How many in all.
    size_um
        Side of a field, um; 20 at least.
    format
        Format of the labels: ``cvat``, ``label-studio``, ``geojson`` for QuPath, or another.
    model
        Put the nuclei in that this model finds, to be corrected.
    doubt
        Take the fields in which `model` and this one disagree most; ``flips``: the model itself,
        averaged over flips.
    project
        Also make a QuPath project here, with the fields as annotations on their slides.
    control
        Hide pictures of this dataset or folder of tiles, whose labels are right, among the fields:
        a test of annotators.
    controls
        How many pictures are hidden.
    key
        File that tells which pictures are controls; by default ``<out>.key.json``.
    mpp
        um per level-0 pixel of slides that do not say.
    seed
        Of the draw.
    device
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    tell
        Receives remarks.
    progress
        Receives the current step, as `message`.

    Returns
    -------
    Sampled
        What was chosen and written.

    Raises
    ------
    WsiSuiteError
        An argument, a slide or a model cannot be used, or something exists already.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> sampled = ws.dataset.sample("slides", out="fields", fields=3, size_um=60)
    >>> sampled.fields, sampled.slides, sampled.nuclei
    (3, 3, 0)
    """
    from wsi_suite.studies.control_fields import unlike_scales, with_controls
    from wsi_suite.studies.field_project import write_field_project
    from wsi_suite.studies.field_sample import (
        POOL,
        cut_fields,
        most_doubtful,
        pre_annotate,
        sample_fields,
        write_field_annotations,
        write_pictures,
    )

    folder = path_of(out, option="--out")
    in_project = path_of(project, option="--project", optional=True)
    truth = path_of(control, option="--control", optional=True)
    if doubt is not None and model is None:
        raise ConfigError("--doubt: give the model whose doubt is meant, as --model")
    size_um = number_of(size_um, option="--size-um", least=20)
    key_file = _check_outputs(
        folder, project=in_project, control=truth, key=path_of(key, option="--key", optional=True)
    )
    write = writer_of(format)
    detector, other = _detectors(model, doubt, device=device or "auto")
    paths = expand_slides([slides] if isinstance(slides, str | Path) else slides, tell=tell)
    progress(Step("fields", 0, 1, f"looking at {len(paths)} slides"))
    with tempfile.TemporaryDirectory(prefix="wsi-suite-fields-") as scratch:
        pool = fields * (POOL if doubt else 1)
        found = sample_fields(paths, count=pool, size_um=size_um, mpp=mpp, seed=seed)
        chosen = cut_fields(found, Path(scratch), mpp=mpp)
        if detector is not None:
            chosen = most_doubtful(pre_annotate(chosen, detector, other), count=fields)
        images, hidden = [one.image for one in chosen], None
        if truth is not None:
            images, hidden = with_controls(
                chosen, truth, Path(scratch) / "controls",
                count=controls, size_um=size_um, detector=detector, seed=seed,
            )  # fmt: skip
        with whole_file(folder) as made:
            made.mkdir()
            lost = write(images, made / f"labels{_SUFFIXES.get(format, '')}", WriteOptions())
            write_pictures(images, made)
            if hidden is not None:
                write_document(key_file, hidden)
            else:
                write_field_annotations(chosen, made)
            if in_project is not None:
                write_field_project(chosen, in_project, slides=paths, detector=detector, tell=tell)
    progress(Step("fields", 1, 1))
    for sentence in lost:
        tell(sentence)
    if hidden is not None and unlike_scales(hidden):
        tell("pixel sizes of controls are none of the slides': an annotator may see that")
    return Sampled(
        folder=folder,
        fields=len(chosen),
        slides=len(paths),
        nuclei=sum(len(image.labels) for image in images),
        missing=max(fields - len(chosen), 0),
        project=in_project,
        key=None if hidden is None else key_file,
        controls=0 if hidden is None else len(hidden.controls),
    )


def _check_outputs(
    out: Path, *, project: Path | None, control: Path | None, key: Path | None
) -> Path:
    """Refuse an output that cannot be written, before any work; return the file of the key."""
    from wsi_suite.studies.field_project import check_field_project

    if out.exists():
        raise OutputConflictError(f"{out}: is there already; give another folder")
    if control is None and key is not None:
        raise ConfigError("--key: name the labelled pictures to hide, as --control")
    if control is not None and project is not None:
        raise ConfigError(
            "--control: in a project on their slides controls would be known; leave out --project"
        )
    key = key or out.with_name(f"{out.name}.key.json")
    if control is not None and key.exists():
        raise OutputConflictError(f"{key}: is there already; give another --key")
    if key.resolve().is_relative_to(out.resolve()):
        raise ConfigError(f"--key {key}: lies in {out}, which annotators get; give another place")
    if project is not None:
        check_field_project(project)
    return key


def _detectors(
    model: str | Path | None, doubt: str | Path | None, *, device: str
) -> tuple[Detector | None, Detector | None]:
    """Return the model whose nuclei are put in, and the one that it is compared with."""
    from wsi_suite.detector.detector import load_detector

    if model is None:
        return None, None
    first = load_detector(model, device=device)
    if doubt is None:
        return first, None
    flips = doubt == "flips"
    return first, load_detector(model if flips else doubt, device=device, flips=flips)
