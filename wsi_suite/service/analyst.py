"""Analyses of the service: as ``wsi-suite run``, in memory and on the loaded model."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wsi_suite.analysis.familiarity import find_familiarity
from wsi_suite.analysis.in_process import do_blocks
from wsi_suite.analysis.merging import merge_nuclei
from wsi_suite.analysis.provenance import provenance_of
from wsi_suite.analysis.request import Analysis, complete_settings, plan_analysis
from wsi_suite.analysis.results import Results
from wsi_suite.analysis.survey import facts_of, look_at_slide
from wsi_suite.analysis.unreadable import without_unreadable
from wsi_suite.analysis.worker_cache import close_slides, open_detector, open_raster, usable_threads
from wsi_suite.config import Settings, parse_settings
from wsi_suite.errors import InputError, ModelError, PixelSizeError, RegionError, did_you_mean
from wsi_suite.geometry import Roi
from wsi_suite.progress import Progress, Step
from wsi_suite.qupath.rois import check_rois_inside, parse_rois
from wsi_suite.scoring.regions import IGNORED_CLASS, scored_rois
from wsi_suite.service.finding import Finding, finding_of
from wsi_suite.service.images import check_picture, check_server, mpp_given
from wsi_suite.service.messages import MAX_VERTICES, Image, JobRequest
from wsi_suite.slides.identity import SlideIdentity
from wsi_suite.slides.slide import Slide

if TYPE_CHECKING:
    from wsi_suite.detector.detector import Compute
    from wsi_suite.detector.model_folder import ModelFolder
    from wsi_suite.qupath.objects import Shape

log = logging.getLogger(__name__)

_SLIDES_KEPT = 4


@dataclass(frozen=True, eq=False)
class Order:
    """An analysis that was asked for, checked as far as it can be without opening the slide."""

    analysis: Analysis
    image: Image | None
    shape: Shape


class Analyst:
    """Models, a device and slides that were opened lately.

    Parameters
    ----------
    models
        Those that may be asked for, by name; the first is taken if none is named.
    compute
        How forward passes are run.
    names
        Lists the names of further models; asked again each time, as users add models.
    """

    def __init__(
        self,
        models: Mapping[str, ModelFolder],
        compute: Compute,
        *,
        names: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._models = models
        self._names = names
        self._compute = compute
        self._threads = usable_threads(1)
        self._look = lru_cache(_SLIDES_KEPT)(look_at_slide)

    def models(self) -> Mapping[str, ModelFolder]:
        """Return the models that may be asked for, by name, the default first.

        A damaged one is left out, with a line in the log.
        """
        from wsi_suite.detector.model_folder import find_model

        new: dict[str, ModelFolder] = {}
        for name in self._names():
            if name not in self._models:
                try:
                    new[name] = find_model(name)
                except ModelError as error:
                    log.warning("%s", error)
        return {**self._models, **new}

    def warm_up(self) -> None:
        """Load the default model and send something through it."""
        model = next(iter(self._models.values()))
        detector = open_detector(
            model.path.resolve(), model_hash=model.hash, compute=self._compute, gpu=0
        )
        side = 4 * model.spec.network.align_px
        detector.detect(np.full((self._compute.batch, side, side, 3), 255, np.uint8))

    def accept(self, request: JobRequest, slide: Path) -> Order:
        """Check an order.

        Parameters
        ----------
        request
            The request.
        slide
            The slide's file, which may be read.

        Raises
        ------
        InputError
            Something asked for cannot be used.
        """
        if request.image is not None:
            check_server(request.image)
        model = self._model(request.model)
        analysis = Analysis(
            slide=slide,
            identity=SlideIdentity.of(slide),
            settings=complete_settings(_settings_of(request, model), model),
            model=model,
            compute=self._compute,
            rois=_rois_of(request),
            threads=self._threads,
        )
        return Order(analysis, request.image, request.shape)

    def work(self, order: Order, progress: Progress) -> Finding:
        """Compute the result of an order.

        Raises
        ------
        WsiSuiteError
            The slide cannot be read, or is not the one that QuPath shows.
        """
        clock, analysis = _Clock(), order.analysis
        name = str(analysis.slide)
        progress(Step(name, 0, 1, "opening the slide"))
        with clock.measured("open_s"):
            slide = _open(analysis)
            check_picture(order.image, slide)
            check_rois_inside(
                analysis.rois or (), width=slide.width, height=slide.height, path=slide.path.name
            )
        progress(Step(name, 0, 1, "looking for tissue"))
        with clock.measured("tissue_s"):
            overview = self._look(slide, analysis.settings.tissue)
        facts = facts_of(
            slide,
            overview,
            analysis.settings,
            spec=analysis.model.spec,
            rois=analysis.rois,
        )
        grid, job = plan_analysis(analysis, facts)
        job = replace(job, run=_key(analysis))
        with clock.measured("nuclei_s"):
            tables, lost = do_blocks(job, grid, progress=progress)
            facts = without_unreadable(facts, lost)
        progress(Step(name, 1, 1, "scoring"))
        with clock.measured("score_s"):
            nuclei = merge_nuclei(tables, analysis, facts=facts, shape=order.shape)
            familiarity = find_familiarity(analysis.model, facts, job)
            provenance = provenance_of(analysis, facts, familiarity=familiarity)
            results = Results(facts, nuclei, analysis.rois, analysis.settings, provenance)
            return finding_of(results, shape=order.shape, timings=clock.seconds)

    def rest(self) -> None:
        """Close slides that were kept open for the next order."""
        self._look.cache_clear()
        close_slides()

    def _model(self, name: str | None) -> ModelFolder:
        if name is None:
            return next(iter(self._models.values()))
        models = self.models()
        if name not in models:
            hint = did_you_mean(name, models) or f"; there is: {', '.join(models)}"
            raise InputError(f"model '{name}' is not known to this service{hint}")
        return models[name]


class _Clock:
    """Takes the time of steps."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def measured(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[step] = round(time.perf_counter() - start, 3)


