"""Requests of a batch: one per slide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from wsi_suite.analysis.given_regions import Regions, RegionsLike, regions_of
from wsi_suite.analysis.provenance import device_kind
from wsi_suite.analysis.request import Analysis
from wsi_suite.config import Settings
from wsi_suite.errors import InputError, WsiSuiteError
from wsi_suite.patience import with_patience
from wsi_suite.runs.entry import Entry
from wsi_suite.runs.folder_names import ResultFolders
from wsi_suite.runs.run_record import read_run
from wsi_suite.slides.identity import SlideIdentity
from wsi_suite.slides.store_layout import writing

if TYPE_CHECKING:
    from wsi_suite.detector.detector import Compute
    from wsi_suite.detector.model_folder import ModelFolder

Stage = Literal["run", "tile", "detect"]
"""``run``: slide to scores; ``tile``: slide to tiles; ``detect``: tiles to scores."""


@dataclass(frozen=True, kw_only=True)
class Request(Analysis):
    """An analysis that lives in a folder.

    Attributes
    ----------
    stage
        Which part of the way.
    folder
        Where its results go.
    roi_file
        Where its regions of interest come from.
    overwrite
        Throw away what the folder holds.
    share
        Other processes do the same; take the slide over from one that gives no sign of life.
    copy
        A copy of the slide on a local disk, to read in its place; it appears in no results.
    """

    stage: Stage
    folder: Path
    roi_file: Path | None = None
    overwrite: bool = False
    share: bool = False
    copy: Path | None = None

    @property
    def source(self) -> Path:
        """Where the slide is read."""
        return self.copy or self.slide

    def in_original(self, text: str) -> str:
        """Return a text with the path of the slide where it names that of its copy."""
        if self.copy is None:
            return text
        return text.replace(str(self.copy.parent), str(self.slide.parent))


@dataclass(frozen=True, kw_only=True)
class BatchRequest:
    """Part of a request that all slides of a batch share; attributes as of :class:`Request`."""

    stage: Stage
    settings: Settings
    model: ModelFolder
    compute: Compute | None
    threads: int = 1
    overwrite: bool = False
    share: bool = False

    def for_slide(
        self,
        entry: Entry,
        *,
        identity: SlideIdentity,
        folder: Path,
        regions: Regions,
    ) -> Request:
        """Return the request of one slide."""
        return Request(
            slide=entry.slide,
            identity=identity,
            settings=entry.over(self.settings),
            model=self.model,
            compute=self.compute,
            rois=regions.rois,
            missing_cores=regions.missing_cores,
            threads=self.threads,
            stage=self.stage,
            folder=folder,
            roi_file=regions.file,
            overwrite=self.overwrite,
            share=self.share,
        )


@dataclass(frozen=True)
class Refused:
    """A slide for which nothing can be asked, and why."""

    slide: Path
    folder: Path | None
    error: WsiSuiteError


def ask_for_slides(
    entries: Sequence[Entry], *, batch: BatchRequest, out: Path, rois: RegionsLike
) -> Iterator[Request | Refused]:
    """Yield a request for each slide, or the reason that it is refused; one at a time.

    Parameters
    ----------
    entries
        Slides with what is their own; one that comes twice is asked for once.
    batch
        The part of the requests that all slides share.
    out
        Gets a folder for each slide.
    rois
        Regions of interest: a GeoJSON file, a folder of them, or of one slide as they are.
    """
    by_slide = {entry.slide: entry for entry in reversed(entries)}
    timeout_s = 60 * batch.settings.run.read_timeout_min

    def identify(slide: Path) -> SlideIdentity:
        return with_patience(partial(SlideIdentity.of, slide), path=slide, timeout_s=timeout_s)

    with writing(out):
        folders = ResultFolders(out, by_slide, identify=identify)
    several = len(by_slide) > 1
    first_in: dict[Path, Path] = {}
    for entry in dict.fromkeys(by_slide[entry.slide] for entry in entries):
        slide, folder = entry.slide, None
        try:
            with writing(out):
                identity, folder = (
                    (_stored_identity(slide), slide)
                    if batch.stage == "detect"
                    else folders.choose(slide)
                )
            first = first_in.setdefault(folder.resolve(), slide)
            if first != slide:
                raise InputError(f"{slide}: is the same slide as {first}; give it once")
            regions = (
                regions_of(identity.name, entry.rois)
                if entry.rois
                else regions_of(identity.name, rois, several=several)
            )
        except WsiSuiteError as error:
            yield Refused(slide, folder, error)
            continue
        yield batch.for_slide(entry, identity=identity, folder=folder, regions=regions)


def keep_compute(request: Request, settings: Mapping[str, Any]) -> Request:
    """Return the request with the precision that a run was begun with, unless the user chose one.

    Another machine, on which the run may go on, would choose another one.
    """
    from wsi_suite.detector.detector import warn_if_slow

    recorded = settings.get("compute")
    if request.compute is None or recorded is None:
        return request
    if request.settings.detect.precision == "auto" and recorded["device"] == device_kind(
        request.compute
    ):
        compute = replace(
            request.compute,
            precision=recorded["precision"],
            batch=recorded["batch"],
            ranges=recorded.get("ranges", ""),
        )
        if compute != request.compute:
            warn_if_slow(compute)
        return replace(request, compute=compute)
    return request


def _stored_identity(folder: Path) -> SlideIdentity:
    run = read_run(folder)
    if run is None:
        raise InputError(f"{folder}: no tiles here; make them with 'wsi-suite tile'")
    return run.fingerprint.slide
