"""Statistics of training fields, learned at the end of a training or for a model that is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from networks import save_tiny_model

from wsi_suite.detector.detector import load_detector
from wsi_suite.detector.field_description import describe_fields
from wsi_suite.detector.known_fields import FIELDS_FILE, read_known_fields
from wsi_suite.detector.model_folder import find_model, trained_runs
from wsi_suite.nuclei.familiarity import FEATURES, SHARPNESS, SIZE, compare_with_known
from wsi_suite.training.familiarity import fields_of_tiles, learn_familiarity
from wsi_suite.training.labelled import load_tiles, tiles_of_runs
from wsi_suite.training.shifts import blurred

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def test_fields_of_training_are_learned_and_others_only_counted(
    tmp_path: Path, write_tiles
) -> None:
    data = write_tiles(tmp_path / "data", {f"t{i}": str(i % 4) for i in range(32)}, size_px=50)
    model = find_model(save_tiny_model(tmp_path / "model"))
    tiles = load_tiles(data, model.spec.labels)
    train, held_out = tiles_of_runs(tiles, ["0", "1", "2"]), tiles_of_runs(tiles, ["3"])
    known = learn_familiarity(model, train=train, held_out=held_out)
    assert known is not None
    assert (known.runs, known.fields, known.held_out) == (("0", "1", "2"), 24, "run")
    assert known.field_px <= 50
    assert known.field_px % model.spec.network.align_px == 0
    assert len(known.aspects[FEATURES].reference) == 32
    assert known.aspects[FEATURES].mean == learn_again(model, train).aspects[FEATURES].mean
    found = read_known_fields(model)
    assert found is not None
    assert found[0] == learn_again(model, train)


def learn_again(model, train):
    known = learn_familiarity(model, train=train, held_out=[])
    assert known is not None
    return known


def test_too_few_or_too_small_tiles_leave_a_model_without(tmp_path: Path, write_tiles) -> None:
    model = find_model(save_tiny_model(tmp_path / "model"))
    few = load_tiles(write_tiles(tmp_path / "few", {"a": "1", "b": "2"}), model.spec.labels)
    assert learn_familiarity(model, train=few, held_out=[]) is None
    assert not (model.path / FIELDS_FILE).exists()


@pytest.mark.slow
@pytest.mark.realdata
def test_the_bundled_model_knows_its_held_out_run_and_neither_blur_nor_size(
    real_data: Path,
) -> None:
    detector = load_detector("endonuke-resnet18", device="cpu", precision="fp32")
    model = find_model("endonuke-resnet18")
    found = read_known_fields(model)
    assert found is not None
    known, name = found
    assert set(known.runs) == trained_runs(model.spec.provenance)
    tiles = tiles_of_runs(load_tiles(real_data / "endonuke", model.spec.labels), ["321-364"])
    fields, _ = fields_of_tiles(detector.network, tiles, model=model, field_px=known.field_px)
    assert compare_with_known(fields, known, statistics=name).verdict == "inside"
    pictures = [tile.read(0.5).rgb[4:196, 4:196] for tile in tiles[:7]]
    for change, aspects in (
        (lambda rgb: blurred(rgb, sigma_px=3), {SHARPNESS, FEATURES}),
        (lambda rgb: np.kron(rgb[:96, :96], np.ones((2, 2, 1), np.uint8)), {SIZE, FEATURES}),
    ):
        changed = describe_fields(detector.network, map(change, pictures), spec=model.spec)
        told = compare_with_known(changed, known, statistics=name)
        assert told.verdict == "far"
        far = {key for key, figures in told.aspects.items() if figures.verdict == "far"}
        assert far >= aspects
