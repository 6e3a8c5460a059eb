"""Provenance of a table of nuclei: the slide, the model and the settings that it was made with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import AliasChoices, BeforeValidator, Field

from wsi_suite.config import MeasureSettings, ScoreSettings
from wsi_suite.documents import Part, parse_values
from wsi_suite.errors import DataError
from wsi_suite.geometry import Roi
from wsi_suite.nuclei.familiarity import Familiarity
from wsi_suite.nuclei.quality import SlideQuality
from wsi_suite.nuclei.seen import SeenFields

if TYPE_CHECKING:
    from shapely.geometry import MultiPolygon


class ModelIdentity(Part):
    """Name of a model, and a hash over its files."""

    name: str
    hash: str


class ComputeRecord(Part):
    """How the detector ran.

    Attributes
    ----------
    device, precision, batch
        Kind of device, precision, and windows per forward pass.
    flips
        Whether eight flips and quarter turns were averaged; not in results that knew no flips.
    ranges
        In int8, first digits of the SHA-256 of the model's ``int8.json``.
    """

    device: str
    precision: str
    batch: int
    flips: bool = False
    ranges: str = ""


class RegionRecord(Part):
    """A region of interest; its area as WKB, hexadecimal, in level-0 pixels."""

    name: str
    class_name: str | None = Field(alias="class")
    wkb: str

    @classmethod
    def of(cls, roi: Roi) -> RegionRecord:
        """Return the record of a region."""
        return cls(name=roi.name, class_name=roi.class_name, wkb=roi.area.wkb_hex)

    def roi(self) -> Roi:
        """Return the region."""
        from shapely import from_wkb

        return Roi(self.name, self.class_name, cast("MultiPolygon", from_wkb(self.wkb)))


class StainCheck(Part):
    """Stains that a slide shows, beside the vectors that it is measured with.

    Attributes
    ----------
    kind
        "H-DAB", "hematoxylin", "DAB", "H&E" or "empty".
    hematoxylin, dab
        Vectors estimated from the slide as QuPath does; ``None`` where that is not possible.
    hematoxylin_degrees, dab_degrees
        Their angles to the vectors in use.
    pixels, share
        Pixels of tissue that the estimate uses, and their share of those sampled.
    dab_od_from
        A nucleus' mean DAB optical density with the estimated vectors and the colour of glass is
        the first number times its hematoxylin, plus the second times its DAB, plus the third.
    """

    kind: str
    hematoxylin: tuple[float, float, float] | None = None
    dab: tuple[float, float, float] | None = None
    hematoxylin_degrees: float | None = None
    dab_degrees: float | None = None
    pixels: int = 0
    share: float = 0.0
    dab_od_from: tuple[float, float, float] | None = None


def _with_origin(score: object) -> object:
    return ScoreSettings.from_result(score) if isinstance(score, Mapping) else score


class Provenance(Part):
    """Slide, model and settings that a table of nuclei was made with; equal for like runs.

    Attributes
    ----------
    slide, slide_sha256
        Name and hash of the slide.
    size_px0
        Width and height of the slide, level-0 pixels.
    mpp, read_mpp
        Um per level-0 pixel and per working pixel, x and y.
    stain_vectors
        As QuPath writes them.
    stains
        What stains the slide shows; ``None`` in results of earlier versions.
    glass_rgb
        Colour of empty glass, if there is some.
    rois
        Regions as drawn, those of class ``Ignore*`` among them; ``None`` for the whole slide.
    missing_cores
        Names of the cores of a microarray that are missing, and thus among no regions.
    tissue_wkt
        Outline of the tissue, level-0 pixels; ``None`` in results that did not keep it.
    notes
        How the slide was read.
    tissue_warnings
        What the search for tissue found doubtful.
    quality
        Artefacts that were found; ``None`` in results of earlier versions.
    seen
        Fields that the model was trained on, if it says so.
    familiarity
        How far the slide lies from these; ``None`` in results of earlier versions.
    results_version
        See :data:`~wsi_suite.analysis.provenance.RESULTS_VERSION`.
    wsi_suite
        Version of the suite.
    """

    slide: str
    slide_sha256: str
    size_px0: tuple[int, int]
    mpp: tuple[float, float]
    read_mpp: tuple[float, float]
    model: ModelIdentity
    compute: ComputeRecord
    # The second name stands in tables that were written before confidences were called so.
    min_confidence: float | None = Field(
        validation_alias=AliasChoices("min_confidence", "min_score")
    )
    measure: MeasureSettings
    stain_vectors: str
    stains: StainCheck | None = None
    score: Annotated[ScoreSettings, BeforeValidator(_with_origin)]
    rois: tuple[RegionRecord, ...] | None
    missing_cores: tuple[str, ...] = ()
    tissue_area_mm2: float | None
    tissue_wkt: str | None = None
    glass_rgb: tuple[float, float, float] | None = None
    glass_dab_od: float | None
    notes: tuple[str, ...] = ()
    tissue_warnings: tuple[str, ...] = ()
    quality: SlideQuality | None = None
    seen: SeenFields | None = None
    familiarity: Familiarity | None = None
    results_version: int = 1
    wsi_suite: str

    def tissue(self) -> MultiPolygon | None:
        """Return the outline of the tissue, level-0 pixels; ``None`` if it was not kept."""
        from shapely import from_wkt

        if self.tissue_wkt is None:
            return None
        return cast("MultiPolygon", from_wkt(self.tissue_wkt))

    def regions(self) -> tuple[Roi, ...] | None:
        """Return the regions as drawn, ``None`` for the whole slide."""
        return None if self.rois is None else tuple(record.roi() for record in self.rois)


def parse_provenance(metadata: Mapping[str, Any], *, source: Path) -> Provenance:
    """Return the provenance in the metadata of a table of nuclei.

    Parameters
    ----------
    metadata
        As :func:`~wsi_suite.nuclei.parquet.read_nuclei` returns it.
    source
        The table's file, to name in errors.

    Raises
    ------
    DataError
        It is not that of a run.
    """
    return parse_values(
        Provenance,
        metadata,
        source=source,
        fault="no result of a run of this version",
        remedy="give the nuclei.parquet of one",
        error=DataError,
    )
