"""What ``import wsi_suite`` promises."""

from __future__ import annotations

import subprocess
import sys
from inspect import isfunction
from pathlib import Path

import pytest

import wsi_suite


@pytest.mark.parametrize("name", wsi_suite.__all__)
def test_every_public_name_is_there(name: str):
    assert getattr(wsi_suite, name) is not None


def test_no_public_name_is_that_of_a_module():
    """Importing the module would put it in the place of the function."""
    folder = Path(wsi_suite.__file__).parent
    modules = {path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert (
        not {name for name in wsi_suite.__all__ if isfunction(getattr(wsi_suite, name))} & modules
    )


def test_an_unknown_name_is_refused():
    with pytest.raises(AttributeError, match="no attribute 'open_slides'"):
        _ = wsi_suite.open_slides


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, wsi_suite; print([m for m in ('numpy', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
