import math
import shutil

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from wsi_suite.datasets.pictures import read_rgb
from wsi_suite.detector.label_spec import LabelSpec
from wsi_suite.errors import DataError, PixelSizeError
from wsi_suite.slides.slide import open_slide
from wsi_suite.training.labelled import load_tiles, tiles_of_runs

XY = LabelSpec()
YX = LabelSpec(columns="yx", classes={1: "Lymphocyte", 2: "Tumour", 3: "Stroma"})


@pytest.fixture
def folder(tmp_path, write_tiles):
    return write_tiles(tmp_path / "Proben für später", {"a": "1", "bö": "1", "c": "2"})


def label(folder, text, *, tile="a", labels=XY):
    (folder / "labels" / f"{tile}.txt").write_text(text, encoding="utf-8")
    return next(found for found in load_tiles(folder, labels) if found.id == tile)


def test_tiles_are_listed_by_id_with_their_runs(folder):
    tiles = load_tiles(folder, XY)
    assert [(tile.id, tile.run, tile.mpp) for tile in tiles] == [
        ("a", "1", 0.5),
        ("bö", "1", 0.5),
        ("c", "2", 0.5),
    ]
    assert [len(tile.points) for tile in tiles] == [8, 8, 8]
    assert tiles[1].read(0.5).rgb.shape == (64, 64, 3)


def test_whole_numbers_name_a_pixel_and_so_its_centre(folder):
    tile = label(folder, "3 7 1\n3.25 7.5 0\n4.0 9 2\n")
    assert tile.points.tolist() == [[3.5, 7.5], [3.25, 7.5], [4.5, 9.5]]
    assert tile.label.tolist() == [1, 0, 0]  # "other" counts as stroma
    assert XY.names == ("Stroma", "Epithelium")


def test_rows_may_come_first(folder):
    for name in ("bö", "c"):
        label(folder, "", tile=name)
    tile = label(folder, "3 7 3\n8 2 1\n", labels=YX)
    assert tile.points.tolist() == [[7.5, 3.5], [2.5, 8.5]]
    assert tile.label.tolist() == [2, 0]
    assert YX.names == ("Lymphocyte", "Tumour", "Stroma")


def test_commas_blank_lines_and_a_byte_order_mark_are_no_matter(folder):
    tile = label(folder, "\ufeff3,7,1\r\n\r\n  4 , 8 , 0  \r\n")
    assert tile.points.tolist() == [[3.5, 7.5], [4.5, 8.5]]


def test_a_fourth_column_is_the_radius(folder):
    tile = label(folder, "3 7 1 2.5\n4 8 0\n")
    assert tile.radius[0] == 2.5
    assert math.isnan(tile.radius[1])


def test_decimal_commas_stand_between_semicolons(folder):
    assert label(folder, "3,5; 7,25; 1\n").points.tolist() == [[3.5, 7.25]]


def test_a_point_may_lie_on_the_edge_of_the_picture(folder):
    assert label(folder, "64.0 0.25 1\n63 63 0\n").points.tolist() == [[64.0, 0.25], [63.5, 63.5]]


def test_exchanged_coordinates_are_told(folder):
    wide = np.full((32, 64, 3), 230, np.uint8)
    (folder / "images" / "a.png").write_bytes(cv2.imencode(".png", wide)[1])
    with pytest.raises(DataError, match=r"a\.txt:1: x 3, y 50 .* 64 x 32 px; if y stands first"):
        label(folder, "3 50 1\n")
    tile = label(folder, "3 50 1\n", labels=LabelSpec(columns="yx"))
    assert tile.points.tolist() == [[50.5, 3.5]]


def test_shares_of_the_picture_are_no_pixels(folder):
    with pytest.raises(DataError, match=r"a\.txt: all coordinates lie between 0 and 1.* 64 and 64"):
        label(folder, "0.25 0.5 1\n0.75 0.125 0\n")


def test_an_empty_file_is_a_tile_without_nuclei(folder):
    tile = label(folder, "")
    assert tile.points.shape == (0, 2)
    assert tile.read(0.25).points.shape == (0, 2)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("3 7", "'3 7' is not two coordinates, a class and perhaps a radius"),
        ("3 7 1 2 5", "is not two coordinates"),
        ("x y class", "'x y class' is not two coordinates"),
        ("nan 7 1", "is not two coordinates"),
        ("3 inf 1", "is not two coordinates"),
        ("3 7 4", "class 4 is not one of 0, 1, 2"),
        ("3 7 0.7", "class 0.7 is not one of 0, 1, 2"),
        ("3,5 7,2 1", "'3,5 7,2 1' is not two coordinates, a class and perhaps a radius, parted"),
        ("3,5 1 0", "'3,5 1 0' is not two coordinates"),  # 3.5, 1 or 3, 5 with class 1 and radius 0
        ("3 7 1 0", "radius 0 is not above 0"),
        ("3 7 1 -2", "radius -2 is not above 0"),
        ("64 7 1", r"x 64, y 7 lies beyond the picture of 64 x 64 px; expected pixels of this pic"),
        ("3 -1 1", "x 3, y -1 lies beyond the picture"),
        ("3 64.1 1", r"x 3, y 64\.1 lies beyond the picture"),
    ],
)
def test_a_bad_line_is_named(folder, line, message):
    with pytest.raises(DataError, match=rf"labels.a\.txt:2: .*{message}"):
        label(folder, f"1 1 1\n{line}\n")


