"""YOLO as different programs lay it out."""

import numpy as np
import pytest
from PIL import Image

from wsi_suite.datasets.formats import ReadOptions, WriteOptions, reader_of, writer_of
from wsi_suite.datasets.labelled_image import LabelledImage, nucleus_labels
from wsi_suite.errors import DataError

BOX = "{} 0.5 0.5 0.2 0.2\n"


@pytest.fixture
def make(tmp_path):
    def make(yaml, *pictures, labels=(), texts=()):
        for name in pictures:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tmp_path / name)
        files = {"data.yaml": yaml, **{name: BOX.format(1) for name in labels}, **dict(texts)}
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        told = []
        found = list(reader_of("yolo")(tmp_path, ReadOptions(mpp=0.5, tell=told.append)))
        return {one.name: (one.split, len(one.labels)) for one in found}, told

    return make


NAMES = ("names: [Stroma, Epithelium]\n", "names:\n  0: Stroma\n  1: Epithelium\n",
         'names: {"0": Stroma, "1": Epithelium}\n')  # fmt: skip


@pytest.mark.parametrize("names", NAMES)
def test_pictures_without_labels_have_no_nuclei(make, names):
    found, told = make(
        names, "images/a.png", "images/b.png", "images/c.png", labels=["labels/a.txt"],
        texts={"labels/b.txt": "", "labels/classes.txt": "Stroma\n"},
    )  # fmt: skip
    assert found == {"a.png": (None, 1), "b.png": (None, 0), "c.png": (None, 0)}
    assert [one.partition(": ")[2] for one in told] == [
        "1 pictures without label file are without nuclei"
    ]


def test_parts_below_images(make):
    found, _ = make(
        f"path: ../datasets/x\ntrain: images/train\nval: [images/val]\ntest:\n{NAMES[0]}",
        "images/train/a.png", "images/val/a.png", "images/more/a.png",
        labels=["labels/train/a.txt", "labels/val/a.txt"],
    )  # fmt: skip
    assert found == {"more/a.png": (None, 0), "train/a.png": ("train", 1), "val/a.png": ("val", 1)}


def test_parts_above_images(make):
    found, told = make(
        f"train: ../train/images\nval: ../valid/images\ntest: ../test/images\n{NAMES[0]}",
        "train/images/a.png", "valid/images/a.png",
        labels=["train/labels/a.txt", "valid/labels/a.txt"],
    )  # fmt: skip
    assert found == {"train/a.png": ("train", 1), "valid/a.png": ("val", 1)}
    assert "'test: ../test/images' of data.yaml is not there" in told[0]


def test_lists_of_pictures(make):
    found, _ = make(
        f"train: train.txt\nval: val.txt\n{NAMES[0]}", "images/s/a.png", "images/b.png",
        labels=["labels/s/a.txt"],
        texts={"train.txt": "./images/s/a.png\n\n", "val.txt": "images/b.png\n"},
    )  # fmt: skip
    assert found == {"b.png": ("val", 0), "s/a.png": ("train", 1)}


@pytest.mark.parametrize(
    ("yaml", "files", "said"),
    [
        (NAMES[0], {"pictures": ["images/a.png", "images/a.jpg"]}, "has the same label file"),
        (NAMES[0], {"pictures": ["images/a.png"], "labels": ["labels/b.txt"]}, "without a picture"),
        (NAMES[0], {"pictures": ["other/a.png"]}, "holds no pictures; expected images/, or parts"),
        (f"train: t.txt\n{NAMES[0]}", {"texts": {"t.txt": "images/x.png"}}, "which is missing"),
        ("names: 3\n", {"pictures": ["images/a.png"]}, "no classes under 'names'"),
        ("[1]\n", {"pictures": ["images/a.png"]}, "no classes; expected a list under 'names'"),
    ],
)
def test_folders_that_cannot_be_read_are_told(make, yaml, files, said):
    with pytest.raises(DataError, match=said):
        make(yaml, *files.pop("pictures", ()), **files)


def test_the_parts_of_a_split_come_back(tmp_path):
    (tmp_path / "s").mkdir()
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tmp_path / "s" / "a.png")
    images = [
        LabelledImage(
            name=f"s {part}/a.png", size_px=(40, 30), mpp=(0.5, 0.5), file=tmp_path / "s" / "a.png",
            labels=nucleus_labels([(5, 6)], ["Stroma"], radii_px=[2]), split=part,
        )
        for part in ("test", "train", "val")
    ]  # fmt: skip
    said = writer_of("yolo")(images, tmp_path / "out", WriteOptions())
    assert said == ["YOLO does not hold the pixel size: lost for 3 pictures"]
    found = reader_of("yolo")(tmp_path / "out", ReadOptions(mpp=0.5))
    assert [(one.name, one.split) for one in found] == [(one.name, one.split) for one in images]
