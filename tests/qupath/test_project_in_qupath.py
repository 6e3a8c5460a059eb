"""Pushes and pulls with a real QuPath."""

from __future__ import annotations

import csv
import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from pushed import InQuPath, Results, make_results
from shapely.geometry import MultiPolygon, box

from wsi_suite.errors import InputError, WsiSuiteError
from wsi_suite.geometry import Roi
from wsi_suite.qupath.labels import read_labels
from wsi_suite.qupath.project import Project
from wsi_suite.qupath.rois import read_rois
from wsi_suite.runs.project_images import project_batches
from wsi_suite.runs.project_pull import pull_project
from wsi_suite.runs.project_push import push_results
from wsi_suite.runs.project_stains import project_stains
from wsi_suite.runs.transfers import Transfer
from wsi_suite.synthetic import Truth, make_slide

pytestmark = [pytest.mark.qupath, pytest.mark.slow]

SHOWN = """[n: hierarchy.detectionObjects.size(), type: imageData.imageType.name(),
 ids: hierarchy.detectionObjects*.ID*.toString(),
 classes: hierarchy.detectionObjects.countBy { it.pathClass.toString() },
 first: ours ? ours[0].measurementList.get("Nucleus: DAB OD mean") : null]"""


def push(results: Results | Path, project: Path, **options: object) -> Transfer:
    folder = results if isinstance(results, Path) else results.folder
    (done,) = push_results([folder], project, create=True, **options)  # type: ignore[arg-type]
    if done.error is not None:
        raise done.error
    return done


def test_a_push_puts_in_what_the_results_hold(results: Results, qupath: InQuPath) -> None:
    done = push(results, qupath.project)
    assert done.counts["placed"] == len(results.nuclei)
    assert done.backup is None
    seen = qupath(SHOWN)
    assert seen["n"] == len(results.nuclei)
    assert seen["type"] == "BRIGHTFIELD_H_DAB"
    scores = results.summary.scores
    for compartment in ("Epithelium", "Stroma"):
        for intensity in ("Negative", "1+", "2+", "3+"):
            expected = scores[compartment].as_json()[intensity]
            assert seen["classes"].get(f"{compartment}: {intensity}", 0) == expected
    names = list(results.summary.h_scores)
    shown = qupath(f"""def table = new qupath.lib.gui.measure.ObservableMeasurementTableData()
        table.setImageData(imageData, [hierarchy.rootObject])
        {json.dumps(names)}.collect {{ table.getNumericValue(hierarchy.rootObject, it) }}""")
    assert shown == pytest.approx(list(results.summary.h_scores.values()))


def test_classes_for_corrections_join_the_users(results: Results, qupath: InQuPath) -> None:
    push(results, qupath.project)
    mine = """def mine = PathClass.fromString("Epithelium"); mine.color = 0x123456
        project.pathClasses = [PathClass.fromString("Mine"), mine]; return 0"""
    qupath(mine)
    push(results, qupath.project)
    listed = qupath("return project.pathClasses.collect { [it.toString(), it.color & 0xffffff] }")
    names = [name for name, _ in listed]
    assert names[:2] == ["Mine", "Epithelium"]
    assert ["Epithelium", 0x123456] in listed
    assert {"Stroma: Negative", "Stroma: 2+", "Epithelium: 3+"} <= set(names)
    assert len(names) == len(set(names))


def test_qupaths_own_classes_keep_their_colours(results: Results, qupath: InQuPath) -> None:
    """Made after "Stroma: 1+", QuPath's own class Stroma would have another colour."""
    push(results, qupath.project)
    listed = json.loads((qupath.project / "classifiers" / "classes.json").read_text("utf-8"))
    colours = {one["name"]: one["color"] & 0xFFFFFF for one in listed["pathClasses"]}
    assert (colours["Tumor"], colours["Stroma"]) == (0xC80000, 0x96C896)


def test_a_second_push_changes_nothing(results: Results, qupath: InQuPath) -> None:
    push(results, qupath.project)
    before = qupath(SHOWN)
    done = push(results, qupath.project)
    assert done.counts == {
        "placed": len(results.nuclei),
        "removed": len(results.nuclei),
        "changed": 0,
        "deleted": 0,
        "added": 0,
        "suppressed": 0,
        "regions": 0,
    }
    assert done.backup is not None
    assert done.backup.is_file()
    after = qupath(SHOWN + "+ [images: project.imageList.size()]")
    assert after.pop("images") == 1
    assert sorted(after.pop("ids")) == sorted(before.pop("ids"))
    assert after == before


