"""Where the files that come with the suite are: in a wheel, and in a checkout."""

from __future__ import annotations

import os
from pathlib import Path

from wsi_suite.errors import WsiSuiteError

MODELS_VARIABLE = "WSI_SUITE_MODELS"

_PACKAGE = Path(__file__).parent


def models_folder() -> Path:
    """Return the folder of the bundled models, a folder each."""
    return _folder("models")


def added_models_folder() -> Path:
    """Return the folder of the models that the user added, a folder each; it may not exist yet.

    It is the user's data folder on this system; the environment variable ``WSI_SUITE_MODELS`` names
    another.
    """
    from platformdirs import user_data_path

    named = os.environ.get(MODELS_VARIABLE)
    return Path(named) if named else user_data_path("wsi-suite", appauthor=False) / "models"


def sample_configs_folder() -> Path:
    """Return the folder of the sample configurations, YAML."""
    return _folder("sample_configs")


def qupath_scripts_folder() -> Path:
    """Return the folder of the scripts for QuPath, Groovy."""
    return _folder("qupath_scripts")


def _folder(name: str) -> Path:
    # A wheel carries them inside the package; in a checkout they stand beside it.
    for folder in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise WsiSuiteError(f"{name}: not beside {_PACKAGE}; the installation is broken: reinstall it")
