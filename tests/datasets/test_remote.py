"""Datasets on object storage: S3 of moto, and fsspec's memory."""

import json
import uuid
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsi_suite.datasets import remote
from wsi_suite.datasets.card import DatasetCard
from wsi_suite.datasets.collecting import add_images, make_dataset
from wsi_suite.datasets.history import verify_dataset
from wsi_suite.datasets.labelled_image import LabelledImage, nucleus_labels
from wsi_suite.datasets.object_storage import connect, is_url
from wsi_suite.datasets.remote import at_hand, copy_dataset, on_disk
from wsi_suite.datasets.splitting import split_dataset
from wsi_suite.datasets.store import list_versions, open_dataset, read_images
from wsi_suite.errors import (
    BusyError,
    ConfigError,
    DataError,
    OutputConflictError,
    OutputError,
)

fsspec = pytest.importorskip("fsspec")


@pytest.fixture(scope="module")
def s3_server():
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(
        ip_address="127.0.0.1", port=0, verbose=False
    )
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture(params=["memory", "s3"])
def url(request, monkeypatch):
    name = uuid.uuid4().hex
    if request.param == "memory":
        return f"memory://{name}/my data/mine"
    monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("s3_server"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    fsspec.filesystem("s3").mkdir(f"bucket-{name}")
    return f"s3://bucket-{name}/my data/mine"


@pytest.fixture
def make(tmp_path):
    def image(name, *, seed=0, points=((1, 2), (20, 9)), **values):
        path = tmp_path / "source" / str(seed) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng([seed, *name.encode()]).integers(0, 255, (32, 40, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(path)
        labels = nucleus_labels(points, ["Stroma"] * len(points))
        return LabelledImage(
            name=name, size_px=(40, 32), mpp=(0.5, 0.5), labels=labels, file=path, **values
        )

    return image


def begin(url, *images):
    with at_hand(url, writes=True) as folder:
        make_dataset(folder, DatasetCard(name=folder.name), images, message="first")


def add(url, *images, **options):
    with at_hand(url, writes=True) as folder:
        add_images(folder, images, **{"message": "", **options})


def fetch(url):
    with at_hand(url, pictures=True):
        pass


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def test_versions_are_added_and_read_back(url, make):
    begin(url, make("a ö.png", patient="P1"), make("b/c.png", patient="P2"))
    with at_hand(url, writes=True) as folder:
        assert folder.name == "mine"
        add_images(folder, [make("d.png", patient="P3")], message="more", new_classes=True)
    with at_hand(url, writes=True) as folder:
        split_dataset(open_dataset(folder), shares={"train": 2, "test": 1})
    with at_hand(url, pictures=True) as folder:
        assert [one.images for one in list_versions(folder)] == [2, 3, 3]
        assert verify_dataset(open_dataset(folder)) == []
        images = list(read_images(open_dataset(folder)))
        assert [one.name for one in images] == ["a ö.png", "b/c.png", "d.png"]
        assert images[0].labels.points.tolist() == [[1, 2], [20, 9]]
        assert open_dataset(folder).card.classes == ("Stroma",)


def test_a_copy_there_and_back_is_the_same_to_the_byte(url, make, tmp_path):
    made = make_dataset(tmp_path / "mine", DatasetCard(name="mine"), [make("a.png")], message="1")
    assert copy_dataset(str(made.folder), url) == 1
    add_images(made.folder, [make("b.png")], message="2")
    assert copy_dataset(str(made.folder), url) == 2
    assert copy_dataset(str(made.folder), url) == 2
    assert copy_dataset(url, str(tmp_path / "back")) == 2
    assert content(tmp_path / "back") == content(made.folder)
    with pytest.raises(OutputConflictError, match="is there already"):
        copy_dataset(url, str(tmp_path / "back"))


def test_of_two_writers_at_once_one_is_told(url, make):
    begin(url, make("a.png"))
    both = ExitStack()
    slow = both.enter_context(at_hand(url, writes=True))
    add_images(slow, [make("slow.png")], message="slow")
    add(url, make("quick.png"), message="quick")
    with pytest.raises(BusyError, match="has added version 2 meanwhile; give the command again"):
        both.close()
    with at_hand(url, pictures=True) as folder:
        assert [one.message for one in list_versions(folder)] == ["first", "quick"]
        assert verify_dataset(open_dataset(folder)) == []


def test_of_two_commits_at_once_one_is_told(url, make, monkeypatch):
    """Both have seen that there is no second version, and write it."""
    begin(url, make("a.png"))
    put = remote._put_version

    def overtaken(folder, version, place):
        with monkeypatch.context() as patch:
            patch.setattr(remote, "_put_version", put)
            add(url, make("quick.png"), message="quick")
        put(folder, version, place)

    monkeypatch.setattr(remote, "_put_version", overtaken)
    with pytest.raises(BusyError, match="has added version 2 meanwhile"):
        add(url, make("slow.png"), message="slow")
    with at_hand(url, pictures=True) as folder:
        assert [one.message for one in list_versions(folder)] == ["first", "quick"]


@pytest.mark.parametrize("writes", range(9))
def test_a_killed_writer_leaves_the_version_before(make, monkeypatch, writes):
    url = f"memory://{uuid.uuid4().hex}/mine"
    begin(url, make("a.png"))
    system = connect(url).system
    left = [writes]

    def dying(function):
        def call(*arguments, **named):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return function(*arguments, **named)

        return call

    with monkeypatch.context() as patch:
        for name in ("pipe_file", "put_file"):
            patch.setattr(system, name, dying(getattr(system, name)))
        with suppress(KeyboardInterrupt):
            add(url, make("b.png"), make("c.png"))
        done = left[0] >= 0
    with at_hand(url, pictures=True) as folder:
        assert len(list_versions(folder)) == 1 + done
        assert verify_dataset(open_dataset(folder)) == []
    if not done:
        add(url, make("b.png"), make("c.png"))
    with at_hand(url, pictures=True) as folder:
        assert [one.images for one in list_versions(folder)] == [1, 3]


def test_storage_that_writes_over_objects_is_refused(make, monkeypatch):
    url = f"memory://{uuid.uuid4().hex}/mine"
    system = connect(url).system
    write = system.pipe_file
    monkeypatch.setattr(system, "pipe_file", lambda path, value, mode: write(path, value))
    with pytest.raises(OutputError, match="expected one that knows If-None-Match"):
        begin(url, make("a.png"))


def test_a_picture_is_never_changed(url, make):
    begin(url, make("a.png"))
    other = replace(make("a.png"), file=make("a.png", seed=1).file)
    with pytest.raises(DataError, match=r"another picture called 'a\.png'"):
        add(url, other, replace=True)


def test_damage_and_losses_are_named(make):
    url = f"memory://{uuid.uuid4().hex}/mine"
    begin(url, make("a.png"))
    place = connect(url)
    (picture,) = place.names("pictures")
    whole = place.read("pictures", picture)
    place.system.pipe_file(place.path("pictures", picture), whole[:-1])
    with pytest.raises(DataError, match=f"{url}/pictures/{picture}: damaged; restore it"):
        fetch(url)
    place.system.rm_file(place.path("pictures", picture))
    with pytest.raises(DataError, match="an object is missing"), at_hand(url, pictures=True):
        pass
    version = json.loads(place.read("versions", "0001.json"))
    version["version"]["number"] = 2
    place.system.pipe_file(place.path("versions", "0001.json"), json.dumps(version).encode())
    with pytest.raises(DataError, match=r"versions/0001\.json: missing"), at_hand(url):
        pass
    place.system.pipe_file(place.path("versions", "0001.json"), b"{")
    with pytest.raises(OutputError, match=r"0001\.json: damaged"), at_hand(url):
        pass


def test_a_name_that_leads_out_of_the_folder_is_refused(make, tmp_path):
    from wsi_suite.datasets import commits

    url = f"memory://{uuid.uuid4().hex}/mine"
    image = make("a.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commits, "image_row", _outside(commits.image_row))
        made = make_dataset(tmp_path / "mine", DatasetCard(name="x"), [image], message="")
    with pytest.raises(DataError, match=r"'\.\./\.\./evil\.png' cannot be the name of a picture"):
        list(read_images(made))
    with pytest.raises(DataError, match="cannot be the name of a picture"):
        copy_dataset(str(made.folder), url)


def _outside(image_row):
    def row(image, **values):
        return {**image_row(image, **values), "name": "../../evil.png"}

    return row


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("memory://nothing/here", "is no dataset, it has no wsi-suite.json"),
        ("file:///tmp/x", "expected a folder, or a URL as s3://bucket/path"),
        ("https://example.org/x", "a web server lists no objects"),
        ("nonsense://x", "nonsense"),
    ],
)
def test_what_is_no_dataset_is_told(place, said):
    assert is_url(place)
    with pytest.raises((DataError, ConfigError), match=said):
        fetch(place)


def test_folders_are_no_urls():
    assert not any(map(is_url, ("mine", "/a/b", "C:/data", "C:\\data", "a:b/c", ".")))
    with pytest.raises(ConfigError, match=r"dataset copy s3://bucket/mine FOLDER"):
        on_disk(str(Path("s3://bucket/mine")))
    with at_hand("mine") as folder:
        assert folder == Path("mine")


def test_other_objects_are_left_alone(make):
    url = f"memory://{uuid.uuid4().hex}/mine"
    connect(url).system.pipe_file(connect(url).path("other.txt"), b"x")
    with pytest.raises(OutputConflictError, match="is there and not empty"):
        begin(url, make("a.png"))
