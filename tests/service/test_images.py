"""Images of QuPath's whose pixels lie elsewhere than in the file are refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from wsi_suite.errors import InputError, SlideError
from wsi_suite.service.images import check_picture, check_server, mpp_given
from wsi_suite.service.messages import Image


def image(name: str = "OpenslideImageServer", *arguments: str, **fields: object) -> Image:
    return Image(
        server_class=name, server_args=list(arguments), **{"width": 600, "height": 560, **fields}
    )


@pytest.mark.parametrize(
    "shown",
    [
        image(),
        image("qupath.lib.images.servers.openslide.OpenslideImageServer", "--no-crop"),
        image("qupath.lib.images.servers.bioformats.BioFormatsImageServer", "--series", "0"),
        image("BioFormatsImageServer", "--series=0", "--dims", "XYCZT"),
        image("WrappedBufferedImageServer"),
        image("OpenslideImageServer", "--rotate", "ROTATE_NONE"),
    ],
)
def test_plain_images_are_taken(shown: Image) -> None:
    check_server(shown)


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        (image("qupath.lib.images.servers.RotatedImageServer"), "RotatedImageServer: rotated"),
        (image("CroppedImageServer"), "cropped"),
        (image("RearrangeRGBImageServer"), "computed"),
        (image("com.example.MyServer"), "MyServer"),
        (image("OpenslideImageServer", "--rotate", "ROTATE_180"), "ROTATE_180"),
    ],
)
def test_other_images_are_refused_with_the_reason(shown: Image, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        check_server(shown)


def test_another_size_is_refused_with_both() -> None:
    slide = SimpleNamespace(path=Path("B12.svs"), width=600, height=560, twins=0)
    check_picture(None, slide)
    check_picture(image(), slide)
    with pytest.raises(SlideError, match="640 x 560 px in QuPath, but 600 x 560 px here"):
        check_picture(image(width=640), slide)


def test_a_series_is_taken_if_no_other_picture_has_its_size() -> None:
    slide = SimpleNamespace(path=Path("B12.ome.tif"), width=600, height=560, twins=0)
    for arguments in (["--series", "2"], ["-s", "1"], ["--name", "scan"]):
        check_picture(image("BioFormatsImageServer", *arguments), slide)
        with pytest.raises(SlideError, match=r"series '(2|1|scan)', 90 x 560 px"):
            check_picture(image("BioFormatsImageServer", *arguments, width=90), slide)
    slide.twins = 1
    check_picture(image("BioFormatsImageServer", "--series", "0"), slide)
    with pytest.raises(SlideError, match=r"series '2', and the file has 2 pictures of that size"):
        check_picture(image("BioFormatsImageServer", "--series", "2"), slide)


def test_a_pixel_size_counts_where_it_was_set_by_hand() -> None:
    assert mpp_given(None) is None
    assert mpp_given(image(mpp=[0.5, 0.5])) is None
    assert mpp_given(image(mpp=None, mpp_set_by_hand=True)) is None
    assert mpp_given(image(mpp=[0.5, 0.5], mpp_set_by_hand=True)) == 0.5
    assert mpp_given(image(mpp=[0.25, 0.2501], mpp_set_by_hand=True)) == pytest.approx(0.25005)
    for sizes in ([0.5, 0.52], [0.0, 0.5], [-0.5, 0.5]):
        with pytest.raises(InputError, match="expected square pixels"):
            mpp_given(image(mpp=sizes, mpp_set_by_hand=True))
