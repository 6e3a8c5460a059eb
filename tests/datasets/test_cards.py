import hashlib
import json
import tarfile
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from wsi_suite.datasets.card import DatasetCard
from wsi_suite.datasets.cards import write_cards
from wsi_suite.datasets.collecting import make_dataset
from wsi_suite.datasets.formats import ReadOptions, WriteOptions, reader_of, writer_of
from wsi_suite.datasets.splitting import split_dataset
from wsi_suite.datasets.store import read_images
from wsi_suite.errors import DataError


@pytest.fixture
def dataset(tmp_path, write_tiles):
    tiles = write_tiles(tmp_path / "tiles", {"a.b": "1", "b": "1", "c": "2", "d": "3"})
    card = DatasetCard(name="mine", description="Nuclei.", license="cc-by-4.0", citation="Doe 2026")
    images = reader_of("tiles")(tiles, ReadOptions())
    made = make_dataset(tmp_path / "mine", card, images, message="")
    return split_dataset(made, shares={"train": 2, "val": 1, "test": 1})


def test_cards_say_what_the_dataset_holds(dataset):
    croissant, readme = write_cards(dataset)
    document = json.loads(croissant.read_text("utf-8"))
    table = document["distribution"][0]
    content = (dataset.folder / table["contentUrl"]).read_bytes()
    assert table["sha256"] == hashlib.sha256(content).hexdigest()
    assert (document["license"], document["version"]) == ("cc-by-4.0", "2.0.0")
    text = readme.read_text("utf-8")
    head = yaml.safe_load(text.split("---")[1])
    assert (head["license"], head["size_categories"]) == ("cc-by-4.0", ["n<1K"])
    assert "| all | 4 | 16 | 16 |" in text
    assert "| train | 2 | 8 | 8 |" in text


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of rdflib, which it builds on
def test_croissant_is_read_by_its_own_library(dataset, monkeypatch):
    mlcroissant = pytest.importorskip("mlcroissant")
    write_cards(dataset)
    monkeypatch.chdir(dataset.folder)
    read = mlcroissant.Dataset("croissant.json")
    records = list(read.records("nuclei"))
    assert len(records) == 32
    assert {record["nuclei/class"] for record in records} == {b"Stroma", b"Epithelium"}


def test_webdataset_has_a_picture_and_its_labels_under_one_key(dataset, tmp_path):
    for name in ("one", "two"):
        assert writer_of("webdataset")(read_images(dataset), tmp_path / name, WriteOptions()) == []
    shards = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert shards == ["test-000000.tar", "train-000000.tar", "val-000000.tar"]
    for shard in shards:
        assert (tmp_path / "one" / shard).read_bytes() == (tmp_path / "two" / shard).read_bytes()
    with tarfile.open(tmp_path / "one" / "train-000000.tar") as tar:
        names = tar.getnames()
        assert sorted(names) == ["a_b.json", "a_b.png", "b.json", "b.png"]
        record = json.loads(tar.extractfile("a_b.json").read())
    labels = {image.name: image.labels for image in read_images(dataset)}["a.b.png"]
    nuclei = record["nuclei"]
    assert np.column_stack([nuclei["x"], nuclei["y"]]).tolist() == labels.points.tolist()
    assert (record["name"], record["split"], record["mpp_x"]) == ("a.b.png", "train", 0.5)


def test_hugging_face_tells_pictures_of_no_part_from_those_to_train_on(dataset, tmp_path):
    images = list(read_images(dataset))
    for out, splits, expected in (
        ("none", [None] * 4, {"train": "unassigned/**"}),
        ("some", ["train", None, "a b", None], {one: f"{one}/**" for one in
                                                ("a_b", "train", "unassigned")}),
    ):  # fmt: skip
        parted = [replace(one, split=part) for one, part in zip(images, splits, strict=True)]
        writer_of("huggingface")(parted, tmp_path / out, WriteOptions())
        head = yaml.safe_load((tmp_path / out / "README.md").read_text("utf-8").split("---")[1])
        files = {one["split"]: one["path"] for one in head["configs"][0]["data_files"]}
        assert files == expected


def test_pictures_of_one_key_are_refused(dataset, tmp_path):
    images = list(read_images(dataset))
    images[1] = replace(images[1], name="a_b.png", split=images[0].split)
    with pytest.raises(DataError, match=r"'a_b\.png': another picture has its key 'a_b'"):
        writer_of("webdataset")(images, tmp_path / "out", WriteOptions())
    assert not (tmp_path / "out").exists()


def test_large_datasets_become_several_shards(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("wsi_suite.datasets.formats.webdataset.SHARD_BYTES", 1)
    writer_of("webdataset")(read_images(dataset), tmp_path / "many", WriteOptions())
    assert len(list((tmp_path / "many").glob("train-*.tar"))) == 2


def test_hugging_face_finds_parts_and_labels(dataset, tmp_path):
    writer_of("huggingface")(read_images(dataset), tmp_path / "hf", WriteOptions())
    parts = sorted(path.name for path in (tmp_path / "hf").iterdir())
    assert parts == ["README.md", "test", "train", "validation"]
    head = yaml.safe_load((tmp_path / "hf" / "README.md").read_text("utf-8").split("---")[1])
    assert {"split": "validation", "path": "validation/**"} in head["configs"][0]["data_files"]
    tables = {
        part: pq.read_table(tmp_path / "hf" / part / "metadata.parquet") for part in parts[1:]
    }
    records = tables["train"].to_pylist()
    # Hugging Face refuses parts whose columns differ, as by columns in which nothing is known.
    assert len({str(table.schema) for table in tables.values()}) == 1
    assert records[0]["patient"] is None
    assert [record["file_name"] for record in records] == ["a.b.png", "b.png"]
    assert all((tmp_path / "hf" / "train" / one["file_name"]).is_file() for one in records)
    assert len(records[0]["nuclei"]["class"]) == 8
