import imagecodecs
import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image
from slide_files import picture, shrunk, write_slide

from wsi_suite.errors import SlideError
from wsi_suite.geometry import Box, Scale
from wsi_suite.slides import tiff_decode
from wsi_suite.slides.slide import open_slide

PICTURE = picture(1000, 700)
APERIO = "Aperio Image Library v12\r\n1000x700 |AppMag = 20|MPP = 0.5|User = somebody"


def by_openslide(path, level, size):
    """A whole level by OpenSlide, laid on white."""
    with openslide.OpenSlide(path) as slide:
        image = slide.read_region((0, 0), level, size)
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image).convert("RGB"))


def assert_as_openslide(slide):
    for number, level in enumerate(slide.levels):
        found = slide.read_level(number, level.box)
        assert np.array_equal(found, by_openslide(slide.path, number, (level.width, level.height)))


@pytest.mark.parametrize(
    "traits",
    [
        {},
        {"colours": "RGB"},
        {"bigtiff": True},
        {"missing": (0, 9)},
        {"factors": (1, 4)},
        {"description": APERIO},
    ],
    ids=str,
)
def test_tiles_decoded_directly_are_what_openslide_reads(tmp_path, traits):
    path = write_slide(tmp_path / "slide.tif", PICTURE, **traits)
    with tifffile.TiffFile(path) as tif:
        assert tif.pages.first.jpegtables
        assert tif.is_bigtiff == traits.get("bigtiff", False)
        assert (0 in tif.pages[-1].databytecounts) == ("missing" in traits)
    with open_slide(path) as slide:
        assert (slide.reader, slide.notes) == ("jpeg tiles", ())
        assert (slide.width, slide.height) == (1000, 700)
        assert_as_openslide(slide)
        if "missing" not in traits:
            error = slide.read_level(0, slide.levels[0].box) - PICTURE.astype(float)
            assert np.abs(error).mean() < 1.5


@pytest.mark.parametrize("quality", [{"level": 40}, {"reversible": True}], ids=str)
def test_jpeg_2000_tiles_of_rgb_are_what_openslide_reads(tmp_path, quality):
    path = tmp_path / "slide.svs"
    tifffile.imwrite(
        path,
        PICTURE,
        tile=(256, 256),
        compression="APERIO_JP2000_RGB",
        compressionargs={"codecformat": "J2K", **quality},
        photometric="rgb",
        metadata=None,
        description=APERIO,
    )
    with open_slide(path) as slide:
        assert (slide.vendor, slide.reader, slide.notes) == ("aperio", "jpeg 2000 tiles", ())
        assert_as_openslide(slide)


def test_real_jpeg_2000_of_rgb_is_what_openslide_reads(real_data):
    path = real_data / "slides" / "tcga-cr-7395-01a-01-ts1.svs"
    with open_slide(path, mpp=0.5) as slide, openslide.OpenSlide(path) as other:
        assert slide.reader == "jpeg 2000 tiles"
        for x, y in ((0, 0), (2000, 1700), (3843, 3067)):
            expected = np.asarray(other.read_region((x, y), 0, (600, 500)))[..., :3]
            np.testing.assert_array_equal(slide.read_level(0, Box(x, y, 600, 500)), expected)


def test_a_tile_that_is_not_stored_is_white(tmp_path):
    path = write_slide(tmp_path / "slide.tif", PICTURE, tile=128, missing=(9,))
    with open_slide(path) as slide:
        assert (slide.read_level(0, Box(128, 128, 128, 128)) == 255).all()
        assert not (slide.read_level(0, Box(120, 120, 8, 8)) == 255).all()


def test_levels_whose_sizes_were_rounded_keep_the_true_downsample(tmp_path):
    path = write_slide(tmp_path / "slide.tif", PICTURE[:, :999], tile=64, factors=(1, 4, 16))
    with open_slide(path) as slide:
        assert slide.reader == "jpeg tiles"
        assert [level.scale for level in slide.levels] == [Scale(1, 1), Scale(4, 4), Scale(16, 16)]
        error = slide.read_level(1, slide.levels[1].box) - shrunk(PICTURE[:, :999], 4).astype(float)
        assert np.abs(error).mean() < 4


def test_a_smaller_aperio_level_without_a_tile_is_left_to_openslide(tmp_path):
    path = write_slide(
        tmp_path / "slide.svs", PICTURE, factors=(1, 4), missing=(0,), description=APERIO
    )
    with open_slide(path) as slide:
        assert slide.vendor == "aperio"
        assert slide.reader == "jpeg tiles"
        assert slide.notes == ("level 1 read through OpenSlide",)
        assert_as_openslide(slide)


def test_a_difference_from_openslide_is_noted_and_openslide_is_used(tmp_path, monkeypatch):
    path = write_slide(tmp_path / "slide.tif", PICTURE)
    black = np.zeros((128, 128, 3), np.uint8)
    monkeypatch.setattr(tiff_decode, "decode_jpeg", lambda data, **_: black)
    with open_slide(path) as slide:
        assert slide.reader == "openslide"
        assert slide.notes == ("direct decode of level 0 differs: read through OpenSlide",)
        assert_as_openslide(slide)


