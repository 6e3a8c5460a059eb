import numpy as np
import pytest
import torch
import yaml

from wsi_suite.detector.label_spec import LabelSpec
from wsi_suite.detector.model_folder import (
    ModelSpec,
    bundled_models,
    find_model,
    load_network,
    round_to_half,
    save_model,
)
from wsi_suite.errors import ModelError
from wsi_suite.resources import models_folder


@pytest.fixture
def saved(tmp_path, make_network):
    network = make_network()
    labels = LabelSpec(columns="yx", classes={1: "Lymphozyt", 5: "Drüse"})
    spec = ModelSpec(
        name="tiny", labels=labels, network=network.spec, provenance={"runs": {"train": ["1"]}}
    )
    return save_model(tmp_path / "ein Modell für Tests", spec, network), network


def test_a_model_comes_back_as_it_was_saved(saved):
    folder, network = saved
    again = find_model(str(folder.path))
    assert again == folder
    assert again.spec.classes == ("Lymphozyt", "Drüse")
    loaded = load_network(again)
    assert not loaded.training
    round_to_half(network)
    weights = network.state_dict()
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, weights[name]), name


def test_models_of_format_1_are_built_as_they_were(tmp_path, make_network):
    network = make_network(stem_pool=True, class_map=False, sizes=False)
    spec = ModelSpec(name="before", network=network.spec, min_confidence=0.4)
    save_model(tmp_path / "before", spec, network)
    path = tmp_path / "before" / "model.yaml"
    values = yaml.safe_load(path.read_text()) | {"format": 1, "min_score": 0.4}
    del values["min_confidence"], values["separation"]
    del values["network"]["stem_pool"], values["network"]["class_map"]
    path.write_text(yaml.safe_dump(values))
    folder = find_model(tmp_path / "before")
    assert folder.spec == spec
    assert set(load_network(folder)(torch.zeros(1, 3, 32, 32))) == {"heat", "offset"}


def test_weights_are_stored_in_half_precision(saved):
    folder, network = saved
    size = (folder.path / "weights.safetensors").stat().st_size
    values = sum(value.numel() for value in network.state_dict().values())
    assert size < 2.5 * values + 20_000


def test_the_hash_is_of_both_files(saved):
    folder, network = saved
    spec = folder.spec.model_copy(update={"min_confidence": 0.31})
    assert save_model(folder.path, spec, network).hash != folder.hash
    with torch.no_grad():
        network.heat[-1].bias += 1
    assert save_model(folder.path, folder.spec, network).hash != folder.hash


def test_bundled_models_are_found_by_name():
    for name in bundled_models():
        assert find_model(name) == find_model(models_folder() / name)
    with pytest.raises(ModelError, match=r"nor a folder \(did you mean 'endonuke-resnet18'"):
        find_model("endonuke-resnet81")


def test_an_unknown_model_is_refused():
    bundled = ", ".join(bundled_models())
    with pytest.raises(ModelError, match=f"'hovernet' is neither .*; known: {bundled}"):
        find_model("hovernet")


@pytest.mark.parametrize("name", ["model.yaml", "weights.safetensors"])
def test_a_missing_file_is_named(saved, name):
    folder, _ = saved
    (folder.path / name).unlink()
    with pytest.raises(ModelError, match=f"no {name} in it"):
        find_model(folder.path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "name"),
        ("- a\n- b\n", "expected sections of settings, found list"),
        ("name: [", "not YAML"),
        (
            "name: x\nmin_konfidence: 0.3\n",
            "unknown setting 'min_konfidence' .did you mean 'min_confidence'",
        ),
        ("name: x\nformat: 3\nparts: 4\n", "of format 3, which a later version"),
        ("name: x\nformat: 2\nprovenance: {runs: [a]}\n", "provenance.runs"),
        ("name: x\nlabels: {classes: {}}\n", "labels.classes"),
    ],
)
def test_a_wrong_description_is_refused_in_one_line(saved, text, message):
    folder, _ = saved
    (folder.path / "model.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=rf"model\.yaml: .*{message}") as refusal:
        find_model(folder.path)
    assert "\n" not in str(refusal.value)


def test_damaged_weights_are_refused(saved):
    folder, _ = saved
    path = folder.path / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"weights\.safetensors: not readable as safetensors"):
        load_network(find_model(folder.path))


def test_weights_of_another_network_are_refused_in_one_line(saved):
    folder, _ = saved
    path = folder.path / "model.yaml"
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    values["network"]["channels"] = 16
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(ModelError, match=r"weights\.safetensors: does not fit model\.yaml") as no:
        load_network(find_model(folder.path))
    assert "\n" not in str(no.value)


def test_rounding_leaves_what_half_precision_holds(make_network):
    network = make_network()
    round_to_half(network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    round_to_half(network)
    for name, value in network.state_dict().items():
        assert np.array_equal(value, before[name])
