import numpy as np
import openslide
import pytest
from PIL import Image
from slide_files import picture, write_slide

from wsi_suite.errors import SlideError
from wsi_suite.geometry import Box, Scale
from wsi_suite.slides.openslide_reader import OpenSlideReader
from wsi_suite.slides.slide import open_slide

PICTURE = picture(640, 512)


class ScannerHandle:
    """Stands for OpenSlide on a scan whose bounds are a part of the plane, as MRXS has them."""

    dimensions = (640, 512)
    level_dimensions = ((640, 512), (160, 128))
    level_downsamples = (1.0, 4.0)

    def __init__(self, **properties):
        self.properties = {"openslide.vendor": "mirax", **properties}

    def read_region(self, location, level, size):
        step = 4**level
        rgba = np.zeros((size[1], size[0], 4), np.uint8)  # nothing scanned: transparent
        for row in range(size[1]):
            for column in range(size[0]):
                x, y = location[0] + column * step, location[1] + row * step
                if 40 <= x < 440 and 80 <= y < 380:
                    rgba[row, column] = (*PICTURE[y, x], 255)
        return Image.fromarray(rgba)

    def close(self):
        pass


BOUNDS = {
    "openslide.bounds-x": "40",
    "openslide.bounds-y": "80",
    "openslide.bounds-width": "398",
    "openslide.bounds-height": "302",
    "openslide.mpp-x": "0.25",
    "openslide.mpp-y": "0.25",
    "openslide.background-color": "F0E0D0",
}


@pytest.fixture
def scanned(monkeypatch):
    def open_with(**properties):
        monkeypatch.setattr(openslide, "OpenSlide", lambda path: ScannerHandle(**properties))
        return OpenSlideReader("scan.mrxs")

    return open_with


def test_the_frame_starts_at_the_corner_of_the_bounds(scanned):
    reader = scanned(**BOUNDS)
    sizes = [(level.width, level.height, level.scale) for level in reader.facts.levels]
    assert sizes == [(398, 302, Scale(1, 1)), (99, 75, Scale(4, 4))]
    assert np.array_equal(reader.read(0, Box(10, 20, 30, 40)), PICTURE[100:140, 50:80])
    assert np.array_equal(reader.read(1, Box(10, 20, 8, 4)), PICTURE[160:176:4, 80:112:4])


def test_what_was_not_scanned_has_the_background_colour(scanned):
    assert (scanned(**BOUNDS).read(0, Box(0, 300, 5, 2)) == (0xF0, 0xE0, 0xD0)).all()
    plain = {key: BOUNDS[key] for key in BOUNDS if "background" not in key}
    assert (scanned(**plain).read(0, Box(0, 300, 5, 2)) == 255).all()


def test_a_fluorescence_slide_is_refused(scanned):
    with pytest.raises(SlideError, match="fluorescence"):
        scanned(**{"mirax.GENERAL.SLIDE_TYPE": "SLIDE_TYPE_FLUORESCENCE"})


def test_a_damaged_place_does_not_spoil_the_others(tmp_path):
    path = write_slide(tmp_path / "slide.tif", PICTURE)
    data = path.read_bytes()
    with open_slide(path) as slide:
        wanted = slide.read_level(0, Box(0, 256, 256, 256))
    start = data.index(b"\xff\xd8", 2000)  # the second tile's stream
    path.write_bytes(data[:start] + bytes(200) + data[start + 200 :])
    reader = OpenSlideReader(path)
    for _ in range(2):
        with pytest.raises(SlideError, match=r"slide\.tif: cannot be read at level 0"):
            reader.read(0, Box(0, 0, 640, 512))
        assert np.array_equal(reader.read(0, Box(0, 256, 256, 256)), wanted)
    reader.close()
