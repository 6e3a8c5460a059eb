"""How much is told: ``-q``, ``-v``, ``--log-file``, before a command and after it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command_line import Cli

import wsi_suite

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ wsi_suite")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Two files of settings of which the second changes the first, which is told."""
    for marker in ("ER", "PR"):
        (tmp_path / f"{marker}.yaml").write_text(f"score: {{marker: {marker}}}")
    return tmp_path / "ER.yaml", tmp_path / "PR.yaml"


@pytest.mark.parametrize("before", [True, False])
def test_quiet_shows_results_and_errors_only(
    wsi: Cli, files: tuple[Path, Path], before: bool
) -> None:
    typed = ("config", "--check", *files)
    assert "goes over earlier" in wsi(*typed).err
    answer = wsi("-q", *typed) if before else wsi(*typed, "--quiet")
    assert answer.err == ""
    assert "score.marker" in answer.out
    assert wsi("config", "-q").errors
    assert "goes over earlier" in wsi(*typed).err  # the next call is not quiet


@pytest.mark.parametrize("before", [True, False])
def test_a_log_file_has_all_with_times_and_is_appended(
    wsi: Cli, files: tuple[Path, Path], tmp_path: Path, before: bool
) -> None:
    log = tmp_path / "größer.log"
    option, typed = ("--log-file", log), ("config", "-q", "--check", *files)
    assert wsi(*option, *typed).code == 0 if before else wsi(*typed, *option).code == 0
    assert wsi("config", "--check", "none.yaml", "--log-file", log).code == 2
    assert wsi("config", "--check", "none.yaml").code == 2  # not in the log
    text = log.read_text("utf-8")
    told = [line for line in text.splitlines() if LINE.match(line)]
    assert sum("goes over earlier" in line for line in told) == 1
    assert sum("ERROR" in line and "none.yaml" in line for line in told) == 1
    assert text.count("Traceback") >= 1
    assert f"wsi-suite {wsi_suite.__version__}" in told[0]


def test_a_log_file_that_cannot_be_written_is_one_line(wsi: Cli, tmp_path: Path) -> None:
    log = tmp_path / "nowhere" / "night.log"
    answer = wsi("config", "--schema", "--log-file", log)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"error: --log-file {log}: cannot be written (")
    assert len(answer.err.splitlines()) == 1


@pytest.mark.parametrize("typed", ["-v", "-vv", "--verbose"])
def test_verbose_shows_the_log_with_times(
    wsi: Cli, typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import logging

    from wsi_suite.slides import sources

    def tells(*_: object, **__: object) -> list[Path]:
        logging.getLogger("wsi_suite.slides").info("looked")
        logging.getLogger("wsi_suite.slides").debug("closely")
        logging.getLogger("another.library").info("chatter")
        return []

    monkeypatch.setattr(sources, "expand_slides", tells)
    assert "looked" not in wsi("info", "a.svs").err
    answer = wsi("info", "a.svs", typed)
    assert re.search(r"^\d\d:\d\d:\d\d INFO wsi_suite\.slides: looked$", answer.err, re.M)
    for told in ("closely", "chatter"):
        assert (told in answer.err) == (typed == "-vv")
    assert "looked" not in wsi("info", "a.svs").err
