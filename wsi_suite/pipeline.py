"""One slide's run: what is planned, what is still to do, what comes of it.

A run lives in its folder. Each region that is done leaves a record there, whole or not at all, so
a run that was stopped goes on where it was, and ends in the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

import wsi_suite
from wsi_suite.config import Settings
from wsi_suite.engine import DetectJob, SlideJob
from wsi_suite.errors import ConfigError, OutputConflictError, OutputError
from wsi_suite.geometry import Roi
from wsi_suite.nuclei.parquet import read_nuclei, write_nuclei
from wsi_suite.nuclei.table import Nuclei, concatenate
from wsi_suite.outputs import Results, write_results
from wsi_suite.plan import SlideFacts, read_facts, survey_slide, write_facts
from wsi_suite.qupath.rois import check_rois_inside
from wsi_suite.run_folder import (
    RECORDS_NAME,
    RUN_FILE,
    STORE_NAME,
    Fingerprint,
    SlideIdentity,
    claim_folder,
    library_versions,
    read_run,
    write_run,
)
from wsi_suite.scoring.regions import nuclei_in_rois, scored_rois
from wsi_suite.slides.grid import Region
from wsi_suite.slides.store import TileStore, estimated_bytes
from wsi_suite.slides.store_layout import partial_folder
from wsi_suite.staining.deconvolution import StainVectors

if TYPE_CHECKING:
    from wsi_suite.nuclei.detector import Compute
    from wsi_suite.nuclei.weights import ModelFolder

log = logging.getLogger(__name__)

Stage = Literal["run", "tile", "detect"]
"""``run``: slide to scores; ``tile``: slide to tiles; ``detect``: tiles to scores."""

_TILE_SECTIONS = ("mpp", "read_mpp", "tissue", "rois", "tiles")
_TILES_MARK = ".tiles"
_FREE_SHARE = 0.05  # of the disk, that a run leaves


@dataclass(frozen=True)
class Request:
    """What is asked for one slide.

    Attributes
    ----------
    stage
        Which part of the way.
    slide
        The slide's file; for ``detect`` the name of a slide that need not be there.
    identity
        What tells it from others.
    folder
        Where its results go.
    settings
        All settings.
    model
        The model; for ``tile`` it gives the resolution.
    compute
        How forward passes are run, where this run is a new one; ``None`` for ``tile``.
    rois
        Regions of interest, or ``None`` for all tissue.
    roi_file
        Where they come from.
    threads
        Of each worker.
    overwrite
        Throw away what the folder holds.
    """

    stage: Stage
    slide: Path
    identity: SlideIdentity
    folder: Path
    settings: Settings
    model: ModelFolder
    compute: Compute | None
    rois: tuple[Roi, ...] | None = None
    roi_file: Path | None = None
    threads: int = 1
    overwrite: bool = False


@dataclass(frozen=True, eq=False)
class SlideRun:
    """A run that has its folder and its plan.

    Attributes
    ----------
    request
        What was asked, settings filled in from the model.
    facts
        What is known of the slide.
    job
        What workers need.
    earlier
        What an earlier start of this run left in ``run.json``.
    done
        Whether there is nothing left to do.
    started
        Seconds since 1970.
    """

    request: Request
    facts: SlideFacts
    job: SlideJob
    earlier: dict[str, Any] | None
    done: bool
    started: float

    @property
    def folder(self) -> Path:
        """Where the results are."""
        return self.request.folder

    @property
    def records(self) -> Path:
        """Where regions that are done leave their nuclei."""
        return self.folder / RECORDS_NAME


def prepare_run(request: Request) -> SlideRun:
    """Claim the folder, survey the slide and plan its regions.

    Raises
    ------
    WsiSuiteError
        The slide, the regions or the folder cannot be used; nothing was written then.
    """
    request = replace(request, settings=_complete(request.settings, request.model))
    request, earlier = _claim(request)
    folder = request.folder
    facts = read_facts(folder) if earlier else None
    if facts is None:
        facts = survey_slide(
            request.slide,
            request.settings,
            read_mpp=request.model.spec.read_mpp,
            rois=request.rois,
        )
    if request.rois is not None:
        check_rois_inside(
            request.rois, width=facts.width, height=facts.height, path=request.roi_file or folder
        )
    run = SlideRun(
        request,
        facts,
        job=_job(request, facts),
        earlier=earlier,
        done=_is_done(earlier, request),
        started=time.time(),
    )
    if run.done:
        return run
    _check_disk(run)
    try:
        run.records.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror}); give another --out"
                          ) from None
    write_facts(folder, facts)
    # Read back, so that a run that goes on computes with the very same numbers.
    facts = read_facts(folder) or facts
    run = replace(run, facts=facts, job=_job(request, facts))
    write_run(folder, _describe(run, state="running"))
    _begin_store(run)
    return run


def pending_regions(run: SlideRun) -> list[tuple[SlideJob, Region]]:
    """List what is still to do, as jobs for workers."""
    if run.done:
        return []
    pending = []
    for region in run.job.grid.regions:
        detect = run.job.detect is not None and not _record(run, region).exists()
        store = _writes_store(run) and not _tiles_mark(run, region).exists()
        if detect or store:
            job = replace(
                run.job,
                detect=run.job.detect if detect else None,
                store=run.job.store if store or run.job.slide is None else None,
            )
            pending.append((job, region))
    return pending


def record_region(run: SlideRun, job: SlideJob, region: Region, nuclei: Nuclei | None) -> None:
    """Keep what a worker sent back; from here on the region is done."""
    if job.store is not None and job.slide is not None:
        _tiles_mark(run, region).touch()
    if nuclei is not None:
        write_nuclei(nuclei, _record(run, region),
                     intensity=np.zeros(len(nuclei), np.uint8), metadata={})


def finish_run(run: SlideRun) -> dict[str, Any] | None:
    """Merge the records, write all results and return the summary (``None`` for ``tile``)."""
    summary: dict[str, Any] | None
    summary_path = run.folder / "summary.json"
    if run.done:
        return json.loads(summary_path.read_text("utf-8")) if summary_path.exists() else None
    store = _finished_store(run)
    summary = None
    if run.job.detect is not None:
        summary = write_results(
            Results(
                folder=run.folder,
                facts=run.facts,
                nuclei=merge_records(run),
                rois=run.request.rois,
                settings=run.request.settings,
                provenance=_provenance(run),
            ),
            slide=run.request.slide if run.job.slide is not None else None,
            store=store,
        )
    write_run(run.folder, _describe(run, state="tiled" if summary is None else "done"))
    shutil.rmtree(run.records, ignore_errors=True)
    return summary


def discard_run(folder: Path) -> None:
    """Remove a folder of ours, or refuse to remove anything else."""
    if not folder.exists():
        return
    if not (folder / RUN_FILE).exists() and any(folder.iterdir()):
        raise OutputConflictError(
            f"{folder}: holds no run of ours, so --overwrite leaves it alone; give another --out"
        )
    shutil.rmtree(folder)


def fail_run(run: SlideRun, reason: str) -> None:
    """Note in ``run.json`` why a run stopped; what is done stays."""
    write_run(run.folder, _describe(run, state="failed") | {"error": reason})


def merge_records(run: SlideRun) -> Nuclei:
    """Join the nuclei of all regions: each once, in the regions of interest, sorted by (y, x)."""
    from wsi_suite.nuclei.detector import suppress_close

    spec = run.request.model.spec
    tables = [read_nuclei(_record(run, region))[0] for region in run.job.grid.regions]
    nuclei = concatenate(tables) if tables else Nuclei.empty(spec.classes)
    mpp = (run.facts.mpp[0] * run.facts.mpp[1]) ** 0.5
    nuclei = nuclei.take(suppress_close(nuclei.points, nuclei.score, spec.min_distance_um / mpp))
    if run.request.rois is not None:
        inside = nuclei_in_rois(nuclei.points, scored_rois(run.request.rois))
        nuclei = nuclei.take(np.unique(np.concatenate([np.zeros(0, np.int_), *inside])))
    rounded = replace(
        nuclei,
        x=np.round(nuclei.x, 2),
        y=np.round(nuclei.y, 2),
        score=np.round(nuclei.score, 4),
    )
    return rounded.sorted()


def _complete(settings: Settings, model: ModelFolder) -> Settings:
    """Fill in what a model decides where the user does not."""
    detect, score = settings.detect, settings.score
    if detect.min_score is None:
        detect = detect.model_copy(update={"min_score": model.spec.min_score})
    if score.headline_class is None:
        score = score.model_copy(update={"headline_class": model.spec.headline_class})
    elif score.headline_class not in model.spec.classes:
        raise ConfigError(
            f"score.headline_class = '{score.headline_class}': model '{model.spec.name}' knows "
            f"{', '.join(model.spec.classes)}"
        )
    return settings.model_copy(update={"detect": detect, "score": score})


def _claim(request: Request) -> tuple[Request, dict[str, Any] | None]:
    """Make the folder this run's; a run that goes on keeps the compute that it was begun with."""
    if request.overwrite and request.stage != "detect":
        discard_run(request.folder)
    earlier = read_run(request.folder)
    if earlier is not None and request.overwrite:  # detect: the tiles stay
        shutil.rmtree(request.folder / RECORDS_NAME, ignore_errors=True)
        settings = earlier["fingerprint"]["settings"]
        kept = {key: settings[key] for key in _TILE_SECTIONS if key in settings}
        earlier = {**earlier, "state": "tiled", "fingerprint":
                   {**earlier["fingerprint"], "settings": kept}}
    if earlier is not None and request.compute is not None:
        recorded = earlier["fingerprint"]["settings"].get("compute")
        asked = request.settings
        if recorded and asked.run.device == "auto" and asked.detect.precision == "auto":
            request = replace(request, compute=replace(request.compute, **recorded))
    claim_folder(request.folder, earlier, fingerprint=_fingerprint(request))
    return request, earlier


