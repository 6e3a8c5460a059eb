"""Which picture of a TIFF is the slide, and which are its levels."""

import numpy as np
import pytest
import tifffile
from slide_files import picture, shrunk, write_slide

from wsi_suite.slides.slide import open_slide

SCAN = picture(600, 480)
MACRO = np.full((200, 260, 3), 235, np.uint8)
MACRO[:, :60] = (40, 60, 150)
TILES = {"tile": (64, 64), "photometric": "rgb", "metadata": None}
STRIPS = {"rowsperstrip": 32, "photometric": "rgb", "metadata": None}
SIZES = [(600, 480), (300, 240), (150, 120)]
FLAGGED = {"subfiletype": 1}


def mpp(size):
    return {"resolution": (1e4 / size, 1e4 / size), "resolutionunit": "CENTIMETER"}


def write(path, *pages, **options):
    with tifffile.TiffWriter(path, **options) as tif:
        for pixels, traits in pages:
            tif.write(pixels, **traits)
    return path


def assert_scan(path, *, sizes=SIZES, left=()):
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx((0.5, 0.5))
        assert [(level.width, level.height) for level in slide.levels] == list(sizes)
        for number, level in enumerate(slide.levels):
            wanted = shrunk(SCAN, round(level.scale.x))
            error = slide.read_level(number, level.box) - wanted.astype(float)
            assert np.abs(error).mean() < 12  # fine texture, chroma of JPEG halved
        notes = " ".join(slide.notes)
        assert all(name in notes for name in left), slide.notes
        assert ("left out" in notes) == bool(left)


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"byteorder": ">"}], ids=str)
@pytest.mark.parametrize("compression", [None, "jpeg", "webp"])
@pytest.mark.parametrize("form", ["flagged", "separate", "reversed", "sub-files", "inside"])
def test_levels_are_found_in_every_form_of_pyramid(tmp_path, form, compression, options):
    tiles = {**TILES, "compression": compression}
    first, *smaller = [(shrunk(SCAN, factor), tiles) for factor in (1, 2, 4)]
    first = (SCAN, {**tiles, **mpp(0.5)})
    flagged = [(pixels, {**traits, **FLAGGED}) for pixels, traits in smaller]
    pages = {
        "flagged": [first, *flagged],
        "separate": [first, *smaller],
        "reversed": [*smaller[::-1], first],
        "sub-files": [(SCAN, {**first[1], "subifds": 2}), *flagged],
        "inside": [(smaller[0][0], {**tiles, "subifds": 1}), first, flagged[1]],
    }[form]
    assert_scan(write(tmp_path / "slide.tif", *pages, **options))


@pytest.mark.parametrize("layout", [TILES, STRIPS], ids=["tiles", "strips"])
@pytest.mark.parametrize("compression", [None, "jpeg"])
def test_a_file_whose_first_picture_is_no_scan_opens_at_the_scan(tmp_path, compression, layout):
    macro = (MACRO, {**layout, **mpp(20), "compression": compression})
    scan = (SCAN, {**TILES, **mpp(0.5), "compression": compression})
    path = write(tmp_path / "slide.tif", macro, scan)
    assert_scan(path, sizes=SIZES[:1], left=["picture of 260 x 200 px"])
    path = write(tmp_path / "strips.tif", macro, (SCAN, {**STRIPS, **mpp(0.5)}))
    assert_scan(path, sizes=SIZES[:1], left=["picture of 260 x 200 px"])


@pytest.mark.parametrize("name", ["macro", "Label image", "LABELIMAGE", "Overview", "x=Thumbnail"])
def test_a_picture_that_names_itself_an_overview_is_no_slide_however_large(tmp_path, name):
    large = (picture(800, 700, seed=4), {**TILES, **mpp(20), "description": name})
    scan = (SCAN, {**TILES, **mpp(0.5), "description": "Slide label: 12, macro seen"})
    path = write(tmp_path / "slide.tif", large, scan)
    assert_scan(path, sizes=SIZES[:1], left=["of 800 x 700 px"])


