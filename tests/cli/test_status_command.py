"""``wsi-suite status``, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

from command_line import Cli

from wsi_suite.runs.batch_record import note_slides


def test_a_finished_batch_is_a_table_and_a_line(wsi: Cli, results: Path) -> None:
    answer = wsi("status", results.parent)
    assert answer.code == 0
    head, row = answer.out.splitlines()
    assert head.split() == ["slide", "state", "done", "Mpx/s", "left", "error"]
    assert row.split() == ["B12_ER.svs", "done", "100", "%", "-", "-"]
    assert answer.err.strip() == "1 asked for: 1 done"
    assert "B12_ER.svs" in wsi("status", results.parent, "--watch").out  # ends at once


def test_of_many_slides_that_wait_the_first_are_shown(wsi: Cli, tmp_path: Path) -> None:
    note_slides(tmp_path, [tmp_path / f"{number:03d}.svs" for number in range(200)])
    for watch in ((), ("--watch",)):
        answer = wsi("status", tmp_path, *watch)
        assert [line.split()[:2] for line in answer.out.splitlines()[1:6]] == [
            [f"00{number}.svs", "waiting"] for number in range(5)
        ]
        told = "200 asked for: 200 waiting; no process is at work; the same command goes on"
        assert told in " ".join((answer.out + answer.err).split())
    assert len(json.loads(wsi("status", tmp_path, "--json").out)) == 200


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