def _fingerprint(request: Request) -> Fingerprint:
    """Return all that a run's results depend on; ``tile`` leaves out what only detecting needs."""
    settings, model = request.settings, request.model
    plain = settings.model_dump(mode="json")
    values: dict[str, Any] = {
        "mpp": settings.mpp,
        "read_mpp": model.spec.read_mpp,
        "tissue": plain["tissue"],
        "rois": None if request.rois is None else _roi_hash(request.rois),
        "tiles": {"ome_zarr_version": settings.tiles.ome_zarr_version},
    }
    if request.compute is not None:
        values |= {
            "model": {"name": model.spec.name, "hash": model.hash},
            "detect": {"min_score": settings.detect.min_score},
            "stain": plain["stain"],
            "measure": plain["measure"],
            "score": plain["score"],
            "compute": request.compute.as_dict(),
        }
    return Fingerprint(request.identity, values)


def _roi_hash(rois: Sequence[Roi]) -> str:
    described = json.dumps([[roi.name, roi.class_name, roi.area.wkt] for roi in rois])
    return hashlib.sha256(described.encode()).hexdigest()


def _job(request: Request, facts: SlideFacts) -> SlideJob:
    settings, model = request.settings, request.model
    detect = None
    if request.compute is not None:
        assert settings.detect.min_score is not None
        detect = DetectJob(
            model=model.path.resolve(),
            model_hash=model.hash,
            compute=request.compute,
            min_score=settings.detect.min_score,
            stain=settings.stain,
            measure=settings.measure,
        )
    keeps_tiles = request.stage != "run" or settings.tiles.keep
    return SlideJob(
        slide=None if request.stage == "detect" else request.slide.resolve(),
        mpp_given=settings.mpp,
        read_mpp=model.spec.read_mpp,
        mpp=facts.working_mpp,
        scale=facts.scale,
        grid=facts.grid(halo_px=model.spec.halo_px),
        store=(request.folder / STORE_NAME).resolve() if keeps_tiles else None,
        detect=detect,
        threads=request.threads,
    )


