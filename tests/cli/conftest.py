"""The command line, run in this process, on small slides with a tiny model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from command_line import SAME_RESULTS, Answer, Cli
from networks import save_tiny_model

from wsi_suite.cli import main
from wsi_suite.synthetic import make_slide

SIDE_PX = 1000


@pytest.fixture
def wsi(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Type ``wsi-suite ...``: arguments as they are typed, paths too."""
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")  # the program sets it, else for good

    def typed(*arguments: object) -> Answer:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Answer(left.value.code, said.out, said.err)

    return typed


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny networks gain nothing from threads, and lose much on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder: an untrained network that sees some hundred nuclei of both classes."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    return save_tiny_model(folder, headline_class="Epithelium")


@pytest.fixture(scope="session")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two slides, never written to."""
    folder = tmp_path_factory.mktemp("slides")
    for seed, name in enumerate(("B12_ER.svs", "B13_ER.svs")):
        make_slide(folder / name, width=SIDE_PX, height=SIDE_PX, tissue_fraction=0.4, seed=seed)
    return folder


@pytest.fixture(scope="session")
def slide(slides: Path) -> Path:
    """One of them."""
    return slides / "B12_ER.svs"


@pytest.fixture(scope="session")
def results(slide: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of a run on that slide; commands that write there copy it first."""
    out = tmp_path_factory.mktemp("results")
    options = ["--out", str(out), "--model", str(model), *SAME_RESULTS]
    with pytest.raises(SystemExit) as left:
        main(["run", str(slide), *options])
    assert left.value.code == 0
    return out / "B12_ER"
