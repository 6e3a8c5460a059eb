"""Where the files that come with the suite are: in a wheel, and in a checkout."""

from __future__ import annotations

from pathlib import Path

from wsi_suite.errors import WsiSuiteError

_PACKAGE = Path(__file__).parent


def models_folder() -> Path:
    """Return the folder of the bundled models, a folder each."""
    return _folder("models")


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
