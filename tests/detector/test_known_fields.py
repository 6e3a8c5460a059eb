"""The file of training fields beside a model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from networks import save_tiny_model

from wsi_suite.detector.added_models import add_model
from wsi_suite.detector.checksums import file_sum, read_sums
from wsi_suite.detector.known_fields import FIELDS_FILE, read_known_fields, write_known_fields
from wsi_suite.detector.model_check import verify_model
from wsi_suite.detector.model_folder import WEIGHTS_FILE, ModelFolder, find_model
from wsi_suite.errors import ModelError
from wsi_suite.nuclei.familiarity import SIZE, KnownFields, learn_aspect

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture
def model(tmp_path: Path) -> ModelFolder:
    return find_model(save_tiny_model(tmp_path / "model"))


def fields_of(model: ModelFolder) -> KnownFields:
    aspect = learn_aspect(
        np.linspace(0, 1, 40)[:, None], ["a", "b"] * 20, held_out=np.empty((0, 1))
    )
    assert aspect is not None
    return KnownFields(
        weights_sha256=file_sum(model.path / WEIGHTS_FILE),
        read_mpp=0.5,
        field_px=64,
        runs=("a", "b"),
        fields=40,
        held_out="run",
        aspects={SIZE: aspect},
    )


def test_what_was_written_is_read_and_the_model_stays_the_same(model: ModelFolder) -> None:
    assert read_known_fields(model) is None
    known = fields_of(model)
    write_known_fields(model, known)
    assert read_known_fields(model) == (known, file_sum(model.path / FIELDS_FILE))
    assert find_model(model.path).hash == model.hash
    assert list(read_sums(model.path) or {}) == ["model.yaml", WEIGHTS_FILE, FIELDS_FILE]
    assert verify_model(model).stated
    write_known_fields(model, known)
    assert len(read_sums(model.path) or {}) == 3


def test_without_checksums_none_are_begun(model: ModelFolder) -> None:
    (model.path / "SHA256SUMS").unlink()
    write_known_fields(model, fields_of(model))
    assert read_sums(model.path) is None
    assert read_known_fields(model) is not None


def test_it_is_copied_with_a_model_that_is_added(
    model: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WSI_SUITE_MODELS", str(tmp_path / "added"))
    write_known_fields(model, fields_of(model))
    added = add_model(model.path, name="copy")
    assert read_known_fields(added) == read_known_fields(model)
    assert read_sums(added.path) == read_sums(model.path)


def changed(model: ModelFolder, text: str) -> str:
    """Return the error of a file with this content, of a folder that states no checksums."""
    (model.path / FIELDS_FILE).write_text(text, "utf-8")
    with pytest.raises(ModelError) as caught:
        read_known_fields(model)
    with pytest.raises(ModelError):
        verify_model(model)
    message = str(caught.value)
    assert "\n" not in message
    assert FIELDS_FILE in message
    assert "remove the file" in message
    return message


def test_damaged_files_are_refused_in_one_line(model: ModelFolder) -> None:
    (model.path / "SHA256SUMS").unlink()
    values = fields_of(model).as_json()
    for text in ("", "{", "[]", "{}", json.dumps(values)[:-40]):
        assert "damaged" in changed(model, text)
    values["aspects"][SIZE]["mean"] = [float("nan")]
    assert "damaged" in changed(model, json.dumps(values))


def test_later_formats_and_other_weights_are_refused(model: ModelFolder) -> None:
    (model.path / "SHA256SUMS").unlink()
    values = fields_of(model).as_json()
    assert "later version" in changed(model, json.dumps(values | {"format": 2, "of": "later"}))
    other = json.dumps(values | {"weights_sha256": "0" * 64})
    assert "was made with other weights" in changed(model, other)


def test_one_that_is_not_what_the_folder_states_is_refused(model: ModelFolder) -> None:
    write_known_fields(model, fields_of(model))
    (model.path / FIELDS_FILE).write_text("{}", "utf-8")
    with pytest.raises(ModelError, match=r"familiarity\.json: its SHA-256 is"):
        read_known_fields(model)
