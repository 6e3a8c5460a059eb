"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Shared runners stall: a slow example is no failure, and every run tries the same ones.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real slides and tiles: ``WSI_SUITE_DATA``, else beside the checkout."""
    named = os.environ.get("WSI_SUITE_DATA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (set WSI_SUITE_DATA)")
    return folder