@pytest.mark.parametrize("compression", ["jpeg", "deflate", "webp"])
def test_an_overview_is_no_level_whatever_its_shape(tmp_path, compression):
    tiles = {**TILES, "compression": compression}
    pages = [(SCAN, {**tiles, **mpp(0.5)}), (shrunk(SCAN, 2), {**tiles, **FLAGGED})]
    same_shape = np.full((120, 150, 3), 235, np.uint8)
    nearly = np.ascontiguousarray(shrunk(SCAN, 4)[:116])
    for number, other in enumerate((MACRO[:100], same_shape, nearly)):
        path = tmp_path / f"{number}.tif"
        write(path, *pages, (other, {**tiles, **FLAGGED}))
        height, width = other.shape[:2]
        assert_scan(path, sizes=SIZES[:2], left=[f"picture of {width} x {height} px"])


@pytest.mark.parametrize("factor", [3, 7, 16])
def test_levels_whose_sizes_were_rounded_up_or_down_are_levels(tmp_path, factor):
    scan = SCAN[:479, :599]
    pad = ((0, -479 % factor), (0, -599 % factor), (0, 0))
    for name, whole in {"down": scan, "up": np.pad(scan, pad, mode="edge")}.items():
        path = tmp_path / f"{name}.tif"
        level = shrunk(whole, factor)
        write(path, (scan, {**TILES, **mpp(0.5)}), (level, {**TILES, **FLAGGED}))
        with open_slide(path) as slide:
            assert (slide.levels[1].width, slide.levels[1].height) == level.shape[1::-1]
            assert slide.notes == ()


def ome(pixels, name, size, unit="µm", **options):
    sizes = {f"PhysicalSize{axis}": size for axis in "XY"}
    units = {f"PhysicalSize{axis}Unit": unit for axis in "XY"}
    metadata = {"axes": "YXS", "Name": name, **sizes, **units}
    return pixels, {**TILES, "metadata": metadata, **options}


def test_the_largest_image_of_an_ome_tiff_is_the_slide_by_its_own_pixel_size(tmp_path):
    other = ome(picture(350, 500, seed=2), "region 2", 1.0)
    levels = [(shrunk(SCAN, factor), {**TILES, **FLAGGED}) for factor in (2, 4)]
    scan = [ome(SCAN, "region 1", 500, "nm", subifds=2), *levels]
    path = tmp_path / "slide.ome.tif"
    write(path, ome(MACRO, "macro image", 20.0), *scan, other, ome=True)
    left = ["macro of 260 x 200 px", "picture of 350 x 500 px"]
    assert_scan(path, left=left)
    with open_slide(path) as slide:
        assert "150 x 120" not in " ".join(slide.notes)
    large = ome(picture(800, 700, seed=4), "label image", 20.0)
    assert_scan(write(path, large, *scan, ome=True), left=["label of 800 x 700 px"])


def test_a_small_rgb_picture_does_not_stand_for_a_large_one_that_is_not(tmp_path):
    deep = (SCAN.astype(np.uint16), {**TILES, **mpp(0.5)})
    path = write(tmp_path / "slide.tif", (shrunk(SCAN, 4), {**TILES, **mpp(2)}), deep)
    with pytest.raises(Exception, match=r"slide\.tif: 16 bits per channel"):
        open_slide(path)


@pytest.mark.parametrize("missing", [range(6), (1,), (5,)], ids=["all", "first", "last"])
def test_a_level_without_tiles_that_the_slide_has_is_left_out(tmp_path, missing):
    """Such a level, of a writer that was killed, would read as glass."""
    path = write_slide(tmp_path / "slide.tif", SCAN, tile=128, factors=(1, 2), missing=missing)
    with open_slide(path) as slide:
        assert len(slide.levels) == 1
        assert "300 x 240 px (tiles of it were never written)" in " ".join(slide.notes)


