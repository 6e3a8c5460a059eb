"""Fields that were corrected in QuPath become pictures of a dataset."""

import json

import numpy as np
import pytest

from wsi_suite.datasets.formats import ReadOptions, reader_of
from wsi_suite.errors import DataError
from wsi_suite.qupath.rois import read_rois
from wsi_suite.slides.slide import open_slide
from wsi_suite.synthetic import make_slide


def annotation(ring, *, name=None, class_name=None, **properties):
    told = {"objectType": "annotation", **properties}
    if name:
        told["name"] = name
    if class_name:
        told["classification"] = {"name": class_name}
    geometry = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
    return {"type": "Feature", "geometry": geometry, "properties": told}


def nucleus(x, y, class_name, *, radius=8):
    ring = [(x - radius, y - radius), (x + radius, y - radius), (x + radius, y + radius)]
    ring += [(x - radius, y + radius)]
    return annotation(ring, class_name=class_name, objectType="detection")


def square(left, top, right, bottom):
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def write(path, features):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), "utf-8")


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    make_slide(folder / "B12 ER.tif", width=1600, height=800, mpp=0.25, tissue_fraction=0.8)
    return folder


@pytest.fixture
def pulled(tmp_path):
    folder = tmp_path / "corrected"
    write(
        folder / "B12 ER.tif" / "annotations.geojson",
        [
            annotation(square(100, 100, 400, 300), name="Field"),
            annotation([(600, 100), (900, 100), (600, 400)], class_name="Training"),
            annotation(square(300, 100, 400, 300), class_name="Ignore*"),
        ],
    )
    write(
        folder / "B12 ER.tif" / "nuclei.geojson",
        [
            nucleus(150, 150, "Epithelium: 2+"),
            nucleus(350, 150, "Stroma"),  # ignored
            nucleus(500, 150, "Stroma"),  # in no field
            nucleus(620, 120, "Stroma: Negative"),
            nucleus(890, 390, "Stroma"),  # beside the triangle
        ],
    )
    return folder


def read(source, slides, scratch, **options):
    scratch.mkdir(exist_ok=True)
    return list(reader_of("qupath")(source, ReadOptions(images=slides, scratch=scratch, **options)))


def test_fields_are_cut_out_with_their_nuclei(pulled, slides, tmp_path):
    field, triangle = read(pulled, slides, tmp_path / "cut")
    assert field.name == "B12 ER.tif/001_0000100_0000100.png"
    assert (field.size_px, field.mpp, field.slide) == ((300, 200), (0.25, 0.25), "B12 ER.tif")
    assert field.corner_px0 == (100, 100)
    assert field.labels.points.tolist() == [[50, 50]]
    assert field.labels.class_names == ("Epithelium",)
    assert field.labels.grades.tolist() == [2]
    assert field.labels.outlines[0].bounds == (42, 42, 58, 58)
    assert field.annotated.bounds == (0, 0, 200, 200)  # without what is ignored
    from wsi_suite.datasets.pictures import read_rgb

    with open_slide(slides / "B12 ER.tif") as slide:
        from wsi_suite.geometry import Box

        expected = slide.read_level(0, Box(100, 100, 300, 200)).copy()
    expected[:, 200:] = 255
    assert np.array_equal(read_rgb(field.file), expected)
    assert triangle.labels.points.tolist() == [[20, 20]]
    assert triangle.annotated.area == pytest.approx(45_000)
    assert (read_rgb(triangle.file)[-1, -50:] == 255).all()


def test_fields_of_one_class(pulled, slides, tmp_path):
    (image,) = read(pulled, slides, tmp_path / "cut", fields="Training")
    assert image.corner_px0 == (600, 100)
    with pytest.raises(DataError, match="no annotation of class 'Tumor'; draw one in QuPath"):
        read(pulled, slides, tmp_path / "cut", fields="Tumor")


def test_the_file_of_the_script_in_qupath_does_as_well(pulled, slides, tmp_path):
    parts = [pulled / "B12 ER.tif" / f"{name}.geojson" for name in ("annotations", "nuclei")]
    features = [one for part in parts for one in json.loads(part.read_text())["features"]]
    write(tmp_path / "script" / "B12 ER.geojson", features)
    images = read(tmp_path / "script", slides, tmp_path / "cut")
    assert [one.labels.points.tolist() for one in images] == [[[50, 50]], [[20, 20]]]


