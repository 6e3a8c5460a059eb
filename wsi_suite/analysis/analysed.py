"""A slide or a picture analysed in memory, for notebooks and programs in Python."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wsi_suite.analysis.facts import SlideFacts
from wsi_suite.analysis.familiarity import find_familiarity
from wsi_suite.analysis.given_regions import RegionsLike, regions_of
from wsi_suite.analysis.in_process import do_blocks
from wsi_suite.analysis.merging import merge_nuclei
from wsi_suite.analysis.provenance import provenance_of
from wsi_suite.analysis.request import Analysis, complete_settings, plan_analysis
from wsi_suite.analysis.results import Results, summary_of
from wsi_suite.analysis.summary import Summary
from wsi_suite.analysis.survey import facts_of, look_at_slide
from wsi_suite.analysis.unreadable import without_unreadable
from wsi_suite.analysis.worker_cache import lent, usable_threads
from wsi_suite.config import Settings
from wsi_suite.errors import SlideError
from wsi_suite.given_settings import SettingsLike, settings_of
from wsi_suite.nuclei.provenance import Provenance
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.progress import Progress, no_progress
from wsi_suite.qupath.rois import check_rois_inside
from wsi_suite.scoring.intensity import grade_nuclei
from wsi_suite.slides.identity import SlideIdentity
from wsi_suite.slides.pictures import Picture, identity_of_picture, slide_of_picture
from wsi_suite.slides.slide import Slide, open_slide

if TYPE_CHECKING:
    from shapely.geometry import MultiPolygon


@dataclass(frozen=True, eq=False)
class Analysed:
    """Result of an analysis of a slide or a picture.

    Attributes
    ----------
    nuclei
        All nuclei, sorted by (y, x).
    summary
        Their scores, as ``summary.json`` holds them.
    provenance
        Slide, model and settings that they come from, as a table of nuclei remembers them.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> found = ws.analyse("slides/B12_ER.svs", settings={"score.marker": "ER"})
    >>> found
    <Analysed: B12_ER.svs, 243 nuclei, H-score 243 of Epithelium>
    >>> found.nuclei
    <Nuclei: 243 (192 Stroma, 51 Epithelium), outlines, 0.25 um/px>
    >>> found.summary.scores["Stroma"].nuclei
    192
    >>> round(found.tissue.area)
    473088
    """

    nuclei: Nuclei
    summary: Summary
    provenance: Provenance

    def __len__(self) -> int:
        return len(self.nuclei)

    def __repr__(self) -> str:
        from wsi_suite.analysis.card import in_words

        return in_words(self)

    def _repr_html_(self) -> str:
        from wsi_suite.analysis.card import as_card

        return as_card(self)

    @property
    def grades(self) -> npt.NDArray[np.uint8]:
        """``(N,)`` uint8, the intensity of each nucleus: 0 to 3, or 255 if not measurable."""
        return grade_nuclei(self.nuclei, self.provenance.score.thresholds_od)

    @property
    def tissue(self) -> MultiPolygon:
        """Outline of the tissue in which nuclei count, level-0 pixels."""
        tissue = self.provenance.tissue()
        assert tissue is not None, "every analysis has looked for it"
        return tissue


@dataclass(frozen=True, eq=False)
class _Source:
    """An image that was asked for: its file, or its pixels in memory."""

    path: Path
    in_memory: Slide | None
    mpp: float | None

    @classmethod
    def of(cls, image: str | Path | Slide | Picture, *, mpp: float | None) -> _Source:
        if isinstance(image, Slide):
            return cls(image.path, None, image.mpp_given if mpp is None else mpp)
        if isinstance(image, str | Path):
            return cls(Path(image), None, mpp)
        slide = slide_of_picture(image, mpp=mpp)
        return cls(slide.path, slide, mpp)

    def identity(self) -> SlideIdentity:
        if self.in_memory is not None:
            return identity_of_picture(self.in_memory)
        return SlideIdentity.of(self.path)

    @contextmanager
    def open(self, *, mend: bool = False) -> Iterator[Slide]:
        if self.in_memory is not None:
            yield self.in_memory
        else:
            with open_slide(self.path, mpp=self.mpp, mend=mend) as slide:
                yield slide


def analyse(
    image: str | Path | Slide | Picture,
    *,
    mpp: float | None = None,
    model: str | Path | None = None,
    rois: RegionsLike = None,
    settings: SettingsLike = None,
    device: str | None = None,
    progress: Progress = no_progress,
) -> Analysed:
    """Find, classify, measure and score the nuclei of one image, without writing files.

    The nuclei are those that :func:`~wsi_suite.runs.batch.run_slide` finds in the same pixels.
    Images may be of any size: they are read block by block.

    Parameters
    ----------
    image
        A slide: its file, or as it was opened. Or a picture in memory: ``(H, W, 3)`` uint8 RGB, or
        an image of Pillow.
    mpp
        um per pixel; needed for pictures, and goes over what a file states.
    model
        Name or folder of a model; by default that of `settings`.
    rois
        Regions of interest, level-0 pixels, or a GeoJSON file or a folder of them; without them all
        tissue is scored.
    settings
        All settings: :class:`~wsi_suite.config.Settings`, values by name as in
        ``{"score.marker": "ER"}``, or the path of a YAML file. `mpp`, `model` and `device` go over
        them.
    device
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    progress
        Receives working pixels done and in all.

    Returns
    -------
    Analysed
        Nuclei, scores and where they come from.

    Raises
    ------
    WsiSuiteError
        The image, its pixel size, the model, the regions or the device cannot be used.

    Examples
    --------
    A slide, and a picture in memory:

    >>> import wsi_suite as ws
    >>> found = ws.analyse("slides/B12_ER.svs", settings={"score.marker": "ER"})
    >>> found.summary.headline.name, round(found.summary.headline.value)
    ('Epithelium: H-score', 243)
    >>> rgb, truth = ws.make_tile(mpp=0.5)
    >>> ws.analyse(rgb, mpp=0.5).nuclei
    <Nuclei: 472 (415 Stroma, 57 Epithelium), outlines, 0.5 um/px>
    """
    wanted = settings_of(settings, mpp=mpp, model=model, device=device)
    source = _Source.of(image, mpp=wanted.mpp)
    analysis = _ask(source, wanted, rois=rois)
    facts = _survey(source, analysis)
    grid, job = plan_analysis(analysis, facts)
    with source.open() as slide, lent(slide.raster(job.read_mpp), run=job.run):
        tables, lost = do_blocks(job, grid, progress=progress)
        facts = without_unreadable(facts, lost)
        familiarity = find_familiarity(analysis.model, facts, job)
    if source.identity() != analysis.identity:
        raise SlideError(f"{source.path}: was changed while it was read; analyse it again")
    nuclei = merge_nuclei(tables, analysis, facts=facts)
    provenance = provenance_of(analysis, facts, familiarity=familiarity)
    results = Results(facts, nuclei, analysis.rois, analysis.settings, provenance)
    return Analysed(nuclei, summary_of(results), provenance)


def _ask(source: _Source, settings: Settings, *, rois: RegionsLike) -> Analysis:
    from wsi_suite.detector.detector import choose_compute, for_model
    from wsi_suite.detector.model_folder import find_model

    model, detect = find_model(settings.detect.model), settings.detect
    compute = choose_compute(settings.run.device, detect.precision, flips=detect.flips)
    regions = regions_of(source.path.name, rois)
    return Analysis(
        slide=source.path,
        identity=source.identity(),
        settings=complete_settings(settings, model),
        model=model,
        compute=for_model(compute, model),
        rois=regions.rois,
        missing_cores=regions.missing_cores,
        threads=usable_threads(1),
    )


def _survey(source: _Source, analysis: Analysis) -> SlideFacts:
    settings, rois = analysis.settings, analysis.rois
    with source.open(mend=True) as slide:
        check_rois_inside(rois or (), width=slide.width, height=slide.height, path=slide.path.name)
        overview = look_at_slide(slide, settings.tissue)
        return facts_of(slide, overview, settings, spec=analysis.model.spec, rois=rois)
