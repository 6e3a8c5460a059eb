"""How far slides lie from what a model has seen: in whole runs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bench import Bench, do_blocks, results_of

from wsi_suite.analysis.familiarity import chosen_fields
from wsi_suite.analysis.slide_record import read_facts
from wsi_suite.analysis.summary import read_summary
from wsi_suite.config import ScoreSettings
from wsi_suite.detector.checksums import file_sum
from wsi_suite.detector.field_description import central_fields, describe_fields
from wsi_suite.detector.known_fields import FIELDS_FILE, write_known_fields
from wsi_suite.detector.model_folder import WEIGHTS_FILE, find_model, load_network
from wsi_suite.errors import ModelError
from wsi_suite.nuclei.familiarity import ASPECTS, Familiarity, KnownFields, learn_aspect
from wsi_suite.runs.rescore import rescore
from wsi_suite.runs.slide_run import finish_run, prepare_run
from wsi_suite.runs.summary_csv import summary_row
from wsi_suite.slides.slide import open_slide

pytestmark = pytest.mark.usefixtures("quick", "one_torch_thread")
FIELD_PX = 32


@pytest.fixture(scope="module")
def seeing(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A model that has seen the very slide of the bench."""
    folder = tmp_path_factory.mktemp("seeing") / "model"
    shutil.copytree(bench.model, folder)
    model = find_model(folder)
    with open_slide(bench.slide) as slide:
        raster = slide.raster(model.spec.read_mpp)
        picture = raster.read(raster.box)
    fields = describe_fields(
        load_network(model), central_fields(picture, FIELD_PX), spec=model.spec
    )
    aspects = {}
    for name in ASPECTS:
        values = fields[name]
        groups = [str(number % 4) for number in range(len(values))]
        aspect = learn_aspect(values, groups, held_out=np.empty((0, values.shape[1])))
        assert aspect is not None
        aspects[name] = aspect
    known = KnownFields(
        weights_sha256=file_sum(folder / WEIGHTS_FILE),
        read_mpp=model.spec.read_mpp,
        field_px=FIELD_PX,
        runs=("0",),
        fields=len(values),
        held_out="tile",
        aspects=aspects,
    )
    write_known_fields(model, known)
    return replace(bench, model=folder)


def familiarity_of(folder: Path) -> Familiarity:
    summary = read_summary(folder)
    assert summary is not None
    assert summary.familiarity is not None
    return summary.familiarity


def test_it_is_the_same_for_any_number_of_threads_and_from_stored_tiles(
    seeing: Bench, tmp_path: Path
) -> None:
    run = seeing.do(tmp_path / "one")
    found = familiarity_of(tmp_path / "one")
    assert list(found.aspects) == list(ASPECTS)
    assert found.verdict != "far"
    assert found.fields >= 4
    assert found.field_um == 16
    assert found.statistics == file_sum(seeing.model / FIELDS_FILE)[:12]
    seeing.do(tmp_path / "two", threads=2)
    assert results_of(tmp_path / "two") == results_of(tmp_path / "one")
    seeing.do(tmp_path / "tiled", stage="tile")
    seeing.do(tmp_path / "tiled", stage="detect")
    assert results_of(tmp_path / "tiled") == results_of(tmp_path / "one")
    assert run.facts.sample


def test_scoring_again_keeps_it(seeing: Bench, tmp_path: Path) -> None:
    outcome = seeing.run_one(tmp_path)
    assert outcome.folder is not None
    found = familiarity_of(outcome.folder)
    again = rescore(outcome.folder, ScoreSettings(marker="ER"))
    assert again.summary is not None
    assert again.summary.familiarity == found
    row = summary_row(again)
    assert found.farthest is not None
    assert row["familiarity"] == found.verdict
    assert row["familiarity_times_limit"] == found.farthest.times_limit


def test_a_model_that_does_not_say_is_no_fault(bench: Bench, tmp_path: Path) -> None:
    bench.do(tmp_path / "out")
    found = familiarity_of(tmp_path / "out")
    assert (found.verdict, found.aspects) == (None, {})
    assert found.reason == "the model does not say what its training fields look like"


def test_facts_of_an_earlier_version_are_told(seeing: Bench, tmp_path: Path) -> None:
    run = prepare_run(seeing.request(tmp_path / "out"))
    do_blocks(run)
    finish_run(replace(run, facts=replace(run.facts, sample=None)))
    assert (
        familiarity_of(tmp_path / "out").reason == "the slide was looked at by an earlier version"
    )


def test_a_damaged_file_is_refused_before_any_work(seeing: Bench, tmp_path: Path) -> None:
    shutil.copytree(seeing.model, tmp_path / "model")
    (tmp_path / "model" / FIELDS_FILE).write_text(json.dumps({"format": 9}), "utf-8")
    (tmp_path / "model" / "SHA256SUMS").unlink()
    other = replace(seeing, model=tmp_path / "model")
    with pytest.raises(ModelError, match="later version of wsi-suite"):
        prepare_run(other.request(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_fields_are_few_on_small_slides_and_apart(seeing: Bench, tmp_path: Path) -> None:
    seeing.do(tmp_path / "out", stage="tile")
    facts = read_facts(tmp_path / "out")
    assert facts is not None
    chosen = list(chosen_fields(facts, field_px=FIELD_PX))
    work_px = np.count_nonzero(facts.wanted) * facts.chunk_px**2
    usable = [box for box in facts.sample or () if min(box.width, box.height) >= FIELD_PX]
    assert len(chosen) == min(len(usable), max(4, int(work_px / 8 / FIELD_PX**2)))
    assert len(set(chosen)) == len(chosen)
    assert all((box.width, box.height) == (FIELD_PX, FIELD_PX) for box in chosen)
    assert list(chosen_fields(facts, field_px=500)) == []