def test_missing_parts_are_named(folder, tmp_path):
    (folder / "labels" / "c.txt").unlink()
    with pytest.raises(DataError, match=r"c\.txt: missing; a tile without nuclei has an empty"):
        load_tiles(folder, XY)
    shutil.rmtree(folder / "labels")
    with pytest.raises(DataError, match="no folder 'labels' in it; expected images/ and labels/"):
        load_tiles(folder, XY)
    with pytest.raises(DataError, match="no folder 'images'"):
        load_tiles(tmp_path / "nowhere", XY)


def test_a_folder_without_images_is_refused(folder):
    for image in (folder / "images").iterdir():
        image.rename(image.with_suffix(".txt"))
    with pytest.raises(DataError, match=r"images: holds no images \(\.png"):
        load_tiles(folder, XY)


def test_two_images_of_one_id_are_refused(folder):
    shutil.copy(folder / "images" / "a.png", folder / "images" / "a.tif")
    with pytest.raises(DataError, match=r"a\.tif: a\.png has the same id; keep one of them"):
        load_tiles(folder, XY)


def test_hidden_files_are_no_tiles(folder):
    (folder / "images" / "._a.png").write_bytes(b"left by another system")
    assert len(load_tiles(folder, XY)) == 3


def test_without_a_table_every_tile_is_its_own_run(folder):
    (folder / "tiles.csv").unlink()
    tiles = load_tiles(folder, XY, mpp=0.25)
    assert [(tile.run, tile.mpp) for tile in tiles] == [("a", 0.25), ("bö", 0.25), ("c", 0.25)]
    with pytest.raises(PixelSizeError, match=r"a\.png: no pixel size in tiles\.csv; give --mpp"):
        load_tiles(folder, XY)


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        ("name,id_run\na,1\n", DataError, r"no column 'id' \(its columns: name, id_run\)"),
        ("id,mpp\na,0.5\n", DataError, "no column 'id_run' .*expected id,id_run,mpp"),
        ("id,run,mpp\na,1,0.5\n", DataError, "no column 'id_run' .*rename 'run' to 'id_run'"),
        ("", DataError, r"no column 'id' \(its columns: none\)"),
        ("id,id_run\na,1\nbö,1\nc,2\n\na,2\n", DataError, r"csv:6: tile 'a' stands on line 2 too"),
        ("id,id_run\na,1\nbö,\nc,2\n", DataError, r"csv:3: no id_run; give one, the same"),
        ("id,id_run\na,1\n,1\nc,2\n", DataError, r"csv:3: no id; give one"),
        ("id,id_run,mpp\na,1,0.5\nc,2,0.5\n", DataError, "no line for tile bö"),
        (
            "id,id_run,mpp\na,1,half\nbö,1,0.5\nc,2,0.5\n",
            DataError,
            r"csv:2: mpp 'half' is not a number",
        ),
        ("id,id_run,mpp\na,1,50\nbö,1,0.5\nc,2,0.5\n", PixelSizeError, "50.0 um is not within"),
        ("id,id_run,mpp\na,1,nan\nbö,1,0.5\nc,2,0.5\n", PixelSizeError, "nan um is not within"),
        ("id,id_run,mpp\na,1\nbö,1,0.5\nc,2,0.5\n", PixelSizeError, "give --mpp"),
        (
            "id,id_run,mpp\na,1,1,25\nbö,1,0.5\nc,2,0.5\n",
            DataError,
            r"csv:2: 4 values in 3 columns; put a value that holds ',' in double quotes",
        ),
        ("id,mpp,id_run\na,0.5,Smith, J\nbö,0.5,1\nc,0.5,2\n", DataError, "csv:2: 4 values in 3"),
        (
            "id,id_run,mpp,MPP\na,1,0.5,0.25\nbö,1,0.5,0.5\nc,2,0.5,0.5\n",
            DataError,
            r"csv: two columns 'mpp'; keep one of them",
        ),
    ],
)
def test_a_wrong_table_is_refused(folder, table, error, message):
    (folder / "tiles.csv").write_text(table, encoding="utf-8")
    with pytest.raises(error, match=message):
        load_tiles(folder, XY)


@pytest.mark.parametrize(
    "table",
    [
        "id, id_run, mpp\na, 1, 0.25\nbö, 1, 0.25\nc, 2, 0.25\n",
        "\ufeffID;ID_run;mpp\r\na;1;0,25\r\nbö;1;0,25\r\nc;2;0,25\r\n",
        "mpp\tid\tid_run\tnote\n0.25\ta.png\t1\tx\n0.25\tbö.PNG\t1\n0.25\tc\t2\n",
        "id,id_run,mpp,,\na,1,0.25,,,,\nbö,1,0.25\nc,2,0.25,,\n",
        'id,id_run,mpp\na,1,"0,25"\nbö,1,0.25\nc,2,0.25\n;;\n'.replace(";;", ",,"),
    ],
)
def test_a_table_is_read_as_spreadsheets_write_it(folder, table):
    (folder / "tiles.csv").write_text(table, encoding="utf-8")
    tiles = load_tiles(folder, XY)
    assert [(tile.id, tile.run, tile.mpp) for tile in tiles] == [
        ("a", "1", 0.25),
        ("bö", "1", 0.25),
        ("c", "2", 0.25),
    ]


