import json
from itertools import combinations

import numpy as np
import pytest
from networks import save_tiny_model

from wsi_suite.cli import main
from wsi_suite.datasets.formats import ReadOptions, reader_of
from wsi_suite.datasets.pictures import read_rgb
from wsi_suite.errors import DataError
from wsi_suite.slides.slide import open_slide
from wsi_suite.slides.tissue import find_tissue
from wsi_suite.studies.field_sample import disagreement, sample_fields
from wsi_suite.synthetic import make_slide
from wsi_suite.training.matches import Labelled


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    paths = [folder / name for name in ("A.tif", "B.tif")]
    for seed, path in enumerate(paths):
        make_slide(path, width=1600, height=1200, mpp=0.5, tissue_fraction=0.6, seed=seed)
    return paths


def test_fields_lie_on_tissue_of_all_slides_and_do_not_overlap(slides):
    fields = sample_fields(slides, count=8, size_um=60)
    assert [field.slide.name for field in fields] == ["A.tif"] * 4 + ["B.tif"] * 4
    assert fields == sample_fields(slides, count=8, size_um=60)
    assert fields != sample_fields(slides, count=8, size_um=60, seed=1)
    for path in slides:
        with open_slide(path) as slide:
            tissue = find_tissue(slide)
        boxes = [field.box for field in fields if field.slide == path]
        assert all(one.intersect(other).area == 0 for one, other in combinations(boxes, 2))
        for box in boxes:
            rows = slice(round(box.y / tissue.scale.y), round(box.bottom / tissue.scale.y))
            columns = slice(round(box.x / tissue.scale.x), round(box.right / tissue.scale.x))
            assert tissue.mask[rows, columns].mean() > 0.65


def test_weak_and_strong_stain_are_there_alike(slides):
    everything = sample_fields(slides[:1], count=24, size_um=60)
    limits = np.quantile([field.dab_od for field in everything], [0.25, 0.5, 0.75])
    some = sample_fields(slides[:1], count=8, size_um=60)
    parts = np.searchsorted(limits, [field.dab_od for field in some])
    assert set(parts.tolist()) == {0, 1, 2, 3}


def test_too_many_fields_are_refused(slides):
    with pytest.raises(DataError, match=r"2 slides have only \d+ squares of 60 um of clean tissue"):
        sample_fields(slides, count=5000, size_um=60)


def test_disagreement_is_the_share_of_nuclei_told_otherwise():
    def found(points, labels):
        return Labelled(np.array(points, float).reshape(-1, 2), np.array(labels, np.uint8),
                        np.ones(len(labels), np.float32))  # fmt: skip

    one = found([(0, 0), (20, 0), (40, 0)], [0, 1, 1])
    assert disagreement(one, one) == 0
    # The same nucleus, another class, one that is missing, one that is new: three of four.
    assert disagreement(one, found([(1, 0), (20, 0), (80, 0)], [0, 0, 1])) == 0.75
    assert disagreement(found([], []), found([], [])) == 0


@pytest.mark.usefixtures("one_torch_thread")
def test_tasks_are_written_with_nuclei_to_correct(slides, tmp_path, capsys):
    save_tiny_model(tmp_path / "tiny")
    out = tmp_path / "to-label"
    with pytest.raises(SystemExit) as left:
        main(
            [
                *("dataset", "sample", *map(str, slides), "--out", str(out), "--fields", "4"),
                *("--size-um", "60", "--model", str(tmp_path / "tiny"), "--doubt", "flips"),
            ]
        )
    assert left.value.code == 0, capsys.readouterr().err
    images = list(reader_of("cvat")(out / "labels.xml", ReadOptions(mpp=0.5)))
    assert len(images) == 4
    assert sum(len(image.labels) for image in images) > 4
    features = [
        feature
        for path in sorted((out / "fields").iterdir())
        for feature in json.loads(path.read_text())["features"]
    ]
    assert len(features) == 4
    assert {one["properties"]["classification"]["name"] for one in features} == {"Field: to do"}
    assert {one["properties"]["name"] for one in features} <= {f"Field 00{n}" for n in range(1, 5)}
    image = images[0]
    title, _, place = image.name.partition("/")
    y, x = map(int, place.removesuffix(".png").split("_"))
    with open_slide(slides[0].with_name(f"{title}.tif")) as slide:
        from wsi_suite.geometry import Box

        expected = slide.read_level(0, Box(x, y, *image.size_px))
    assert np.array_equal(read_rgb(image.file), expected)


def test_a_project_needs_qupath_and_a_new_folder(slides, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PAQUO_QUPATH_DIR", str(tmp_path / "nowhere"))
    line = ["dataset", "sample", *map(str, slides), "--out", str(tmp_path / "out"), "--project"]

    def refused(project):
        with pytest.raises(SystemExit) as left:
            main([*line, str(project)])
        assert left.value.code == 2
        return capsys.readouterr().err.replace("\n", " ")

    assert "error: --project: QuPath was not found in PAQUO_QUPATH_DIR" in refused(tmp_path / "p")
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "project.qpproj").write_text("{}")
    assert "is a project already; give a new folder" in refused(tmp_path / "p")
    assert not (tmp_path / "out").exists()
