"""Splits, differences, damage and revocation of datasets."""

import zlib
from dataclasses import replace

import numpy as np
import pytest
import shapely
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from wsi_suite.datasets.agreement import vote
from wsi_suite.datasets.card import DatasetCard
from wsi_suite.datasets.cards import write_cards
from wsi_suite.datasets.collecting import add_images
from wsi_suite.datasets.commits import commit, create_dataset
from wsi_suite.datasets.history import diff_versions, verify_dataset
from wsi_suite.datasets.labelled_image import LabelledImage, nucleus_labels
from wsi_suite.datasets.likeness import alike_pairs, difference_hash
from wsi_suite.datasets.matching import match_points
from wsi_suite.datasets.pictures import read_rgb
from wsi_suite.datasets.revoking import revoke
from wsi_suite.datasets.splitting import assign_parts, balance, find_leaks, split_dataset
from wsi_suite.datasets.store import list_versions, open_dataset, read_image_rows, read_images
from wsi_suite.detector.label_spec import LabelSpec
from wsi_suite.errors import ConfigError, DataError
from wsi_suite.training.labelled import load_tiles
from wsi_suite.training.settings import SplitSettings
from wsi_suite.training.train import split_tiles


def pixels(seed):
    coarse = np.random.default_rng(seed).integers(0, 255, (8, 9, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((40, 32), Image.Resampling.BICUBIC))


@pytest.fixture
def make(tmp_path):
    def image(name, *, seed=None, points=((1, 2), (20, 9)), classes=None, **values):
        path = tmp_path / "source" / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels(zlib.crc32(name.encode()) if seed is None else seed)).save(path)
        labels = nucleus_labels(points, classes or ["Stroma"] * len(points))
        return LabelledImage(
            name=name, size_px=(40, 32), mpp=(0.5, 0.5), labels=labels, file=path, **values
        )

    return image