def _is_done(earlier: dict[str, Any] | None, request: Request) -> bool:
    """Return whether an earlier start left everything that is asked for now."""
    if earlier is None:
        return False
    scored = request.stage == "tile" or earlier["state"] == "done"
    needs_tiles = request.stage == "tile" or (
        request.stage == "run" and request.settings.tiles.keep
    )
    return scored and (not needs_tiles or (request.folder / STORE_NAME).exists())


def _writes_store(run: SlideRun) -> bool:
    """Return whether tiles are still to be stored."""
    store, slide = run.job.store, run.job.slide
    return store is not None and slide is not None and not store.exists()


def _begin_store(run: SlideRun) -> None:
    if not _writes_store(run):
        return
    assert run.job.store is not None
    if not partial_folder(run.job.store).exists():  # marks of a store that somebody removed
        for mark in run.records.glob(f"*{_TILES_MARK}"):
            mark.unlink()
    TileStore.create(
        run.job.store,
        width=run.facts.raster[0],
        height=run.facts.raster[1],
        mpp=run.facts.working_mpp,
        name=run.facts.name,
        version=run.request.settings.tiles.ome_zarr_version,
    )


def _finished_store(run: SlideRun) -> TileStore | None:
    """Finish the store where that is still to do, and open it."""
    if run.job.store is None:
        return None
    if _writes_store(run):
        TileStore.open(run.job.store).finish()
    return TileStore.open(run.job.store)


