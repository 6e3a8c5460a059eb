"""One fault in the sources of many formats: each importer answers alike, in one line."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from wsi_suite.datasets.checks import check_images
from wsi_suite.datasets.formats import ReadOptions, map_classes, reader_of
from wsi_suite.datasets.labelled_image import UNGRADED, LabelledImage, nucleus_labels
from wsi_suite.errors import DataError

CROSSED = [(5, 5), (15, 5), (5, 12), (15, 12)]
"""A bow tie: two triangles of 10 x 3.5 / 2 px."""


def points(shape, *, text=None):
    rows = "".join(f"a.png,{x},{y},Stroma\n" for x, y in shape or ())
    return {"p.csv": text or f"image,x,y,class\n{rows}"}, "p.csv"


def coco(shape, *, name="a.png", twice=False):
    drawn = {"bbox": [shape[0][0] - 2, shape[0][1] - 2, 4, 4]}
    if len(shape) > 1:
        drawn = {"bbox": [0, 0, 1, 1], "segmentation": [[float(one) for xy in shape for one in xy]]}
    picture = {"id": 1, "file_name": name, "width": 40, "height": 30}
    content = {
        "images": [picture, {**picture, "id": 2}] if twice else [picture],
        "categories": [{"id": 1, "name": "Stroma"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, **drawn}],
    }
    return {"c.json": json.dumps(content)}, "c.json"


def cvat(shape, *, name="a.png", twice=False):
    text = ";".join(f"{x},{y}" for x, y in shape)
    kind = "polygon" if len(shape) > 1 else "points"
    drawn = f'<{kind} label="Stroma" points="{text}"/>'
    entry = f'<image name="{name}" width="40" height="30">{drawn}</image>'
    return {"v.xml": f"<annotations>{entry * (1 + twice)}</annotations>"}, "v.xml"


def label_studio(shape, *, name="a.png", twice=False):
    shares = [(x / 40 * 100, y / 30 * 100) for x, y in shape]
    value = {"x": shares[0][0], "y": shares[0][1], "keypointlabels": ["Stroma"]}
    kind = "keypointlabels"
    if len(shape) > 1:
        value, kind = {"points": shares, "polygonlabels": ["Stroma"]}, "polygonlabels"
    task = {"data": {"image": name}, "annotations": [{"result": [{"type": kind, "value": value}]}]}
    return {"s.json": json.dumps([task] * (1 + twice))}, "s.json"


def geojson(shape, *, name="a.png"):
    geometry = {"type": "Point", "coordinates": shape[0]}
    if len(shape) > 1:
        geometry = {"type": "Polygon", "coordinates": [[*shape, shape[0]]]}
    feature = {"type": "Feature", "geometry": geometry, "properties": {"objectType": "detection"}}
    return {f"g/{name[:-4]}.geojson": json.dumps([feature])}, "g"


def imagescope(shape, *, name="a.png"):
    vertices = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in shape)
    text = f'<Annotations><Annotation Name="S"><Regions><Region><Vertices>{vertices}</Vertices>'
    return {f"i/{name[:-4]}.xml": f"{text}</Region></Regions></Annotation></Annotations>"}, "i"


def nucls(shape, *, name="a.png"):
    x, y = (",".join(str(xy[axis]) for xy in shape) for axis in (0, 1))
    kind = "polyline" if len(shape) > 1 else "rectangle"
    row = f"Stroma,{kind},{shape[0][0]},{shape[0][1]},{shape[0][0]},{shape[0][1]}"
    head = "group,type,xmin,ymin,xmax,ymax,coords_x,coords_y"
    return {f"n/{name[:-4]}.csv": f'{head}\n{row},"{x}","{y}"\n'}, "n"


def yolo(shape, *, name="a.png"):
    text = " ".join(f"{x / 40} {y / 30}" for x, y in shape)
    line = f"0 {text}{' 0.1 0.1' if len(shape) == 1 else ''}\n"
    return {"y/data.yaml": "names: [Stroma]", f"y/labels/{name[:-4]}.txt": line}, "y"


def tiles(shape, *, name="a.png"):
    rows = "".join(f"{x} {y} 0\n" for x, y in shape)
    return {f"t/labels/{name[:-4]}.txt": rows}, "t"


OUTLINED = (coco, cvat, label_studio, geojson, imagescope, nucls, yolo)
NAMED = (*OUTLINED, tiles)
LISTED = (coco, cvat, label_studio)
FORMATS = {"imagescope": "imagescope", "label_studio": "label-studio"}


@pytest.fixture
def read(tmp_path):
    for name in ("a.png", "b.png"):
        for folder in ("images", "y/images", "t/images"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tmp_path / folder / name)

    def read(make, shape, **options):
        files, source = make(shape, **options)
        if make is tiles:
            files["t/labels/b.txt"] = ""
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text, "utf-8")
        own = make in (yolo, tiles)
        given = ReadOptions(images=None if own else tmp_path / "images", mpp=0.5, tell=told.append)
        name = make.__name__
        return list(reader_of(FORMATS.get(name, name))(tmp_path / source, given))

    told = []
    read.told = told
    return read


def refused(read, make, shape, **options):
    with pytest.raises(DataError) as caught:
        read(make, shape, **options)
    said = str(caught.value)
    assert "\n" not in said
    assert make(shape, **options)[1] in said
    return said


@pytest.mark.parametrize("make", [points, *NAMED], ids=lambda make: make.__name__)
@pytest.mark.parametrize("place", [(45, 5), (5, -3), (float("nan"), 5), (5, float("inf"))])
def test_a_nucleus_outside_its_picture_is_refused(read, make, place):
    said = refused(read, make, [place])
    assert re.search(
        r"lies beyond|is no place|is not as|expected a number|from 0 to 1|fill it in|vertices"
        r"|is not two coordinates|not GeoJSON|not a geometry|as .* writes it",
        said,
    )


@pytest.mark.parametrize("make", OUTLINED, ids=lambda make: make.__name__)
def test_an_outline_that_crosses_itself_is_repaired_and_told(read, make):
    found = read(make, CROSSED)[0]
    (outline,) = found.labels.outlines
    assert outline.is_valid
    assert outline.area == pytest.approx(35)
    assert found.labels.points[0].tolist() == pytest.approx([10, 8.5])
    assert found.labels.radii_px[0] == pytest.approx(np.sqrt(35 / np.pi))
    if make is not geojson:  # QuPath's own shapes are repaired where they are read
        assert [one for one in read.told if "1 outlines crossed themselves" in one]


@pytest.mark.parametrize("make", [*LISTED, yolo], ids=lambda make: make.__name__)
def test_an_outline_without_area_is_refused(read, make):
    said = refused(read, make, [(5, 5), (15, 5), (10, 5)])
    assert "the outline at x 5, y 5 in 'a.png' has no area; draw it again, or delete it" in said


@pytest.mark.parametrize("make", NAMED, ids=lambda make: make.__name__)
def test_labels_without_a_picture_are_refused(read, make):
    said = refused(read, make, [(5, 5)], name="c.png")
    assert re.search(r"is not in .*; give its folder as --images|labels without a picture", said)


@pytest.mark.parametrize("make", LISTED, ids=lambda make: make.__name__)
def test_a_picture_that_is_listed_twice_is_refused(read, make):
    assert re.search("twice|has two tasks", refused(read, make, [(5, 5)], twice=True))


@pytest.mark.parametrize(
    "make", [points, *LISTED, geojson, imagescope, nucls], ids=lambda make: make.__name__
)
def test_pictures_without_labels_are_counted(read, make):
    shape = CROSSED if make is nucls else [(5, 5)]
    assert [one.name for one in read(make, shape)] == ["a.png"]
    assert [one for one in read.told if "1 pictures of" in one and "left out" in one]


def test_names_are_read_in_one_spelling():
    labels = nucleus_labels([(1, 1), (2, 2)], [" Stro\u0308ma ", " "], annotators=["ann ", None])
    images = [LabelledImage("a.png", (40, 30), None, labels)]
    (image,) = check_images(images, source=Path("x"), tell=print)
    assert image.labels.class_names == ("Str\u00f6ma", None)
    assert image.labels.annotators == ("ann", None)


def test_a_renaming_that_renames_nothing_is_told():
    images = [LabelledImage("a.png", (40, 30), None, nucleus_labels([(1, 1)], ["Tumor"]))]
    told = []
    (image,) = map_classes(images, {"Tumour": "Epithelium", "": "Other"}, tell=told.append)
    assert image.labels.class_names == ("Tumor",)
    assert told == [
        "--class =Other renames nothing: every nucleus has a class",
        "--class Tumour=Epithelium renames nothing: no nucleus has the class 'Tumour' (did you mean"
        " 'Tumor'?)",
    ]


def test_classes_of_lizard_that_are_none_are_refused(tmp_path):
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((3, 4, 3), np.uint8)).save(tmp_path / "images" / "a.png")
    numbers = np.zeros((3, 4), np.int32)
    numbers[1, 1:3] = 1, 2
    for ids, kinds, said in (
        ([1, 2], [0, 1], "not as Lizard"),
        ([1], [1], "nucleus 2 of inst_map"),
    ):
        savemat(tmp_path / "a.mat", {"inst_map": numbers, "id": ids, "class": kinds})
        with pytest.raises(DataError, match=said):
            list(reader_of("lizard")(tmp_path, ReadOptions()))


@pytest.mark.parametrize(
    ("text", "grade"),
    [
        ('\ufeffimage;x;y;class;grade\r\na.png;10,5;20,25;"A; B";1+\r\n', 1),
        ("image\tx\ty\tclass\tgrade\na.png\t10,5\t20,25\tA; B\tNA\n", UNGRADED),
        ('image,x,y,class,grade\na.png,"10,5",20.25,"A; B",3.0\n', 3),
        ("image,x,y,class,grade,mpp\ra.png,10.5,20.25,A; B,Negative,NA\r", 0),
    ],
)
def test_tables_are_read_as_programs_write_them(read, text, grade):
    (image,) = read(points, None, text=text)
    labels = image.labels
    assert labels.points.tolist() == [[10.5, 20.25]]
    assert (labels.class_names, labels.grades.tolist()) == (("A; B",), [grade])
    assert image.mpp == (0.5, 0.5)


def test_a_source_without_labels_is_refused(read):
    assert "holds no labels of a picture; nothing to import" in refused(read, points, [])


@pytest.mark.parametrize("make", LISTED, ids=lambda make: make.__name__)
@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 1e300])
def test_an_outline_with_a_vertex_that_is_no_place_is_refused(read, make, wrong):
    said = refused(read, make, [(5, 5), (wrong, 5), (5, 12)])
    assert "which is no place in a picture" in said


@pytest.mark.parametrize(
    "facts",
    [{"annotator": 3}, {"grade": 4}, {"grade": -1}, {"grade": 10**30}, {"radius_px": -1}],
    ids=str,
)
def test_facts_of_coco_that_cannot_be_are_refused(read, facts):
    def faulty(shape):
        files, source = coco(shape)
        document = json.loads(files[source])
        document["annotations"][0]["wsi_suite"] = facts
        return {source: json.dumps(document)}, source

    faulty.__name__ = "coco"
    assert "'a.png'" in refused(read, faulty, [(5, 5)])
