"""Pushes, pulls and runs on projects, with a stand-in for QuPath."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest
from pushed import make_results
from shapely.geometry import MultiPolygon, box

from wsi_suite.errors import InputError, WsiSuiteError
from wsi_suite.geometry import Roi
from wsi_suite.qupath.project_messages import Frame, ProjectImage, Pulled, Pushed
from wsi_suite.runs import project_images, project_pull, project_push
from wsi_suite.runs.project_images import default_out, project_batches
from wsi_suite.runs.project_pull import pull_project
from wsi_suite.runs.project_push import push_results
from wsi_suite.synthetic import Truth, make_slide

COUNTS = {"placed": 5, "removed": 0, "changed": 0, "deleted": 0, "added": 0, "suppressed": 0}


@dataclass
class StandIn:
    """A project in memory."""

    folder: Path
    held: list[ProjectImage] = field(default_factory=list)
    frames: dict[str, Frame] = field(default_factory=dict)
    drawn: set[str] = field(default_factory=set)  # images with annotations
    broken: set[str] = field(default_factory=set)  # images that cannot be used
    pushed: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __call__(self, path: Path, **options: Any) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def hold(self, name: str, path: Path | None) -> ProjectImage:
        number = str(len(self.held) + 1)
        data = self.folder / number / "data.qpdata"
        data.parent.mkdir()
        data.touch()
        self.held.append(ProjectImage(number, name, path, data))
        self.frames[number] = Frame(900, 700, (0.25, 0.25), False)
        return self.held[-1]

    def images(self) -> list[ProjectImage]:
        return list(self.held)

    def add(self, slide: Path) -> ProjectImage:
        return self.hold(slide.name, slide)

    def frame(self, image: ProjectImage) -> Frame:
        return self.frames[image.id]

    def push(self, image: ProjectImage, **asked: Any) -> Pushed:
        if image.name in self.broken:
            raise WsiSuiteError(f"{image.name}: Java died")
        asked["progress"](0.5)
        self.pushed.append((image.name, asked))
        return Pushed(COUNTS, len(asked["regions"]), classes=(), backup=Path("b"), notes=("n",))

    def pull(self, image: ProjectImage, *, folder: Path) -> Pulled:
        if image.name in self.broken:
            raise WsiSuiteError(f"{image.name}: Java died")
        (folder / "nuclei.csv").write_text("new")
        return Pulled({"untouched": 1})

    def write_annotations(self, image: ProjectImage, *, file: Path, class_name: str) -> int:
        if image.id in self.drawn:
            file.write_text(class_name)
        return int(image.id in self.drawn)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    (tmp_path / "study").mkdir()
    stand_in = StandIn(tmp_path / "study")
    for module in (project_push, project_pull, project_images):
        monkeypatch.setattr(module, "Project", stand_in)
    return stand_in


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Truth]]:
    """Two slides."""
    folder = tmp_path_factory.mktemp("slides")
    made = {}
    for seed, name in enumerate(("one", "two")):
        path = folder / f"{name}.tif"
        made[name] = path, make_slide(path, width=300, height=260, mpp=0.25, seed=seed)
    return made


def results_of(
    slides: dict[str, tuple[Path, Truth]], name: str, folder: Path, **options: Any
) -> Path:
    path, truth = slides[name]
    return make_results(folder, slide=options.pop("at", path), truth=truth, **options).folder


def test_missing_slides_are_added_and_never_twice(
    project: StandIn, slides: dict[str, tuple[Path, Truth]], tmp_path: Path
) -> None:
    for name in slides:
        results_of(slides, name, tmp_path / "out" / name)
    link = tmp_path / "link.tif"
    link.symlink_to(slides["one"][0])
    project.hold("called otherwise", link)
    heard: list[tuple[str, float]] = []
    done = push_results(
        [tmp_path / "out"],
        project.folder,
        progress=lambda step: heard.append((step.name, step.fraction)),
    )
    assert [each.image for each in done] == ["called otherwise", "two.tif"]
    assert [each.name for each in done] == ["one.tif", "two.tif"]
    assert [each.error for each in done] == [None, None]
    assert done[0].counts == {**COUNTS, "regions": 0}
    assert done[0].notes == ("n",)
    assert heard == [("one", 0), ("one", 0.5), ("two", 0), ("two", 0.5)]
    again = push_results([tmp_path / "out" / "two", tmp_path / "out" / "one"], project.folder)
    assert [each.image for each in again] == ["two.tif", "called otherwise"]
    assert len(project.held) == 2


def test_one_bad_image_never_stops_the_others(
    project: StandIn, slides: dict[str, tuple[Path, Truth]], tmp_path: Path
) -> None:
    unfinished = results_of(slides, "one", tmp_path / "out" / "a")
    run = json.loads((unfinished / "run.json").read_text("utf-8"))
    (unfinished / "run.json").write_text(json.dumps({**run, "state": "failed"}), "utf-8")
    damaged = results_of(slides, "one", tmp_path / "out" / "b")
    (damaged / "summary.json").write_text("{")
    results_of(slides, "one", tmp_path / "out" / "c")
    results_of(slides, "one", tmp_path / "out" / "d")
    results_of(slides, "two", tmp_path / "out" / "e")
    project.broken.add("one.tif")
    done = push_results([tmp_path / "out"], project.folder)
    told = [str(each.error) for each in done]
    assert "not finished" in told[0]
    assert "summary.json: damaged" in told[1]
    assert "of the same slide as" in told[3] or "of the same slide as" in told[2]
    assert "Java died" in " ".join(told[1:4])
    assert done[4].error is None


def test_what_holds_no_results_is_refused(project: StandIn, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match="no results here"):
            push_results([folder], project.folder)


def test_scored_regions_go_along_with_their_scores(
    project: StandIn, slides: dict[str, tuple[Path, Truth]], tmp_path: Path
) -> None:
    roi = Roi("hot spot", "Tumor", MultiPolygon([box(0, 0, 300, 260)]))
    folder = results_of(slides, "one", tmp_path / "out" / "one", rois=(roi,))
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    push_results([folder], project.folder)
    ((_, asked),) = project.pushed
    (region,) = asked["regions"]
    assert (region.name, region.class_name, region.wkb) == ("hot spot", "Tumor", roi.area.wkb_hex)
    score = summary["regions"][0]["scores"]["Epithelium + Stroma"]
    measured = region.measurements
    assert measured["wsi-suite: Epithelium + Stroma: H-score"] == score["h_score"]
    assert measured["wsi-suite: Epithelium + Stroma: nuclei"] == score["nuclei"]
    assert not any(name.startswith("Epithelium") for name in measured)  # QuPath's own columns


def test_scores_of_a_slide_without_a_verdict_are_marked(
    project: StandIn, slides: dict[str, tuple[Path, Truth]], tmp_path: Path
) -> None:
    roi = Roi("core", None, MultiPolygon([box(0, 0, 300, 260)]))
    folder = results_of(slides, "one", tmp_path / "out" / "one", rois=(roi,))
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    summary["no_verdict"] = "the slide shows hematoxylin and eosin, not hematoxylin and DAB"
    (folder / "summary.json").write_text(json.dumps(summary), "utf-8")
    (transfer,) = push_results([folder], project.folder)
    assert transfer.notes[0].startswith("No verdict: the slide shows hematoxylin and eosin")
    assert transfer.notes[0].endswith("no intensities there, so that QuPath computes no scores.")
    ((_, asked),) = project.pushed
    assert asked["intensities"] is False
    names = [name for name in asked["regions"][0].measurements if "score" in name or "%" in name]
    assert names
    assert all(name.endswith(" (not to be used)") for name in names)


def test_a_slide_that_moved_is_told_by_its_content(
    project: StandIn, slides: dict[str, tuple[Path, Truth]], tmp_path: Path
) -> None:
    first, second = tmp_path / "one.tif", tmp_path / "renamed.tif"
    shutil.copy(slides["one"][0], first)
    folder = results_of(slides, "one", tmp_path / "out" / "one", at=first)
    first.rename(second)
    project.hold("two", slides["two"][0])
    (lost,) = push_results([folder], project.folder)
    assert "no longer there and not in the project" in str(lost.error)
    project.hold("renamed", second)
    (found,) = push_results([folder], project.folder)
    assert found.image == "renamed"
    assert any("moved" in note for note in found.notes)


def test_a_slide_that_the_project_lost_is_not_added_again(
    project: StandIn, slides: dict[str, tuple[Path, Truth]], tmp_path: Path
) -> None:
    folder = results_of(slides, "one", tmp_path / "out" / "one")
    project.hold("one.tif", tmp_path / "old place" / "one.tif")
    (lost,) = push_results([folder], project.folder)
    assert "which is missing; open the project in QuPath" in str(lost.error)
    assert len(project.held) == 1


def test_of_several_images_of_a_file_that_of_the_runs_size_is_meant(
    project: StandIn, slides: dict[str, tuple[Path, Truth]], tmp_path: Path
) -> None:
    folder = results_of(slides, "one", tmp_path / "out" / "one")
    label = project.hold("label", slides["one"][0])
    scan = project.hold("scan", slides["one"][0])
    project.frames[scan.id] = Frame(300, 260, (0.25, 0.25), False)
    assert push_results([folder], project.folder)[0].image == "scan"
    project.frames[label.id] = project.frames[scan.id]
    (refused,) = push_results([folder], project.folder)
    assert "more than once ('label', 'scan')" in str(refused.error)
    project.frames[project.hold("one.tif", slides["one"][0]).id] = project.frames[scan.id]
    assert push_results([folder], project.folder)[0].image == "one.tif"


def test_a_pull_that_is_ended_leaves_nothing(
    project: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(image: ProjectImage, *, folder: Path) -> None:
        (folder / ".nuclei.csv.0123abcd.partial").touch()
        raise KeyboardInterrupt

    project.hold("one", tmp_path)
    monkeypatch.setattr(project, "pull", end)
    with pytest.raises(KeyboardInterrupt):
        pull_project(project.folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_pull_has_a_folder_an_image_and_overwrites_only_when_told(
    project: StandIn, tmp_path: Path
) -> None:
    project.hold("bad", tmp_path)
    project.broken.add("bad")
    assert pull_project(project.folder, tmp_path / "out")[0].error is not None
    assert not (tmp_path / "out").exists(), "nothing was pulled, so nothing is left"
    for name in ("A/1: x.svs", "same", "Same"):
        project.hold(name, tmp_path)
    project.hold("empty", tmp_path).data.unlink()
    done = pull_project(project.folder, tmp_path / "out")
    assert [each.folder and each.folder.name for each in done] == [
        "bad",
        "A_1_ x.svs",
        "same",
        "Same 2",
    ]
    assert [each.error is None for each in done] == [False, True, True, True]
    assert not (tmp_path / "out" / "bad").exists()
    kept = tmp_path / "out" / "same" / "nuclei.csv"
    kept.write_text("mine")
    assert "--overwrite" in str(pull_project(project.folder, tmp_path / "out")[2].error)
    assert kept.read_text() == "mine"
    assert pull_project(project.folder, tmp_path / "out", overwrite=True)[2].error is None
    assert kept.read_text() == "new"


def test_images_are_run_together_where_names_and_pixel_sizes_allow(
    project: StandIn, tmp_path: Path
) -> None:
    paths = [tmp_path / "x" / "a.svs", tmp_path / "y" / "a.svs", tmp_path / "x" / "b.svs"]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.touch()
        project.hold(path.name, path)
    project.hold("a copy", paths[0])
    project.hold("gone", tmp_path / "gone.svs")
    project.hold("on a server", None)
    project.drawn = {"1", "2"}
    project.frames["3"] = Frame(900, 700, (0.5, 0.5), True)
    batches, refused = project_batches(project.folder, in_class="Tumor", folder=tmp_path)
    assert [(batch.slides, batch.mpp) for batch in batches] == [
        ((paths[0],), None),
        ((paths[1],), None),
        ((paths[2],), 0.5),
    ]
    for batch in batches[:2]:
        assert batch.rois is not None
        assert (batch.rois / "a.geojson").read_text() == "Tumor"
    assert batches[2].rois is None
    assert [each.name for each in refused] == ["gone", "on a server"]
    whole, _ = project_batches(project.folder, in_class=None, folder=tmp_path)
    assert all(batch.rois is None for batch in whole)


def test_results_of_a_project_go_beside_it(tmp_path: Path) -> None:
    assert default_out(tmp_path / "study") == tmp_path / "study" / "results"
    assert default_out(tmp_path / "study" / "x.qpproj") == tmp_path / "study" / "results"
