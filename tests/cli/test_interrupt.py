"""Ctrl-C on a real run, and how it goes on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import SAME_RESULTS


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to a process of one's own there")
def test_ctrl_c_leaves_at_once_and_the_same_command_goes_on(
    slide: Path, model: Path, results: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "wsi_suite", "run", str(slide), "--out", str(tmp_path)]
    command += ["--model", str(model), *SAME_RESULTS]
    record = tmp_path / "B12_ER" / "run.json"
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    ) as running:
        while not record.exists():
            assert running.poll() is None
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        sent = time.monotonic()
        out, err = running.communicate(timeout=60)
    assert time.monotonic() - sent < 10
    assert running.returncode == 130
    assert out == ""
    assert err.splitlines()[-1] == "error: interrupted; the same command goes on from here"
    assert json.loads(record.read_text())["state"] == "running"
    assert not (tmp_path / "B12_ER" / "summary.json").exists()

    subprocess.run(command, check=True, capture_output=True)
    for name in ("nuclei.parquet", "nuclei.geojson", "summary.json"):
        assert (record.parent / name).read_bytes() == (results / name).read_bytes()