def _key(analysis: Analysis) -> str:
    """Return the cache key of a slide, which differs once its file was replaced."""
    identity = analysis.identity
    return f"{identity.sha256} {identity.size} {identity.modified}"


def _open(analysis: Analysis) -> Slide:
    """Open a slide, or take it as it was opened for an earlier order."""
    try:
        return open_raster(
            analysis.slide,
            mpp_given=analysis.settings.mpp,
            read_mpp=analysis.model.spec.read_mpp,
            run=_key(analysis),
        ).slide
    except PixelSizeError as error:
        raise PixelSizeError(f"{error}; in QuPath, set it in the Image tab") from None


def _rois_of(request: JobRequest) -> tuple[Roi, ...] | None:
    import shapely

    if request.rois is None:
        return None
    rois = parse_rois(request.rois.model_dump(), source="regions of interest")
    if not scored_rois(rois):  # in QuPath nuclei are looked for in what is selected, never around
        raise RegionError(
            f"all {len(rois)} regions are of class '{IGNORED_CLASS}': expected one to score; "
            "give it another class, or none"
        )
    vertices = int(shapely.get_num_coordinates([roi.area for roi in rois]).sum())
    if vertices > MAX_VERTICES:
        raise RegionError(
            f"regions of interest: {vertices} vertices, more than {MAX_VERTICES}; simplify their "
            "shapes, or send some at a time"
        )
    return rois


def _settings_of(request: JobRequest, model: ModelFolder) -> Settings:
    values: dict[str, Any] = {
        "mpp": mpp_given(request.image),
        "detect": {"model": model.spec.name, "min_confidence": request.min_confidence},
        "score": {"marker": request.marker},
        "tissue": {"whole_slide": request.whole_slide},
    }
    if request.stains is not None:
        values["stain"] = request.stains.model_dump()
    if request.thresholds_od is not None:
        values["score"]["thresholds_od"] = request.thresholds_od
    return parse_settings(Settings, values)
