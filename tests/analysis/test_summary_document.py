"""summary.json: what is in it, and which formats are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsi_suite.analysis.summary import Summary, read_summary, write_summary
from wsi_suite.config import ScoreSettings
from wsi_suite.errors import OutputError
from wsi_suite.nuclei.provenance import ComputeRecord, ModelIdentity, StainCheck
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.scoring.summary import summarise

MODEL = ModelIdentity(name="tiny", hash="ab12")
COMPUTE = ComputeRecord(device="cpu", precision="fp32", batch=1)


@pytest.fixture
def summary() -> Summary:
    nuclei = Nuclei(
        x=np.arange(3) + 0.5,
        y=np.full(3, 0.5),
        confidence=np.ones(3, np.float32),
        label=np.array([0, 1, 1], np.uint8),
        classes=("Stroma", "Epithelium"),
        measurements={"Nucleus: DAB OD mean": np.float32([0.1, 0.3, 0.5])},
    )
    scores = summarise(nuclei, ScoreSettings(), mpp=(0.5, 0.5), tissue_area_mm2=2.0)
    return Summary(
        slide="a.svs",
        model=MODEL,
        compute=COMPUTE,
        **dict(scores),
    )


def content_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "summary.json").read_text("utf-8"))
    return content


def test_written_summaries_come_back(summary: Summary, tmp_path: Path) -> None:
    assert read_summary(tmp_path) is None
    write_summary(tmp_path, summary)
    assert read_summary(tmp_path) == summary
    assert list(content_of(tmp_path)) == [
        "format", "slide", "model", "compute", "notes", "missing_cores", "marker", "measurement",
        "thresholds_od", "thresholds_origin", "thresholds_source", "tissue_area_mm2",
        "scored_area_mm2", "scored_tissue_mm2", "ignored_area_mm2", "glass_dab_od", "glass_rgb",
        "stains", "dab_uneven_share", "quality", "familiarity", "headline",
        "h_scores", "scores", "regions", "no_verdict", "receptor", "ki67", "hot_spots", "warnings",
    ]  # fmt: skip
    assert summary.pooled == summary.scores["Epithelium + Stroma"]


def test_summaries_of_earlier_versions_are_read(summary: Summary, tmp_path: Path) -> None:
    """They told no format, no notes, no origin of the thresholds, and fewer scores."""
    write_summary(tmp_path, summary)
    earlier = content_of(tmp_path)
    assert earlier.pop("format") == 3
    missing = (
        "notes",
        "thresholds_origin",
        "thresholds_source",
        "scored_tissue_mm2",
        "receptor",
        "ki67",
        "hot_spots",
    )
    for key in missing:
        del earlier[key]
    for figures in earlier["scores"].values():
        del figures["irs"]
    parts = {key: earlier[key] for key in ("h_scores", "scores")}
    earlier["regions"] = [{"name": "A", "class": None, "area_mm2": 1.5, **parts}]
    (tmp_path / "summary.json").write_text(json.dumps(earlier), "utf-8")
    found = read_summary(tmp_path)
    assert found is not None
    assert found.pooled == summary.pooled.model_copy(update={"irs": None})
    assert (found.receptor, found.ki67, found.hot_spots) == (None, None, {})
    assert (found.notes, found.thresholds_origin, found.scored_tissue_mm2) == ((), None, None)
    assert found.regions[0].tissue_area_mm2 is None


def test_summaries_without_certainty_are_read(summary: Summary, tmp_path: Path) -> None:
    write_summary(tmp_path, summary)
    earlier = content_of(tmp_path)
    for figures in earlier["scores"].values():
        assert figures.pop("certainty")
    (tmp_path / "summary.json").write_text(json.dumps(earlier), "utf-8")
    found = read_summary(tmp_path)
    assert found is not None
    assert found.pooled.h_score == summary.pooled.h_score
    assert (found.pooled.certainty, found.pooled.h_score_interval, found.pooled.verdict) == (
        None, None, None,
    )  # fmt: skip


def test_verdicts_of_earlier_versions_are_withheld_on_slides_of_another_stain(
    tmp_path: Path,
) -> None:
    count = 3000
    nuclei = Nuclei(
        *np.random.default_rng(0).uniform(0, 4000, (2, count)),
        confidence=np.ones(count, np.float32),
        label=np.zeros(count, np.uint8),
        classes=("Tumor",),
        measurements={"Nucleus: DAB OD mean": np.full(count, 0.9, np.float32)},
    )
    stains = StainCheck(kind="H-DAB")
    scores = summarise(
        nuclei, ScoreSettings(marker="ER"), mpp=(1, 1), tissue_area_mm2=16, stains=stains
    )
    assert scores.receptor is not None
    assert scores.receptor.status == "ER positive"
    summary = Summary(slide="a.svs", model=MODEL, compute=COMPUTE, **dict(scores))
    write_summary(tmp_path, summary)
    earlier = content_of(tmp_path) | {"format": 2}
    del earlier["no_verdict"]
    earlier["stains"]["kind"] = "H&E"
    (tmp_path / "summary.json").write_text(json.dumps(earlier), "utf-8")
    found = read_summary(tmp_path)
    assert found is not None
    assert found.receptor is not None
    assert (found.format, found.receptor.status) == (3, None)
    assert found.verdict == (
        "no verdict: the slide shows hematoxylin and eosin, not hematoxylin and DAB"
    )
    assert found.headline.value == 300


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"format": 4}', r"of format 4, which a later version .* remove it and run again"),
        ("{", r"damaged \(.*\); remove it and run again"),
        ('{"slide": "a.svs"}', r"damaged \(model: Field required\)"),
    ],
)
def test_other_summaries_are_refused_in_one_line(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(OutputError, match=rf"summary\.json: {told}") as error:
        read_summary(tmp_path)
    assert "\n" not in str(error.value)
