"""Controls of known truth are hidden among fields, and annotators are measured by them."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from wsi_suite.cli import main
from wsi_suite.datasets.controls import ControlKey, KeyPicture, read_key, score_annotators
from wsi_suite.datasets.labelled_image import LabelledImage, join_labels, nucleus_labels
from wsi_suite.datasets.pictures import read_rgb
from wsi_suite.errors import DataError
from wsi_suite.synthetic import make_slide

SIDE = 160


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    path = tmp_path_factory.mktemp("slides") / "A.tif"
    make_slide(path, width=1600, height=1200, mpp=0.5, tissue_fraction=0.8)
    return path


@pytest.fixture
def known(tmp_path):
    """A folder of four tiles with nuclei on a grid, and one that is too small."""
    folder = tmp_path / "known"
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    rows = ["id,id_run,mpp"]
    rng = np.random.default_rng(0)
    for name, side in (("a", 200), ("b", 200), ("c", 160), ("d", 160), ("small", 100)):
        pixels = rng.integers(100, 255, (side, side, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{name}.png")
        lines = [f"{x} {y} {x // 40 % 2}" for x in range(10, side, 40) for y in range(10, side, 40)]
        (folder / "labels" / f"{name}.txt").write_text("\n".join(lines) + "\n")
        rows.append(f"{name},{name},0.5")
    (folder / "tiles.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def command(line, code=0):
        with pytest.raises(SystemExit) as left:
            main(line.split())
        out, err = capsys.readouterr()
        assert left.value.code == code, err
        return out, " ".join(err.split())

    return command


def test_a_round_with_controls(slide, known, tmp_path, run):
    sample = f"dataset sample {slide} --fields 6 --size-um 80 --to points --control known"
    _, err = run(f"{sample} --controls 4 --out round")
    assert "6 fields of 1 slides" in err
    key = read_key(tmp_path / "round.key.json")

    # Neither names, order nor sizes tell which are controls.
    files = sorted((tmp_path / "round" / "images").iterdir())
    assert [file.name for file in files] == [one.name for one in key.pictures]
    assert all(re.fullmatch(r"[0-9a-f]{6}-\d{4}\.png", file.name) for file in files)
    assert {read_rgb(file).shape for file in files} == {(SIDE, SIDE, 3)}
    places = [row for row, one in enumerate(key.pictures) if one.control]
    assert places not in ([0, 1, 2, 3], [6, 7, 8, 9])
    names = {file.name for file in (tmp_path / "round").iterdir()}
    assert names == {"images", "labels.csv"}
    text = (tmp_path / "round" / "labels.csv").read_text()
    assert "A.tif" not in text
    assert "known" not in text

    # What the key holds is right: the middle of the tile and its nuclei.
    control = next(one for one in key.pictures if one.source.endswith("a.png"))
    assert control.corner_px0 == (20, 20)
    whole = read_rgb(known / "images" / "a.png")
    shown = read_rgb(tmp_path / "round" / "images" / control.name)
    assert np.array_equal(shown, whole[20 : 20 + SIDE, 20 : 20 + SIDE])
    assert len(control.points) == 16
    assert set(control.points) >= {(30.5, 30.5), (70.5, 30.5)}

    run(f"{sample} --controls 4 --out round --seed 1", code=2)
    _, err = run(f"{sample} --controls 5 --out other", code=2)
    assert "4 pictures can be controls, at least 80 um wide and high" in err
    _, err = run(f"{sample} --out other --key other/key.json", code=2)
    assert "lies in other, which annotators get" in err

    # ann is right everywhere; bob calls everything stroma and misses the first nucleus.
    for who in ("ann", "bob"):
        lines = ["image,x,y,class"]
        for one in key.controls.values():
            both = list(zip(one.points, one.classes, strict=True))
            for (x, y), name in both if who == "ann" else both[1:]:
                lines.append(f"{one.name},{x + 1},{y},{name if who == 'ann' else 'Stroma'}")
        (tmp_path / f"{who}.csv").write_text("\n".join(lines) + "\n")
        run(
            f"dataset import {who}.csv mine --from points --images round/images --mpp 0.5"
            f" --annotator {who}"
        )
    out, err = run("dataset agree mine --key round.key.json --passing 0.8", code=1)
    assert "bob: kappa" in err
    assert "ann: kappa" not in err
    out, _ = run("dataset agree mine --key round.key.json --json")
    ann, bob = json.loads(out)
    assert (ann["annotator"], ann["pictures"], ann["controls"]) == ("ann", 4, 4)
    assert [ann[name] for name in ("precision", "recall", "f1", "kappa")] == [1, 1, 1, 1]
    nuclei = sum(len(one.points) for one in key.controls.values())
    assert bob["precision"] == 1
    assert bob["recall"] == pytest.approx(1 - 4 / nuclei)
    assert bob["kappa"] < 0.3


def key_of(*pictures):
    return ControlKey(
        controls_from="known",
        pictures=tuple(
            KeyPicture(
                name=name, source="x", corner_px0=(0, 0), mpp=(0.5, 0.5), control=True,
                points=points, classes=classes,
            )
            for name, points, classes in pictures
        ),
    )  # fmt: skip


def picture(name, *labels):
    return LabelledImage(name=name, size_px=(200, 200), mpp=(0.5, 0.5), labels=join_labels(labels))


def test_figures_are_those_of_the_table():
    key = key_of(("1.png", ((10, 10), (50, 10), (90, 10), (130, 10)), ("A", "A", "B", "B")))
    own = nucleus_labels(
        [(12, 10), (50, 14), (90, 10), (180, 180)], ["A", "B", "B", "B"], annotators="ann"
    )
    (score,) = score_annotators([picture("1.png", own), picture("other.png")], key)
    assert score.confusion == {
        ("A", "A"): 1,
        ("A", "B"): 1,
        ("B", "B"): 1,
        ("B", None): 1,
        (None, "B"): 1,
    }
    assert (score.precision, score.recall, score.f1) == (0.75, 0.75, 0.75)
    chance = (2 * 1 + 2 * 3 + 1 * 1) / 25  # of A, of B, of missed
    assert score.kappa == pytest.approx((2 / 5 - chance) / (1 - chance))
    assert score.kappa_matched == pytest.approx((2 / 3 - 4 / 9) / (1 - 4 / 9))


def test_a_control_in_which_the_only_annotator_has_nothing_is_missed():
    key = key_of(("1.png", ((10, 10),), ("A",)), ("2.png", ((10, 10), (50, 50)), ("A", "A")))
    ann = nucleus_labels([(10, 10)], ["A"], annotators="ann")
    (score,) = score_annotators([picture("1.png", ann), picture("2.png")], key)
    assert (score.pictures, score.precision) == (2, 1)
    assert score.recall == pytest.approx(1 / 3)
    bob = nucleus_labels([(10, 10)], ["A"], annotators="bob")
    scores = score_annotators([picture("1.png", ann, bob), picture("2.png", bob)], key)
    assert [(one.annotator, one.pictures) for one in scores] == [("ann", 1), ("bob", 2)]


def test_a_dataset_of_another_round_is_told():
    with pytest.raises(DataError, match=r"none of the 1 controls of the key, such as 1\.png"):
        score_annotators([picture("7.png")], key_of(("1.png", ((10, 10),), ("A",))))