def _check_disk(run: SlideRun) -> None:
    """Refuse a run whose tiles would fill the disk."""
    if not _writes_store(run):
        return
    parent = next(path for path in (run.folder, *run.folder.parents) if path.exists())
    usage = shutil.disk_usage(parent)
    needed = estimated_bytes(int(run.facts.wanted.sum()))
    if usage.free - needed < _FREE_SHARE * usage.total:
        raise OutputError(
            f"{run.folder}: tiles of {needed / 1e9:.1f} GB would leave less than 5 % of the disk "
            f"free ({usage.free / 1e9:.1f} GB are); free some, or give --no-keep-tiles"
        )


def _record(run: SlideRun, region: Region) -> Path:
    return run.records / f"{region.row:04d}-{region.col:04d}.parquet"


def _tiles_mark(run: SlideRun, region: Region) -> Path:
    return run.records / f"{region.row:04d}-{region.col:04d}{_TILES_MARK}"


def _describe(run: SlideRun, *, state: str) -> dict[str, Any]:
    """Return the content of ``run.json``."""
    request = run.request
    earlier = run.earlier or {}
    fingerprint = _fingerprint(request).as_dict()
    before = earlier.get("fingerprint", {}).get("settings", {})
    fingerprint["settings"] = {**before, **fingerprint["settings"]}
    if state == "tiled" and earlier.get("state") == "done":
        state = "done"
    return {
        "state": state,
        "slide_path": str(request.slide),
        "fingerprint": fingerprint,
        "reader": run.facts.reader,
        "notes": list(run.facts.notes),
        "threads": request.threads,
        "seconds": round(time.time() - run.started, 1),
        "versions": library_versions(),
    }


def _provenance(run: SlideRun) -> dict[str, Any]:
    """Return what is remembered inside the results: nothing that differs between like runs."""
    settings, model = run.request.settings, run.request.model
    stain = settings.stain
    vectors = StainVectors(stain.hematoxylin, stain.dab, stain.background)
    assert run.request.compute is not None
    return {
        "slide": run.facts.name,
        "slide_sha256": run.request.identity.sha256,
        "size_px0": [run.facts.width, run.facts.height],
        "mpp": list(run.facts.mpp),
        "read_mpp": list(run.facts.working_mpp),
        "model": {"name": model.spec.name, "hash": model.hash},
        "compute": run.request.compute.as_dict(),
        "min_score": settings.detect.min_score,
        "measure": settings.measure.model_dump(mode="json"),
        "stain_vectors": vectors.to_qupath(),
        "score": settings.score.model_dump(mode="json"),
        "tissue_area_mm2": run.facts.tissue_area_mm2,
        "glass_dab_od": run.facts.glass_dab_od,
        "wsi_suite": wsi_suite.__version__,
    }
