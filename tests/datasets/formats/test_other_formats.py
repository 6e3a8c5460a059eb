"""Formats that others publish data in: what their files say is what is read."""

import json

import numpy as np
import pytest
import shapely
from PIL import Image
from scipy.io import savemat

from wsi_suite.datasets.formats import ReadOptions, WriteOptions, reader_of, writer_of
from wsi_suite.datasets.instances import map_of_outlines, outlines_of_map
from wsi_suite.datasets.labelled_image import LabelledImage, labels_of_outlines, nucleus_labels
from wsi_suite.errors import DataError

MAP = np.zeros((30, 40), np.int32)
MAP[2:6, 3:9] = 7
MAP[10:20, 10:20] = 9
MAP[14:16, 14:16] = 0  # a hole
MAP[25, 30], MAP[26, 31] = 3, 3  # touch at a corner


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(folder / name)
    return folder


def read(name, source, **options):
    return list(reader_of(name)(source, ReadOptions(**options)))


def test_outlines_follow_the_pixels():
    outlines = outlines_of_map(MAP)
    assert list(outlines) == [3, 7, 9]
    assert {number: one.area for number, one in outlines.items()} == {3: 2, 7: 24, 9: 96}
    assert outlines[7].equals(shapely.box(3, 2, 9, 6))
    assert len(outlines[9].interiors) == 1
    back = map_of_outlines(np.array(list(outlines.values()), np.object_), (40, 30))
    assert np.array_equal(back, np.select([MAP == 3, MAP == 7, MAP == 9], [1, 2, 3], 0))
    assert outlines_of_map(np.zeros((4, 4), int)) == {}


def test_masks_go_out_and_come_back(pictures, tmp_path):
    outlines = list(outlines_of_map(MAP).values())
    labels = labels_of_outlines(outlines, ["Stroma", None, "Tumour"])
    images = [
        LabelledImage("a.png", (40, 30), (0.5, 0.5), labels, file=pictures / "a.png"),
        LabelledImage("b.png", (40, 30), (0.5, 0.5), nucleus_labels([], []), file=None),
    ]
    said = writer_of("masks")(images, tmp_path / "masks", WriteOptions())
    assert said == ["A folder of masks does not hold the pixel size: lost for 2 pictures"]
    found, empty = read("masks", tmp_path / "masks", mpp=0.5)
    assert found.labels.class_names == ("Stroma", None, "Tumour")
    for one, other in zip(outlines, found.labels.outlines, strict=True):
        assert one.equals(other)
    assert len(empty.labels) == 0
    points = nucleus_labels([(1, 1)], ["Stroma"])
    with pytest.raises(DataError, match="without outline, which a mask needs"):
        writer_of("masks")(
            [LabelledImage("a.png", (40, 30), None, points)], tmp_path / "o", WriteOptions()
        )


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((MAP > 0).astype(np.uint8) * 255, "3 parts have one number"),
        (MAP[:20].astype(np.uint16), "40 x 20 px, but its picture has 40 x 30"),
        (np.zeros((30, 40, 3), np.uint8), "expected whole numbers of nuclei"),
    ],
)
def test_a_mask_of_another_kind_is_refused(pictures, tmp_path, numbers, said):
    folder = tmp_path / "masks"
    folder.mkdir()
    np.save(folder / "a.npy", numbers)
    with pytest.raises(DataError, match=said):
        read("masks", folder, images=pictures, mpp=0.5)


def test_pannuke(tmp_path):
    for part in ("images", "masks"):
        (tmp_path / part / "fold1").mkdir(parents=True)
    masks = np.zeros((2, 30, 40, 6))
    masks[1, ..., 2] = MAP
    masks[..., 5] = 1
    np.save(tmp_path / "images" / "fold1" / "images.npy", np.full((2, 30, 40, 3), 200.0))
    np.save(tmp_path / "masks" / "fold1" / "masks.npy", masks)
    (tmp_path / "cut").mkdir()
    empty, found = read("pannuke", tmp_path, scratch=tmp_path / "cut")
    assert (empty.name, len(empty.labels), empty.mpp) == ("fold1/00000.png", 0, (0.25, 0.25))
    assert found.labels.class_names == ("Connective",) * 3
    assert (np.asarray(Image.open(found.file)) == 200).all()
    np.save(tmp_path / "masks" / "fold1" / "masks.npy", masks[:1])
    with pytest.raises(DataError, match=r"masks.npy: \(1, 30, 40\), but .*images.npy has"):
        read("pannuke", tmp_path, scratch=tmp_path / "cut")
    with pytest.raises(DataError, match=r"holds no images.npy"):
        read("pannuke", tmp_path / "cut", scratch=tmp_path / "cut")


def test_lizard(pictures, tmp_path):
    folder = tmp_path / "labels"
    folder.mkdir()
    savemat(
        folder / "a.mat",
        {"inst_map": MAP, "id": np.array([[7], [9], [3]]), "class": np.array([[2], [3], [6]])},
    )
    (found,) = read("lizard", folder)
    assert found.labels.class_names == ("Connective tissue", "Epithelial", "Lymphocyte")
    assert found.mpp == (0.5, 0.5)
    (folder / "a.mat").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"a.mat: not as Lizard has it"):
        read("lizard", folder)


