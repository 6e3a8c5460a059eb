"""Results and projects for the tests of the bridge to QuPath."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pushed import InQuPath, Results, make_results

from wsi_suite.synthetic import Truth, make_slide


@pytest.fixture(scope="session")
def slide(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    """A small slide and its nuclei; never written to."""
    path = tmp_path_factory.mktemp("slides") / "B12 größer.tif"
    return path, make_slide(path, width=900, height=700, mpp=0.25, tissue_fraction=0.8)


@pytest.fixture
def results(slide: tuple[Path, Truth], tmp_path: Path) -> Results:
    """The folder of a finished run on that slide."""
    return make_results(tmp_path / "results" / "B12", slide=slide[0], truth=slide[1])


@pytest.fixture
def qupath(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InQuPath:
    """Run Groovy on the only image of the project in ``tmp_path / "project"``, as QuPath would."""
    if not os.environ.get("PAQUO_QUPATH_DIR"):
        pytest.skip("PAQUO_QUPATH_DIR is not set: QuPath is needed")
    monkeypatch.setenv(
        "PAQUO_JAVA_OPTS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
    )  # starts faster
    return InQuPath(tmp_path / "project")
