"""What each format holds comes back as it was; what it does not hold is said."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import shapely
from PIL import Image

from wsi_suite.datasets.formats import (
    FORMATS,
    ReadOptions,
    WriteOptions,
    map_classes,
    reader_of,
    writer_of,
)
from wsi_suite.datasets.labelled_image import (
    UNGRADED,
    LabelledImage,
    labels_of_outlines,
    nucleus_labels,
)
from wsi_suite.datasets.losses import IMAGE_FACTS, NUCLEUS_FACTS, describe_losses, tally
from wsi_suite.errors import DataError

HOLDS = {
    "tiles": {"radius", "pixel size", "slide"},
    "points": {"radius", "grade", "annotator", "pixel size", "patient", "slide"},
    "coco": {*NUCLEUS_FACTS, *IMAGE_FACTS},
    "yolo": {"outline", "radius"},
    "cvat": {"outline", "grade", "annotator"},
    "geojson": {"outline", "grade"},
    "label-studio": {"outline", "annotator"},
}
"""The facts that survive a way out and back."""

WRITTEN = [name for name, one in FORMATS.items() if one.writes and one.reads and name != "masks"]
SUFFIX = {"points": ".csv", "coco": ".json", "cvat": ".xml", "label-studio": ".json"}
ANY_SUFFIX = sorted({(name, SUFFIX.get(name, "")) for name in WRITTEN} | {("points", ".parquet")})


@pytest.fixture
def images(tmp_path):
    def picture(name, size, seed):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 255, (*size[::-1], 3), np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    square = shapely.Polygon([(3, 3), (9.25, 3), (9, 9), (3, 9)])
    ring = shapely.Polygon([(20, 3), (29, 3), (29, 9), (20, 9)])
    outlined = labels_of_outlines(
        [square, ring], ["Stroma", "Tumour: in situ"], annotators=["ann", "bob"], grades=[2, 0]
    )
    points = nucleus_labels(
        [(1.5, 2.5), (30.125, 28.75), (3.0, 4.0)],
        ["Stroma", "Epithelium", "Stroma"],
        radii_px=[3.25, 4, 5.5],
        annotators="ann",
        grades=[UNGRADED, 3, 1],
    )
    facts = {"mpp": (0.5, 0.5), "patient": "P 1", "slide": "S1", "stain": "ER", "laboratory": "L"}
    return [
        LabelledImage(
            name="a ö.png",
            size_px=(40, 30),
            labels=outlined,
            file=picture("a ö.png", (40, 30), 0),
            corner_px0=(1000.5, 20.0),
            annotated=shapely.box(0, 0, 32, 30),
            **facts,
        ),
        LabelledImage(
            name="b.png",
            size_px=(32, 29),
            labels=points,
            file=picture("b.png", (32, 29), 1),
            **facts,
        ),
    ]


def written(images, name, tmp_path, *, suffix=None):
    out = tmp_path / f"out{SUFFIX.get(name, '') if suffix is None else suffix}"
    said = writer_of(name)(images, out, WriteOptions())
    options = ReadOptions(
        images=None if name in ("tiles", "yolo") else tmp_path / "pictures", mpp=0.5
    )
    return list(reader_of(name)(out, options)), said


@pytest.mark.parametrize(("name", "suffix"), ANY_SUFFIX)
def test_what_a_format_holds_comes_back(images, tmp_path, name, suffix):
    found, _ = written(images, name, tmp_path, suffix=suffix)
    held = HOLDS[name]
    assert [one.name for one in found] == [one.name for one in images]
    for before, after in zip(images, found, strict=True):
        old, new = before.labels, after.labels
        assert after.size_px == before.size_px
        assert np.allclose(new.points, old.points, atol=1e-9)
        assert new.class_names == old.class_names
        if "outline" in held:
            both = zip(old.outlines, new.outlines, strict=True)
            assert all(
                one is two is None or shapely.hausdorff_distance(one, two) < 1e-9
                for one, two in both
            )
        if "radius" in held:
            assert np.allclose(new.radii_px, old.radii_px)
        if "grade" in held:
            assert new.grades.tolist() == old.grades.tolist()
        if "annotator" in held:
            assert new.annotators == old.annotators
        for fact, field in {
            "pixel size": "mpp",
            "patient": "patient",
            "slide": "slide",
            "laboratory": "laboratory",
            "stain": "stain",
            "place in its slide": "corner_px0",
        }.items():
            expected = getattr(before, field)
            if name == "tiles" and fact == "slide":
                expected = before.group  # patients are not parted
            if fact in held:
                assert getattr(after, field) == expected, fact
        if "annotated part" in held and before.annotated is not None:
            assert after.annotated.equals(before.annotated)


@pytest.mark.parametrize("name", WRITTEN)
def test_what_a_format_loses_is_said(images, tmp_path, name):
    _, said = written(images, name, tmp_path)
    lost = Counter()
    list(tally(images, lost, holds=HOLDS[name]))
    expected = [
        sentence.partition(" does not hold ")[2] for sentence in describe_losses(lost, title="")
    ]
    assert [sentence.partition(" does not hold ")[2] for sentence in said] == expected


@pytest.mark.parametrize("name", [name for name in WRITTEN if name not in ("geojson", "points")])
def test_a_nucleus_without_class_is_refused_where_classes_are_needed(images, tmp_path, name):
    unnamed = [
        replace(one, labels=replace(one.labels, class_names=(None, *one.labels.class_names[1:])))
        for one in images
    ]
    with pytest.raises(DataError, match="a nucleus without class; name it with --class"):
        writer_of(name)(unnamed, tmp_path / "out", WriteOptions())
    assert not (tmp_path / "out").exists()
    named = list(map_classes(unnamed, {"": "Other"}))
    writer_of(name)(named, tmp_path / "out", WriteOptions())


@pytest.mark.parametrize("name", ["coco", "yolo"])
def test_a_point_needs_a_radius_where_boxes_are_written(images, tmp_path, name):
    labels = nucleus_labels([(5, 6)], ["Stroma"])
    with pytest.raises(DataError, match=r"1 nuclei have no radius.*--radius-um"):
        writer_of(name)([replace(images[0], labels=labels)], tmp_path / "out", WriteOptions())
    options = WriteOptions(radius_um=3)
    writer_of(name)([replace(images[0], labels=labels)], tmp_path / "out", options)


@pytest.mark.parametrize("name", WRITTEN)
def test_pictures_without_nuclei_stay(images, tmp_path, name):
    none = [replace(one, labels=nucleus_labels([], [])) for one in images]
    if name == "points":
        found, said = written([images[0], none[1]], name, tmp_path)
        assert [len(one.labels) for one in found] == [2]
        assert said[-1] == "1 pictures without nuclei have no row"
        return
    found, _ = written(none, name, tmp_path)
    assert [(one.name, len(one.labels)) for one in found] == [("a ö.png", 0), ("b.png", 0)]


BROKEN = {
    "points": (".csv", "image,x,y\n1,2,3", "no column with the class"),
    "coco": (".json", '{"images": [{"id": 1}]}', "not as COCO has it"),
    "cvat": (".xml", "<annotations><track/></annotations>", "a video's tracks"),
    "label-studio": (".json", '[{"data": 1}]', "not tasks of Label Studio"),
    "geojson": (".geojson", '{"type": "x"}', "JSON, but not GeoJSON"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_named_in_one_line(images, tmp_path, name):
    suffix, text, reason = BROKEN[name]
    path = tmp_path / "pictures" / f"a ö{suffix}"
    options = ReadOptions(images=tmp_path / "pictures", mpp=0.5)
    for content, said in (("", ""), ("{<", ""), ("\x00\x01", ""), (text, reason)):
        path.write_text(content, "utf-8")
        with pytest.raises(DataError) as caught:
            list(reader_of(name)(path, options))
        message = str(caught.value)
        assert message.startswith(str(path))
        assert said in message
        assert "\n" not in message
