"""What ``import wsi_suite`` promises."""

from __future__ import annotations

import subprocess
import sys

import pytest

import wsi_suite


@pytest.mark.parametrize("name", wsi_suite.__all__)
def test_every_public_name_is_there(name: str):
    assert getattr(wsi_suite, name) is not None


def test_an_unknown_name_is_refused():
    with pytest.raises(AttributeError, match="no attribute 'open_slides'"):
        _ = wsi_suite.open_slides


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, wsi_suite; print([m for m in ('numpy', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
