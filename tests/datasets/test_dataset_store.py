import json

import numpy as np
import pytest
import shapely
from PIL import Image

from wsi_suite.datasets.card import DatasetCard, read_card
from wsi_suite.datasets.commits import commit, create_dataset
from wsi_suite.datasets.labelled_image import (
    LabelledImage,
    labels_of_outlines,
    nucleus_labels,
)
from wsi_suite.datasets.store import (
    is_dataset,
    list_versions,
    open_dataset,
    read_images,
)
from wsi_suite.detector.label_spec import LabelSpec
from wsi_suite.errors import DataError, OutputConflictError, PixelSizeError
from wsi_suite.training.labelled import load_tiles

CARD = DatasetCard(name="mine", classes=("Stroma", "Epithelium"))


@pytest.fixture
def picture(tmp_path):
    def make(name, *, seed=0, size=(40, 30)):
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return make


@pytest.fixture
def folder(tmp_path):
    create_dataset(tmp_path / "mine", CARD)
    return tmp_path / "mine"


def labelled(path, points=((1.5, 2.5), (30, 29)), **values):
    classes = [("Stroma", "Epithelium")[number % 2] for number in range(len(points))]
    named = {"name": path.name, "size_px": (40, 30), "mpp": (0.5, 0.5), "file": path}
    return LabelledImage(**{**named, "labels": nucleus_labels(points, classes), **values})


def test_what_was_put_in_comes_out(folder, picture):
    outline = shapely.Polygon([(3, 3), (9, 3), (9, 9), (3, 9)])
    labels = labels_of_outlines([outline], ["Epithelium"], annotators="ann", grades=[2])
    image = labelled(
        picture("a.png"),
        labels=labels,
        name="lab/a.png",
        patient="P1",
        slide="S1",
        stain="ER",
        corner_px0=(100.0, 50.5),
        annotated=shapely.box(0, 0, 20, 20),
    )
    empty = labelled(picture("b.png", seed=1), points=())
    commit(folder, [labelled(picture("a.png"), name="a.png"), empty, image], message="first")
    found = {one.name: one for one in read_images(open_dataset(folder))}
    assert list(found) == ["a.png", "b.png", "lab/a.png"]
    assert found["a.png"].labels.points.tolist() == [[1.5, 2.5], [30, 29]]
    assert np.isnan(found["a.png"].labels.radii_px).all()
    assert len(found["b.png"].labels) == 0
    again = found["lab/a.png"]
    assert again.labels.points.tolist() == [[6, 6]]
    assert again.labels.radii_px[0] == pytest.approx(6 / np.sqrt(np.pi))
    assert again.labels.outlines[0].equals(outline)
    assert (again.labels.annotators, again.labels.grades.tolist()) == (("ann",), [2])
    assert (again.patient, again.slide, again.stain, again.laboratory) == ("P1", "S1", "ER", None)
    assert again.corner_px0 == (100.0, 50.5)
    assert again.annotated.equals(shapely.box(0, 0, 20, 20))
    assert again.file.read_bytes() == image.file.read_bytes()


def test_versions_stay_and_the_same_content_makes_none(folder, picture):
    one, two = labelled(picture("a.png")), labelled(picture("b.png", seed=1))
    first = commit(folder, [one], message="first").version
    assert commit(folder, [one], message="again").version == first
    second = commit(folder, [one, two], message="more").version
    assert (second.number, second.parent, second.images, second.nuclei) == (2, first.digest, 2, 4)
    assert second.classes == {"Epithelium": 2, "Stroma": 2}
    assert [version.message for version in list_versions(folder)] == ["first", "more"]
    for name in (1, "1", first.digest[:8]):
        assert [one.name for one in read_images(open_dataset(folder, version=name))] == ["a.png"]
    with pytest.raises(DataError, match="no version '3'; it has 1, 2"):
        open_dataset(folder, version=3)
    # Labels may change while the picture stays, and the earlier labels stay where they were.
    commit(folder, [labelled(picture("a.png"), points=[(5, 5)])], message="corrected")
    assert [len(one.labels) for one in read_images(open_dataset(folder, version=2))] == [2, 2]
    assert [len(one.labels) for one in read_images(open_dataset(folder))] == [1]


def test_equal_content_has_equal_digests(tmp_path, picture):
    digests = []
    for name in ("x", "y"):
        create_dataset(tmp_path / name, CARD)
        digests.append(commit(tmp_path / name, [labelled(picture("a.png"))], message=name))
    assert digests[0].version.digest == digests[1].version.digest


def test_a_failed_commit_leaves_no_version(folder, picture):
    good, bad = labelled(picture("a.png")), labelled(picture("b.png"), points=[(41, 2)])
    with pytest.raises(DataError, match=r"x 41, y 2 lies beyond 'b.png' of 40 x 30 px"):
        commit(folder, [good, bad], message="")
    assert not list((folder / "versions").iterdir())
    assert commit(folder, [good], message="").version.number == 1