def test_a_nucleus_outlined_by_hand_counts_as_its_area_and_is_no_region(pulled, slides, tmp_path):
    fields = json.loads((pulled / "B12 ER.tif" / "annotations.geojson").read_text())["features"]
    outlined = annotation(
        square(120, 200, 140, 216), class_name="Stroma", metadata={"state": "added"}
    )
    path = tmp_path / "script" / "B12 ER.geojson"
    write(path, [*fields, outlined])
    field, _ = read(tmp_path / "script", slides, tmp_path / "cut")
    assert field.labels.points.tolist() == [[30, 108]]
    assert field.labels.outlines[0].area == 320
    assert field.labels.radii_px[0] == pytest.approx(np.sqrt(320 / np.pi))
    assert [roi.name for roi in read_rois(path)] == ["Field", "Region 2", "Region 3"]


def test_what_was_drawn_where_a_nucleus_was_missed_is_one(pulled, slides, tmp_path):
    """Whatever its class; `pull` has those of the nuclei's classes in both files."""
    path = pulled / "B12 ER.tif" / "annotations.geojson"
    fields = json.loads(path.read_text())["features"]
    added = {"class_name": "Stroma", "metadata": {"state": "added"}}
    both = annotation(square(120, 200, 140, 216), **added)

    def point(x, y, class_name=None):
        geometry = {"type": "Point", "coordinates": [x, y]}
        return {**annotation(square(0, 0, 1, 1), class_name=class_name), "geometry": geometry}

    drawn = [
        annotation(square(200, 200, 220, 216)),
        point(154, 150),  # counted with QuPath's tool: on a nucleus that is there
        point(250, 150),
        point(160, 150, "Tumor"),  # a class says that it is another one
    ]
    write(path, [*fields, both, *drawn])
    nuclei = path.with_name("nuclei.geojson")
    write(nuclei, [*json.loads(nuclei.read_text())["features"], both])
    field, _ = read(pulled, slides, tmp_path / "cut")
    points = [[50, 50], [30, 108], [110, 108], [150, 50], [60, 50]]
    assert field.labels.points.tolist() == points
    assert field.labels.class_names == ("Epithelium", "Stroma", None, None, "Tumor")


def test_fields_that_are_not_done_are_left_out(pulled, slides, tmp_path):
    path = pulled / "B12 ER.tif" / "annotations.geojson"
    to_do = annotation(square(0, 400, 300, 700), class_name="Field: to do")
    write(path, [*json.loads(path.read_text())["features"], to_do])
    told = []
    assert len(read(pulled, slides, tmp_path / "cut", tell=told.append)) == 2
    assert told == ["B12 ER.tif: 1 fields of class 'Field: to do' are left out"]
    (image,) = read(pulled, slides, tmp_path / "cut", fields="Field: to do")
    assert image.corner_px0 == (0, 400)


def test_large_fields_become_several_and_share_no_nucleus(slides, tmp_path):
    folder = tmp_path / "large"
    write(folder / "B12 ER" / "annotations.geojson", [annotation(square(0, 0, 1500, 700))])
    at = [(x, 300) for x in range(100, 1500, 50)]
    write(folder / "B12 ER" / "nuclei.geojson", [nucleus(x, y, "Stroma") for x, y in at])
    images = read(folder, slides, tmp_path / "cut")
    assert [one.size_px for one in images] == [(750, 700), (750, 700)]
    places = [one.labels.points + one.corner_px0 for one in images]
    assert sorted(map(tuple, np.concatenate(places).tolist())) == at
    assert all(one.annotated is None for one in images)


def test_what_is_missing_is_named(pulled, slides, tmp_path):
    with pytest.raises(DataError, match=r"no slide has the name of the image 'B12 ER\.tif'"):
        read(pulled, tmp_path, tmp_path / "cut")
    with pytest.raises(DataError, match=r"holds no <image>/annotations\.geojson"):
        read(tmp_path / "cut", slides, tmp_path / "cut")
