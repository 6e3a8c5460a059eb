"""Outlines with holes and of several parts, masks, and turned rectangles, in each format."""

import json

import numpy as np
import pytest
import shapely
from PIL import Image

from wsi_suite.datasets.brush_masks import read_brush
from wsi_suite.datasets.formats import ReadOptions, WriteOptions, reader_of, writer_of
from wsi_suite.datasets.labelled_image import LabelledImage, labels_of_outlines
from wsi_suite.datasets.run_lengths import outline_of_rows, rows_of_mask
from wsi_suite.errors import DataError

RING = shapely.box(4, 4, 14, 12).difference(shapely.box(7, 6, 10, 9))
PARTS = shapely.union_all([shapely.box(20, 4, 24, 9), shapely.box(27, 4, 30, 8)])
WHOLE = shapely.Polygon([(4, 18), (12.5, 18), (9, 25)])
TINY = shapely.union_all([shapely.box(30.1, 20, 30.3, 21), shapely.box(32.1, 20, 32.3, 21)])


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(folder / name)
    return folder


@pytest.fixture
def trip(pictures, tmp_path):
    def trip(name, outlines, ending):
        labels = labels_of_outlines(outlines, ["Stroma"] * len(outlines))
        image = LabelledImage("a.png", (40, 30), (0.5, 0.5), labels, file=pictures / "a.png")
        said = writer_of(name)([image], tmp_path / f"out{ending}", WriteOptions())
        told = []
        given = ReadOptions(images=None if name == "yolo" else pictures, mpp=0.5, tell=told.append)
        (found,) = reader_of(name)(tmp_path / f"out{ending}", given)
        return found.labels, [one for one in said if "pixel size" not in one]

    return trip


@pytest.mark.parametrize(
    ("name", "ending"), [("coco", ".json"), ("cvat", ".xml"), ("geojson", ""), ("masks", "")]
)
def test_holes_and_parts_come_back(trip, name, ending):
    labels, said = trip(name, [RING, PARTS], ending)
    assert [
        one.equals(other) for one, other in zip(labels.outlines, (RING, PARTS), strict=True)
    ] == [
        True,
        True,
    ]
    assert labels.points[0].tolist() == pytest.approx(list(RING.centroid.coords[0]))
    holes = ["1 outlines have holes, which other programs do not see"]
    assert said == (holes if name == "coco" else [])


def test_cvat_says_which_outlines_it_does_not_hold_as_they_are(trip):
    moved = shapely.affinity.translate(RING, 0.25, 0.25)
    labels, said = trip("cvat", [moved, WHOLE, TINY], ".xml")
    assert labels.outlines[0].symmetric_difference(RING).area <= 8
    assert labels.outlines[1].equals(WHOLE)
    assert labels.outlines[2] is None
    assert labels.points[2].tolist() == pytest.approx(list(TINY.centroid.coords[0]))
    assert said == [
        "CVAT does not hold the outline: lost for 1 nuclei",
        "1 outlines with holes or of several parts are masks in CVAT, whose borders follow the"
        " pixels",
    ]


def test_label_studio_says_which_holes_and_parts_it_does_not_hold(trip):
    labels, said = trip("label-studio", [RING, PARTS, WHOLE], ".json")
    by_x = sorted(zip(labels.points.tolist(), labels.outlines, strict=True), key=lambda one: one[0])
    assert [outline is None for _, outline in by_x] == [False, False, True]
    assert by_x[2][0] == pytest.approx(list(PARTS.centroid.coords[0]))
    assert said == [
        "Label Studio does not hold the outline: lost for 1 nuclei",
        "Label Studio does not hold the holes of outlines: lost for 1",
    ]


def test_yolo_says_that_boxes_are_written(trip):
    labels, said = trip("yolo", [RING, WHOLE], "")
    assert [outline is None for outline in labels.outlines] == [True, True]
    assert said == [
        "YOLO does not hold the outline: lost for 2 nuclei",
        "2 outlined nuclei are boxes, whose centres are their places",
    ]


def test_yolo_cuts_outlines_at_the_border_of_their_picture(trip):
    labels, said = trip("yolo", [WHOLE, shapely.box(36, 10, 42, 14)], "")
    assert labels.outlines[0].equals_exact(WHOLE, 1e-9)
    assert labels.outlines[1].equals(shapely.box(36, 10, 40, 14))
    assert said == ["1 outlines or boxes are cut, as YOLO takes none beyond their picture"]


