import numpy as np
import pytest
import zarr
from slide_files import picture

from wsi_suite.errors import SlideError
from wsi_suite.geometry import Box
from wsi_suite.slides.slide import open_slide

PICTURE = picture(1300, 700)

# TIAToolbox and what it imports warn of their own future.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def write_ome_zarr(path, pixels, *, mpp):
    """Write an OME-Zarr 0.4 image of one level."""
    group = zarr.open_group(path, mode="w", zarr_format=2)
    encoding = {"name": "v2", "separator": "/"}
    data = np.ascontiguousarray(np.moveaxis(pixels, -1, 0))
    group.create_array("0", data=data, chunks=(1, 256, 256), chunk_key_encoding=encoding)
    space = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    scale = {"type": "scale", "scale": [1, mpp, mpp]}
    group.attrs["multiscales"] = [
        {
            "version": "0.4",
            "axes": [{"name": "c", "type": "channel"}, *space],
            "datasets": [{"path": "0", "coordinateTransformations": [scale]}],
        }
    ]
    window = {"start": 0, "end": 255, "min": 0, "max": 255}
    channel = {"active": True, "coefficient": 1, "family": "linear", "inverted": False}
    colours = {"red": "FF0000", "green": "00FF00", "blue": "0000FF"}
    group.attrs["omero"] = {
        "version": "0.4",
        "id": 1,
        "name": "slide",
        "channels": [
            {**channel, "window": window, "label": label, "color": colour}
            for label, colour in colours.items()
        ],
        "rdefs": {"defaultT": 0, "defaultZ": 0, "model": "color"},
    }
    return path


def test_ome_zarr_is_read_through_tiatoolbox(tmp_path):
    with open_slide(write_ome_zarr(tmp_path / "slide.ome.zarr", PICTURE, mpp=0.25)) as slide:
        assert (slide.reader, slide.vendor) == ("tiatoolbox", "OME-Zarr")
        assert slide.mpp == (0.25, 0.25)
        assert slide.describe()["objective_power"] is None
        assert np.array_equal(slide.read_level(0, slide.levels[0].box), PICTURE)
        assert np.array_equal(
            slide.read_level(0, Box(1000, 600, 200, 50)), PICTURE[600:650, 1000:1200]
        )


def test_ome_zarr_of_16_bits_is_refused(tmp_path):
    path = write_ome_zarr(tmp_path / "deep.ome.zarr", PICTURE.astype(np.uint16), mpp=0.25)
    with pytest.raises(SlideError, match=r"deep\.ome\.zarr.*8-bit RGB"):
        open_slide(path)


def test_a_dicom_file_of_nothing_is_refused(tmp_path):
    path = tmp_path / "slide.dcm"
    path.write_bytes(bytes(128) + b"DICM" + bytes(100))
    with pytest.raises(SlideError, match=r"slide\.dcm"):
        open_slide(path)
