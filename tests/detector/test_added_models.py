import os
import shutil
import time

import pytest
import yaml
from networks import save_tiny_model

from wsi_suite.detector import added_models as module
from wsi_suite.detector.added_models import add_model, remove_model
from wsi_suite.detector.checksums import read_sums
from wsi_suite.detector.model_facts import describe_model
from wsi_suite.detector.model_folder import added_models, bundled_models, find_model, named_models
from wsi_suite.errors import ModelError, OutputConflictError, OutputError


@pytest.fixture
def added(tmp_path, monkeypatch, one_torch_thread):
    """The user's folder of models; it is not there yet."""
    folder = tmp_path / "Daten für wsi" / "models"
    monkeypatch.setenv("WSI_SUITE_MODELS", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def source(tmp_path, one_torch_thread):
    folder = save_tiny_model(tmp_path / "trained")
    (folder / "MODEL_CARD.md").write_text("# tiny\n\nFinds dots.\n\n## Limits\n\nAll.\n")
    (folder / "training").mkdir()
    (folder / "training" / "last.ckpt").write_bytes(b"pickle")
    return folder


def test_an_added_model_is_found_by_its_name(added, source):
    assert named_models() == bundled_models()
    model = add_model(source)
    assert model == find_model("tiny")
    assert model.path == added / "tiny"
    assert model.hash == find_model(source).hash  # results of the original count as its own
    assert added_models() == ["tiny"]
    assert sorted(path.name for path in model.path.iterdir()) == [
        "MODEL_CARD.md",
        "SHA256SUMS",
        "model.yaml",
        "weights.safetensors",
    ]
    assert describe_model(model).origin == "added"


def test_a_copy_states_checksums_that_the_original_lacked(added, source):
    (source / "SHA256SUMS").unlink()
    assert not describe_model(find_model(source)).stated
    assert describe_model(add_model(source)).stated
    assert read_sums(source) is None


def test_adding_it_again_changes_nothing_and_another_one_is_refused(added, source, tmp_path):
    first = add_model(source)
    assert add_model(source) == first
    other = save_tiny_model(tmp_path / "other", headline_class="Stroma")
    for name in ("tiny", "TINY"):
        with pytest.raises(OutputConflictError, match=r"another model of this name; .*--name"):
            add_model(other, name=name)
    assert find_model("tiny") == first
    assert add_model(other, name="tiny-2").hash == find_model(other).hash


@pytest.mark.parametrize("name", ["a/b", "..", "", "con", "-x", "x ", ".x"])
def test_names_that_are_no_folders_names_are_refused(added, source, name):
    with pytest.raises(ModelError, match=r"model name '.*': expected .* give it with --name"):
        add_model(source, name=name)
    assert not added.exists()


@pytest.mark.parametrize("name", ["endonuke-resnet18", "Endonuke-ResNet18"])
def test_names_of_bundled_models_are_refused(added, source, name):
    with pytest.raises(ModelError, match="is that of a bundled model"):
        add_model(source, name=name)


def test_a_damaged_model_is_not_added(added, source):
    path = source / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match="its SHA-256"):
        add_model(source)
    assert not added.exists()


def test_it_is_added_whole_or_not_at_all(added, source, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_sums", full)
        with pytest.raises(OutputError, match=r"No space left .* WSI_SUITE_MODELS"):
            add_model(source)
    assert list(added.iterdir()) == []


def test_what_a_killed_process_left_is_no_model_and_goes(added, source):
    left = added / ".tiny.0123abcd.partial"
    shutil.copytree(source, left)
    assert added_models() == []
    add_model(source)
    assert left.exists()  # its writer may be alive
    os.utime(left, (time.time() - 7200,) * 2)
    remove_model("tiny")
    add_model(source)
    assert [path.name for path in added.iterdir()] == ["tiny"]


def test_a_folder_of_other_things_does_not_hide_a_model(added, source, tmp_path, monkeypatch):
    add_model(source)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    assert find_model("tiny").path == added / "tiny"


def test_a_folder_of_the_same_name_is_no_guess(added, source, tmp_path):
    add_model(source)
    shutil.copytree(source, tmp_path / "tiny")
    assert find_model("tiny").path == added / "tiny"  # they are the same
    path = tmp_path / "tiny" / "model.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"min_confidence": 0.7}))
    with pytest.raises(ModelError, match=r"model 'tiny' may be .* or tiny, which differ"):
        find_model("tiny")
    assert find_model("./tiny").spec.min_confidence == 0.7
    assert find_model(path.parent).spec.min_confidence == 0.7


def test_only_added_models_are_removed(added, source):
    add_model(source)
    with pytest.raises(ModelError, match=r"'tini' was not added \(did you mean 'tiny'"):
        remove_model("tini")
    with pytest.raises(ModelError, match="is bundled and stays"):
        remove_model("endonuke-resnet18")
    assert remove_model("tiny") == added / "tiny"
    assert list(added.iterdir()) == []
    with pytest.raises(ModelError, match=r"known name nor a folder; known: endonuke-resnet18"):
        find_model("tiny")


def test_the_facts_tell_what_it_learned_from(added, tmp_path):
    history = {
        "start_from": {"name": "first", "runs": {"train": [386]}},
        "runs": {"train": ["b", "a"], "validation": ["c"], "test": [386]},
        "nuclei": {"train": 7},
        "wsi_suite": "0.1.0",
    }
    facts = describe_model(find_model(save_tiny_model(tmp_path / "m", provenance=history)))
    assert facts.trained_runs == ("386", "a", "b")
    assert facts.held_out_runs == ("c",)  # 386 was learned from by the first
    assert (facts.start_from, facts.nuclei, facts.origin) == ("first", {"train": 7}, "folder")
    assert facts.card is None


def test_the_head_of_the_card_ends_at_its_second_heading(source):
    assert describe_model(find_model(source)).card == "# tiny\n\nFinds dots."
