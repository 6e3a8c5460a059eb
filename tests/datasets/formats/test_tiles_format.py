import pytest

from wsi_suite.datasets.card import DatasetCard
from wsi_suite.datasets.collecting import add_images
from wsi_suite.datasets.commits import create_dataset
from wsi_suite.datasets.formats import (
    FORMATS,
    ReadOptions,
    WriteOptions,
    map_classes,
    reader_of,
    writer_of,
)
from wsi_suite.datasets.store import list_versions, open_dataset, read_images
from wsi_suite.errors import ConfigError, DataError


@pytest.fixture
def folder(tmp_path, write_tiles):
    return write_tiles(tmp_path / "tiles", {"a": "1", "bö": "1", "c": "2"})


def read(folder, **options):
    return list(reader_of("tiles")(folder, ReadOptions(**options)))


def contents(images):
    return [
        (one.name, one.slide, one.mpp, one.labels.points.tolist(), one.labels.class_names)
        for one in images
    ]


def test_a_dataset_and_a_folder_of_tiles_hold_the_same(folder, tmp_path):
    create_dataset(tmp_path / "mine", DatasetCard(name="mine"))
    version = add_images(tmp_path / "mine", read(folder), message="", new_classes=True).version
    assert (version.images, version.classes) == (3, {"Epithelium": 12, "Stroma": 12})
    stored = read_images(open_dataset(tmp_path / "mine"))
    assert writer_of("tiles")(stored, tmp_path / "again", WriteOptions()) == []
    assert contents(read(tmp_path / "again")) == contents(read(folder))


def test_renamed_and_left_out_classes(folder):
    (image, *_) = map_classes(read(folder), {"Stroma": "", "Epithelium": "Tumour"})
    assert image.labels.class_names == ("Tumour",) * 4
    assert len(image.labels.points) == 4


def test_pictures_that_are_there_are_replaced_only_if_asked(folder, tmp_path):
    create_dataset(tmp_path / "mine", DatasetCard(name="mine"))
    add_images(tmp_path / "mine", read(folder), message="", new_classes=True)
    (folder / "labels" / "a.txt").write_text("3 4 1\n", "utf-8")
    with pytest.raises(DataError, match=r"'a\.png' is there already; give --replace"):
        add_images(tmp_path / "mine", read(folder), message="")
    add_images(tmp_path / "mine", read(folder), message="", replace=True)
    counts = [len(one.labels) for one in read_images(open_dataset(tmp_path / "mine"))]
    assert counts == [1, 8, 8]
    assert len(list_versions(tmp_path / "mine")) == 2


def test_an_unknown_format_is_named_with_those_that_there_are():
    with pytest.raises(ConfigError, match=r"no format 'tile' that can be read \(did you mean"):
        reader_of("tile")
    for name, one in FORMATS.items():
        assert not one.reads or callable(reader_of(name))
        assert not one.writes or callable(writer_of(name))
