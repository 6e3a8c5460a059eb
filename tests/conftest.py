"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    import numpy as np
    from bench import Bench

    from wsi_suite.detector.network import NucleusNet
    from wsi_suite.training.labelled import LabelledTile

# Shared runners stall: a slow example is no failure, and every run tries the same ones.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with the most slow tests first: of several processes none waits for a late one."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="session", autouse=True)
def _no_added_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the models that whoever runs the tests has added out of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WSI_SUITE_MODELS", str(tmp_path_factory.mktemp("added") / "models"))
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real slides and tiles: ``WSI_SUITE_DATA``, else beside the checkout."""
    named = os.environ.get("WSI_SUITE_DATA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (set WSI_SUITE_DATA)")
    return folder


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A tiny model of random weights and a small slide, for tests of whole runs.

    What it finds is of no consequence, as long as it is some hundred nuclei of both classes.
    """
    from bench import Bench
    from networks import save_tiny_model

    from wsi_suite.synthetic import make_slide

    folder = tmp_path_factory.mktemp("bench")
    make_slide(folder / "B12 größer.tif", width=600, height=560, mpp=0.25, tissue_fraction=0.6)
    save_tiny_model(folder / "model")
    return Bench(folder / "model", folder / "B12 größer.tif")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small blocks, so that a small slide has several, and no pictures, which take long."""
    from bench import set_sides

    from wsi_suite.runs import cluster, outputs

    set_sides(monkeypatch)
    # Nor is the model loaded again for each run.
    close_all = cluster.close_all
    monkeypatch.setattr(
        cluster, "close_all", lambda *, abandon: abandon and close_all(abandon=True)
    )
    monkeypatch.setattr(outputs, "draw_overview", lambda path, **_: Path(path).write_bytes(b"PNG"))


@pytest.fixture(scope="session")
def one_torch_thread() -> Iterator[None]:
    """Tiny networks gain nothing from threads, and lose much on a busy machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def make_network(one_torch_thread: None) -> Callable[..., NucleusNet]:
    from networks import make_network

    return make_network


@pytest.fixture(scope="session")
def make_clouds() -> Callable[..., np.ndarray]:
    from networks import clouds

    return clouds


@pytest.fixture(scope="session")
def write_tiles(one_torch_thread: None) -> Callable[..., Path]:
    from networks import write_tiles

    return write_tiles


@pytest.fixture(scope="session")
def tiles(
    write_tiles: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> list[LabelledTile]:
    """Three tiles of three runs."""
    from wsi_suite.detector.label_spec import LabelSpec
    from wsi_suite.training.labelled import load_tiles

    folder = write_tiles(tmp_path_factory.mktemp("tiles"), {"a": "1", "b": "2", "c": "3"})
    return load_tiles(folder, LabelSpec())
