"""Results of slides with known figures, made without a slide or a model."""

from __future__ import annotations

from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any

import numpy as np
from shapely.geometry import MultiPolygon, box

from wsi_suite.analysis.summary import Summary, compose_summary
from wsi_suite.config import MeasureSettings, ScoreSettings
from wsi_suite.geometry import Roi, Scale
from wsi_suite.measurements import CLASS_PROBABILITY, NUCLEUS_DAB
from wsi_suite.nuclei.provenance import ComputeRecord, ModelIdentity, Provenance, RegionRecord
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.report import SlideResult

SIDE_PX0 = 4000
MPP = 0.25
CLASSES = ("Stroma", "Epithelium")


def make_nuclei(count: int, *, seed: int = 0, dab_od: Sequence[float] | None = None) -> Nuclei:
    """Nuclei at random places; DAB and certainty at random unless DAB is given."""
    rng = np.random.default_rng(seed)
    values = rng.gamma(2.0, 0.2, count) if dab_od is None else np.asarray(dab_od)
    return Nuclei(
        x=rng.uniform(0, SIDE_PX0, count),
        y=rng.uniform(0, SIDE_PX0, count),
        confidence=rng.uniform(0.5, 1, count).astype(np.float32),
        label=rng.integers(0, 2, count).astype(np.uint8),
        classes=CLASSES,
        measurements={
            NUCLEUS_DAB: values.astype(np.float32),
            CLASS_PROBABILITY: rng.uniform(0.5, 1, count).astype(np.float32),
        },
        outline=rng.uniform(8, 14, (count, 16)).astype(np.float32),
    ).sorted()


def square(name: str, left: float, right: float) -> Roi:
    """A region between two x."""
    return Roi(name, None, MultiPolygon([box(left, 0, right, SIDE_PX0)]))


def make_provenance(*, rois: Sequence[Roi] | None = None, **changes: Any) -> Provenance:
    return Provenance(
        **{
            "slide": "B12_ER.svs",
            "slide_sha256": "ab" * 32,
            "size_px0": (SIDE_PX0, SIDE_PX0),
            "mpp": (MPP, MPP),
            "read_mpp": (0.5, 0.5),
            "model": ModelIdentity(name="tiny", hash="cd" * 32),
            "compute": ComputeRecord(device="cpu", precision="fp32", batch=1),
            "min_confidence": 0.5,
            "measure": MeasureSettings(),
            "stain_vectors": "{}",
            "score": ScoreSettings(marker="ER", headline_class="Epithelium"),
            "rois": None if rois is None else tuple(map(RegionRecord.of, rois)),
            "tissue_area_mm2": 1.0,
            "tissue_wkt": f"MULTIPOLYGON (((0 0, {SIDE_PX0} 0, {SIDE_PX0} {SIDE_PX0}, 0 0)))",
            "glass_dab_od": 0.01,
            "wsi_suite": "0.1.0",
            **changes,
        }
    )


def make_result(
    nuclei: Nuclei,
    *,
    rois: Sequence[Roi] | None = None,
    settings: ScoreSettings | None = None,
    folder: str = "B12_ER",
    pictures: bool = True,
    **changes: Any,
) -> SlideResult:
    provenance = make_provenance(rois=rois, **changes)
    if settings is None:
        settings = provenance.score
    summary: Summary = compose_summary(nuclei, settings, provenance=provenance, rois=rois)
    grey = np.full((80, 80, 3), 200, np.uint8)
    return SlideResult(
        folder=folder,
        summary=summary,
        nuclei=nuclei,
        provenance=provenance,
        read=(lambda box: np.full((box.height, box.width, 3), 180, np.uint8)) if pictures else None,
        thumbnail=(grey, Scale(SIDE_PX0 / 80, SIDE_PX0 / 80)) if pictures else None,
        pictures_from="the slide",
        versions={"torch": "2.12"},
    )


class Page(HTMLParser):
    """A page taken apart.

    Attributes
    ----------
    tags
        Every element: its name and attributes.
    figures
        Text by ``(part, class, figure)`` of the elements that the script changes.
    texts
        Text of ``style`` and ``script`` elements in turn, and of everything else joined.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.figures: dict[tuple[str, str, str], str] = {}
        self.raw: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self._figure: tuple[str, str, str] | None = None
        self._raw: dict[str, str | None] | None = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.tags.append((tag, known))
        self._raw = {"tag": tag, **known} if tag in ("script", "style") else None
        self._figure = None
        if "data-figure" in known:
            self._figure = tuple(known[f"data-{key}"] or "" for key in ("part", "class", "figure"))
            self.figures[self._figure] = ""

    def handle_endtag(self, tag: str) -> None:
        self._figure = self._raw = None

    def handle_data(self, data: str) -> None:
        if self._raw is not None:
            self.raw.append((self._raw, data))
            return
        self.text += data
        if self._figure is not None:
            self.figures[self._figure] += data
