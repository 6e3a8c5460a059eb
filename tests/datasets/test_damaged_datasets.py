"""Datasets that were damaged, stopped half-way, or written to by two processes at once."""

import json
import shutil
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from wsi_suite.datasets import commits, revoking
from wsi_suite.datasets.card import DatasetCard
from wsi_suite.datasets.collecting import add_images, make_dataset
from wsi_suite.datasets.commits import create_dataset
from wsi_suite.datasets.formats import WriteOptions, writer_of
from wsi_suite.datasets.history import diff_versions, verify_dataset
from wsi_suite.datasets.labelled_image import LabelledImage, nucleus_labels
from wsi_suite.datasets.revoking import revoke
from wsi_suite.datasets.splitting import class_counts, split_dataset
from wsi_suite.datasets.store import list_versions, open_dataset, read_image_rows, read_images
from wsi_suite.errors import BusyError, DataError, OutputError


@pytest.fixture
def make(tmp_path):
    def image(name, *, seed=0, points=((1, 2), (20, 9)), **values):
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng([seed, *name.encode()]).integers(0, 255, (32, 40, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(path)
        labels = nucleus_labels(points, ["Stroma"] * len(points))
        return LabelledImage(
            name=name, size_px=(40, 32), mpp=(0.5, 0.5), labels=labels, file=path, **values
        )

    return image


@pytest.fixture
def folder(tmp_path, make):
    images = [make(f"P{n // 2}/{n}.png", patient=f"P{n // 2}") for n in range(6)]
    make_dataset(tmp_path / "mine", DatasetCard(name="mine"), images, message="first")
    return tmp_path / "mine"


def names(folder):
    return [row["name"] for row in read_image_rows(open_dataset(folder))]


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.fixture
def before_the_lock(monkeypatch):
    """Do something just before a commit has its lock, as another process would."""

    def do(act):
        locked = commits.locked

        @contextmanager
        def late(folder):
            monkeypatch.setattr(commits, "locked", locked)
            act()
            with locked(folder):
                yield

        monkeypatch.setattr(commits, "locked", late)

    return do


def test_two_imports_at_once_keep_the_pictures_of_both(folder, make, before_the_lock):
    before_the_lock(lambda: add_images(folder, [make("one.png")], message="one"))
    add_images(folder, [make("two.png")], message="two")
    assert [one.images for one in list_versions(folder)] == [6, 7, 8]
    assert {"one.png", "two.png"} < {*names(folder)}


def test_a_split_of_what_is_no_longer_the_newest_is_refused(folder, make, before_the_lock):
    before_the_lock(lambda: add_images(folder, [make("one.png")], message="one"))
    with pytest.raises(BusyError, match="version 1 is no longer the newest; give the command"):
        split_dataset(open_dataset(folder), shares={"a": 1, "b": 1})
    assert "one.png" in names(folder)


def test_an_import_that_fails_leaves_no_picture(folder, make):
    there = files(folder)
    bad = replace(make("b/z.png"), labels=nucleus_labels([(1, 1)], ["Unknown"]))
    with pytest.raises(DataError, match="class 'Unknown'"):
        add_images(folder, [make("b/a.png"), bad], message="fails")
    assert files(folder) == there
    # Corrected, it is taken in, although the first picture is another one now.
    add_images(folder, [make("b/a.png", seed=1)], message="corrected")
    assert verify_dataset(open_dataset(folder)) == []


def test_a_picture_of_no_version_is_named(folder, make):
    (folder / "images" / "a.png").write_bytes(b"left of a process that was killed")
    with pytest.raises(DataError, match=r"images/a.png: another picture than .* delete it"):
        add_images(folder, [make("a.png")], message="again")


def test_pictures_that_lie_in_the_dataset_already_are_taken_in(folder, make):
    image = make("a.png")
    target = folder / "images" / "a.png"
    shutil.copyfile(image.file, target)
    add_images(folder, [replace(image, file=target)], message="from within")
    assert verify_dataset(open_dataset(folder)) == []


def test_a_dataset_is_made_where_an_import_was_killed_at_once(tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / ".dataset.yaml.0123abcd.partial").write_text("na")
    create_dataset(tmp_path / "new", DatasetCard(name="new"))
    assert list_versions(tmp_path / "new") == []
    (tmp_path / "new" / "versions").rmdir()  # killed after the card
    (tmp_path / "new" / "images").rmdir()
    assert add_images(tmp_path / "new", [], message="").version.number == 1


@pytest.mark.parametrize("version", ["0001", "0002"])
def test_a_version_that_is_half_there_is_told(folder, make, version):
    add_images(folder, [make("a.png")], message="second")
    (folder / "versions" / version / "version.json").unlink()
    for act in (open_dataset, lambda one: revoke(one, by="patient", value="P0", reason="")):
        with pytest.raises(OutputError, match=rf"versions/{version}/version.json: missing; rest"):
            act(folder)
    shutil.rmtree(folder / "versions" / version)
    if version == "0001":
        with pytest.raises(OutputError, match=r"versions/0001/version.json: missing; restore"):
            open_dataset(folder)


def test_a_copy_of_a_version_is_none(folder):
    shutil.copytree(folder / "versions" / "0001", folder / "versions" / "0001 copy")
    with pytest.raises(OutputError, match=r"0001 copy: not the folder of a version; move it"):
        open_dataset(folder)


@pytest.mark.parametrize("table", ["images.parquet", "nuclei.parquet"])
@pytest.mark.parametrize("damage", ["cut off", "empty", "missing", "folder", "other columns"])
def test_damaged_tables_are_told(folder, table, damage):
    path = folder / "versions" / "0001" / table
    content = path.read_bytes()
    path.unlink()
    if damage in ("cut off", "empty"):
        path.write_bytes(content[: len(content) // 2 * (damage == "cut off")])
    elif damage == "folder":
        path.mkdir()
    elif damage == "other columns":
        other = {"images": "nuclei", "nuclei": "images"}[path.stem]
        shutil.copyfile(path.with_name(f"{other}.parquet"), path)
    opened = open_dataset(folder)
    acts = (verify_dataset, lambda one: list(read_images(one)))
    for act in (*acts, class_counts) if path.stem == "nuclei" else acts:
        with pytest.raises(DataError, match=rf"{table}: damaged .*; restore it from a backup"):
            act(opened)


def test_rows_of_other_pictures_are_told(folder):
    path = folder / "versions" / "0001" / "nuclei.parquet"
    table = pq.read_table(path)
    for wrong in (table.slice(1), table.take(list(range(11, -1, -1))), table.take([0, *range(12)])):
        pq.write_table(wrong, path)
        with pytest.raises(DataError, match=r"nuclei.parquet: damaged \(its rows of "):
            list(read_images(open_dataset(folder)))


def test_changed_numbers_of_a_version_are_told(folder, make):
    add_images(folder, [make("a.png")], message="second")
    first = folder / "versions" / "0001" / "version.json"
    second = folder / "versions" / "0002" / "version.json"
    for path, key, value in ((first, "nuclei", 13), (second, "parent", "0" * 64)):
        content = json.loads(path.read_text("utf-8"))
        path.write_text(json.dumps({**content, key: value}), "utf-8")
    assert verify_dataset(open_dataset(folder)) == [
        "version 1: counts other pictures or nuclei than it has",
        "version 2: is not of the version before it",
    ]


def test_a_picture_at_another_place_of_its_slide_is_a_change(folder, make):
    first = open_dataset(folder)
    image = make("P0/0.png", patient="P0", corner_px0=(10.0, 20.0))
    second = add_images(folder, [image], message="moved", replace=True)
    (change,) = diff_versions(first, second)
    assert change.facts == ("corner_x_px0", "corner_y_px0")


def test_revoking_another_patient_finishes_what_was_interrupted(folder, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(revoking, "_strip_versions", killed)
        with pytest.raises(KeyboardInterrupt):
            revoke(folder, by="patient", value="P1", reason="withdrawn")
    said = []
    done = revoke(folder, by="patient", value="P2", reason="", tell=said.append)
    assert (len(done.pictures), names(folder)) == (2, ["P0/0.png", "P0/1.png"])
    assert "finished the revocation of" in said[0]
    with pytest.raises(DataError, match="no patient 'P1'"):
        revoke(folder, by="patient", value="P1", reason="")


@pytest.mark.parametrize("step", ["_delete_pictures", "_strip_versions", "_describe_again"])
def test_an_interrupted_revocation_is_finished_by_the_same_command(folder, monkeypatch, step):
    real = getattr(revoking, step)

    def killed(*arguments):
        real(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(revoking, step, killed)
        with pytest.raises(KeyboardInterrupt):
            revoke(folder, by="patient", value="P1", reason="withdrawn")
    with pytest.raises(DataError, match="a revocation was interrupted"):
        open_dataset(folder)
    done = revoke(folder, by="patient", value="P1", reason="again", tell=lambda _: None)
    assert (done.reason, len(done.pictures), len(done.digests)) == ("withdrawn", 2, 1)
    assert verify_dataset(open_dataset(folder)) == []


def test_nothing_of_a_revoked_patient_stays(folder):
    (folder / "images" / "P1" / "2.png").write_bytes(b"damaged: half of the picture")
    left = folder / "images" / "P1" / ".3.png.0123abcd.partial"
    left.write_bytes(b"left of a process that was killed")
    made = folder / "versions" / ".0002.0123abcd.partial"
    shutil.copytree(folder / "versions" / "0001", made)
    revoke(folder, by="patient", value="P1", reason="")
    assert not [one for one in files(folder) if "P1" in one or "partial" in one]
    assert verify_dataset(open_dataset(folder)) == []


@pytest.mark.parametrize("target", ["tiles", "yolo", "webdataset", "huggingface"])
def test_an_export_names_the_picture_that_is_missing(folder, tmp_path, target):
    (folder / "images" / "P1" / "2.png").unlink()
    images = read_images(open_dataset(folder))
    with pytest.raises(DataError, match=r"images/P1/2.png: cannot be read \(No such file"):
        writer_of(target)(images, tmp_path / "out", WriteOptions(radius_um=3))
    assert not (tmp_path / "out").exists()
