"""hotspots.geojson, from a run and from ``score``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench import Bench

from wsi_suite.analysis.summary import read_summary
from wsi_suite.config import load_settings
from wsi_suite.nuclei.parquet import read_nuclei, read_provenance
from wsi_suite.runs.hot_spot_file import write_hot_spots
from wsi_suite.runs.rescore_batch import rescore_batch
from wsi_suite.runs.summary_csv import read_summary_csv

UNSET = load_settings().score


@pytest.fixture(scope="module")
def result(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spots") / "B12"
    bench.do(
        folder,
        "tiles.keep=false",
        "score.marker=Ki-67",
        "score.hot_spot_nuclei=20",
        "score.thresholds_od=[0.1,0.2,0.3]",
    )
    return folder


def features(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "hotspots.geojson").read_text("utf-8"))[
        "features"
    ]
    return found


def test_circles_hold_the_nuclei_that_are_told(result: Path) -> None:
    nuclei, provenance = read_nuclei(result / "nuclei.parquet")
    summary = json.loads((result / "summary.json").read_text("utf-8"))
    assert summary["headline"]["class"] == " + ".join(sorted(nuclei.classes))
    spots = [one for one in features(result) if one["geometry"].get("isEllipse")]
    told = [spot for found in summary["hot_spots"].values() for spot in found["spots"]]
    assert len(spots) == len(told) > 0
    for feature, spot in zip(spots, told, strict=True):
        ring = np.array(feature["geometry"]["coordinates"][0])
        (left, top), (right, bottom) = ring.min(axis=0), ring.max(axis=0)
        assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx(
            (spot["x_px0"], spot["y_px0"]), abs=0.01
        )
        assert (right - left) / 2 * provenance["mpp"][0] == pytest.approx(
            spot["radius_um"], abs=0.01
        )
        away = np.hypot(nuclei.x - spot["x_px0"], nuclei.y - spot["y_px0"])
        held = away * provenance["mpp"][0] <= spot["radius_um"]
        assert held.sum() == feature["properties"]["measurements"]["wsi-suite: nuclei"]
        assert held.sum() == spot["figures"]["nuclei"] >= 20
        assert spot["area_mm2"] == pytest.approx(math.pi * spot["radius_um"] ** 2 / 1e6)


def test_fields_of_ki67_are_among_them(result: Path) -> None:
    summary = json.loads((result / "summary.json").read_text("utf-8"))
    fields = [one for one in features(result) if one["properties"]["name"].startswith("Ki-67")]
    assert len(fields) == len(summary["ki67"]["fields"])


def test_score_writes_the_very_file_of_the_run(result: Path, tmp_path: Path) -> None:
    (outcome,) = rescore_batch([result], UNSET, out=tmp_path)
    assert outcome.error is None
    for name in ("hotspots.geojson", "summary.json"):
        assert (tmp_path / "B12" / name).read_bytes() == (result / name).read_bytes()


def test_other_settings_replace_it(result: Path, tmp_path: Path) -> None:
    rescore_batch([result], UNSET, out=tmp_path)
    none = load_settings(overrides=["score.hot_spots=0", "score.marker=ER"]).score
    (outcome,) = rescore_batch([result], none, out=tmp_path)
    assert outcome.summary is not None
    assert (outcome.summary.hot_spots, outcome.summary.ki67) == ({}, None)
    assert features(tmp_path / "B12") == []


def test_table_of_the_batch_tells_the_hottest_spot(result: Path, tmp_path: Path) -> None:
    (outcome,) = rescore_batch([result], UNSET, out=tmp_path)
    assert outcome.summary is not None
    assert outcome.summary.ki67 is not None
    (row,) = read_summary_csv(tmp_path / "summary.csv")
    assert float(row["hot_spot_percent"] or "nan") == pytest.approx(
        outcome.summary.ki67.hot_spot_percent, abs=0.05
    )
    assert row["receptor_status"] == ""
    assert int(row["irs"] or -1) == outcome.summary.pooled.irs.score


def test_those_of_a_slide_without_a_verdict_are_marked(result: Path, tmp_path: Path) -> None:
    summary = read_summary(result)
    assert summary is not None
    provenance = read_provenance(result / "nuclei.parquet")
    other = summary.model_copy(update={"no_verdict": "the slide shows hematoxylin and eosin"})
    write_hot_spots(tmp_path, other, provenance=provenance)
    for feature in features(tmp_path):
        if feature["geometry"].get("isEllipse"):
            assert feature["properties"]["name"].endswith(" (not to be used)")
            scores = feature["properties"]["measurements"]
            assert "wsi-suite: H-score (not to be used)" in scores
            assert "wsi-suite: H-score" not in scores
