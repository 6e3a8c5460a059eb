"""RGB of TIFF files over photometric x compression x layout x byte order x alpha x planes.

The truth is what was written. Where libtiff or OpenSlide opens a file, it is compared with them.
"""

import zlib

import imagecodecs
import numpy as np
import openslide
import pytest
import tifffile
from slide_files import jpeg_tiles, picture, subsampled, write_tiff, ycbcr

from wsi_suite.errors import SlideError
from wsi_suite.slides.slide import open_slide
from wsi_suite.slides.tiff_index import index_tiff

WIDTH, HEIGHT, TILE, ROWS = 150, 100, 64, 24
RGB = picture(WIDTH, HEIGHT)
YCC = ycbcr(RGB)
TAGS = {256: ("I", WIDTH), 257: ("I", HEIGHT), 258: ("H", [8, 8, 8]), 277: ("H", 3)}
TAGS |= {282: ("R", [20000, 1]), 283: ("R", [20000, 1]), 296: ("H", 3)}
NONE, DEFLATE, JPEG = 1, 8, 7
ORDERS = pytest.mark.parametrize("order", ["<", ">"])
LAYOUTS = pytest.mark.parametrize("layout", ["tiles", "strips"])


def read(path):
    with open_slide(path) as slide:
        return slide.read_level(0, slide.levels[0].box).astype(int), " ".join(slide.notes)


def by_libtiff(path):
    return imagecodecs.tiff_decode(path.read_bytes(), asrgb=True)[..., :3].astype(int)


def segments(samples, layout, code=lambda part: part.tobytes()):
    """Tags and coded segments of ``(H, W, C)`` samples."""
    if layout == "strips":
        parts = [samples[y : y + ROWS] for y in range(0, HEIGHT, ROWS)]
        return {278: ("I", ROWS)}, [code(part) for part in parts]
    pad = ((0, -HEIGHT % TILE), (0, -WIDTH % TILE), (0, 0))
    whole = np.pad(samples, pad, mode="edge")
    corners = [(y, x) for y in range(0, HEIGHT, TILE) for x in range(0, WIDTH, TILE)]
    parts = [np.ascontiguousarray(whole[y : y + TILE, x : x + TILE]) for y, x in corners]
    return {322: ("I", TILE), 323: ("I", TILE)}, [code(part) for part in parts]


@ORDERS
@LAYOUTS
@pytest.mark.parametrize("compression", [NONE, DEFLATE])
@pytest.mark.parametrize("across_down", [(1, 1), (2, 1), (1, 2), (2, 2), (4, 2), None])
def test_ycbcr_without_jpeg_is_what_libtiff_makes_of_it(
    tmp_path, across_down, compression, layout, order
):
    across, down = across_down or (2, 2)  # what holds if no tag says it

    def code(part):
        units = subsampled(part, across, down)
        return units if compression == NONE else imagecodecs.zlib_encode(units)

    where, parts = segments(YCC, layout, code)
    tags = {**TAGS, **where, 259: ("H", compression), 262: ("H", 6)}
    if across_down is not None:
        tags[530] = ("H", list(across_down))
    path = write_tiff(tmp_path / "slide.tif", (tags, parts), order=order)
    found, _ = read(path)
    assert np.abs(found - by_libtiff(path)).max() <= 1
    if across_down == (1, 1):
        assert np.abs(found - RGB).max() <= 2


@pytest.mark.parametrize(
    "tag",
    [{529: ("R", [2126, 10000, 7152, 10000, 722, 10000])},
     {532: ("R", [16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1])}],
    ids=["coefficients", "black and white"],
)  # fmt: skip
def test_the_numbers_of_ycbcr_are_obeyed(tmp_path, tag):
    where, parts = segments(YCC, "strips")
    tags = {**TAGS, **where, **tag, 259: ("H", NONE), 262: ("H", 6), 530: ("H", [1, 1])}
    path = write_tiff(tmp_path / "slide.tif", (tags, parts))
    found, _ = read(path)
    assert np.abs(found - RGB).max() > 10
    assert np.abs(found - by_libtiff(path)).max() <= 1


PREDICTED = [(name, True) for name in ("lzw", "deflate", "zstd")]
PLAIN = [(name, None) for name in (None, "lzw", "deflate", "zstd", "packbits", "jpeg2000")]