def test_a_level_that_misses_the_tiles_which_the_slide_misses_is_kept(tmp_path):
    whole = write_slide(tmp_path / "slide.tif", SCAN, tile=64, factors=(1, 2))
    with tifffile.TiffFile(whole, mode="r+") as tif:
        for page, tiles in zip(tif.pages, ((0, 1, 10, 11), (0,)), strict=True):
            counts = page.tags["TileByteCounts"]
            counts.overwrite([0 if n in tiles else count for n, count in enumerate(counts.value)])
    with open_slide(whole) as slide:
        assert len(slide.levels) == 2
        assert slide.notes == ()


def aperio(pixels, **traits):
    text = f"Aperio Image Library v12\r\n{pixels.shape[1]}x{pixels.shape[0]} (64x64)|MPP = 0.5"
    return pixels, {**TILES, "compression": "jpeg", "description": text, **traits}


def test_an_aperio_level_that_shows_something_else_is_left_out(tmp_path):
    other = aperio(np.full((120, 150, 3), 235, np.uint8))
    path = write(tmp_path / "slide.svs", aperio(SCAN), aperio(shrunk(SCAN, 2)), other)
    assert_scan(path, sizes=SIZES[:2], left=["picture of 150 x 120 px"])


def test_planes_of_an_aperio_stack_are_no_levels(tmp_path):
    plane = picture(600, 480, seed=4)
    path = write(tmp_path / "slide.svs", aperio(SCAN), aperio(plane), aperio(shrunk(SCAN, 4)))
    assert_scan(path, sizes=[SIZES[0], SIZES[2]], left=["picture of 600 x 480 px"])


def philips_attribute(name, group, element, kind, value):
    place = f'Group="0x{group}" Element="0x{element}"'
    return f'<Attribute Name="{name}" {place} PMSVR="{kind}">{value}</Attribute>'


def philips_spacing(um):
    value = f'"{um / 1000}" "{um / 1000}"'
    return philips_attribute("DICOM_PIXEL_SPACING", "0028", "0030", "IDoubleArray", value)


def test_levels_of_philips_are_padded_and_nothing_is_left_out(tmp_path):
    scan, number = SCAN[:448], "PIIM_PIXEL_DATA_REPRESENTATION_NUMBER"
    levels = "".join(
        f'<DataObject ObjectType="PixelDataRepresentation">{philips_spacing(0.5 * 2**n)}'
        f"{philips_attribute(number, '1001', '8B02', 'IUInt16', n)}</DataObject>"
        for n in range(3)
    )
    sequence = philips_attribute(
        "PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE", "1001", "8B01", "IDataObjectArray",
        f"<Array>{levels}</Array>",
    )  # fmt: skip
    kind = philips_attribute("PIM_DP_IMAGE_TYPE", "301D", "1004", "IString", "WSI")
    image = f'<DataObject ObjectType="DPScannedImage">{kind}{philips_spacing(0.5)}{sequence}'
    images = philips_attribute(
        "PIM_DP_SCANNED_IMAGES", "301D", "1003", "IDataObjectArray",
        f"<Array>{image}</DataObject></Array>",
    )  # fmt: skip
    maker = philips_attribute("DICOM_MANUFACTURER", "0008", "0070", "IString", "PHILIPS")
    text = f'<?xml version="1.0"?><DataObject ObjectType="DPUfsImport">{maker}{images}</DataObject>'
    software = {"software": "Philips DP v1.0", "compression": "jpeg"}
    pages = []
    for factor, more in ((1, {"description": text}), (2, FLAGGED), (4, FLAGGED)):
        level = shrunk(scan, factor)
        pad = ((0, -level.shape[0] % 64), (0, -level.shape[1] % 64), (0, 0))
        padded = np.pad(level, pad, constant_values=255)
        pages.append((padded, {**TILES, **software, **more}))
    with open_slide(write(tmp_path / "slide.tiff", *pages)) as slide:
        assert (slide.vendor, slide.mpp) == ("philips", (0.5, 0.5))
        assert slide.notes == ("level 1, 2 read through OpenSlide",)
        for number, level in enumerate(slide.levels):
            assert (level.width, level.height) == (640 >> number, 448 >> number)
            found = slide.read_level(number, level.box)[: 448 >> number, : 600 >> number]
            assert np.abs(found - shrunk(scan, 2**number).astype(float)).mean() < 12
