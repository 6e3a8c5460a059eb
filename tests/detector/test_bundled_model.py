"""The bundled models: what their cards say holds, and they find synthetic nuclei."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from wsi_suite.detector.detector import Detector, load_detector
from wsi_suite.detector.model_check import verify_model
from wsi_suite.detector.model_folder import bundled_models, trained_runs
from wsi_suite.synthetic import make_tile
from wsi_suite.training.evaluation import count_matches
from wsi_suite.training.labelled import load_tiles, tiles_of_runs
from wsi_suite.training.matches import Labelled, match_all
from wsi_suite.training.tiles import as_in_instanseg, pad_white
from wsi_suite.training.trial import try_model

MODELS = ("endonuke-resnet18",)


def test_all_are_tested_here():
    assert sorted(MODELS) == bundled_models()


@pytest.fixture(scope="module", params=MODELS)
def detector(request):
    return load_detector(request.param, device="cpu", precision="fp32")


def test_it_is_as_its_checksums_state(detector):
    assert verify_model(detector.model).stated


def test_it_finds_nine_of_ten_synthetic_nuclei(detector):
    rgb, truth = make_tile(400, mpp=0.5, seed=3)
    (found,) = detector.detect(pad_white(rgb, detector.spec.network.align_px)[None])
    there = Labelled(truth.nuclei.points * 0.5, truth.nuclei.label, truth.nuclei.confidence)
    here = Labelled(found.points * 0.5, found.label, found.confidence)
    hit = match_all([there], [here], match_um=3.5).hit
    counts = count_matches(hit, len(there.points))
    assert counts.precision > 0.9
    assert counts.recall > 0.9


def held_out_runs(detector: Detector) -> list[str]:
    """Return the runs that no weight of a model has seen."""
    runs = detector.spec.provenance["runs"]
    return runs["test"] or runs["validation"]


def test_its_held_out_runs_are_not_among_those_it_learned_from(detector):
    held_out = held_out_runs(detector)
    assert held_out
    assert not trained_runs(detector.spec.provenance) & set(held_out)


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.parametrize(("row", "stretched"), [("held out", False), ("the same", True)])
def test_the_card_tells_the_figures_of_the_held_out_runs(
    detector, real_data: Path, row: str, stretched: bool
):
    tiles = load_tiles(real_data / "endonuke", detector.spec.labels)
    held_out = tiles_of_runs(tiles, held_out_runs(detector))
    change = partial(as_in_instanseg, spec=detector.spec) if stretched else None
    result = try_model(detector, held_out, change=change).evaluate()
    card = (detector.model.path / "MODEL_CARD.md").read_text("utf-8")
    line = re.search(rf"^\| {row}.*$", card, re.M)
    assert line is not None
    told = [float(figure) for figure in line.group().strip("| ").split(" | ")[-5:]]
    measured = [*result.ap.values(), result.map, result.f1, result.agnostic.f1]
    np.testing.assert_allclose(measured, told, atol=0.006)
