import numpy as np
import pytest
from PIL import Image

from wsi_suite.datasets.formats import ReadOptions, reader_of
from wsi_suite.errors import DataError


@pytest.fixture
def published(tmp_path):
    base = tmp_path / "dataset"
    (base / "images").mkdir(parents=True)
    for name in ("1", "2", "10"):
        Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(base / "images" / f"{name}.png")
    for subset, who, name, text in (
        ("bulk", "ptg1", "1", "3 4 1\n5 6 2\n"),
        ("agreement", "ptg1", "2", "1 2 0\n"),
        ("agreement", "stud2", "2", "1 3 1\n"),
    ):
        folder = base / "labels" / subset / who
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.txt").write_text(text)
    lists = base / "file_lists"
    lists.mkdir()
    (lists / "images.txt").write_text("../images/2.png\n")
    (lists / "ptg1.txt").write_text("../labels/agreement/ptg1/2.txt\n")
    (lists / "stud2.txt").write_text("../labels/agreement/stud2/2.txt\n")
    (tmp_path / "master_ymls").mkdir()
    (tmp_path / "master_ymls" / "agreement.yaml").write_text(
        "images_lists: [../dataset/file_lists/images.txt]\n"
        "labels_lists:\n- ../dataset/file_lists/ptg1.txt\n- ../dataset/file_lists/stud2.txt\n"
    )
    return tmp_path


def read(source):
    return list(reader_of("endonuke")(source, ReadOptions()))


def test_the_whole_folder_has_all_annotators(published):
    found = {one.name: one for one in read(published)}
    assert list(found) == ["1.png", "2.png"]
    assert found["1.png"].labels.class_names == ("Epithelium", "Other")
    assert found["1.png"].labels.points.tolist() == [[3.5, 4.5], [5.5, 6.5]]
    assert found["2.png"].labels.annotators == ("ptg1", "stud2")
    assert found["1.png"].mpp == (0.5, 0.5)


def test_a_master_file_chooses(published):
    (image,) = read(published / "master_ymls" / "agreement.yaml")
    assert (image.name, image.labels.annotators) == ("2.png", ("ptg1", "stud2"))


def test_what_is_missing_is_named(published):
    (published / "dataset" / "images" / "2.png").unlink()
    with pytest.raises(DataError, match=r"2.txt: labels without a picture 2"):
        read(published)
    with pytest.raises(DataError, match=r"images.txt: names .*2.png, which is missing"):
        read(published / "master_ymls" / "agreement.yaml")
    with pytest.raises(DataError, match="expected dataset/images and dataset/labels"):
        read(published / "dataset" / "images")
    (published / "master_ymls" / "agreement.yaml").write_text("x: 1")
    with pytest.raises(DataError, match="expected images_lists and labels_lists"):
        read(published / "master_ymls" / "agreement.yaml")
