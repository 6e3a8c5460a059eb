"""What is asked for one slide, and everything that its results depend on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import wsi_suite
from wsi_suite.config import Settings
from wsi_suite.errors import ConfigError, InputError, WsiSuiteError, did_you_mean
from wsi_suite.geometry import Roi
from wsi_suite.plan import SlideFacts
from wsi_suite.qupath.rois import read_rois
from wsi_suite.run_folder import Fingerprint, read_run, result_folders
from wsi_suite.scoring.hscore import pooled_name
from wsi_suite.scoring.regions import scored_rois
from wsi_suite.slides.identity import SlideIdentity
from wsi_suite.slides.store_layout import writing
from wsi_suite.sources import roi_file_of
from wsi_suite.staining.deconvolution import StainVectors

if TYPE_CHECKING:
    from wsi_suite.nuclei.detector import Compute
    from wsi_suite.nuclei.weights import ModelFolder

Stage = Literal["run", "tile", "detect"]
"""``run``: slide to scores; ``tile``: slide to tiles; ``detect``: tiles to scores."""

TILE_SECTIONS = ("mpp", "read_mpp", "tissue", "rois", "tiles")
"""What of a fingerprint concerns the tiles."""


@dataclass(frozen=True)
class Request:
    """What is asked for one slide.

    Attributes
    ----------
    stage
        Which part of the way.
    slide
        The slide's file; for ``detect`` the folder with its tiles.
    identity
        What tells it from others.
    folder
        Where its results go.
    settings
        All settings, completed by :func:`complete_settings`.
    model
        The model; for ``tile`` it gives the resolution.
    compute
        How forward passes are run, where this run is a new one; ``None`` for ``tile``.
    rois
        Regions of interest that are scored, or ``None`` for all tissue.
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


@dataclass(frozen=True)
class Refused:
    """A slide for which nothing can be asked, and why."""

    slide: Path
    folder: Path | None
    error: WsiSuiteError


def ask_for_slides(
    slides: Sequence[Path], *, ask: partial[Request], out: Path, rois: Path | None
) -> Iterator[Request | Refused]:
    """Yield what is asked for each slide, or why it is refused.

    Parameters
    ----------
    slides
        Slide files; for ``detect`` folders that ``tile`` left.
    ask
        A request that lacks what differs between slides; its first argument is the stage.
    out
        Gets a folder for each slide.
    rois
        A GeoJSON file of regions of interest, or a folder of them.
    """
    stored = ask.args[0] == "detect"
    identities: dict[Path, SlideIdentity] = {}
    for slide in slides:
        try:
            identities[slide] = _stored_identity(slide) if stored else SlideIdentity.of(slide)
        except WsiSuiteError as error:
            yield Refused(slide, None, error)
    with writing(out):
        chosen = {} if stored else result_folders(out, identities.items())
    taken: dict[Path, Path] = {}
    for slide, identity in identities.items():
        folder = chosen.get(slide, slide)
        first = taken.setdefault(folder.resolve(), slide)
        try:
            if first != slide:
                raise InputError(f"{slide}: is the same slide as {first}; give it once")
            file = roi_file_of(identity.name, rois, several=len(slides) > 1)
            regions = None if file is None else scored_rois(read_rois(file))
        except WsiSuiteError as error:
            yield Refused(slide, folder, error)
            continue
        yield ask(slide=slide, identity=identity, folder=folder, rois=regions, roi_file=file)


def complete_settings(settings: Settings, model: ModelFolder) -> Settings:
    """Fill in what a model decides where the user does not.

    Raises
    ------
    ConfigError
        The model does not know the headline class, or the stain vectors cannot be used.
    """
    detect, score, spec = settings.detect, settings.score, model.spec
    _stains(settings)  # refused here, once, where they cannot be told apart
    known = (*spec.classes, pooled_name(spec.classes))
    if detect.min_score is None:
        detect = detect.model_copy(update={"min_score": spec.min_score})
    if score.headline_class is None:
        score = score.model_copy(update={"headline_class": spec.headline_class})
    elif score.headline_class not in known:
        hint = did_you_mean(score.headline_class, known)
        raise ConfigError(
            f"score.headline_class = '{score.headline_class}': model '{spec.name}' knows "
            f"{', '.join(known)}{hint}"
        )
    return settings.model_copy(update={"detect": detect, "score": score})


def keep_compute(request: Request, settings: dict[str, Any]) -> Request:
    """Return the request with the precision that a run was begun with, unless the user chose one.

    Which one is fastest is measured, and may come out differently at each start.
    """
    recorded = settings.get("compute")
    if request.compute is None or recorded is None:
        return request
    if request.settings.detect.precision == "auto" and recorded["device"] == _kind(request.compute):
        compute = replace(request.compute, precision=recorded["precision"], batch=recorded["batch"])
        return replace(request, compute=compute)
    return request


def fingerprint_of(request: Request) -> Fingerprint:
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
            "compute": _describe(request.compute),
        }
    return Fingerprint(request.identity, values)


def provenance_of(request: Request, facts: SlideFacts) -> dict[str, Any]:
    """Return what is remembered inside the results: nothing that differs between like runs."""
    settings, model = request.settings, request.model
    assert request.compute is not None
    return {
        "slide": facts.name,
        "slide_sha256": request.identity.sha256,
        "size_px0": [facts.width, facts.height],
        "mpp": list(facts.mpp),
        "read_mpp": list(facts.working_mpp),
        "model": {"name": model.spec.name, "hash": model.hash},
        "compute": _describe(request.compute),
        "min_score": settings.detect.min_score,
        "measure": settings.measure.model_dump(mode="json"),
        "stain_vectors": _stains(settings).to_qupath(),
        "score": settings.score.model_dump(mode="json"),
        "rois": None if request.rois is None else [_plain(roi) for roi in request.rois],
        "tissue_area_mm2": facts.tissue_area_mm2,
        "glass_dab_od": facts.glass_dab_od,
        "notes": list(facts.notes),
        "wsi_suite": wsi_suite.__version__,
    }


def _stored_identity(folder: Path) -> SlideIdentity:
    run = read_run(folder)
    if run is None:
        raise InputError(f"{folder}: no tiles here; make them with 'wsi-suite tile'")
    return SlideIdentity(**run["fingerprint"]["slide"])


def _stains(settings: Settings) -> StainVectors:
    """Return the stain vectors that settings give."""
    stain = settings.stain
    return StainVectors(stain.hematoxylin, stain.dab, stain.background)


def _kind(compute: Compute) -> str:
    """Return the kind of device: which of several like ones it was changes no result."""
    return compute.device.partition(":")[0]


def _describe(compute: Compute) -> dict[str, Any]:
    return {**compute.as_dict(), "device": _kind(compute)}


def _plain(roi: Roi) -> dict[str, Any]:
    return {"name": roi.name, "class": roi.class_name, "wkb": roi.area.wkb_hex}


def _roi_hash(rois: Sequence[Roi]) -> str:
    described = repr([(roi.name, roi.class_name, roi.area.wkb_hex) for roi in rois])
    return hashlib.sha256(described.encode()).hexdigest()[:16]
