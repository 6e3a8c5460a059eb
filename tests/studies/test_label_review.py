"""Planted faults of labels are found, on tiles with known truth."""

import json

import cv2
import numpy as np
import pytest

from wsi_suite.cli import main
from wsi_suite.detector.label_spec import LabelSpec
from wsi_suite.studies.label_review import CLASS, DOUBLE, FALSE, MISSED, find_doubles, rare_classes
from wsi_suite.synthetic import make_tile
from wsi_suite.training.labelled import load_tiles


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Three tiles, in the first of which a label is gone, one stands on glass, one is doubled."""
    folder = tmp_path_factory.mktemp("tiles")
    for part in ("images", "labels"):
        (folder / part).mkdir()
    places = {}
    for seed in range(3):
        rgb, truth = make_tile(160, mpp=0.5, seed=seed)
        rgb = rgb.copy()
        rgb[-30:, -30:] = 245
        cv2.imwrite(str(folder / "images" / f"{seed}.png"), np.ascontiguousarray(rgb[..., ::-1]))
        nuclei = truth.nuclei
        inside = (nuclei.x < 120) & (nuclei.y < 120) & (nuclei.x > 10) & (nuclei.y > 10)
        points = np.column_stack([nuclei.x, nuclei.y, nuclei.label])
        rows = points[~((nuclei.x > 125) & (nuclei.y > 125))].tolist()
        if seed == 0:
            gone, doubled = points[inside][[0, 4]].tolist()
            rows.remove(gone)
            rows.append([doubled[0] + 0.6, doubled[1], doubled[2]])
            rows.append([147.25, 147.25, 1])
            places = {MISSED: gone[:2], DOUBLE: [doubled[0] + 0.6, doubled[1]], FALSE: [147.25] * 2}
        text = "".join(f"{x!r} {y!r} {int(label)}\n" for x, y, label in rows)
        (folder / "labels" / f"{seed}.txt").write_text(text)
    (folder / "tiles.csv").write_text("id,id_run,mpp\n0,a,0.5\n1,b,0.5\n2,c,0.5\n")
    return folder, places


def test_doubles_and_rare_classes_need_no_model(planted):
    folder, places = planted
    tiles = load_tiles(folder, LabelSpec())
    (double,) = find_doubles(tiles, LabelSpec().names)
    assert (double.tile, [double.x, double.y]) == ("0", pytest.approx(places[DOUBLE]))
    assert double.strength == pytest.approx(0.7)
    assert rare_classes(tiles, LabelSpec().names) == {}
    assert rare_classes(tiles, ("Stroma", "Epithelium", "Blood")) == {"Blood": 0}


@pytest.mark.usefixtures("one_torch_thread")
def test_planted_faults_are_found_and_shown(planted, tmp_path, capsys):
    pytest.importorskip("cleanlab")
    folder, places = planted
    page, table = tmp_path / "review.html", tmp_path / "review.csv"
    with pytest.raises(SystemExit) as left:
        main(
            [
                *("dataset", "review", str(folder), "--json"),
                *("--report", str(page), "--table", str(table)),
            ]
        )
    assert left.value.code == 0
    doubts = json.loads(capsys.readouterr().out)
    for kind, place in places.items():
        near = [
            one
            for one in doubts
            if one["kind"] == kind
            and one["tile"] == "0"
            and np.hypot(one["x"] - place[0], one["y"] - place[1]) < 4
        ]
        assert len(near) == 1, kind
    text = page.read_text("utf-8")
    assert 'alt="missed at' in text
    assert len(table.read_text("utf-8").splitlines()) == len(doubts) + 1
    assert {one["kind"] for one in doubts} <= {DOUBLE, MISSED, FALSE, CLASS}