def write_ome(path, data, *, axes, mpp=0.25, **options):
    metadata = {"axes": axes}
    if mpp is not None:
        metadata |= {"PhysicalSizeX": mpp, "PhysicalSizeY": mpp}
        metadata |= {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
    with tifffile.TiffWriter(path, ome=True) as tif:
        tif.write(data, metadata=metadata, **options)
    return path


@pytest.mark.parametrize(
    ("compression", "reader"),
    [("jpeg", "jpeg tiles"), ("deflate", "tifffile"), ("lzw", "tifffile"), (None, "tifffile")],
)
def test_ome_tiff_is_what_tifffile_reads(tmp_path, compression, reader):
    path = tmp_path / "slide.ome.tif"
    write_ome(path, PICTURE, axes="YXS", tile=(128, 128), compression=compression)
    with open_slide(path) as slide:
        assert (slide.reader, slide.vendor) == (reader, "OME-TIFF")
        assert slide.mpp == (0.25, 0.25)
        whole = slide.read_level(0, slide.levels[0].box)
        assert np.array_equal(whole, tifffile.imread(path))


def test_an_ome_pyramid_in_sub_files_has_its_levels(tmp_path):
    path = tmp_path / "slide.ome.tif"
    metadata = {"axes": "YXS", "PhysicalSizeX": 250, "PhysicalSizeXUnit": "nm"}
    metadata |= {"PhysicalSizeY": 0.00025, "PhysicalSizeYUnit": "mm"}
    options = {"tile": (128, 128), "compression": "deflate", "photometric": "rgb"}
    with tifffile.TiffWriter(path, ome=True) as tif:
        tif.write(PICTURE, subifds=1, metadata=metadata, **options)
        tif.write(shrunk(PICTURE, 4), subfiletype=1, **options)
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx((0.25, 0.25))
        assert [level.scale.x for level in slide.levels] == [1, 4]
        assert np.array_equal(slide.read_level(1, slide.levels[1].box), shrunk(PICTURE, 4))


def test_of_several_images_and_planes_the_first_is_read_and_said_so(tmp_path):
    stack = np.stack([PICTURE, 255 - PICTURE])
    options = {"tile": (128, 128), "photometric": "rgb"}
    path = write_ome(tmp_path / "z.ome.tif", stack, axes="ZYXS", **options)
    with open_slide(path) as slide:
        assert slide.notes == ("first of 2 planes of the image",)
        assert np.array_equal(slide.read_level(0, slide.levels[0].box), PICTURE)
    path = tmp_path / "series.ome.tif"
    metadata = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    with tifffile.TiffWriter(path, ome=True) as tif:
        for image in (PICTURE, picture(300, 200)):
            tif.write(image, metadata=metadata, **options)
    with open_slide(path) as slide:
        assert slide.notes == ("left out: picture of 300 x 200 px",)
        assert np.array_equal(slide.read_level(0, slide.levels[0].box), PICTURE)


def test_a_field_of_view_needs_a_pixel_size_and_no_more(tmp_path):
    for name in ("field.png", "field.bmp"):
        Image.fromarray(PICTURE).save(tmp_path / name, dpi=(300, 300))
        with pytest.raises(SlideError, match="--mpp"):
            open_slide(tmp_path / name)
        with open_slide(tmp_path / name, mpp=0.5) as slide:
            assert slide.mpp == (0.5, 0.5)
            assert np.array_equal(slide.read_level(0, slide.levels[0].box), PICTURE)
    Image.fromarray(PICTURE).save(tmp_path / "field.jpg", quality=95)
    with open_slide(tmp_path / "field.jpg", mpp=0.5) as slide:
        error = slide.read_level(0, slide.levels[0].box) - PICTURE.astype(float)
        assert np.abs(error).mean() < 2


def test_a_tiff_without_tiles_is_read_whole(tmp_path):
    path = write_ome(tmp_path / "field.ome.tif", PICTURE, axes="YXS", photometric="rgb")
    with open_slide(path) as slide:
        assert slide.reader == "tifffile"
        assert np.array_equal(slide.read_level(0, Box(100, 50, 300, 200)), PICTURE[50:250, 100:400])


def test_transparency_is_laid_on_white_and_noted(tmp_path):
    rgba = np.dstack([PICTURE, np.zeros((700, 1000), np.uint8)])
    rgba[:350, :, 3] = 255
    rgba[350:400, :, 3] = 51
    Image.fromarray(rgba).save(tmp_path / "field.png")
    options = {"tile": (128, 128), "photometric": "rgb", "extrasamples": ["unassalpha"]}
    write_ome(tmp_path / "slide.ome.tif", rgba, axes="YXS", **options)
    tifffile.imwrite(tmp_path / "generic.tif", rgba, **options, metadata=None)
    faint = np.rint(255 + (PICTURE[350:400].astype(float) - 255) * 0.2)
    for name in ("field.png", "slide.ome.tif", "generic.tif"):
        with open_slide(tmp_path / name, mpp=0.25) as slide:
            assert "transparency laid on white" in slide.notes
            found = slide.read_level(0, slide.levels[0].box)
        assert np.array_equal(found[:350], PICTURE[:350])
        assert np.abs(found[350:400] - faint).max() <= 1
        assert (found[400:] == 255).all()


DEEP = PICTURE.astype(np.uint16) * 257
GREY = PICTURE[..., 0]


@pytest.mark.parametrize(
    ("data", "options", "reason"),
    [
        (DEEP, {"photometric": "rgb"}, "16 bits per channel"),
        (GREY, {"photometric": "minisblack"}, "greyscale or fluorescence"),
        (np.stack([GREY, GREY]), {"photometric": "minisblack"}, "greyscale or fluorescence"),
    ],
    ids=["16-bit", "grey", "fluorescence"],
)
def test_what_is_not_8_bit_rgb_is_refused(tmp_path, data, options, reason):
    axes = {"YXS": "YXS", 2: "YX"}.get(data.ndim, "YXS" if data.shape[-1] == 3 else "CYX")
    write_ome(tmp_path / "a.ome.tif", data, axes=axes, tile=(128, 128), **options)
    tifffile.imwrite(tmp_path / "b.tif", data, tile=(128, 128), metadata=None, **options)
    for name in ("a.ome.tif", "b.tif"):
        with pytest.raises(SlideError, match=reason):
            open_slide(tmp_path / name, mpp=0.25)


def test_an_image_that_is_not_8_bit_rgb_is_refused(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "grey.png")
    Image.fromarray(GREY).save(tmp_path / "grey.jpg")
    Image.fromarray(DEEP[..., 0]).save(tmp_path / "deep_grey.png")
    Image.fromarray(PICTURE).convert("CMYK").save(tmp_path / "cmyk.jpg")
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(DEEP))
    reasons = {"grey.png": "mode L", "grey.jpg": "mode L", "cmyk.jpg": "mode CMYK"}
    reasons |= {"deep_grey.png": "16 bits", "deep.png": "16 bits"}
    for name, reason in reasons.items():
        with pytest.raises(SlideError, match=rf"{name}: .*{reason}"):
            open_slide(tmp_path / name, mpp=0.25)


