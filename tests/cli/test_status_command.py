"""``wsi-suite status``, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

from command_line import Cli


def test_a_finished_batch_is_a_table_and_a_line(wsi: Cli, results: Path) -> None:
    answer = wsi("status", results.parent)
    assert answer.code == 0
    head, row = answer.out.splitlines()
    assert head.split() == ["slide", "state", "done", "Mpx/s", "left", "error"]
    assert row.split() == ["B12_ER.svs", "done", "100", "%", "-", "-"]
    assert answer.err.strip() == "1 begun: 1 done"
    assert "B12_ER.svs" in wsi("status", results.parent, "--watch").out  # ends at once


def test_json_has_what_the_table_has(wsi: Cli, results: Path) -> None:
    (one,) = json.loads(wsi("status", results, "--json").out, parse_constant=None)
    assert one == {
        "slide": "B12_ER.svs",
        "folder": "B12_ER",
        "state": "done",
        "share": 1.0,
        "pixels_per_s": None,
        "seconds_left": None,
        "error": None,
    }


def test_what_cannot_be_shown_is_one_line(wsi: Cli, tmp_path: Path) -> None:
    for arguments, said in (
        ((tmp_path,), "no run has begun a slide here"),
        ((tmp_path, "--watch", "--json"), "--watch: not with --json"),
    ):
        answer = wsi("status", *arguments)
        assert answer.code == 2
        assert said in answer.errors[0]
