"""Whose folder it is, in whatever order slides come."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest

from wsi_suite.analysis.provenance import Fingerprint
from wsi_suite.errors import BusyError, OutputConflictError, OutputError
from wsi_suite.runs.folder import (
    check_settings,
    differences,
    discard_results,
    library_versions,
    lock_folder,
    unlock_folder,
)
from wsi_suite.runs.folder_names import ResultFolders
from wsi_suite.runs.run_record import RunRecord, read_run, write_run
from wsi_suite.runs.state import State
from wsi_suite.slides.identity import SlideIdentity


def identity(content: str, *, name: str = "a.svs") -> SlideIdentity:
    return SlideIdentity(name, size=len(content), modified=0, sha256=content.ljust(64, "0"))


def claim(folder: Path, slide: SlideIdentity, **settings: object) -> None:
    folder.mkdir(parents=True)
    write_run(folder, RunRecord(state=State.DONE, fingerprint=Fingerprint(slide, settings)))


def chosen(out: Path, *slides: tuple[str, str]) -> list[str]:
    contents = {Path(path): identity(content) for path, content in slides}
    folders = ResultFolders(out, contents, identify=contents.__getitem__)
    return [folders.choose(path)[1].name for path in contents]


def test_slides_of_one_name_get_folders_of_their_own_in_any_order(tmp_path: Path) -> None:
    slides = [("x/a.svs", "first"), ("y/a.svs", "second"), ("z/b.svs", "third"), ("A.tif", "4th")]
    wanted = {"x/a.svs": "a-first0", "y/a.svs": "a-second", "z/b.svs": "b", "A.tif": "A-4th000"}
    for order in itertools.permutations(slides):
        assert chosen(tmp_path, *order) == [wanted[path] for path, _ in order]


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("summary.csv.tif", "summary.csv-first0"),
        ("Summary.CSV.tif", "Summary.CSV-first0"),
        ("summary.csv.partial.svs", "summary.csv.partial-first0"),
        ("..svs", "_-first0"),
        (".ome.tif", "_-first0"),
        ("...svs", "_-first0"),
        (".hidden.svs", "hidden-first0"),
        ("con.svs", "con_-first0"),
        ("NUL.v2.svs", "NUL_.v2-first0"),
        ("com1 .svs", "com1_-first0"),
        ("lpt².svs", "lpt²_-first0"),
        ("a .svs", "a-first0"),
        ("a..svs", "a-first0"),
        ("a:b?.svs", "a_b_-first0"),
        ("a\nb.svs", "a_b-first0"),
        ("a\udcffb.svs", "a_b-first0"),
        ("ä" * 124 + ".svs", "ä" * 100 + "-first0"),
        ("x.zarr/0", "x"),
        ("case 1/000001.dcm", "case 1"),
        ("case 1/1.2.840.113619", "case 1"),
        ("case 1/3f2504e0-4f89-11d3-9a0c-0305e82c3301.dcm", "case 1"),
        ("case 1/12345.svs", "12345"),
        ("contrast.svs", "contrast"),
        ("summary.svs", "summary"),
    ],
)
def test_every_system_takes_the_folder_and_the_suite_does_not_use_it(
    tmp_path: Path, name: str, folder: str
) -> None:
    assert chosen(tmp_path, (name, "first")) == [folder]
    claim(tmp_path / folder, identity("first"))
    assert chosen(tmp_path, (name, "first")) == [folder]  # the same on a rerun
    assert chosen(tmp_path, (name, "second")) != [folder]


def test_names_that_some_system_takes_for_one_get_the_hash(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Präparat.svs") for form in ("NFC", "NFD"))
    slides = [
        (composed, "first"),
        (decomposed, "second"),
        ("STRASSE.svs", "3"),
        ("straße.tif", "4"),
    ]
    for order in itertools.permutations(slides):
        names = chosen(tmp_path, *order)
        assert all(name.endswith(("-first0", "-second", "-300000", "-400000")) for name in names)


def test_a_folder_stays_when_a_slide_of_its_name_comes_later(tmp_path: Path) -> None:
    (earlier,) = chosen(tmp_path, ("A.svs", "first"))
    assert earlier == "A"
    claim(tmp_path / earlier, identity("first"))
    assert chosen(tmp_path, ("a.svs", "second")) == ["a-second"]
    assert chosen(tmp_path, ("a.svs", "second"), ("A.svs", "first")) == ["a-second", "A"]


def test_a_slide_called_like_the_folder_of_another(tmp_path: Path) -> None:
    slides = [("x/a.svs", "first"), ("y/a.svs", "second"), ("a-first0.svs", "third")]
    for order in itertools.permutations(slides):
        assert sorted(chosen(tmp_path, *order)) == ["a-first0", "a-first0-third0", "a-second"]


def test_a_dicom_folder_keeps_its_name_when_a_series_comes_to_it(tmp_path: Path) -> None:
    (earlier,) = chosen(tmp_path, ("case 1/0001.dcm", "first"))
    assert earlier == "case 1"
    claim(tmp_path / earlier, identity("first"))
    both = chosen(tmp_path, ("case 1/0001.dcm", "first"), ("case 1/0002.dcm", "second"))
    assert both == ["case 1", "case 1-second"]


def test_copies_under_other_names_do_not_disturb(tmp_path: Path) -> None:
    slides = [("a.svs", "one"), ("copy.svs", "one"), ("y/a.svs", "two")]
    for order in itertools.permutations(slides):
        names = dict(zip([path for path, _ in order], chosen(tmp_path, *order), strict=True))
        assert names == {"a.svs": "a-one000", "copy.svs": "copy", "y/a.svs": "a-two000"}


def test_folders_stay_with_their_slides(tmp_path: Path) -> None:
    claim(tmp_path / "a", identity("first"))
    for slides in ([("a.svs", "first")], [("a.svs", "first"), ("y/a.svs", "second")]):
        assert chosen(tmp_path, *slides)[0] == "a"
    assert chosen(tmp_path, ("y/a.svs", "second")) == ["a-second"]
    claim(tmp_path / "b-third0", identity("third"))
    assert chosen(tmp_path, ("b.svs", "third")) == ["b-third0"]


@pytest.mark.parametrize("content", ["theirs", '{"state": "done"}', None])
def test_foreign_folder_is_stepped_around(tmp_path: Path, content: str | None) -> None:
    (tmp_path / "a").mkdir()
    if content is None:  # as the data folder of an MRXS
        (tmp_path / "a" / "Slidedat.ini").touch()
    else:
        (tmp_path / "a" / "run.json").write_text(content)
    assert chosen(tmp_path, ("a.svs", "first")) == ["a-first0"]


def test_folder_of_a_later_version_is_not_stepped_around(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "run.json").write_text('{"format": 99}')
    assert chosen(tmp_path, ("a.svs", "first")) == ["a"]


def test_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert chosen(tmp_path, ("a.svs", "first")) == ["a"]


def test_differences_name_key_and_both_values() -> None:
    before = {"score": {"marker": "ER", "thresholds_od": [0.2, 0.4, 0.6]}, "mpp": None}
    now = {"score": {"marker": "PR", "thresholds_od": [0.2, 0.4, 0.6]}, "mpp": 0.25}
    assert differences(before, now) == ['score.marker: "ER", now "PR"', "mpp: null, now 0.25"]
    assert differences(now, now) == []


def test_only_what_both_know_is_compared(tmp_path: Path) -> None:
    slide = identity("first")
    earlier = RunRecord(state=State.DONE, fingerprint=Fingerprint(slide, {"mpp": None}))
    check_settings(
        tmp_path, earlier, fingerprint=Fingerprint(slide, {"mpp": None, "score": {"marker": "ER"}})
    )
    many = dict.fromkeys("abcde", 1)
    earlier = RunRecord(state=State.DONE, fingerprint=Fingerprint(slide, many))
    fingerprint = Fingerprint(slide, {key: [2, 3] for key in many})
    with pytest.raises(OutputConflictError, match=r"a: 1, now \[2, 3\].*and 2 more.*--overwrite"):
        check_settings(tmp_path, earlier, fingerprint=fingerprint)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"state": 1, "fingerprint": {}}'])
def test_damaged_run_json_is_not_taken_for_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(OutputError, match=r"run\.json: not the record of a run"):
        read_run(tmp_path)


def test_records_of_earlier_and_later_formats(tmp_path: Path) -> None:
    claim(tmp_path / "a", identity("first"))
    file = tmp_path / "a" / "run.json"
    content = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps({key: content[key] for key in ("state", "fingerprint")}), "utf-8")
    earlier = read_run(tmp_path / "a")
    assert earlier is not None
    assert (earlier.state, earlier.fingerprint.slide) == (State.DONE, identity("first"))
    file.write_text(json.dumps({**content, "format": 3}), "utf-8")
    with pytest.raises(OutputError, match=r"run\.json: of format 3, which a later version"):
        read_run(tmp_path / "a")


def test_settings_of_an_earlier_record_have_the_names_of_today(tmp_path: Path) -> None:
    settings = {"mpp": None, "detect": {"min_score": 0.4}}
    earlier = {
        "state": "done",
        "fingerprint": {"slide": asdict(identity("first")), "settings": settings},
    }
    (tmp_path / "run.json").write_text(json.dumps(earlier))
    run = read_run(tmp_path)
    assert run is not None
    assert run.fingerprint.settings == {"mpp": None, "detect": {"min_confidence": 0.4}}


def test_no_run_json(tmp_path: Path) -> None:
    assert read_run(tmp_path) is None
    assert read_run(tmp_path / "none") is None
    (tmp_path / "file").touch()
    assert read_run(tmp_path / "file") is None


def test_only_results_are_discarded(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    claim(folder, identity("first"), mpp=None)
    for name in (
        "nuclei.parquet",
        "nuclei-1-of-2.geojson",
        "hotspots.geojson",
        "quality.geojson",
        "summary.json",
        "slide.json",
        "my.qpdata",
    ):
        (folder / name).touch()
    (folder / "tiles.ome.zarr").mkdir()
    lock = lock_folder(folder)
    (folder / "regions.partial" / "0000-0000.parquet").touch()
    discard_results(folder, keep_tiles=True)
    assert {p.name for p in folder.iterdir()} == {
        "run.json", "slide.json", "my.qpdata", "tiles.ome.zarr", "regions.partial",
    }  # fmt: skip
    discard_results(folder, keep_tiles=False)
    lock.release()
    assert {p.name for p in folder.rglob("*")} == {"run.json", "my.qpdata", "regions.partial"}
    assert json.loads((folder / "run.json").read_text())["state"] == "discarded"


def test_lock_is_exclusive_and_dies_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\n"
        "from wsi_suite.runs.folder import lock_folder\n"
        f"lock = lock_folder(Path({str(tmp_path)!r})); print('locked', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == b"locked"
        with pytest.raises(OutputConflictError, match="another process is at work"):
            lock_folder(tmp_path)
        other.kill()
    lock_folder(tmp_path).release()


def test_versions_are_known() -> None:
    assert {"wsi-suite", "torch", "numpy"} <= library_versions().keys()


def test_unlocking_leaves_what_another_process_began(tmp_path: Path) -> None:
    lock = lock_folder(tmp_path)
    record = tmp_path / "regions.partial" / "0000-0000.parquet"
    record.touch()
    unlock_folder(tmp_path, lock)
    assert record.exists()
    record.unlink()
    unlock_folder(tmp_path, lock_folder(tmp_path))
    assert not list(tmp_path.iterdir())


def test_no_two_hold_a_folder_while_others_come_and_go(tmp_path: Path) -> None:
    """Each removes the folder of its lock at its end, which the next one makes again."""
    holders: list[int] = []
    most: list[int] = []

    def work(number: int) -> int:
        held = 0
        for _ in range(60):
            try:
                lock = lock_folder(tmp_path)
            except BusyError:
                continue
            held += 1
            holders.append(number)
            most.append(len(holders))
            holders.remove(number)
            unlock_folder(tmp_path, lock)
        return held

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4))) > 0
    assert max(most) == 1
