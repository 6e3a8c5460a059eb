"""The walk of docs/corrections.md: corrections in QuPath become a dataset, and a better model."""

import json

import numpy as np
import pytest
from networks import save_tiny_model

from wsi_suite.cli import main
from wsi_suite.synthetic import make_slide

CORNERS = [(40, 40), (680, 40), (680, 680), (40, 680), (40, 40)]


def feature(geometry, *, kind, class_name=None):
    properties = {"objectType": kind}
    if class_name:
        properties["classification"] = {"name": class_name}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


@pytest.fixture
def walk(tmp_path, monkeypatch, capsys):
    """Two slides, the tiny model, and what 'pull' would write of them, all nuclei put right."""
    monkeypatch.chdir(tmp_path)
    save_tiny_model(tmp_path / "tiny")
    (tmp_path / "slides").mkdir()
    for number, name in enumerate(("A.tif", "B.tif", "C.tif")):
        path = tmp_path / "slides" / name
        made = make_slide(path, width=720, height=720, mpp=0.5, tissue_fraction=0.9, seed=number)
        pulled = tmp_path / "corrected" / name
        pulled.mkdir(parents=True)
        nuclei = made.nuclei
        points = [
            feature(
                {"type": "Point", "coordinates": [float(x), float(y)]},
                kind="detection",
                class_name=nuclei.classes[label],
            )
            for x, y, label in zip(nuclei.x, nuclei.y, nuclei.label, strict=True)
        ]
        field = feature({"type": "Polygon", "coordinates": [CORNERS]}, kind="annotation")
        for file, features in (("nuclei", points), ("annotations", [field])):
            document = {"type": "FeatureCollection", "features": features}
            (pulled / f"{file}.geojson").write_text(json.dumps(document))
        states = np.where(np.arange(len(nuclei)) % 10 == 0, "added", "untouched")
        rows = [
            f"{n},{x},{y},{state},,{nuclei.classes[label]}"
            for n, (x, y, label, state) in enumerate(
                zip(nuclei.x, nuclei.y, nuclei.label, states, strict=True)
            )
        ]
        text = "\n".join(["id,x,y,state,pushed_class,class", *rows])
        (pulled / "nuclei.csv").write_text(text + "\n")

    def run(line):
        with pytest.raises(SystemExit) as left:
            main(line.split())
        out, err = capsys.readouterr()
        assert left.value.code == 0, err
        return out, err

    return run


@pytest.mark.usefixtures("one_torch_thread")
def test_from_corrections_to_a_model(walk):
    pytest.importorskip("lightning")
    out, _ = walk("corrections corrected --json")
    assert [one["recall"] for one in json.loads(out)] == pytest.approx([0.9] * 4, abs=0.01)
    _, err = walk("dataset import corrected mine --from qupath --images slides")
    assert "version 1, 3 pictures" in err
    walk("dataset split mine --parts train=1,val=1,test=1")
    walk("dataset verify mine")  # fields of A.tif lie in a folder of that name
    small = "--set optimiser.epochs=1 --set optimiser.epoch_crops=16 --set optimiser.batch=8 "
    small += "--set optimiser.crop_px=64"
    out, err = walk(f"train --from tiny --data mine --out better {small} --json")
    report = json.loads(out)
    assert report["evaluation"]["tiles"] == 1
    out, _ = walk("evaluate --model better --against tiny --data mine --part test --json")
    assert json.loads(out)["tiles"] == 1