EDIT = """
ours[0].setPathClass(PathClass.fromString("Ignore*"))
ours[1].setName("mitosis")
ours[2].setLocked(true)
ours[3].setROI(ours[3].ROI.translate(40, 0))
ours[4].setPathClass(PathClass.fromString(ours[4].pathClass.toString().split(": ")[0] + ": 3+"))
def gone = ours[5..8].collect { it.pathClass.toString().split(": ")[0] }
hierarchy.removeObjects(ours[5..8], true)
def plane = ImagePlane.defaultPlane
def stroma = PathClass.fromString("Stroma")
def points = ROIs.createPointsROI([3.0, 9.0] as double[], [5.0, 5.0] as double[], plane)
def small = ROIs.createEllipseROI(20, 4, 20, 20, plane)
def large = ROIs.createRectangleROI(0, 0, 400, 400, plane)
def foreign = PathObjects.createDetectionObject(large, PathClass.fromString("Tumor"))
hierarchy.addObjects([PathObjects.createAnnotationObject(points, stroma),
    PathObjects.createAnnotationObject(small, stroma),
    PathObjects.createAnnotationObject(large, stroma),
    PathObjects.createAnnotationObject(small, PathClass.fromString("Tumor")), foreign])
[kept: ours[0..3]*.ID*.toString(), gone: ours[5..8]*.ID*.toString(), other: foreign.ID.toString(),
 gone_classes: gone, at: ours[3].ROI.centroidX]
"""


@pytest.fixture
def edited(results: Results, qupath: InQuPath) -> dict[str, object]:
    """A pushed project in which somebody changed 4, deleted 4 and added 3 nuclei."""
    push(results, qupath.project)
    edits: dict[str, object] = qupath(EDIT)
    return edits


def test_corrections_survive_pushes(
    results: Results, qupath: InQuPath, edited: dict[str, list[str]]
) -> None:
    for _ in range(2):  # deletions are remembered over the second push, too
        done = push(results, qupath.project)
        assert {key: done.counts[key] for key in ("changed", "deleted", "added")} == {
            "changed": 4,
            "deleted": 4,
            "added": 3,
        }
        assert done.counts["suppressed"] >= 8
        assert done.counts["placed"] + done.counts["suppressed"] == len(results.nuclei)
    seen = qupath(
        SHOWN + "+ [moved: hierarchy.detectionObjects.find"
        f" {{ it.ID.toString() == '{edited['kept'][3]}' }}.ROI.centroidX,"
        " annotations: hierarchy.annotationObjects.size()]"
    )
    assert set(edited["kept"]) <= set(seen["ids"])
    assert not set(edited["gone"]) & set(seen["ids"])
    assert edited["other"] in seen["ids"]
    assert seen["moved"] == edited["at"]
    assert seen["annotations"] == 4
    assert len(seen["ids"]) == len(set(seen["ids"]))


def test_corrections_can_be_discarded(
    results: Results, qupath: InQuPath, edited: dict[str, list[str]]
) -> None:
    done = push(results, qupath.project, discard_corrections=True)
    assert done.counts["placed"] == len(results.nuclei)
    assert done.counts["suppressed"] == done.counts["deleted"] == 0
    seen = qupath(SHOWN)
    assert {*edited["gone"], *edited["kept"], edited["other"]} <= set(seen["ids"])
    assert push(results, qupath.project).counts["deleted"] == 0


def test_a_cleared_image_is_filled_again(results: Results, qupath: InQuPath) -> None:
    push(results, qupath.project)
    qupath("hierarchy.clearAll(); null")
    done = push(results, qupath.project)
    assert done.counts["deleted"] == 0
    assert done.counts["placed"] == len(results.nuclei)