def test_one_picture_in_two_runs_is_refused(folder):
    shutil.copy(folder / "images" / "a.png", folder / "images" / "c.png")
    with pytest.raises(DataError, match=r"c\.png: the same picture as a\.png, but in run 2 inst"):
        load_tiles(folder, XY)
    shutil.copy(folder / "images" / "a.png", folder / "images" / "bö.png")
    (folder / "images" / "c.png").unlink()
    assert len(load_tiles(folder, XY)) == 2


def test_ids_are_the_same_in_both_forms_of_unicode(folder):
    for part, ending in (("images", ".png"), ("labels", ".txt")):
        (folder / part / f"bö{ending}").rename(folder / part / f"bo\u0308{ending}")
    assert [tile.id for tile in load_tiles(folder, XY)] == ["a", "bö", "c"]


def test_text_in_another_encoding_is_refused(folder):
    (folder / "tiles.csv").write_bytes("id,id_run\nbö,1\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"tiles\.csv: cannot be read as UTF-8"):
        load_tiles(folder, XY)


def test_what_the_table_says_stands_before_what_is_given(folder):
    assert load_tiles(folder, XY, mpp=0.25)[0].mpp == 0.5


def test_a_tile_of_another_resolution_is_resampled_with_its_points(folder):
    tile = label(folder, "10 20 0 4\n")
    finer = tile.read(0.25)
    assert finer.rgb.shape == (128, 128, 3)
    assert finer.points.tolist() == [[21, 41]]
    assert finer.radius.tolist() == [8]
    assert finer.mpp == (0.25, 0.25)
    # Whole blocks of two by two are averaged; a dark dot stays where its point is.
    rgb = np.full((64, 64, 3), 255, np.uint8)
    rgb[20:22, 10:12] = 0
    tile.image.write_bytes(cv2.imencode(".png", rgb)[1])
    coarser = label(folder, "11.0 21.0 0\n10.9 20.9 0").read(1.0)
    assert coarser.points[1] == pytest.approx([5.45, 10.45])
    assert np.argwhere(coarser.rgb[..., 0] == 0).tolist() == [[10, 5]]


def test_within_five_percent_pixels_stay_and_the_true_scale_is_carried(folder):
    tile = load_tiles(folder, XY)[0]
    near = tile.read(0.52)
    assert near.mpp == (0.5, 0.5)
    assert near.points is tile.points
    assert tile.read(0.53).rgb.shape == (60, 60, 3)
    assert tile.read(0.53).mpp == pytest.approx((0.5 * 64 / 60,) * 2)


def test_points_in_um_do_not_depend_on_the_resolution(folder):
    tile = load_tiles(folder, XY)[0]
    for mpp in (0.3, 0.5, 0.77):
        pixels = tile.read(mpp)
        assert pixels.points * pixels.mpp == pytest.approx(tile.points * 0.5)


def test_images_are_read_as_rgb(tmp_path):
    path = tmp_path / "rot ö.png"
    bgr = np.zeros((2, 3, 3), np.uint8)
    bgr[..., 2] = 200
    path.write_bytes(cv2.imencode(".png", bgr)[1])
    assert read_rgb(path).tolist() == [[[200, 0, 0]] * 3] * 2


def test_what_is_no_image_is_refused(tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "broken.png").write_bytes(b"no image")
    for name, reason in {"empty": "empty", "broken": "not a slide", "absent": "no such"}.items():
        with pytest.raises(DataError, match=rf"{name}\.png: .*{reason}"):
            read_rgb(tmp_path / f"{name}.png")


def test_a_tile_has_the_pixels_that_a_run_on_its_image_reads(tmp_path):
    rgb = np.full((40, 80, 3), 230, np.uint8)
    rgb[5:15, 60:70] = (60, 40, 120)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for name in ("t.jpg", "t.png", "t.tif"):
        path = tmp_path / name
        Image.fromarray(rgb).save(path, exif=exif, quality=95)
        with open_slide(path, mpp=0.5) as slide:
            assert any("orientation" in note for note in slide.notes)
            assert np.array_equal(read_rgb(path), slide.read_level(0, slide.levels[0].box))
        assert np.abs(read_rgb(path) - rgb.astype(float)).mean() < 3


def test_tiles_of_runs(folder):
    tiles = load_tiles(folder, XY)
    assert [tile.id for tile in tiles_of_runs(tiles, ["1"])] == ["a", "bö"]
    assert tiles_of_runs(tiles, []) == []
    with pytest.raises(DataError, match="no tile belongs to the run '7'; known: 1, 2"):
        tiles_of_runs(tiles, ["7"])