def test_masks_say_which_nuclei_are_covered(trip):
    below = shapely.box(5, 5, 8, 8)
    labels, said = trip("masks", [below, shapely.box(20, 5, 26, 9), shapely.box(4, 4, 9, 9),
                                  shapely.box(25, 4, 30, 9), TINY], "")  # fmt: skip
    assert [one.area for one in labels.outlines] == [20, 25, 25]
    assert said == [
        "2 nuclei hold the centre of no pixel, or are covered by others, and are left out",
        "1 nuclei are covered in part by others, and have fewer pixels",
    ]


CVAT = """<annotations><image name="a.png" width="40" height="30">
<mask label="Stroma" rle="{rle}" left="5" top="3" width="3" height="2"><attribute name="grade">2
</attribute></mask><box label="E" xtl="4" ytl="4" xbr="8" ybr="6" rotation="90"/>
<polyline label="E" points="1,1;2,2"/><tag label="good"/></image></annotations>"""


def test_masks_of_cvat_are_outlines(pictures, tmp_path):
    told = []
    options = ReadOptions(images=pictures, mpp=0.5, tell=told.append)
    path = tmp_path / "x.xml"
    path.write_text(CVAT.format(rle="1, 2, 2, 1"))
    (found,) = reader_of("cvat")(path, options)
    assert found.labels.outlines[0].equals(
        shapely.union_all([shapely.box(6, 3, 8, 4), shapely.box(7, 4, 8, 5)])
    )
    assert found.labels.grades[0] == 2
    assert found.labels.points[1].tolist() == [6, 5]
    assert f"{path}: left out, as they are no nuclei: 1 polyline, 1 tag" in told
    for broken in ("1, 2", "6", "-1, 7", "x"):
        path.write_text(CVAT.format(rle=broken))
        with pytest.raises(DataError, match=r"x\.xml: picture 'a\.png' is not as CVAT has it"):
            list(reader_of("cvat")(path, options))


def test_run_lengths_of_rows_are_those_of_the_mask():
    rng = np.random.default_rng(0)
    for share in (0, 0.2, 0.8, 1):
        mask = rng.random((7, 5)) < share
        counts = rows_of_mask(mask)
        outline = outline_of_rows(counts, corner=(0, 0), size=(5, 7))
        assert sum(counts) == 35
        assert (0 if outline is None else outline.area) == mask.sum()
        y, x = np.mgrid[0:7, 0:5] + 0.5
        assert outline is None or np.array_equal(shapely.contains_xy(outline, x, y), mask)


def bits_of(*pairs):
    text = "".join(f"{value:0{bits}b}" for value, bits in pairs)
    text += "0" * (-len(text) % 8)
    return [int(text[place : place + 8], 2) for place in range(0, len(text), 8)]


HEAD = ((7, 5), *((size - 1, 4) for size in (3, 4, 8, 16)))


def test_a_brush_mask_is_read():
    # 3 x 2 pixels: opaque are the second and the last; 24 values.
    rle = bits_of(
        (24, 32), *HEAD,
        (0, 1), (1, 2), (7, 4), *((value, 8) for value in (9, 9, 9, 0, 9, 9, 9, 255)),
        (1, 1), (2, 2), (11, 8), (0, 8),
        (0, 1), (0, 2), (3, 3), (0, 8), (0, 8), (0, 8), (128, 8),
    )  # fmt: skip
    assert read_brush(rle, size=(3, 2)).tolist() == [[False, True, False], [False, False, True]]
    with pytest.raises(ValueError, match="expected 2 x 4 x 4"):
        read_brush(rle, size=(2, 4))
    with pytest.raises(ValueError, match="breaks off"):
        read_brush(rle[:-3], size=(3, 2))


def studio(tmp_path, pictures, *results, name="a.png", told=None):
    path = tmp_path / "s.json"
    task = {"data": {"id": "7", "image": name}, "annotations": [{"result": list(results)}]}
    path.write_text(json.dumps([task, {"data": {"image": "b.png"}, "annotations": []}]))
    options = ReadOptions(images=pictures, mpp=0.5, tell=(told if told is not None else []).append)
    return list(reader_of("label-studio")(path, options))