def test_nucls(pictures, tmp_path):
    folder = tmp_path / "csv"
    folder.mkdir()
    (folder / "a.csv").write_text(
        ",main_classification,type,xmin,ymin,xmax,ymax,coords_x,coords_y\n"
        '0,fov,rectangle,0,0,39,29,"0,39,39,0","0,0,29,29"\n'
        '1,tumor_nonMitotic,rectangle,2,4,8,8,"2,8,8,2","4,4,8,8"\n'
        '2,lymphocyte,polyline,10,10,20,20,"10,20,20,10","10,10,20,20"\n'.replace(
            "\n,", "\nrow,"
        ).replace(",main", "row,main", 1)
    )
    (found,) = read("nucls", folder)
    labels = found.labels
    assert labels.class_names == ("tumor_nonMitotic", "lymphocyte")
    assert labels.points.tolist() == [[5, 6], [15, 15]]
    assert labels.radii_px.tolist() == pytest.approx([2.5, np.sqrt(100 / np.pi)])
    assert [outline is None for outline in labels.outlines] == [True, False]


ASAP = """<ASAP_Annotations><Annotations>
<Annotation Name="1" Type="Dot" PartOfGroup="lymphocytes" Color="#F">
<Coordinates><Coordinate Order="0" X="5.5" Y="6.25"/></Coordinates></Annotation>
<Annotation Name="2" Type="Polygon" PartOfGroup="None"><Coordinates>
<Coordinate Order="2" X="20" Y="20"/><Coordinate Order="0" X="10" Y="10"/>
<Coordinate Order="1" X="20" Y="10"/><Coordinate Order="3" X="10" Y="20"/>
</Coordinates></Annotation></Annotations></ASAP_Annotations>"""

IMAGESCOPE = """<Annotations MicronsPerPixel="0.25"><Annotation Id="1" Name="Epithelial"><Regions>
<Region Type="0" NegativeROA="0"><Vertices><Vertex X="10" Y="10"/><Vertex X="20" Y="10"/>
<Vertex X="20" Y="20"/><Vertex X="10" Y="20"/></Vertices></Region>
<Region NegativeROA="1"><Vertices><Vertex X="1" Y="1"/></Vertices></Region></Regions></Annotation>
<Annotation Id="2"><Attributes><Attribute Name="Description" Value="Neutrophil"/></Attributes>
<Regions><Region><Vertices><Vertex X="3" Y="4"/></Vertices></Region></Regions></Annotation>
</Annotations>"""


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("asap", ASAP, (("lymphocytes", None), [[5.5, 6.25], [15, 15]], None)),
        (
            "imagescope",
            IMAGESCOPE,
            (("Epithelial", "Neutrophil"), [[15, 15], [3, 4]], (0.25, 0.25)),
        ),
    ],
)
@pytest.mark.usefixtures("pictures")
def test_xml_of_viewers(tmp_path, kind, text, expected):
    path = tmp_path / "xml" / "a.xml"
    path.parent.mkdir()
    path.write_text(text)
    (found,) = read(kind, path.parent)
    assert found.name == "a.png"
    assert (found.labels.class_names, found.labels.points.tolist(), found.mpp) == expected
    for broken in ("", "<x/>", text[:-20]):
        path.write_text(broken)
        with pytest.raises(DataError, match=rf"a.xml: not as {kind} writes it"):
            read(kind, path.parent)


def test_label_studio_exports(pictures, tmp_path):
    def result(kind, **value):
        return {"type": kind, "value": value, "original_width": 40, "original_height": 30}

    task = {
        "data": {"image": "/data/upload/1/0a1b2c3d-a.png"},
        "annotations": [
            {
                "completed_by": 3,
                "result": [
                    result("keypointlabels", x=50, y=50, width=1, keypointlabels=["Stroma"]),
                    result(
                        "rectanglelabels", x=10, y=10, width=20, height=20, rectanglelabels=["E"]
                    ),
                    result(
                        "ellipselabels", x=50, y=50, radiusX=10, radiusY=10, ellipselabels=["E"]
                    ),
                    {"type": "choices", "value": {"choices": ["good"]}},
                ],
            },
            {"was_cancelled": True, "result": [{"broken": 1}]},
        ],
    }
    path = tmp_path / "export.json"
    path.write_text(json.dumps([task]))
    (found,) = [one for one in read("label-studio", path, mpp=0.5) if len(one.labels)]
    labels = found.labels
    assert (found.name, labels.class_names) == ("a.png", ("Stroma", "E", "E"))
    assert labels.points.tolist() == [[20, 15], [8, 6], pytest.approx([20, 15])]
    assert labels.annotators == ("3", "3", "3")
    assert labels.outlines[2].bounds == pytest.approx((16, 12, 24, 18))
