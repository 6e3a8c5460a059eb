"""Models that the user added: copies in one folder, found by name."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from pathlib import Path

from wsi_suite.detector.checksums import write_sums
from wsi_suite.detector.int8_ranges import RANGES_FILE
from wsi_suite.detector.known_fields import FIELDS_FILE
from wsi_suite.detector.model_folder import (
    CARD_FILE,
    SPEC_FILE,
    TRAINING_RECORD,
    WEIGHTS_FILE,
    ModelFolder,
    added_models,
    bundled_models,
    find_model,
)
from wsi_suite.errors import ModelError, OutputConflictError, OutputError, did_you_mean
from wsi_suite.files import (
    is_leftover,
    name_key,
    output_error,
    portable_name,
    temporary_path,
    whole_file,
)
from wsi_suite.resources import MODELS_VARIABLE, added_models_folder

_REMEDY = f"free the disk or name another folder with {MODELS_VARIABLE}"
_ABANDONED_S = 3600.0


def add_model(source: Path, *, name: str | None = None) -> ModelFolder:
    """Copy a model into the user's folder of models, whole or not at all.

    Copied are ``model.yaml``, the weights, what was measured with them, the card and the record
    of the training, byte by byte, so that results of the original count as the copy's; checkpoints
    stay behind. The copy states its checksums. A model that is there already with the same
    content is returned as it is.

    Parameters
    ----------
    source
        The model's folder.
    name
        Name by which it will be found; by default the one in its ``model.yaml``.

    Raises
    ------
    ModelError
        The model is not whole, or its name cannot be used.
    OutputConflictError
        Another model of this name was added before.
    OutputError
        The copy cannot be written.
    """
    from wsi_suite.detector.model_check import verify_model  # needs torch

    model = find_model(Path(source))
    name = model.spec.name if name is None else name
    _check_name(name)
    verify_model(model)
    files = [SPEC_FILE, WEIGHTS_FILE]
    files += [name for name in (FIELDS_FILE, RANGES_FILE) if (model.path / name).is_file()]
    folder = added_models_folder()
    there = next((known for known in added_models() if name_key(known) == name_key(name)), None)
    if there is not None:
        found = find_model(folder / there)
        if found.hash == model.hash:
            return found
        raise OutputConflictError(
            f"{found.path}: is another model of this name; give another --name, or first "
            f"'wsi-suite models remove {there}'"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(folder, error, remedy=_REMEDY) from None
    _remove_abandoned(folder)
    with whole_file(folder / name, remedy=_REMEDY) as partial:
        partial.mkdir()
        for file in (*files, CARD_FILE, TRAINING_RECORD):
            if file in files or (model.path / file).is_file():
                (partial / file).parent.mkdir(exist_ok=True)
                shutil.copyfile(model.path / file, partial / file)
        write_sums(partial, files)
        if find_model(partial).hash != model.hash:
            raise OutputError(f"{model.path}: was changed while it was copied; add it again")
    return find_model(folder / name)


def remove_model(name: str) -> Path:
    """Remove a model that was added, and return where it was.

    Raises
    ------
    ModelError
        No model of this name was added.
    OutputError
        It cannot be removed.
    """
    known = added_models()
    if name not in known:
        if name in bundled_models():
            raise ModelError(f"model '{name}' is bundled and stays; added: {_list(known)}")
        hint = did_you_mean(name, known) or f"; added: {_list(known)}"
        raise ModelError(f"model '{name}' was not added{hint}")
    folder = added_models_folder() / name
    gone = temporary_path(folder)
    try:
        folder.rename(gone)  # nobody sees half of it
        shutil.rmtree(gone)
    except OSError as error:
        raise output_error(folder, error, remedy="remove the folder by hand") from None
    return folder


def _check_name(name: str) -> None:
    if portable_name(name) != name or name.startswith("-"):
        raise ModelError(
            f"model name '{name}': expected one that is a folder's name on every system, as "
            f"'{portable_name(name.lstrip('-'))}'; give it with --name"
        )
    for bundled in bundled_models():
        if name_key(bundled) == name_key(name):
            raise ModelError(
                f"model name '{name}': is that of a bundled model; give another --name"
            )


def _remove_abandoned(folder: Path) -> None:
    """Remove incomplete model folders that killed processes left."""
    for path in filter(is_leftover, list(folder.iterdir())):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime >= _ABANDONED_S:
                shutil.rmtree(path)


def _list(names: list[str]) -> str:
    return ", ".join(names) or "none"