@pytest.mark.parametrize("degrees", [0, 30, 90, 200, -45])
def test_a_turned_rectangle_of_label_studio_is_turned_about_its_corner(pictures, tmp_path, degrees):
    value = {"x": 50, "y": 50, "width": 20, "height": 10, "rotation": degrees}
    (found,) = studio(
        tmp_path,
        pictures,
        {"type": "rectanglelabels", "value": {**value, "rectanglelabels": ["E"]}},
    )
    whole = shapely.box(20, 15, 28, 18)  # the picture has 40 x 30 px
    turned = shapely.affinity.rotate(whole, degrees, origin=(20, 15))
    assert found.labels.points[0].tolist() == pytest.approx(list(turned.centroid.coords[0]))
    assert found.labels.radii_px.tolist() == [2.75]


def test_label_studio_tasks_that_nobody_did_and_what_is_no_nucleus_are_left_out(pictures, tmp_path):
    told = []
    rle = bits_of((4800, 32), *HEAD, (1, 1), (3, 2), (4799, 16), (255, 8))
    brush = {"type": "brushlabels", "value": {"format": "rle", "rle": rle, "brushlabels": ["S"]}}
    choice = {"type": "choices", "value": {"choices": ["good"]}}
    (found,) = studio(tmp_path, pictures, brush, choice, told=told)
    assert found.labels.outlines[0].equals(shapely.box(0, 0, 40, 30))
    assert found.labels.class_names == ("S",)
    assert [one.partition(": ")[2] for one in told[:2]] == [
        "1 tasks without annotation are left out",
        "left out, as they are no nuclei: 1 choices",
    ]
    turned = {"type": "keypointlabels", "original_width": 30, "original_height": 40,
              "value": {"x": 1, "y": 1, "keypointlabels": ["S"]}}  # fmt: skip
    with pytest.raises(DataError, match=r"30 x 40 px, but the picture has 40 x 30; .*EXIF"):
        studio(tmp_path, pictures, turned)


@pytest.mark.parametrize(
    "name",
    ["/data/local-files/?d=some/a%20%23.png", "/data/upload/3/01234567-a%20%23.png", "a #.png"],
)
def test_label_studio_names_pictures_in_many_ways(pictures, tmp_path, name):
    (pictures / "a.png").rename(pictures / "a #.png")
    point = {"type": "keypointlabels", "value": {"x": 50, "y": 50, "keypointlabels": ["S"]}}
    assert [one.name for one in studio(tmp_path, pictures, point, name=name)] == ["a #.png"]


def test_a_mask_of_one_nucleus_in_parts_comes_back(trip):
    labels, said = trip("masks", [PARTS], "")
    assert labels.outlines[0].equals(PARTS)
    assert said == []


def test_a_class_that_qupath_takes_for_an_intensity_is_refused(pictures, tmp_path):
    for name in ("1+", "Tumour: Negative"):
        labels = labels_of_outlines([WHOLE], [name])
        image = LabelledImage("a.png", (40, 30), (0.5, 0.5), labels, file=pictures / "a.png")
        with pytest.raises(DataError, match=r"takes the class .* for an intensity; rename it with"):
            writer_of("geojson")([image], tmp_path / "out", WriteOptions())


@pytest.mark.parametrize(("tag", "turned"), [(None, False), (1, False), (3, True), (6, True)])
def test_pictures_that_programs_show_turned_are_told(tmp_path, tag, turned):
    (tmp_path / "images").mkdir()
    exif = Image.Exif()
    if tag:
        exif[0x112] = tag
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tmp_path / "images" / "a.jpg", exif=exif)
    (tmp_path / "p.csv").write_text("image,x,y,class\na.jpg,5,6,Stroma\n")
    told = []
    options = ReadOptions(mpp=0.5, tell=told.append)
    (found,) = reader_of("points")(tmp_path / "p.csv", options)
    assert found.size_px == (40, 30)
    assert bool(
        [one for one in told if "1 pictures, such as a.jpg, are marked as turned" in one]
    ) is (turned)


@pytest.mark.parametrize("name", ["masks", "geojson"])
def test_pictures_of_one_stem_in_two_folders_are_told_apart(pictures, tmp_path, name):
    (pictures / "sub").mkdir()
    (pictures / "b.png").rename(pictures / "sub" / "a.png")
    images = [
        LabelledImage(
            path, (40, 30), (0.5, 0.5), labels_of_outlines([outline], ["S"]), file=pictures / path
        )
        for path, outline in (("a.png", RING), ("sub/a.png", WHOLE))
    ]
    writer_of(name)(images, tmp_path / "out", WriteOptions())
    found = list(reader_of(name)(tmp_path / "out", ReadOptions(images=pictures, mpp=0.5)))
    assert [one.name for one in found] == ["a.png", "sub/a.png"]
    assert found[0].labels.outlines[0].equals(RING)