def test_palettes_and_transparent_colours_of_pictures_are_read(tmp_path):
    few = Image.fromarray(PICTURE).quantize(64)
    colours = np.asarray(few.convert("RGB"))
    few.save(tmp_path / "few.png")
    few.save(tmp_path / "few.bmp")
    few.save(tmp_path / "clear.png", transparency=int(np.asarray(few)[0, 0]))
    for name in ("few.png", "few.bmp"):
        with open_slide(tmp_path / name, mpp=0.25) as slide:
            assert np.array_equal(slide.read_level(0, slide.levels[0].box), colours)
    clear = np.where((np.asarray(few) == np.asarray(few)[0, 0])[..., None], 255, colours)
    with open_slide(tmp_path / "clear.png", mpp=0.25) as slide:
        assert "transparency laid on white" in slide.notes
        assert np.array_equal(slide.read_level(0, slide.levels[0].box), clear)


def test_what_is_no_slide_is_refused_in_one_line_that_names_it(tmp_path):
    (tmp_path / "empty.svs").touch()
    (tmp_path / "text.svs").write_text("not a slide")
    (tmp_path / "lonely.mrxs").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "header.tif").write_bytes(b"II*\0\x10\0\0\0")
    (tmp_path / "folder").mkdir()
    reasons = {
        "missing.svs": "no such file",
        "empty.svs": "the file is empty",
        "text.svs": "not a slide",
        "lonely.mrxs": "its folder 'lonely' is missing",
        "header.tif": "damaged or truncated",
        "folder": "a folder",
    }
    for name, reason in reasons.items():
        with pytest.raises(SlideError, match=reason) as caught:
            open_slide(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["slide.tif", "slide.ome.tif", "field.png", "field.jpg"])
def test_a_truncated_file_is_refused_at_opening(tmp_path, name):
    path = tmp_path / name
    if name.startswith("field"):
        Image.fromarray(PICTURE).save(path)
    elif name == "slide.tif":
        write_slide(path, PICTURE)
    else:
        write_ome(path, PICTURE, axes="YXS", tile=(128, 128), compression="jpeg")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(SlideError, match="truncated"):
        open_slide(path, mpp=0.25)


@pytest.mark.parametrize(("shapes", "twins"), [([(64, 96)] * 3, 2), ([(64, 96), (32, 96)], 0)])
def test_other_pictures_of_the_slides_size_are_counted(tmp_path, shapes, twins):
    path = tmp_path / "scenes.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tif:
        for number, (height, width) in enumerate(shapes):
            pixels = np.full((height, width, 3), 40 * number, np.uint8)
            tif.write(pixels, photometric="rgb", metadata={"axes": "YXS"})
    with open_slide(path, mpp=0.5) as slide:
        assert slide.twins == twins
