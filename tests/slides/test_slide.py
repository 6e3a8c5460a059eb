import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from slide_files import picture, read_first_pixels, write_slide

from wsi_suite.errors import PixelSizeError, SlideError
from wsi_suite.geometry import Box, Scale
from wsi_suite.slides.slide import open_slide

PICTURE = picture(1000, 700)
APERIO = "Aperio Image Library v12\r\n1000x700 |AppMag = 20|MPP = 0.5|User = somebody"


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    path = tmp_path_factory.mktemp("slides") / "slide.tif"
    with open_slide(write_slide(path, PICTURE, factors=(1, 4))) as opened:
        yield opened


@pytest.fixture(scope="module")
def pixels(slide):
    return slide.read_level(0, slide.levels[0].box)


@given(x=st.integers(-300, 1200), y=st.integers(-300, 900), side=st.integers(0, 400))
def test_a_box_anywhere_is_cut_from_the_whole_with_white_outside(slide, pixels, x, y, side):
    box = Box(x, y, side, side // 2)
    around = np.pad(pixels, ((900, 1100), (900, 1100), (0, 0)), constant_values=255)
    wanted = around[y + 900 : y + 900 + side // 2, x + 900 : x + 900 + side]
    assert np.array_equal(slide.read_level(0, box), wanted)


def test_what_was_read_belongs_to_the_reader(slide, pixels):
    box = Box(0, 0, 130, 130)
    slide.read_level(0, box)[:] = 0
    assert np.array_equal(slide.read_level(0, box), pixels[:130, :130])


@pytest.mark.parametrize(
    ("mpp", "level", "scale", "true_mpp"),
    [
        (0.1, 0, 1, 0.25),  # never enlarged
        (0.2395, 0, 1, 0.25),  # a level within 5 % is taken as it is
        (0.262, 0, 1, 0.25),
        (0.5, 0, 2, 0.5),  # whole blocks
        (0.49, 0, 2, 0.5),
        (0.4, 0, 1.6, 0.4),  # areas
        (0.96, 1, 4, 1.0),
        (8.0, 1, 32, 8.0),
    ],
)
def test_a_raster_takes_the_right_level(slide, mpp, level, scale, true_mpp):
    raster = slide.raster(mpp)
    assert (raster.level, raster.scale) == (level, Scale(scale, scale))
    assert raster.mpp == pytest.approx((true_mpp, true_mpp))
    assert (raster.width, raster.height) == (int(1000 / scale), int(700 / scale))


def test_each_axis_has_its_own_scale(tmp_path):
    path = tmp_path / "slide.tif"
    options = {"tile": (128, 128), "resolutionunit": "CENTIMETER", "metadata": None}
    tifffile.imwrite(path, PICTURE, photometric="rgb", resolution=(40000, 40400), **options)
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx((0.25, 0.25 / 1.01))
        assert slide.raster(0.5).scale == Scale(2, 2)
        assert slide.raster(0.5).mpp == pytest.approx((0.5, 0.5 / 1.01))
        assert slide.raster(0.4).mpp == pytest.approx((0.4, 0.4))


def test_blocks_are_means_of_the_pixels_they_cover(slide, pixels):
    means = pixels.reshape(350, 2, 500, 2, 3).mean(axis=(1, 3))
    raster = slide.raster(0.5)
    assert np.abs(raster.read(raster.box) - means).max() <= 0.5


@pytest.mark.parametrize("mpp", [0.25, 0.4, 0.5, 1.3])
def test_a_raster_reads_the_same_in_parts(slide, mpp):
    raster = slide.raster(mpp)
    whole = raster.read(raster.box.expand(3))
    assert np.array_equal(raster.read(raster.box.expand(3), part_px=10_000), whole)
    for x in range(0, raster.width, 97):
        part = Box(x, 11, 97, 53)
        rows, columns = part.within(raster.box.expand(3))
        assert np.array_equal(raster.read(part)[:, : raster.width - x], whole[rows, columns][
            :, : raster.width - x
        ])  # fmt: skip
    assert (whole[:3] == 255).all()


def test_a_thumbnail_is_no_larger_than_asked(slide):
    pixels, scale = slide.thumbnail(100)
    assert pixels.shape == (70, 100, 3)
    assert scale == Scale(10, 10)
    assert np.abs(pixels.mean(axis=(0, 1)) - PICTURE.mean(axis=(0, 1))).max() < 1
    assert slide.thumbnail(5000)[0].shape == (700, 1000, 3)


def test_the_description_is_plain_and_without_what_the_file_says_of_people(tmp_path):
    path = write_slide(tmp_path / "slide.svs", PICTURE, description=APERIO)
    with open_slide(path) as slide:
        description = slide.describe()
    assert "somebody" not in json.dumps(description)
    assert description == {
        "path": str(path),
        "width": 1000,
        "height": 700,
        "mpp": [0.5, 0.5],
        "vendor": "aperio",
        "objective_power": 20.0,
        "reader": "jpeg tiles",
        "levels": [
            {
                "width": 1000,
                "height": 700,
                "downsample": [1.0, 1.0],
                "tile": [128, 128],
                "compression": "JPEG",
            }
        ],
        "notes": [],
    }


@pytest.mark.parametrize("mpp", [None, 0.049, 10.1, 352.8])
def test_a_pixel_size_that_is_missing_or_absurd_is_refused(tmp_path, mpp):
    path = write_slide(tmp_path / "slide.tif", PICTURE, mpp=mpp)
    with pytest.raises(PixelSizeError, match="--mpp"):
        open_slide(path)
    with open_slide(path, mpp=0.25) as slide:
        assert slide.mpp == (0.25, 0.25)
        assert "given by the user" in slide.notes[0]


def test_a_pixel_size_that_differs_between_x_and_y_is_refused(tmp_path):
    path = tmp_path / "slide.tif"
    options = {"tile": (128, 128), "resolutionunit": "CENTIMETER", "metadata": None}
    tifffile.imwrite(path, PICTURE, photometric="rgb", resolution=(40000, 41000), **options)
    with pytest.raises(PixelSizeError, match=r"0\.25 x 0\.2439 um.*--mpp"):
        open_slide(path)


@pytest.mark.parametrize("mpp", [0.0, -1.0, 40.0, float("nan")])
def test_an_absurd_pixel_size_is_refused_from_the_user_too(tmp_path, mpp):
    path = write_slide(tmp_path / "slide.tif", PICTURE)
    with pytest.raises(PixelSizeError, match="--mpp"):
        open_slide(path, mpp=mpp)


def damage(path, index, *, keep):
    """Overwrite a tile with zeros behind its first bytes."""
    with tifffile.TiffFile(path) as tif:
        page = tif.pages.first
        offset, count = page.dataoffsets[index], page.databytecounts[index]
    with path.open("r+b") as file:
        file.seek(offset + keep)
        file.write(bytes(count - keep))


@pytest.mark.parametrize("keep", [0, 300])
def test_a_damaged_tile_is_an_error_where_it_is_read_and_nowhere_else(tmp_path, keep):
    path = write_slide(tmp_path / "slide.tif", PICTURE)
    damage(path, 10, keep=keep)
    with open_slide(path) as slide:
        assert slide.reader == "jpeg tiles"
        for _ in range(2):
            with pytest.raises(SlideError, match=r"slide\.tif.*damaged"):
                slide.read_level(0, Box(200, 100, 200, 200))
        error = slide.read_level(0, Box(512, 128, 256, 256)) - PICTURE[128:384, 512:768].astype(int)
        assert np.abs(error).mean() < 1.5


def test_threads_read_what_one_thread_reads(slide, pixels):
    boxes = [Box(x, y, 210, 190) for y in range(0, 500, 45) for x in range(0, 780, 55)]
    with ThreadPoolExecutor(8) as pool:
        for box, found in zip(
            boxes, pool.map(lambda b: slide.read_level(0, b), boxes), strict=True
        ):
            assert np.array_equal(found, pixels[box.within(slide.levels[0].box)])


def test_a_spawned_process_reads_by_path(slide, pixels):
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        found = pool.submit(read_first_pixels, slide.path).result()
    assert np.array_equal(found, pixels[:200, :300])


@pytest.mark.parametrize("name", ["slide.tif", "strips.tif", "field.png"])
def test_long_paths_with_spaces_and_umlauts(tmp_path, name):
    folder = tmp_path / "Präparate für Ärzte" / ("lang " * 20 + "x") / ("länger " * 20 + "x")
    folder.mkdir(parents=True)
    path = folder / name
    assert len(str(path)) > 260
    if name == "slide.tif":
        write_slide(path, PICTURE)
    else:
        Image.fromarray(PICTURE).save(path)
    with open_slide(path, mpp=0.25) as slide:
        assert slide.read_level(0, Box(0, 0, 10, 10)).shape == (10, 10, 3)
        assert str(path) == slide.describe()["path"]


@pytest.mark.realdata
def test_a_real_ome_tiff_has_its_pixels_and_its_size(real_data):
    path = real_data / "slides" / "ki67-OS-2-vsi.ome.tif"
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx((0.34605325860336383, 0.3460559834973875))
        assert slide.notes == ()
        whole = slide.read_level(0, slide.levels[0].box)
    assert np.array_equal(whole, tifffile.imread(path))


@pytest.mark.realdata
def test_real_slides_open_as_they_are(real_data):
    with open_slide(real_data / "slides" / "luna-1065626.svs") as slide:
        assert (slide.reader, slide.mpp) == ("openslide", (0.5026, 0.5026))
        assert slide.levels[1].scale == Scale(4, 4)
        assert slide.levels[1].compression == "JPEG 2000"
        assert slide.notes == ("ICC profile not applied",)
    with pytest.raises(PixelSizeError):
        open_slide(real_data / "slides" / "tcga-cr-7395-01a-01-ts1.svs")
    for name in ("broken.svs", "op_unreadable.svs"):
        with pytest.raises(SlideError, match=name):
            open_slide(real_data / "slides" / name)


@pytest.mark.realdata
def test_a_rounded_level_through_openslide_reads_the_same_in_parts(real_data):
    with open_slide(real_data / "slides" / "luna-1065626.svs") as slide:
        whole = slide.read_level(1, Box(900, 900, 1300, 700))
        part = slide.read_level(1, Box(1400, 1000, 300, 300))
        assert np.array_equal(part, whole[100:400, 500:800])
