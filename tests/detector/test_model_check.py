import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from wsi_suite.detector.checksums import read_sums, write_sums
from wsi_suite.detector.model_check import Verified, verify_model
from wsi_suite.detector.model_folder import ModelSpec, find_model, load_network, save_model
from wsi_suite.errors import ModelError

FILES = ("model.yaml", "weights.safetensors")


@pytest.fixture
def model(tmp_path, make_network):
    network = make_network()
    return save_model(tmp_path / "tiny", ModelSpec(name="tiny", network=network.spec), network)


def change_weights(model, change):
    """Rewrite the weights in place, with checksums that agree."""
    path = model.path / "weights.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path)
    write_sums(model.path, FILES)


def test_a_saved_model_states_its_checksums_and_is_whole(model):
    assert set(read_sums(model.path)) == set(FILES)
    found = verify_model(model)
    state = load_network(model).state_dict()
    assert found == Verified(True, len(state), sum(value.numel() for value in state.values()))


def test_checksums_are_written_as_coreutils_reads_them(tmp_path):
    (tmp_path / "model.yaml").write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    write_sums(tmp_path, ["model.yaml"])
    assert (tmp_path / "SHA256SUMS").read_bytes() == f"{empty}  model.yaml\n".encode()
    (tmp_path / "SHA256SUMS").write_text(f"{empty.upper()} *model.yaml\r\n")
    assert read_sums(tmp_path) == {"model.yaml": empty}


def test_a_folder_without_checksums_is_checked_without_them(model):
    (model.path / "SHA256SUMS").unlink()
    assert not verify_model(find_model(model.path)).stated


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_refused(model, name):
    path = model.path / name
    if name == "model.yaml":
        path.write_text(path.read_text() + "# by hand\n")
    else:
        content = bytearray(path.read_bytes())
        content[-1] ^= 1  # a weight that is still a number
        path.write_bytes(content)
    with pytest.raises(ModelError, match=f"{name}: its SHA-256 is .* damaged or changed") as error:
        verify_model(find_model(model.path))
    assert "\n" not in str(error.value)


def test_damaged_weights_are_refused_wherever_they_are_loaded(model):
    path = model.path / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="its SHA-256"):
        load_network(find_model(model.path))


def test_a_threshold_changed_by_hand_does_not_stop_a_run(model):
    path = model.path / "model.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"min_confidence": 0.4}))
    load_network(find_model(model.path))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.pop("heat.0.weight"), "Missing key"),
        (lambda w: w.update({"more": torch.zeros(1)}), "Unexpected key"),
        (lambda w: w.update({"heat.0.weight": w["heat.0.weight"][:, :1].clone()}), "size mismatch"),
        (lambda w: w["heat.0.weight"].fill_(float("nan")), "no numbers"),
    ],
    ids=["missing", "unknown", "shape", "nan"],
)
def test_other_tensors_are_refused_in_one_line(model, change, words):
    change_weights(model, change)
    with pytest.raises(ModelError, match=words) as error:
        verify_model(find_model(model.path))
    assert "\n" not in str(error.value)


def test_a_pickle_is_never_loaded(model):
    path = model.path / "weights.safetensors"
    torch.save({"heat.0.weight": torch.zeros(1)}, path)
    write_sums(model.path, FILES)
    with pytest.raises(ModelError, match="not readable as safetensors"):
        verify_model(find_model(model.path))


@pytest.mark.parametrize(
    ("answers", "words"), [([0.0, 1.0], "differs between two runs"), ([float("nan")] * 2, "number")]
)
def test_answers_that_change_or_are_no_numbers_are_refused(model, monkeypatch, answers, words):
    turns = iter(answers)
    monkeypatch.setattr(
        "wsi_suite.detector.network.NucleusNet.forward",
        lambda _self, rgb: {"heat": torch.full((1, 1, 2, 2), next(turns))},
    )
    with pytest.raises(ModelError, match=words):
        verify_model(model)


@pytest.mark.parametrize("line", ["abc  model.yaml", f"{'0' * 64}  ../model.yaml", "<html>"])
def test_damaged_checksums_are_refused(model, line):
    (model.path / "SHA256SUMS").write_text(f"{line}\n")
    with pytest.raises(ModelError, match=r"SHA256SUMS: line 1 is .* copy the model again"):
        verify_model(model)