@ORDERS
@LAYOUTS
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("coding", [*PLAIN, *PREDICTED], ids=str)
def test_rgb_is_what_was_written(tmp_path, coding, planar, layout, order):
    compression, predictor = coding
    samples = RGB if planar == "contig" else np.moveaxis(RGB, -1, 0)
    options = {"tile": (TILE, TILE)} if layout == "tiles" else {"rowsperstrip": ROWS}
    for name, ome in (("slide.tif", False), ("slide.ome.tif", True)):
        path = tmp_path / name
        with tifffile.TiffWriter(path, ome=ome, byteorder=order, bigtiff=ome) as tif:
            tif.write(
                samples, photometric="rgb", planarconfig=planar, compression=compression,
                predictor=predictor, resolution=(20000, 20000), resolutionunit="CENTIMETER",
                metadata={"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5} if ome else None, **options,
            )  # fmt: skip
        found, notes = read(path)
        assert np.array_equal(found, RGB)
        assert notes == ""


@LAYOUTS
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "deflate", "webp"])
@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha", "unspecified"])
def test_alpha_is_laid_on_white_and_a_sample_that_is_none_is_left_out(
    tmp_path, kind, compression, planar, layout
):
    if compression == "webp" and planar == "separate":
        pytest.skip("WebP has no planes")
    alpha = np.tile(np.linspace(0, 255, WIDTH), (HEIGHT, 1))[..., None] / 255
    colours = np.rint(RGB * alpha) if kind == "assocalpha" else RGB
    samples = np.dstack([colours, np.rint(alpha * 255)]).astype(np.uint8)
    if planar == "separate":
        samples = np.moveaxis(samples, -1, 0)
    path = tmp_path / "slide.tif"
    tifffile.imwrite(
        path, samples, photometric="rgb", planarconfig=planar, compression=compression,
        compressionargs={"lossless": True} if compression == "webp" else None, metadata=None,
        extrasamples=[kind], resolution=(20000, 20000),
        resolutionunit="CENTIMETER",
        **({"tile": (TILE, TILE)} if layout == "tiles" else {"rowsperstrip": ROWS}),
    )  # fmt: skip
    found, notes = read(path)
    if kind in ("unassalpha", "assocalpha"):
        assert "transparency laid on white" in notes
        assert np.abs(found - (255 + (RGB - 255.0) * alpha)).max() <= 2
    else:
        assert "channels beyond red, green and blue left out" in notes
        assert np.array_equal(found, RGB)


def test_a_fourth_sample_of_which_nothing_is_said_is_left_out(tmp_path):
    where, parts = segments(np.dstack([RGB, np.zeros_like(RGB[..., :1])]), "tiles")
    tags = {**TAGS, **where, 258: ("H", [8] * 4), 259: ("H", NONE), 262: ("H", 2), 277: ("H", 4)}
    found, notes = read(write_tiff(tmp_path / "slide.tif", (tags, parts)))
    assert np.array_equal(found, RGB)
    assert "channels beyond red, green and blue left out" in notes


def with_adobe(jpeg, transform):
    marker = b"\xff\xee\x00\x0eAdobe\x00\x64" + bytes(4) + bytes([transform])
    return jpeg[:2] + marker + jpeg[2:]


@pytest.mark.parametrize("marker", [None, 0, 1])
@pytest.mark.parametrize(("colours", "photometric"), [("YCBCR", 6), ("RGB", 2)])
def test_the_tag_decides_on_the_colours_of_jpeg_and_a_contradiction_is_told(
    tmp_path, colours, photometric, marker
):
    tables, streams = jpeg_tiles(RGB, TILE, colours=colours)
    if marker is not None:
        streams = [with_adobe(stream, marker) for stream in streams]
    tags = {**TAGS, 259: ("H", JPEG), 262: ("H", photometric), 347: ("B", tables)}
    tags |= {322: ("I", TILE), 323: ("I", TILE)}
    if photometric == 6:
        tags[530] = ("H", [1, 1])
    path = write_tiff(tmp_path / "slide.tif", (tags, streams))
    found, notes = read(path)
    assert np.abs(found - RGB).mean() < 1.5
    with openslide.OpenSlide(path) as slide:
        theirs = np.asarray(slide.read_region((0, 0), 0, slide.dimensions))[..., :3]
    assert np.array_equal(found, theirs)
    assert ("the file says" in notes) == (marker == (0 if photometric == 6 else 1))