@pytest.fixture
def folder(tmp_path, make):
    create_dataset(tmp_path / "mine", DatasetCard(name="mine"))
    images = [
        make(
            f"{number:02}.png",
            patient=f"patient-{number // 2}",
            stain=("ER", "PR")[number % 4 // 2],
        )
        for number in range(12)
    ]
    commit(tmp_path / "mine", images, message="first", new_classes=True)
    return tmp_path / "mine"


def test_parts_share_no_patient_and_are_balanced(folder):
    made = split_dataset(open_dataset(folder), shares={"train": 4, "val": 1, "test": 1})
    rows = read_image_rows(made)
    assert find_leaks(rows) == []
    table = {part.part: part for part in balance(made)}
    assert {name: part.pictures for name, part in table.items()} == {
        "train": 8,
        "val": 2,
        "test": 2,
        "all": 12,
    }
    assert table["train"].strata == {"stain ER": 4, "stain PR": 4}
    assert table["all"].nuclei == {"Stroma": 24}
    assert made.version.nuclei == 24
    # The same call gives the same parts, and so no new version.
    again = split_dataset(made, shares={"train": 4, "val": 1, "test": 1})
    assert again.version.number == made.version.number == 2


def test_training_follows_the_split_of_its_dataset(folder):
    split_dataset(open_dataset(folder), shares={"train": 4, "val": 1, "test": 1})
    parts = split_tiles(load_tiles(folder, LabelSpec()), SplitSettings())
    assert [len(part) for part in (parts.train, parts.validation, parts.test)] == [8, 2, 2]
    split_dataset(open_dataset(folder), shares={"train": 1, "holdout": 1})
    with pytest.raises(DataError, match="has a part 'holdout', expected train, val and test"):
        split_tiles(load_tiles(folder, LabelSpec()), SplitSettings())


def test_more_parts_than_patients_are_refused(folder):
    with pytest.raises(ConfigError, match="7 parts, but only 6 groups"):
        split_dataset(open_dataset(folder), shares={str(one): 1 for one in range(7)})
    with pytest.raises(ConfigError, match="expected numbers above 0"):
        split_dataset(open_dataset(folder), shares={"train": 1, "test": 0})


def test_a_rare_class_is_shared_out():
    rows = [
        {"name": str(n), "patient": f"P{n}", "slide": None, "sha256": str(n), "dhash": None,
         "stain": None, "laboratory": None}
        for n in range(40)
    ]  # fmt: skip
    counts = {str(n): {"Stroma": 100, "Rare": 10 if n < 4 else 0} for n in range(40)}
    parts = assign_parts(rows, counts, shares={"a": 3, "b": 1})
    assert sorted(parts[str(n)] for n in range(4)) == ["a", "a", "a", "b"]
    assert sum(part == "b" for part in parts.values()) == 10


def test_leaks_are_named(folder, make):
    images = [
        make("a.png", patient="P1", split="train"),
        make("b.png", patient="P1", split="test"),
        make("c.png", patient="P2", split="test"),
        make("d.png", seed=zlib.crc32(b"c.png"), patient="P3", split="train"),
        make("e.png", patient="P4"),
    ]
    commit(folder, images, message="leaks")
    said = [str(leak) for leak in find_leaks(read_image_rows(open_dataset(folder)))]
    assert said == [
        "a.png (train) and b.png (test): patient P1",
        "c.png (test) and d.png (train): the same file",
    ]
    parts = assign_parts(read_image_rows(open_dataset(folder)), {}, shares={"train": 1, "test": 1})
    assert parts["a.png"] == parts["b.png"]
    assert parts["c.png"] == parts["d.png"]


def test_pictures_that_look_alike_are_found_whatever_their_compression(tmp_path):
    hashes = [difference_hash(pixels(seed)) for seed in range(200)]
    Image.fromarray(pixels(7)).save(tmp_path / "x.jpg", quality=60)
    hashes.append(difference_hash(np.asarray(Image.open(tmp_path / "x.jpg"))))
    brighter = np.clip(pixels(9).astype(int) + 12, 0, 255).astype(np.uint8)
    hashes.append(difference_hash(brighter))
    assert alike_pairs(hashes) == [(7, 200), (9, 201)]
    blank = difference_hash(np.full((40, 40, 3), 240, np.uint8))
    assert blank is None
    assert alike_pairs([blank, blank, None]) == []


CHAIN = [0b000, 0b111, 0b111_111, 0b111_111_111]
"""Hashes of which each is like the next, and like no other."""


def test_pictures_that_are_alike_through_others_stay_together_and_are_told():
    def row(name, dhash, split=None, **facts):
        blank = dict.fromkeys(("patient", "slide", "stain", "laboratory"))
        return {**blank, "name": name, "sha256": name, "dhash": dhash, "split": split, **facts}

    others = [row(f"other{n}", int(n) * 0x0F0F_1234_5678_9ABC % 2**64) for n in range(2, 6)]
    rows = [*(row(name, dhash) for name, dhash in zip("acbd", CHAIN, strict=True)), *others]
    parts = assign_parts(rows, {}, shares={"train": 1, "test": 1})
    assert len({parts[name] for name in "abcd"}) == 1
    told = find_leaks([row("a", CHAIN[0], "train"), row("b", CHAIN[1], "train"),
                       row("c", CHAIN[2], "test")])  # fmt: skip
    assert [str(one) for one in told] == ["b (train) and c (test): they look alike"]
    # A picture of no part between those of two parts, by likeness and by patient.
    loose = [row("a", CHAIN[0], "train"), row("b", CHAIN[1]), row("c", CHAIN[2], "test")]
    said = "a (train) and c (test): both belong with b, which is in no part"
    assert [str(one) for one in find_leaks(loose)] == [said]
    mixed = [row("a", 2**60 - 1, "train", patient="P"), row("b", CHAIN[0] | 2**40, patient="P"),
             row("c", CHAIN[1] | 2**40, "test")]  # fmt: skip
    assert [str(one) for one in find_leaks(mixed)] == [said]
    patient = [row(name, None, part, patient="P") for name, part in
               (("a", None), ("b", "train"), ("c", "test"))]  # fmt: skip
    assert [str(one) for one in find_leaks(patient)] == ["b (train) and c (test): patient P"]


@pytest.mark.parametrize("bits", [16, 24, 48, 64])
def test_alike_pictures_are_found_among_many_that_share_most_bits(bits, monkeypatch):
    from wsi_suite.datasets import likeness

    monkeypatch.setattr(likeness, "_FEW", 16)
    rng = np.random.default_rng(bits)
    hashes = rng.integers(0, 2**bits, 400, np.uint64) & rng.integers(0, 2**64, 400, np.uint64)
    hashes = np.concatenate([hashes, hashes[:20], hashes[40:60] ^ np.uint64(2**bits // 4 + 3)])
    near = np.bitwise_count(hashes[:, None] ^ hashes[None]) <= 3
    all_pairs = {(int(a), int(b)) for a, b in np.argwhere(np.triu(near, 1))}
    pairs = alike_pairs(hashes.tolist())
    assert set(pairs) <= all_pairs
    assert len(pairs) == len(set(pairs)) >= 40

    def groups(pairs):
        ends = np.array(sorted(pairs)).T
        graph = coo_array((np.ones(len(ends[0])), (ends[0], ends[1])), shape=(440, 440))
        return connected_components(graph, directed=False)[1].tolist()

    assert groups(pairs) == groups(all_pairs)
    seconds = {second for _, second in pairs}
    assert all(one in seconds or other in seconds for one, other in all_pairs)


def test_new_pictures_that_are_copies_are_told(folder, make, caplog):
    copies = [make("x.png", seed=3), make("y.png", seed=3), make("z.png", seed=4)]
    add_images(folder, copies, message="")
    assert [record.getMessage() for record in caplog.records] == [
        f"{folder}: 1 pictures are copies of others, such as 'y.png' of 'x.png'; their nuclei count"
        " twice, and no split parts them"
    ]
    caplog.clear()
    add_images(folder, [make("other.png")], message="")
    assert not caplog.records, "told once"


def test_nearest_points_are_matched_once():
    first = np.array([[0.0, 0.0], [10, 0], [20, 0]])
    second = np.array([[11.0, 0], [1, 0], [10.5, 0], [90, 0]])
    assert match_points(first, second, within=3).tolist() == [[0, 1], [1, 2]]
    assert match_points(first, second[:0], within=3).shape == (0, 2)


def test_differences_between_versions_are_counted(folder, make):
    kept = list(read_images(open_dataset(folder)))[2:]
    kept[0] = make("02.png", points=[(1, 2), (21, 9), (30, 30)], patient="patient-1", stain="PR")
    kept[1] = replace(
        kept[1], labels=nucleus_labels(kept[1].labels.points, ["Stroma", "Epithelium"])
    )
    kept[2] = replace(kept[2], patient="P9")
    new = make("new.png", points=[(3, 3)])
    commit(folder, [*kept, new], message="second", new_classes=True)
    changes = diff_versions(open_dataset(folder, version=1), open_dataset(folder))
    assert [(one.name, one.kind, one.facts, one.nuclei) for one in changes] == [
        ("00.png", "removed", (), {"removed": 2}),
        ("01.png", "removed", (), {"removed": 2}),
        ("02.png", "changed", (), {"added": 1, "moved": 1}),
        ("03.png", "changed", (), {"renamed": 1}),
        ("04.png", "changed", ("patient",), {}),
        ("new.png", "added", (), {"added": 1}),
    ]
    assert diff_versions(open_dataset(folder), open_dataset(folder)) == []


def test_damage_is_found(folder):
    assert verify_dataset(open_dataset(folder)) == []
    pictures = folder / "images"
    (pictures / "00.png").unlink()
    (pictures / "01.png").write_bytes((pictures / "02.png").read_bytes())
    (pictures / "stray.png").write_bytes((pictures / "02.png").read_bytes())
    table = open_dataset(folder).image_table
    table.write_bytes(table.read_bytes())
    version = table.parent / "version.json"
    digest = open_dataset(folder).version.digest
    version.write_text(version.read_text().replace(digest, "0" * 64))
    assert verify_dataset(open_dataset(folder)) == [
        "version 1: its tables are not those that were written",
        "images/00.png: missing",
        "images/01.png: not the picture that was added",
        "images/stray.png: in no version; delete it",
    ]


def test_a_revoked_patient_is_gone_from_every_version(folder, make):
    split_dataset(open_dataset(folder), shares={"train": 1, "test": 1})
    before = [version.digest for version in list_versions(folder)]
    done = revoke(folder, by="patient", value="patient-1", reason="consent withdrawn")
    assert len(done.pictures) == 2
    after = [version.digest for version in list_versions(folder)]
    assert done.digests == tuple(zip(before, after, strict=True))
    for number in (1, 2):
        opened = open_dataset(folder, version=number)
        assert (opened.version.images, opened.version.classes) == (10, {"Stroma": 20})
        images = list(read_images(opened))
        assert {image.patient for image in images} == {
            f"patient-{number}" for number in (0, 2, 3, 4, 5)
        }
        assert [len(image.labels) for image in images] == [2] * 10
    assert not (folder / "images" / "02.png").exists()
    everything = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"patient-1" not in everything
    assert verify_dataset(open_dataset(folder)) == []
    with pytest.raises(DataError, match=r"lost revoked pictures on .* is version"):
        open_dataset(folder, version=before[0][:10])
    with pytest.raises(DataError, match=r"02.png: this picture was revoked"):
        add_images(folder, [make("02.png")], message="")
    with pytest.raises(DataError, match="no patient 'patient-1' in any version"):
        revoke(folder, by="patient", value="patient-1", reason="")


def test_cards_are_written_again_where_data_was_revoked(folder):
    split_dataset(open_dataset(folder), shares={"train": 1, "test": 1})
    write_cards(open_dataset(folder, version=1))
    revoke(folder, by="patient", value="patient-1", reason="")
    before = {name: (folder / name).read_bytes() for name in ("croissant.json", "README.md")}
    assert b"10 pictures with 20 labelled nuclei" in before["README.md"]
    write_cards(open_dataset(folder, version=1))
    assert before == {name: (folder / name).read_bytes() for name in before}


@pytest.mark.parametrize("writes", range(1, 8))
def test_an_interrupted_revocation_is_told_and_finished(folder, monkeypatch, writes):
    from wsi_suite.datasets import revoking

    split_dataset(open_dataset(folder), shares={"train": 1, "test": 1})
    before = [version.digest for version in list_versions(folder)]
    left = [writes]

    def dying(function):
        def call(*arguments, **named):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return function(*arguments, **named)

        return call

    with monkeypatch.context() as patch:
        for name in ("whole_file", "write_document", "hash_file"):
            patch.setattr(revoking, name, dying(getattr(revoking, name)))
        with pytest.raises(KeyboardInterrupt):
            revoke(folder, by="patient", value="patient-1", reason="")
    with pytest.raises(DataError, match="a revocation was interrupted; give its command again"):
        open_dataset(folder)
    done = revoke(folder, by="patient", value="patient-1", reason="")
    assert [old for old, _ in done.digests] == before
    assert [new for _, new in done.digests] == [one.digest for one in list_versions(folder)]
    assert verify_dataset(open_dataset(folder)) == []
    assert not (folder / "images" / "02.png").exists()


def test_training_refuses_pictures_of_no_part_and_several_annotators(folder, make):
    split_dataset(open_dataset(folder), shares={"train": 4, "val": 1, "test": 1})
    add_images(folder, [make("late.png")], message="")
    with pytest.raises(DataError, match="picture 'late' belongs to no part"):
        split_tiles(load_tiles(folder, LabelSpec()), SplitSettings())
    labels = nucleus_labels([(1, 2), (1, 2)], ["Stroma"] * 2, annotators=["ann", "bob"])
    twice = replace(make("twice.png"), labels=labels)
    add_images(folder, [twice], message="")
    with pytest.raises(DataError, match=r"'twice\.png' has labels of several annotators"):
        load_tiles(folder, LabelSpec())
    commit(folder, list(vote(read_images(open_dataset(folder)))), message="")
    assert sum(tile.id == "twice" for tile in load_tiles(folder, LabelSpec())) == 1


def test_what_lies_beside_the_annotated_part_is_white_in_training(folder, make):
    half = shapely.box(0, 0, 10, 32)
    add_images(folder, [make("half.png", annotated=half)], message="")
    (tile,) = [one for one in load_tiles(folder, LabelSpec()) if one.id == "half"]
    rgb = tile.read(0.5).rgb
    assert tile.points.tolist() == [[1, 2]]
    assert (rgb[:, 10:] == 255).all()
    assert np.array_equal(rgb[:, :10], read_rgb(tile.image)[:, :10])
