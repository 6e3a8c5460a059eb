"""Slides whose disk does not answer: given up in time, the others go on, the process ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, current_thread
from typing import Any

import pytest
from bench import Bench, results_of

from wsi_suite.errors import NoAnswerError
from wsi_suite.patience import alive, with_patience
from wsi_suite.slides import slide as slides

pytestmark = pytest.mark.usefixtures("quick")

QUICKLY = "run.read_timeout_min=0.1"


@pytest.fixture
def share(bench: Bench, tmp_path: Path) -> Path:
    """A copy of the slide, on what is to be a share that hangs."""
    path = tmp_path / "share" / "A7.tif"
    path.parent.mkdir()
    shutil.copy2(bench.slide, path)
    return path


def hang(patch: pytest.MonkeyPatch, slide: Path, *, thread: str) -> Event:
    """Let reads of a slide hang in threads of a name until the event is set."""
    read, answers = slides.Slide.read_level, Event()

    def read_level(self: slides.Slide, *asked: Any) -> Any:
        if self.path.name == slide.name and current_thread().name.startswith(thread):
            alive()
            answers.wait()
        return read(self, *asked)

    patch.setattr(slides.Slide, "read_level", read_level)
    return answers


@pytest.mark.parametrize("thread", ["wsi-patience", "wsi-read"])  # survey, blocks
def test_a_slide_that_hangs_is_given_up_and_the_others_go_on(
    bench: Bench, share: Path, tmp_path: Path, thread: str
) -> None:
    whole = bench.run_one(tmp_path / "whole", slides=[share])
    with pytest.MonkeyPatch.context() as patch:
        answers = hang(patch, share, thread=thread)
        hung, good = bench.run(tmp_path / "out", QUICKLY, slides=[share, bench.slide])
        answers.set()
    assert good.error is None
    assert isinstance(hung.error, NoAnswerError)
    assert "no answer for 0.1 min" in str(hung.error)
    again, _ = bench.run(tmp_path / "out", slides=[share, bench.slide])
    assert again.error is None
    assert again.folder is not None
    assert whole.folder is not None
    assert results_of(again.folder) == results_of(whole.folder)


@pytest.mark.timeout(600)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are of POSIX")
def test_a_pipe_that_nobody_writes_to_stops_neither_others_nor_the_process(
    bench: Bench, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe.svs"
    os.mkfifo(pipe)
    script = tmp_path / "night.py"
    script.write_text(
        "from pathlib import Path\n"
        "from wsi_suite.config import load_settings\n"
        "from wsi_suite.runs.batch import run_batch\n"
        "from wsi_suite.slides.identity import SlideIdentity\n"
        f"SlideIdentity.of(Path({str(bench.slide)!r}))\n"  # loads what takes seconds
        f"settings = load_settings(overrides=['detect.model={bench.model}',"
        " 'run.read_timeout_min=0.3'])\n"
        f"ends = run_batch([Path({str(pipe)!r}), Path({str(bench.slide)!r})],"
        f" out=Path({str(tmp_path / 'out')!r}), settings=settings)\n"
        "print([end.state.value for end in ends], ends[0].error)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=500, check=True
    )
    assert "['failed', 'done']" in done.stdout
    assert "no answer for 0.3 min" in done.stdout


def test_patience_is_for_a_single_read() -> None:
    def slow() -> int:
        for _ in range(6):
            time.sleep(0.1)
            alive()
        return 7

    assert with_patience(slow, path=Path("a.svs"), timeout_s=0.4) == 7
    with pytest.raises(NoAnswerError, match=r"a\.svs: no answer .* goes on once it answers"):
        with_patience(Event().wait, path=Path("a.svs"), timeout_s=0.2)


def test_errors_of_a_read_are_passed_on() -> None:
    def fail() -> None:
        raise TimeoutError("of the network")

    with pytest.raises(TimeoutError, match="of the network"):
        with_patience(fail, path=Path("a.svs"), timeout_s=5)