@LAYOUTS
@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
def test_an_orientation_tag_is_noted_and_not_applied(tmp_path, orientation, layout):
    where, parts = segments(RGB, layout)
    tags = {**TAGS, **where, 259: ("H", NONE), 262: ("H", 2), 274: ("H", orientation)}
    found, notes = read(write_tiff(tmp_path / "slide.tif", (tags, parts)))
    assert np.array_equal(found, RGB)
    assert "orientation tag not applied" in notes


@LAYOUTS
@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({262: ("H", 8)}, "CIELAB"),
        ({262: ("H", 5)}, "SEPARATED"),
        ({262: ("H", 0)}, "MINISWHITE"),
        ({262: ("H", 6), 530: ("H", [1, 1]), 529: ("R", [0] * 6)}, "YCbCr with coefficients"),
        ({262: ("H", 2), 259: ("H", 6)}, "compression OJPEG"),
        ({262: ("H", 2), 258: ("H", [4, 4, 4])}, "4 bits per channel"),
        ({262: ("H", 2), 339: ("H", [2, 2, 2])}, "int8"),
        ({262: ("H", 2), 259: ("H", DEFLATE), 317: ("H", 3)}, "predictor FLOATINGPOINT"),
        ({262: ("H", 2), 259: ("H", DEFLATE), 317: ("H", 9)}, "predictor 9"),
        ({262: ("H", 2), 284: ("H", 3)}, "planar configuration 3"),
        ({262: ("H", 2), 257: ("I", 3000)}, "tiles or strips listed"),
        ({262: ("H", 2), 257: ("I", 0)}, "sizes of 150, 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_converted_is_refused_in_one_line_that_names_it(
    tmp_path, tags, reason, layout
):
    where, parts = segments(RGB, layout)
    path = tmp_path / "slide.tif"
    write_tiff(path, ({**TAGS, **where, 259: ("H", NONE), **tags}, parts))
    with pytest.raises(SlideError, match=rf"slide\.tif: .*{reason}") as caught:
        open_slide(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("sides", [{322: 32768, 323: 32768}, {278: 32768}], ids=["tile", "strip"])
def test_tiles_too_large_for_memory_are_refused(tmp_path, sides):
    """A file of some megabytes would take some gigabytes to read a pixel of it."""
    tags = {256: 32768, 257: 32768, **sides}
    tags = {number: ("I", side) for number, side in tags.items()}
    path = write_tiff(
        tmp_path / "slide.tif",
        ({**TAGS, **tags, 259: ("H", DEFLATE), 262: ("H", 2)}, [zlib.compress(bytes(1000))]),
    )
    with pytest.raises(SlideError, match=r"32768 x 32768 px, .*convert it to smaller tiles"):
        open_slide(path)


def test_a_picture_with_a_palette_is_refused_by_name(tmp_path):
    path = tmp_path / "slide.tif"
    colormap = np.zeros((3, 256), np.uint16)
    tifffile.imwrite(path, RGB[..., 0], photometric="palette", colormap=colormap, metadata=None)
    with pytest.raises(SlideError, match="PALETTE"):
        open_slide(path, mpp=0.5)


@LAYOUTS
def test_a_file_whose_pixels_were_never_written_is_refused(tmp_path, layout):
    where, parts = segments(RGB, layout)
    tags = {**TAGS, **where, 259: ("H", NONE), 262: ("H", 2)}
    kept = parts[:0] if layout == "tiles" else parts[:-1]
    empty = [*kept, *[b""] * (len(parts) - len(kept))]
    with pytest.raises(SlideError, match="never written"):
        open_slide(write_tiff(tmp_path / "slide.tif", (tags, empty)))


def test_a_tile_without_a_place_in_the_file_was_never_written(tmp_path):
    where, parts = segments(RGB, "tiles")
    tags = {**TAGS, **where, 259: ("H", NONE), 262: ("H", 2)}
    path = write_tiff(tmp_path / "slide.tif", (tags, parts))
    with tifffile.TiffFile(path, mode="r+") as tif:
        offsets = tif.pages.first.tags["TileOffsets"]
        offsets.overwrite([0, *offsets.value[1:]])
    found, _ = read(path)
    assert (found[:TILE, :TILE] == 255).all()
    assert np.array_equal(found[:, TILE:], RGB[:, TILE:])


@LAYOUTS
def test_a_predictor_counts_only_for_compressions_that_know_one(tmp_path, layout):
    where, parts = segments(RGB, layout)
    tags = {**TAGS, **where, 259: ("H", NONE), 262: ("H", 2), 317: ("H", 2)}
    path = write_tiff(tmp_path / "slide.tif", (tags, parts))
    found, _ = read(path)
    assert np.array_equal(found, RGB)
    assert np.array_equal(found, by_libtiff(path))


@pytest.mark.parametrize("across_down", [(4, 4), (1, 4), (2, 4)])
def test_chroma_of_tall_blocks_is_read_alike_in_tiles_and_strips(tmp_path, across_down):
    """In tiles, libtiff reads blocks of 4 x 4 wrongly at the right edge and refuses the others."""
    found = []
    for layout in ("tiles", "strips"):
        where, parts = segments(YCC, layout, lambda part: subsampled(part, *across_down))
        tags = {**TAGS, **where, 259: ("H", NONE), 262: ("H", 6), 530: ("H", list(across_down))}
        found.append(read(write_tiff(tmp_path / f"{layout}.tif", (tags, parts)))[0])
    assert np.array_equal(*found)
    assert np.abs(found[0] - RGB).mean() < 8


OF_APERIO = {270: ("s", b"Aperio Image Library v11\r\n|MPP = 0.5\0")}


@LAYOUTS
@pytest.mark.parametrize("form", ["j2k", "jp2"])
@pytest.mark.parametrize(
    "traits",  # code, photometric, stored samples, whether they were transformed together, more
    [
        *((code, 2, "RGB", True, {}) for code in (33003, 33004, 33005, 34712)),
        *((code, 2, "RGB", False, {}) for code in (33003, 33004, 33005, 34712)),
        *((code, 6, "RGB", True, {}) for code in (33003, 33004, 33005, 34712)),
        *((code, 6, "YCC", False, {}) for code in (33003, 33004, 34712)),
        (33003, 2, "YCC", False, OF_APERIO),
        (33005, 6, "RGB", False, OF_APERIO),
    ],
    ids=lambda traits: "-".join(map(str, traits[:4])),
)
def test_jpeg_2000_in_any_of_its_codes(tmp_path, traits, form, layout):
    code, photometric, stored, together, more = traits

    def encode(part):
        space = "SRGB" if stored == "RGB" else "SYCC"
        return imagecodecs.jpeg2k_encode(
            part, level=0, mct=together, codecformat=form, colorspace=space
        )

    where, parts = segments(RGB if stored == "RGB" else YCC, layout, encode)
    tags = {**TAGS, **where, **more, 259: ("H", code), 262: ("H", photometric)}
    found, _ = read(write_tiff(tmp_path / "slide.tif", (tags, parts)))
    assert np.abs(found - RGB).max() <= 3


@LAYOUTS
def test_a_jpeg_smaller_than_its_tile_is_refused_but_not_at_the_edge(tmp_path, layout):
    def encode(part):
        return imagecodecs.jpeg8_encode(part, level=98, subsampling="444")

    where, parts = segments(RGB, layout, encode)
    tags = {**TAGS, **where, 259: ("H", JPEG), 262: ("H", 6), 530: ("H", [1, 1]), 274: ("H", 3)}
    if layout == "tiles":
        parts[2] = encode(np.ascontiguousarray(RGB[:TILE, 2 * TILE :]))
    found, _ = read(write_tiff(tmp_path / "slide.tif", (tags, parts)))
    assert np.abs(found - RGB).mean() < 2
    parts[0] = encode(np.ascontiguousarray(RGB[:20, :WIDTH]))
    with (
        pytest.raises(SlideError, match=r"cannot be decoded as JPEG \(it holds 150 x 20 px"),
        open_slide(write_tiff(tmp_path / "less.tif", (tags, parts))) as slide,
    ):
        slide.read_level(0, slide.levels[0].box)


def test_chroma_of_fewer_columns_in_jpeg_2000_is_converted_once(real_data):
    path = real_data / "slides" / "luna-1065626.svs"  # Aperio's YCbCr, 4:2:2
    page = index_tiff(path).pages[0]
    row, column = 12, 10
    index = row * page.columns + column
    with path.open("rb") as file:
        file.seek(page.offsets[index])
        found = page.decode([file.read(page.counts[index])], index)
    with openslide.OpenSlide(path) as slide:
        expected = np.asarray(slide.read_region((column * 512, row * 512), 0, (512, 512)))
    assert np.abs(found.astype(int) - expected[..., :3]).max() <= 1
