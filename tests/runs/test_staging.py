"""Copies on a local disk: results are the same, and nothing is left."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path
from threading import Event, Timer
from typing import Any

import pytest
from bench import Bench, results_of, set_sides

from wsi_suite.config import RunSettings
from wsi_suite.errors import ConfigError, NoAnswerError
from wsi_suite.runs import scheduling, staging, worker_task
from wsi_suite.runs.run_record import read_run
from wsi_suite.runs.staging import Staging, begin_staging
from wsi_suite.slides.identity import SlideIdentity
from wsi_suite.slides.parts import parts_of

pytestmark = [pytest.mark.usefixtures("quick"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def slides(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("share")
    slides = [folder / f"{name}.tif" for name in "abc"]
    for slide in slides:
        slide.write_bytes(bench.slide.read_bytes() + slide.name.encode())
    return slides


@pytest.fixture(scope="module")
def unstaged(bench: Bench, slides: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unstaged")
    with pytest.MonkeyPatch.context() as patch:
        set_sides(patch)
        bench.run(out, "tiles.keep=false", slides=slides)
    return out


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    folder = tmp_path / "local disk"
    folder.mkdir()
    return folder


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> set[Path]:
    """The files that blocks were read from."""
    files: set[Path] = set()
    process = worker_task.process_block

    def process_block(job: Any, *arguments: Any, **named: Any) -> Any:
        files.add(job.slide)
        return process(job, *arguments, **named)

    monkeypatch.setattr(worker_task, "process_block", process_block)
    return files


def staged(disk: Path, *more: str) -> tuple[str, ...]:
    return "tiles.keep=false", f"run.stage_dir='{disk}'", *more


def assert_same(out: Path, unstaged: Path, slides: list[Path]) -> None:
    for slide in slides:
        ours, theirs = out / slide.stem, unstaged / slide.stem
        assert results_of(ours) == results_of(theirs)
        assert (ours / "slide.json").read_bytes() == (theirs / "slide.json").read_bytes()
        run, other = read_run(ours), read_run(theirs)
        assert run is not None
        assert other is not None
        assert (run.fingerprint, run.slide_path) == (other.fingerprint, other.slide_path)


def test_results_are_those_of_a_run_without_copies(
    *, bench: Bench, slides: list[Path], unstaged: Path, tmp_path: Path, disk: Path, read: set[Path]
) -> None:
    out, told = tmp_path / "out", list[object]()
    bench.run(out, *staged(disk), slides=slides, tell=told.append)
    assert_same(out, unstaged, slides)
    assert {path.name for path in read} == {slide.name for slide in slides}
    assert all(path.is_relative_to(disk) for path in read)
    assert not list(disk.iterdir())
    assert not [news for news in told if isinstance(news, str)]
    assert (out / "summary.csv").read_bytes() == (unstaged / "summary.csv").read_bytes()


def test_finished_slides_are_not_copied(
    bench: Bench, slides: list[Path], tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    bench.run(out, "tiles.keep=false", slides=slides[:1])
    monkeypatch.setattr(Staging, "bring", None)
    bench.run_one(out, *staged(disk), slides=slides[:1])


class Killed(BaseException):
    """Ends a run as Ctrl-C does."""


@pytest.mark.parametrize("first", ["staged", "unstaged"])
def test_interrupted_run_goes_on_either_way_and_leaves_no_copy(
    *,
    bench: Bench,
    slides: list[Path],
    unstaged: Path,
    tmp_path: Path,
    disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    first: str,
) -> None:
    ways = {"staged": staged(disk), "unstaged": ("tiles.keep=false",)}
    record, calls = scheduling.record_block, list[object]()

    def record_block(*arguments: Any, **named: Any) -> None:
        calls.append(arguments)
        if len(calls) == 3:
            raise Killed
        record(*arguments, **named)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(scheduling, "record_block", record_block)
        with pytest.raises(Killed):
            bench.run(out, *ways.pop(first), slides=slides)
    assert not list(disk.iterdir())
    (then,) = ways.values()
    bench.run(out, *then, slides=slides)
    assert_same(out, unstaged, slides)


@pytest.mark.skipif(os.name == "nt", reason="files in use cannot be removed there")
def test_ctrl_c_in_a_terminal_leaves_no_copy(
    bench: Bench, slides: list[Path], tmp_path: Path, disk: Path
) -> None:
    """The program leaves at once then, without the end of the batch."""
    command = [sys.executable, "-m", "wsi_suite", "run", *map(str, slides), "--stage", str(disk)]
    command += ["--out", str(tmp_path / "out"), "--set", f"detect.model={bench.model}"]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 200
    while not list(disk.rglob("*.tif")) and run.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=100)
    assert "interrupted; the same command goes on from here" in said
    assert run.returncode == 130
    assert not list(disk.iterdir())


def test_copies_never_take_more_than_their_limit(
    *,
    bench: Bench,
    slides: list[Path],
    unstaged: Path,
    tmp_path: Path,
    disk: Path,
    read: set[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    size, most = max(slide.stat().st_size for slide in slides), list[int]()
    copy = Staging._copy_parts

    def copied(self: Staging, *arguments: Any) -> None:
        copy(self, *arguments)
        most.append(sum(path.stat().st_size for path in disk.rglob("*.tif")))

    monkeypatch.setattr(Staging, "_copy_parts", copied)
    out = tmp_path / "out"
    bench.run(out, *staged(disk, f"run.stage_gb={1.5 * size / 1e9}"), slides=slides)
    assert_same(out, unstaged, slides)
    assert len(most) == len(slides)
    assert max(most) <= 1.5 * size
    assert all(path.is_relative_to(disk) for path in read)


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def unreadable(*_: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def grown(self: Staging, slide: Path, parts: list[Any], target: Path) -> None:
    shutil.copy(slide, target)
    with (target / slide.name).open("ab") as file:
        file.write(b"more")


@pytest.mark.parametrize(
    ("gb", "copy", "reason"),
    [
        (1e-6, None, "GB, larger than all copies may be (1e-06 GB, --stage-gb)"),
        (1, full, "the disk of --stage {disk} is full"),
        (1, unreadable, "cannot be copied (Input/output error)"),
        (1, grown, "its copy differs from it, it may be changing"),
    ],
)
def test_slide_that_cannot_be_copied_is_read_where_it_lies(
    *,
    bench: Bench,
    slides: list[Path],
    unstaged: Path,
    tmp_path: Path,
    disk: Path,
    read: set[Path],
    monkeypatch: pytest.MonkeyPatch,
    gb: float,
    copy: Callable[..., None] | None,
    reason: str,
) -> None:
    if copy is not None:
        monkeypatch.setattr(Staging, "_copy_parts", copy)
    out, told = tmp_path / "out", list[object]()
    bench.run(out, *staged(disk, f"run.stage_gb={gb}"), slides=slides[:1], tell=told.append)
    (line,) = (news for news in told if isinstance(news, str))
    assert line.startswith(f"{slides[0]}: ")
    assert line.endswith(f"{reason.format(disk=disk)}; read where it lies")
    assert_same(out, unstaged, slides[:1])
    assert read == {slides[0]}
    assert not list(disk.iterdir())


def test_errors_name_the_slide_and_no_copy(
    bench: Bench,
    slides: list[Path],
    tmp_path: Path,
    disk: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = slides[0].with_name("text.tif")
    text.write_text("no slide")

    def process_block(job: Any, *_: Any, **__: Any) -> None:
        raise RuntimeError(f"{job.slide}: broken")

    monkeypatch.setattr(worker_task, "process_block", process_block)
    outcomes = bench.run(tmp_path / "out", *staged(disk), slides=[text, slides[0]])
    for slide, outcome in zip([text, slides[0]], outcomes, strict=True):
        assert str(outcome.error).startswith(f"{slide}: ")
        assert str(disk) not in str(outcome.error)
    assert f"{slides[0]}: broken" in str(outcomes[1].error)
    assert not list(disk.iterdir())


def test_share_that_does_not_answer(
    bench: Bench, slides: list[Path], tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = Event()

    def hanging(path: Path) -> list[Any]:
        if path == slides[0]:
            answer.wait(60)
        return parts_of(path)

    monkeypatch.setattr(staging, "parts_of", hanging)
    quickly = staged(disk, "run.read_timeout_min=0.05")
    first, second = bench.run(tmp_path / "out", *quickly, slides=slides[:2])
    answer.set()
    assert isinstance(first.error, NoAnswerError)
    assert second.error is None


def test_what_is_left_by_killed_processes_is_removed(disk: Path, tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path\n"
        "from wsi_suite.config import RunSettings\n"
        "from wsi_suite.runs.staging import begin_staging\n"
        "mine = begin_staging(RunSettings(stage_dir=Path(sys.argv[1])), tell=print)\n"
        "(mine.folder / 'x').mkdir(); (mine.folder / 'x' / 'a.tif').write_text('copy')\n"
        "os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", script, disk], check=False, timeout=200)
    (left,) = disk.iterdir()
    alive = begin(disk)
    assert not left.exists()
    (disk / "own.tif").write_text("no copy")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (disk / f"{left.name[:-12]}{'0' * 12}").symlink_to(elsewhere)
    another = begin(disk)
    another.close()
    assert alive.folder.exists(), "its process lives"
    alive.close()
    assert elsewhere.exists()
    assert {path.name for path in disk.iterdir()} == {"own.tif", f"{left.name[:-12]}{'0' * 12}"}


def begin(disk: Path, **settings: Any) -> Staging:
    begun = begin_staging(RunSettings(stage_dir=disk, **settings), tell=print)
    assert begun is not None
    return begun


def test_waiting_for_room_ends_with_the_batch(
    bench: Bench, slides: list[Path], tmp_path: Path, disk: Path
) -> None:
    copies = begin(disk, stage_gb=slides[0].stat().st_size * 1.5 / 1e9)
    first, second = (
        bench.request(tmp_path / slide.stem, slide=slide, identity=SlideIdentity.of(slide))
        for slide in slides[:2]
    )
    assert copies.bring(first).copy is not None
    Timer(0.2, copies.stop).start()
    with pytest.raises(CancelledError):
        copies.bring(second)
    copies.close()
    assert not list(disk.iterdir())


def mirax(folder: Path) -> Path:
    (folder / "m").mkdir()
    for name in ("m.mrxs", "m/Slidedat.ini", "m/Data0001.dat"):
        (folder / name).write_text(name)
    return folder / "m.mrxs"


def hamamatsu(folder: Path) -> Path:
    for name in ("h-0.jpg", "h-1.jpg", "h.opt", "other.jpg"):
        (folder / name).write_text(name)
    (folder / "h.vms").write_text(
        "[Virtual Microscope Specimen]\nNoLayers=1\nImageFile=h-0.jpg\nImageFile(1,0)=h-1.jpg\n"
        "OptimisationFile=h.opt\nMapFile=../b.jpg\nMacroImage=gone.jpg\n"
    )
    return folder / "h.vms"


def ome_zarr(folder: Path) -> Path:
    (folder / "z.ome.zarr" / "0" / "0").mkdir(parents=True)
    for name in (".zattrs", ".zgroup", "0/.zarray", "0/0/0"):
        (folder / "z.ome.zarr" / name).write_text(name)
    return folder / "z.ome.zarr"


@pytest.mark.parametrize(("make", "count"), [(mirax, 3), (hamamatsu, 4), (ome_zarr, 4)])
def test_slides_of_several_files_are_copied_whole(
    bench: Bench, tmp_path: Path, disk: Path, make: Callable[[Path], Path], count: int
) -> None:
    folder = tmp_path / "share"
    folder.mkdir()
    slide = make(folder)
    identity = SlideIdentity.of(slide)
    copies = begin(disk)
    request = bench.request(tmp_path / "out", slide=slide, identity=identity)
    copy = copies.bring(request).copy
    assert copy is not None
    assert copy.name == slide.name
    assert SlideIdentity.of(copy).content == identity.content
    files = {path.relative_to(copy.parent) for path in copy.parent.rglob("*") if path.is_file()}
    assert files == {inside for _, inside, _ in parts_of(slide)}
    assert len(files) == count
    copies.close()


def test_link_beside_which_parts_are_missing_is_read_where_it_leads(
    bench: Bench, tmp_path: Path, disk: Path
) -> None:
    folder = tmp_path / "share"
    folder.mkdir()
    link = tmp_path / "link.mrxs"
    link.symlink_to(mirax(folder))
    request = bench.request(tmp_path / "out", slide=link, identity=SlideIdentity.of(link))
    copies = begin(disk)
    assert copies.bring(request) == request
    copies.close()


def test_what_copies_cannot_do_is_refused(bench: Bench, tmp_path: Path, disk: Path) -> None:
    with pytest.raises(ConfigError, match="--stage: not with --scheduler, whose workers may be"):
        bench.run(tmp_path / "out", *staged(disk, "run.scheduler=tcp://nowhere:1"))
    with pytest.raises(ConfigError, match=r"--stage-gb: is the most .*; give --stage DIR, too"):
        bench.run(tmp_path / "out", "run.stage_gb=3")
    (disk / "file").write_text("")
    with pytest.raises(ConfigError, match=r"--stage .*file: cannot be used \(File exists\);"):
        bench.run(tmp_path / "out", *staged(disk / "file"))
