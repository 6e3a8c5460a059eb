import numpy as np
import pytest
from slide_files import picture, write_slide

from wsi_suite.slides import one_pass
from wsi_suite.slides.one_pass import read_whole
from wsi_suite.slides.slide import open_slide

PICTURE = picture(1003, 701)


@pytest.fixture(scope="module", params=[(1,), (1, 4)], ids=["one level", "pyramid"])
def slide(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("slides") / "slide.tif"
    with open_slide(write_slide(path, PICTURE, factors=request.param)) as opened:
        yield opened


@pytest.mark.parametrize("cell_px", [50, 256, 5000])
@pytest.mark.parametrize(("max_px", "mpp"), [(100, 0.5), (37, 1.7), (600, 1.0), (2000, 0.25)])
def test_pictures_made_in_one_pass_have_the_bytes_of_those_read_alone(
    slide, monkeypatch, max_px, mpp, cell_px
):
    monkeypatch.setattr(one_pass, "_CELL_PX", cell_px)
    thumbnail, raster = slide.thumbnail_raster(max_px), slide.raster(mpp)
    small, large = read_whole([thumbnail, raster])
    assert np.array_equal(small, slide.thumbnail(max_px)[0])
    assert np.array_equal(large, raster.read(raster.box))


def test_a_slide_of_one_level_is_decoded_once(tmp_path):
    pixels = np.tile(picture(500, 350), (10, 10, 1))
    with open_slide(write_slide(tmp_path / "slide.tif", pixels, tile=512)) as slide:
        read = []
        read_level = slide.read_level
        slide.read_level = lambda level, box: (read.append(box), read_level(level, box))[1]
        read_whole([slide.thumbnail_raster(100), slide.raster(8.0)])
    assert sum(box.area for box in read) < 1.05 * 5000 * 3500