@pytest.mark.parametrize(
    ("values", "error", "said"),
    [
        ({"mpp": None}, PixelSizeError, "a.png: no pixel size; give --mpp"),
        ({"mpp": (50.0, 50.0)}, PixelSizeError, "pixel size 50.0 um is not within"),
        ({"name": "../a.png"}, DataError, "cannot be the name of a picture"),
        ({"name": "/a.png"}, DataError, "cannot be the name of a picture"),
        ({"name": "x\\a.png"}, DataError, "cannot be the name of a picture"),
        ({"name": "con.png"}, DataError, "cannot be the name of a picture"),
        ({"file": None}, DataError, "'a.png' has labels only; give its picture"),
        ({"size_px": (41, 30)}, DataError, "40 x 30 px, but its labels are of 41 x 30 px"),
        ({"labels": nucleus_labels([(1, 1)], ["Blood"])}, DataError, "class 'Blood' in 'a.png'"),
        (
            {"labels": nucleus_labels([(1, 1)], ["Stroma"], radii_px=[0])},
            DataError,
            "radius 0 in 'a.png' is not above 0",
        ),
        (
            {"labels": nucleus_labels([(np.nan, 1)], ["Stroma"])},
            DataError,
            "x nan, y 1 of nucleus 1 in 'a.png' is no place",
        ),
    ],
)
def test_what_a_dataset_cannot_hold_is_refused_in_one_line(folder, picture, values, error, said):
    with pytest.raises(error) as caught:
        commit(folder, [labelled(picture("a.png"), **values)], message="")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_picture_is_never_changed(folder, picture):
    commit(folder, [labelled(picture("a.png"))], message="")
    with pytest.raises(DataError, match=r"has another picture called 'a.png'; rename one"):
        commit(folder, [labelled(picture("a.png", seed=5))], message="")


def test_names_that_are_one_file_on_some_systems_are_refused(folder, picture):
    both = [labelled(picture("A.png")), labelled(picture("a.png", seed=1))]
    with pytest.raises(DataError, match=r"'A.png' and 'a.png' are one file on some systems"):
        commit(folder, both, message="")


def test_many_pictures_are_read_back_with_their_own_nuclei(folder, picture, monkeypatch):
    monkeypatch.setattr("wsi_suite.datasets.commits._ROWS", 7)  # several groups of rows
    path = picture("p.png")
    images = [
        labelled(path, points=[(number, row) for row in range(number % 5)], name=f"{number:02}.png")
        for number in range(20)
    ]
    commit(folder, images, message="")
    found = list(read_images(open_dataset(folder)))
    assert [one.labels.points.tolist() for one in found] == [
        one.labels.points.tolist() for one in images
    ]
    some = read_images(open_dataset(folder), names=["03.png", "19.png"])
    assert [len(one.labels) for one in some] == [3, 4]
    with pytest.raises(DataError, match=r"no picture '9.jpg'"):
        list(read_images(open_dataset(folder), names=["9.jpg"]))


def test_a_dataset_trains_as_it_is(folder, picture):
    commit(folder, [labelled(picture("a.png"), slide="S1")], message="")
    (tile,) = load_tiles(folder, LabelSpec())
    assert (tile.id, tile.run, tile.mpp, tile.label.tolist()) == ("a", "S1", 0.5, [0, 1])
    assert tile.points.tolist() == [[1.5, 2.5], [30, 29]]
    assert len(tile.labels_sha256) == 64
    classes = LabelSpec(classes={0: "Lymphocyte"})
    with pytest.raises(DataError, match=r"class 'Stroma' in 'a.png', expected Lymphocyte"):
        load_tiles(folder, classes)


def test_damage_is_named(folder, picture, tmp_path):
    assert is_dataset(folder)
    assert not is_dataset(tmp_path)
    with pytest.raises(DataError, match="has no version yet"):
        open_dataset(folder)
    dataset = commit(folder, [labelled(picture("a.png"))], message="")
    version = dataset.image_table.parent / "version.json"
    later = json.loads(version.read_text()) | {"format": 99}
    version.write_text(json.dumps(later))
    with pytest.raises(Exception, match="of format 99, which a later version"):
        open_dataset(folder)
    version.write_text(json.dumps(later | {"format": 1}))
    dataset.image_table.write_bytes(b"PAR1 cut off")
    with pytest.raises(DataError, match=r"images.parquet: damaged"):
        list(read_images(open_dataset(folder)))
    (folder / "dataset.yaml").write_text("name: [")
    with pytest.raises(DataError, match=r"dataset.yaml: cannot be read"):
        read_card(folder)
    with pytest.raises(OutputConflictError, match="is there and not empty"):
        create_dataset(folder, CARD)
    with pytest.raises(DataError, match=r"is no dataset, it has no dataset.yaml"):
        read_card(tmp_path)


def test_what_killed_processes_left_is_removed(folder, picture):
    (folder / "versions" / ".0001.0123abcd.partial").mkdir()
    (folder / "images" / ".a.png.0123abcd.partial").write_bytes(b"cut off")
    commit(folder, [labelled(picture("a.png"))], message="")
    assert [path.name for path in (folder / "versions").iterdir()] == ["0001"]
    assert [path.name for path in (folder / "images").iterdir()] == ["a.png"]