def test_a_pull_tells_what_became_of_each_nucleus(
    results: Results, qupath: InQuPath, edited: dict[str, list[str]], tmp_path: Path
) -> None:
    untouched = len(results.nuclei) - 8
    (done,) = pull_project(qupath.project, tmp_path / "pulled")
    assert done.counts == {
        "untouched": untouched,
        "corrected": 4,
        "deleted": 4,
        "added": 4,  # the small outline of another class, too
        "annotations": 4,
    }
    assert done.folder is not None
    with (done.folder / "nuclei.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    states = [row["state"] for row in rows]
    assert [states.count(state) for state in ("untouched", "corrected", "deleted", "added")] == [
        untouched,
        4,
        4,
        4,
    ]
    ignored = next(row for row in rows if row["class"] == "Ignore*")
    assert ignored["pushed_class"] in ("Epithelium", "Stroma")
    gone = [row["pushed_class"] for row in rows if row["state"] == "deleted"]
    assert sorted(gone) == sorted(edited["gone_classes"])
    labels = read_labels(done.folder / "nuclei.geojson", mpp=0.25)
    assert np.bincount(labels.states, minlength=4).tolist() == [untouched, 4, 4, 0]
    drawn = json.loads((done.folder / "annotations.geojson").read_text("utf-8"))
    assert len(drawn["features"]) == 4
    areas = read_rois(done.folder / "annotations.geojson")
    assert [roi.class_name for roi in areas] == ["Stroma"]  # the large one alone
    (again,) = pull_project(qupath.project, tmp_path / "pulled")
    assert again.error is not None
    assert "--overwrite" in str(again.error)


def test_scored_regions_are_annotations_once(
    slide: tuple[Path, Truth], qupath: InQuPath, tmp_path: Path
) -> None:
    rois = (
        Roi("mine", "Tumor", MultiPolygon([box(100, 100, 500, 500)])),
        Roi("drawn", None, MultiPolygon([box(500, 100, 800, 500)])),
    )
    results = make_results(tmp_path / "r" / "B12", slide=slide[0], truth=slide[1], rois=rois)
    push(results, qupath.project)
    qupath(
        "def roi = ROIs.createRectangleROI(500, 100, 300, 400, ImagePlane.defaultPlane);"
        "hierarchy.addObject(PathObjects.createAnnotationObject(roi)); null"
    )
    done = push(results, qupath.project)
    assert done.counts["regions"] == 1  # if somebody drew the same, QuPath shows scores there
    seen = qupath("""hierarchy.annotationObjects.collect { [name: it.name, locked: it.locked,
        type: it.pathClass?.toString(), h: it.measurementList.get("wsi-suite: Stroma: H-score")] }
        .sort { it.name ?: "" }""")
    ours = next(each for each in seen if each.get("name") == "mine")
    assert len(seen) == 2
    assert ours["locked"] is True
    assert ours["type"] == "Tumor"
    expected = results.summary.regions[0].scores["Stroma"].h_score
    assert ours["h"] == pytest.approx(expected)


def test_what_the_user_set_is_kept_unless_asked(results: Results, qupath: InQuPath) -> None:
    push(results, qupath.project)
    vectors = (
        '{"Name":"mine","Stain 1":"Hematoxylin","Values 1":"0.7 0.6 0.39","Stain 2":"DAB",'
        '"Values 2":"0.3 0.5 0.81","Background":"240 240 240"}'
    )
    stains = "qupath.lib.color.ColorDeconvolutionStains.parseColorDeconvolutionStainsArg"
    qupath(f"imageData.setColorDeconvolutionStains({stains}('{vectors}')); null")
    red = "imageData.colorDeconvolutionStains.maxRed"
    done = push(results, qupath.project)
    assert any("stain vectors" in note for note in done.notes)
    assert qupath(red) == 240
    kept = project_stains(qupath.project).stains
    assert (kept.name, kept.vectors.background) == ("mine", (240, 240, 240))
    push(results, qupath.project, image_type="brightfield_h_dab")
    assert qupath(red) == 255


def test_qupath_computes_no_score_of_a_slide_without_a_verdict(
    results: Results, qupath: InQuPath
) -> None:
    file = results.folder / "summary.json"
    summary = json.loads(file.read_text("utf-8"))
    summary["no_verdict"] = "the slide shows hematoxylin and eosin, not hematoxylin and DAB"
    file.write_text(json.dumps(summary), "utf-8")
    push(results, qupath.project)
    seen = qupath(SHOWN)
    assert set(seen["classes"]) == {"Epithelium", "Stroma"}
    assert seen["type"] == "UNSET"
    shown = qupath("""def table = new qupath.lib.gui.measure.ObservableMeasurementTableData()
        table.setImageData(imageData, [hierarchy.rootObject])
        return table.allNames.findAll { it =~ /H-score|Positive %|Allred/ }""")
    assert shown == []


def test_another_size_is_refused_with_both(
    slide: tuple[Path, Truth], results: Results, qupath: InQuPath, tmp_path: Path
) -> None:
    other = make_results(
        tmp_path / "r" / "B12", slide=slide[0], truth=slide[1], size_px0=[901, 700]
    )
    with pytest.raises(InputError, match=r"900 x 700 px in the project .* 901 x 700"):
        push(other, qupath.project)


def test_a_slide_that_is_turned_in_the_project_is_refused(
    results: Results, qupath: InQuPath
) -> None:
    push(results, qupath.project)
    qupath("""import qupath.lib.images.servers.*
        def half = RotatedImageServer.Rotation.ROTATE_180  // of the same size as the slide
        def turned = ImageServers.pyramidalize(new RotatedImageServer(imageData.server, half), 1, 4)
        project.addImage(turned.builder).imageName = entry.imageName
        entry.imageName = "as it was scanned"
        return turned.class.simpleName""")
    assert push(results, qupath.project).image == "as it was scanned"
    qupath(
        "project.removeImage(entry, true); project.syncChanges(); return 0",
        name="as it was scanned",
    )
    with pytest.raises(InputError, match=r"\(pyramidize, rotated\)|\(rotated\)"):
        push(results, qupath.project)


def test_a_slide_that_was_moved_is_found(
    slide: tuple[Path, Truth], qupath: InQuPath, tmp_path: Path
) -> None:
    here, there = tmp_path / "B12.tif", tmp_path / "elsewhere" / "other name.tif"
    shutil.copy(slide[0], here)
    results = make_results(tmp_path / "r" / "B12", slide=here, truth=slide[1])
    there.parent.mkdir()
    shutil.copy(here, there)
    renamed = make_results(tmp_path / "r2" / "B12", slide=there, truth=slide[1])
    push(renamed, qupath.project)
    here.unlink()
    done = push(results, qupath.project)
    assert done.image == "other name.tif"
    assert any("moved" in note for note in done.notes)
    there.unlink()
    with pytest.raises(InputError, match=r"QuPath cannot open it .* asks for its new place"):
        push(renamed, qupath.project)


def test_a_damaged_data_file_is_never_overwritten(results: Results, qupath: InQuPath) -> None:
    push(results, qupath.project)
    (data,) = qupath.project.glob("data/*/data.qpdata")
    data.write_bytes(data.read_bytes()[:2000])
    damaged = data.read_bytes()
    (done,) = push_results([results.folder], qupath.project)
    assert "cannot read the objects" in str(done.error)
    assert data.read_bytes() == damaged


@pytest.mark.parametrize("moment", [0.6, 0.75, 1.0])
def test_kills_one_after_the_other_lose_nothing(
    results: Results, qupath: InQuPath, moment: float
) -> None:
    push(results, qupath.project)
    drawn = qupath("""def roi = ROIs.createRectangleROI(9, 9, 90, 90, ImagePlane.defaultPlane)
        hierarchy.addObject(PathObjects.createAnnotationObject(roi)); return 1""")
    assert drawn == 1
    table = results.folder / "nuclei.parquet"
    with Project(qupath.project) as opened:
        (image,) = opened.images()

        def kill(fraction: float) -> None:
            assert opened._process is not None
            if fraction >= min(moment, 0.75):
                time.sleep(0.1 if moment == 1.0 else 0)  # it is saving
                opened._process.kill()

        for _ in range(2):
            with suppress(WsiSuiteError):  # it may have been done already
                opened.push(image, table=table, progress=kill)
    assert qupath("return [ours.size(), hierarchy.annotationObjects.size()]") == [
        len(results.nuclei),
        1,
    ]
    assert push(results, qupath.project).counts["placed"] == len(results.nuclei)


def test_two_pushes_at_once_put_each_slide_into_its_own_image(
    results: Results, qupath: InQuPath, tmp_path: Path
) -> None:
    other = tmp_path / "C7.tif"
    truth = make_slide(other, width=600, height=500, mpp=0.25, tissue_fraction=0.8, seed=7)
    others = make_results(tmp_path / "results" / "C7", slide=other, truth=truth)
    with ThreadPoolExecutor() as pool:
        pushed = list(pool.map(lambda one: push(one, qupath.project), (results, others)))
    assert {done.image for done in pushed} == {"B12 größer.tif", "C7.tif"}
    assert len({done.entry for done in pushed}) == 2
    for done, one in zip(pushed, (results, others), strict=True):
        size = qupath(
            "return [hierarchy.detectionObjects.size(), imageData.server.width]", name=done.image
        )
        assert size == [len(one.nuclei), {"C7.tif": 600}.get(str(done.image), 900)]
    assert not list(qupath.project.glob(".wsi-suite*"))


REPLACE = """
def roi = ROIs.createRectangleROI(100, 100, 350, 300, ImagePlane.defaultPlane)
def inside = ours.findAll { roi.contains(it.ROI.centroidX, it.ROI.centroidY) }
def kept = ours.find { !roi.contains(it.ROI.centroidX, it.ROI.centroidY) }
hierarchy.removeObjects(inside + [kept], true)
hierarchy.addObject(PathObjects.createAnnotationObject(roi, PathClass.fromString("%s")))
if (%s)  // as QuPath's cell detection leaves its own
    hierarchy.addObjects(inside.collect { PathObjects.createDetectionObject(it.ROI) })
return inside.size()
"""


@pytest.mark.parametrize("cells", ["true", "false"])
def test_what_qupath_cleared_in_a_region_comes_back(
    results: Results, qupath: InQuPath, cells: str
) -> None:
    push(results, qupath.project)
    cleared = qupath(REPLACE % ("Tumor", cells))
    assert cleared >= 20
    done = push(results, qupath.project)
    assert done.counts["deleted"] == 1, "the one that was deleted by itself"
    assert done.counts["suppressed"] <= 3, "that one and what lies within its reach"
    assert done.counts["placed"] + done.counts["suppressed"] == len(results.nuclei)
    assert any(f"{cleared} nuclei of earlier pushes were gone" in note for note in done.notes)
    assert qupath("return ours.size()") == done.counts["placed"]


def test_a_region_to_be_kept_empty_stays_empty(results: Results, qupath: InQuPath) -> None:
    push(results, qupath.project)
    cleared = qupath(REPLACE % ("Ignore*", "false"))
    for _ in range(2):
        assert push(results, qupath.project).counts["deleted"] == cleared + 1


def test_two_pulls_give_the_same_bytes(
    results: Results, qupath: InQuPath, edited: dict[str, object], tmp_path: Path
) -> None:
    pulled = []
    for name in ("one", "two"):
        pull_project(qupath.project, tmp_path / name)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        pulled.append({file.relative_to(tmp_path / name): file.read_bytes() for file in files})
    assert len(pulled[0]) >= 3
    assert pulled[0] == pulled[1]


def test_two_images_of_a_slide_are_told_apart_by_their_ids(
    results: Results, qupath: InQuPath
) -> None:
    first = push(results, qupath.project)
    second = qupath("""def twin = project.addImage(entry.serverBuilder)
        twin.imageName = entry.imageName; project.syncChanges(); return twin.ID""")
    with pytest.raises(InputError, match=rf"more than once .*--entry .*{first.entry} .*{second} "):
        push(results, qupath.project)
    done = push(results, qupath.project, entries=[second])
    assert (done.entry, done.backup) == (second, None)
    with pytest.raises(InputError, match=r"--entry 99: no image"):
        push(results, qupath.project, entries=["99"])


def test_a_project_that_cannot_be_filled_is_not_made(
    slide: tuple[Path, Truth], qupath: InQuPath, tmp_path: Path
) -> None:
    lost = tmp_path / "lost.tif"
    shutil.copy(slide[0], lost)
    results = make_results(tmp_path / "r" / "lost", slide=lost, truth=slide[1])
    lost.unlink()
    with pytest.raises(InputError, match=r"lost\.tif"):
        push(results, qupath.project)
    assert not qupath.project.exists()


def test_a_new_project_that_others_filled_is_not_removed(
    results: Results, qupath: InQuPath
) -> None:
    with Project(qupath.project, create=True) as opened:
        opened.images()
        assert opened._process is not None
        opened._process.kill()  # its lock goes with it
        opened.close()
        done = push(results, qupath.project)
    assert qupath("return ours.size()") == done.counts["placed"]


def test_images_and_regions_of_a_project(
    results: Results, qupath: InQuPath, slide: tuple[Path, Truth], tmp_path: Path
) -> None:
    push(results, qupath.project)
    qupath(
        "def roi = ROIs.createRectangleROI(100, 100, 300, 200, ImagePlane.defaultPlane);"
        "hierarchy.addObject(PathObjects.createAnnotationObject(roi,"
        "PathClass.fromString('Tumor'))); null"
    )
    (batch,), refused = project_batches(qupath.project, in_class="Tumor", folder=tmp_path)
    assert not refused
    assert batch.slides == (slide[0].resolve(),)
    assert batch.rois is not None
    assert [path.name for path in batch.rois.iterdir()] == ["B12 größer.geojson"]
    (batch,), _ = project_batches(qupath.project, in_class="Stroma", folder=tmp_path)
    assert batch.rois is None
