import hashlib
import json
import tarfile

import numpy as np
import pytest
import yaml

from wsi_suite.datasets.card import DatasetCard
from wsi_suite.datasets.cards import write_cards
from wsi_suite.datasets.collecting import make_dataset
from wsi_suite.datasets.formats import ReadOptions, WriteOptions, reader_of, writer_of
from wsi_suite.datasets.splitting import split_dataset
from wsi_suite.datasets.store import read_images


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


def test_large_datasets_become_several_shards(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("wsi_suite.datasets.formats.webdataset.SHARD_BYTES", 1)
    writer_of("webdataset")(read_images(dataset), tmp_path / "many", WriteOptions())
    assert len(list((tmp_path / "many").glob("train-*.tar"))) == 2


def test_hugging_face_finds_parts_and_labels(dataset, tmp_path):
    writer_of("huggingface")(read_images(dataset), tmp_path / "hf", WriteOptions())
    parts = sorted(path.name for path in (tmp_path / "hf").iterdir())
    assert parts == ["test", "train", "validation"]
    lines = (tmp_path / "hf" / "train" / "metadata.jsonl").read_text("utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["file_name"] for record in records] == ["a.b.png", "b.png"]
    assert all((tmp_path / "hf" / "train" / one["file_name"]).is_file() for one in records)
    assert len(records[0]["nuclei"]["class"]) == 8
