"""OME-Zarr as its many writers write it."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from slide_files import picture
from zarr_files import colours, scale, write_image

from wsi_suite.errors import PixelSizeError, SlideError
from wsi_suite.geometry import Box
from wsi_suite.slides.grid import plan_grid
from wsi_suite.slides.reader import is_smaller_copy
from wsi_suite.slides.slide import Slide, open_slide
from wsi_suite.slides.store import TileStore

PICTURE = picture(700, 520)


def whole(slide: Slide, level: int = 0) -> Any:
    return slide.read_level(level, slide.levels[level].box)


@pytest.mark.parametrize("axes", ["cyx", "yxc", "tczyx", "tyxc", "zcyx", "cxy", "tzyxc", "cyxz"])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_axes_stand_in_any_order(tmp_path: Path, axes: str, zarr_format: int) -> None:
    path = tmp_path / "s.ome.zarr"
    write_image(path, PICTURE, axes=axes, factors=(1, 2), zarr_format=zarr_format)
    with open_slide(path) as slide:
        assert (slide.reader, slide.vendor, slide.mpp) == ("zarr", "OME-Zarr", (0.5, 0.5))
        assert [(level.width, level.scale.x) for level in slide.levels] == [(700, 1), (350, 2)]
        assert np.array_equal(whole(slide), PICTURE)
        assert np.array_equal(whole(slide, 1), PICTURE[::2, ::2])
        box = Box(250, 501, 300, 19)
        assert np.array_equal(slide.read_level(0, box), PICTURE[501:520, 250:550])
        assert slide.notes == ()


@pytest.mark.parametrize(
    "kind",
    [
        {"zarr_format": 2, "separator": "."},
        {"zarr_format": 2, "order": "F"},
        {"zarr_format": 2, "compressors": None},
        {"zarr_format": 3, "separator": "."},
        {"zarr_format": 3, "chunks": (1, 128, 128), "shards": (3, 512, 512)},
        {"zarr_format": 3, "chunks": (3, 520, 700)},
        {"zarr_format": 3, "chunks": (1, 1, 700)},
        {"names": ["s0"], "attributes": colours("FF0000", "00FF00", "0000FF")},
        {"names": ["scale/full"]},
    ],
    ids=str,
)
def test_arrays_are_stored_in_any_way(tmp_path: Path, kind: dict[str, Any]) -> None:
    path = tmp_path / "s.zarr"
    write_image(path, PICTURE, **kind)
    with open_slide(path) as slide:
        assert np.array_equal(whole(slide), PICTURE)


def test_chunks_that_are_absent_hold_the_fill_value(tmp_path: Path) -> None:
    path = tmp_path / "s.zarr"
    write_image(path, PICTURE, fill_value=210)
    (path / "0" / "0" / "0" / "1").unlink()
    expected = PICTURE.copy()
    expected[:256, 256:512] = 210
    with open_slide(path) as slide:
        assert np.array_equal(whole(slide), expected)


def series(path: Path, *sizes: int, names: tuple[str, ...] = (), listed: bool = False) -> Path:
    root = zarr.open_group(path, mode="w", zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    for number, size in enumerate(sizes):
        write_image(root.create_group(str(number)), PICTURE[:size, :size])
    ome = root.create_group("OME")
    if listed:
        ome.attrs["series"] = [str(number) for number in range(len(sizes))]
    images = "".join(f'<Image ID="Image:{n}" Name="{name}"/>' for n, name in enumerate(names))
    xml = f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{images}</OME>'
    (path / "OME" / "METADATA.ome.xml").write_text(xml)
    return path


@pytest.mark.parametrize("listed", [True, False])
def test_the_largest_series_that_is_no_label_is_the_slide(tmp_path: Path, listed: bool) -> None:
    names = ("macro image", "a.svs", "overlap", "a.svs [label]")
    path = series(tmp_path / "s.zarr", 500, 400, 300, 520, names=names, listed=listed)
    with open_slide(path) as slide:
        assert np.array_equal(whole(slide), PICTURE[:400, :400])
        (note,) = slide.notes
        assert "'a.svs'" in note
        assert all(f"'{name}'" in note for name in ("macro image", "overlap", "a.svs [label]"))
    with open_slide(path / "2") as slide:
        assert slide.width == 300


@pytest.mark.parametrize("names", [(), ("slide",)])
def test_one_series_needs_no_note(tmp_path: Path, names: tuple[str, ...]) -> None:
    with open_slide(series(tmp_path / "s.zarr", 400, names=names)) as slide:
        assert (slide.width, slide.notes) == (400, ())


def test_ome_xml_states_what_multiscales_do_not(tmp_path: Path) -> None:
    path = series(tmp_path / "s.zarr", 100, 400, names=("label", "slide"))
    xml = path / "OME" / "METADATA.ome.xml"
    stated = xml.read_text().replace(
        'Name="slide"/>',
        'Name="slide"><Pixels PhysicalSizeX="250" PhysicalSizeXUnit="nm" PhysicalSizeY="0.25"/>'
        "</Image>",
    )
    xml.write_text(stated)
    with open_slide(path) as slide:
        assert slide.mpp == (0.5, 0.5)  # what stands with the pixels comes first
    write_image(zarr.open_group(path / "1"), PICTURE, units={}, overwrite=True)
    with open_slide(path) as slide:
        assert slide.mpp == (0.25, 0.25)
    xml.write_text("<OME damaged")
    with pytest.raises(PixelSizeError):
        open_slide(path)


@pytest.mark.parametrize("compression", ["blosc-zstd", "zstd", "none"])
def test_what_yaozarrs_writes(tmp_path: Path, compression: Any) -> None:
    from yaozarrs import DimSpec, v05
    from yaozarrs.write.v05 import write_bioformats2raw, write_image

    dims = [
        DimSpec(name="c", size=3, type="channel"),
        DimSpec(name="y", scale=0.5, unit="micrometer", type="space", scale_factor=2),
        DimSpec(name="x", scale=0.5, unit="micrometer", type="space", scale_factor=2),
    ]
    image = v05.Image(multiscales=[v05.Multiscale.from_dims(dims, name="he", n_levels=2)])
    levels = [np.ascontiguousarray(PICTURE[::n, ::n].transpose(2, 0, 1)) for n in (1, 2)]
    kind = {"writer": "zarr", "chunks": (1, 128, 128), "compression": compression}
    write_image(tmp_path / "one.zarr", image, levels, **kind)
    write_bioformats2raw(tmp_path / "many.zarr", {"0": (image, levels)}, **kind)
    for path in ("one.zarr", "many.zarr", "many.zarr/0"):
        with open_slide(tmp_path / path) as slide:
            assert slide.mpp == (0.5, 0.5)
            assert np.array_equal(whole(slide), PICTURE)
            assert np.array_equal(whole(slide, 1), PICTURE[::2, ::2])


def test_images_in_groups_without_a_layout_are_found(tmp_path: Path) -> None:
    root = zarr.open_group(tmp_path / "s.zarr", mode="w", zarr_format=3)
    images = root.create_group("images")
    write_image(images.create_group("he"), PICTURE, zarr_format=3)
    write_image(images.create_group("small"), PICTURE[:90], zarr_format=3)
    write_image(root.create_group("labels"), PICTURE, zarr_format=3)
    with open_slide(tmp_path / "s.zarr") as slide:
        assert (slide.height, len(slide.notes)) == (520, 1)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_our_own_store_is_a_slide(tmp_path: Path, version: Any) -> None:
    store = TileStore.create(
        tmp_path / "tiles.ome.zarr",
        width=700,
        height=520,
        mpp=(0.5, 0.5),
        name="slide",
        version=version,
        chunk_px=128,
        block_px=512,
    )
    tissue = np.ones((5, 6), bool)
    tissue[0, 0] = False
    grid = plan_grid(700, 520, wanted=tissue, tile_px=128, chunk_px=128, block_px=512)
    for region in grid.blocks:
        store.write_block(region, PICTURE[region.box.within(Box(0, 0, 700, 520))])
    expected = PICTURE.copy()
    expected[:128, :128] = 255
    with open_slide(store.finish()) as slide:
        assert slide.mpp == (0.5, 0.5)
        assert slide.reader == "zarr"
        assert np.array_equal(whole(slide), expected)
        assert [level.scale.x for level in slide.levels] == [1, 2, 4, 8]


@pytest.mark.parametrize(
    ("stated", "mpp"),
    [
        ({"units": {"y": "nanometer", "x": "nanometer"}, "mpp": 250.0}, 0.25),
        ({"units": {"y": "millimeter", "x": "millimeter"}, "mpp": 0.00025}, 0.25),
        ({"units": {"y": "inch", "x": "inch"}, "mpp": 0.25 / 25400}, 0.25),
        ({"units": {"y": "µm", "x": "um"}, "mpp": 0.25}, 0.25),
        ({"mpp": 1.0, "multiscale": {"coordinateTransformations": scale(1, 0.25, 0.25)}}, 0.25),
        (
            {"mpp": 2.0, "multiscale": {"coordinateTransformations": [{"type": "identity"}]}},
            2.0,
        ),
        ({"units": {}}, None),
        ({"units": {"y": "micrometer"}}, None),
        ({"units": {"y": "pixel", "x": "pixel"}}, None),
        ({"multiscale": {"coordinateTransformations": [{"type": "scale", "path": "s"}]}}, None),
        ({"multiscale": {"datasets": [{"path": "0"}]}}, None),
        *(
            ({"multiscale": {"datasets": [{"path": "0", "coordinateTransformations": bad}]}}, None)
            for bad in (
                scale(1, 0, 0),
                scale(0.5, 0.5),
                [{"type": "scale", "scale": [1, "a", "b"]}],
                [{"type": "scale", "scale": [1, None, 0.5]}],
                [{"type": "affine", "affine": [[1]]}],
                "damaged",
                [],
            )
        ),
    ],
    ids=str,
)
def test_pixel_size_is_scale_times_common_scale_times_unit(
    tmp_path: Path, stated: dict[str, Any], mpp: float | None
) -> None:
    path = tmp_path / "s.zarr"
    write_image(path, PICTURE, **stated)
    if mpp is None:
        with pytest.raises(PixelSizeError, match=r"states no pixel size.*--mpp"):
            open_slide(path)
    else:
        with open_slide(path) as slide:
            assert slide.mpp == pytest.approx((mpp, mpp), rel=1e-12)
    with open_slide(path, mpp=0.3) as slide:
        assert np.array_equal(whole(slide), PICTURE)


def test_versions_without_scales_are_read_with_a_given_pixel_size(tmp_path: Path) -> None:
    entry = {"version": "0.1", "datasets": [{"path": "0"}, {"path": "1"}], "axes": None}
    write_image(tmp_path / "s.zarr", PICTURE, axes="tczyx", factors=(1, 2), multiscale=entry)
    with open_slide(tmp_path / "s.zarr", mpp=0.5) as slide:
        assert len(slide.levels) == 2
    entry = {"version": "0.3", "datasets": [{"path": "0"}], "axes": ["y", "x", "c"]}
    write_image(tmp_path / "3.zarr", PICTURE, axes="yxc", multiscale=entry)
    with open_slide(tmp_path / "3.zarr", mpp=0.5) as slide:
        assert np.array_equal(whole(slide), PICTURE)


def level_of(path: str, *values: float, shift: float = 0.0) -> dict[str, Any]:
    moved = {"type": "translation", "translation": [0, shift, shift]}
    return {"path": path, "coordinateTransformations": [*scale(1, *values), moved]}


@pytest.mark.parametrize(
    ("second", "note"),
    [
        (level_of("1", 1.0, 1.0), None),
        (level_of("1", 1.0, 1.0, shift=0.25), None),  # pixels counted from their centres
        (level_of("1", 520 / 260 / 2, 700 / 350 / 2), None),
        (level_of("1", 1.0, 1.0, shift=5), "level '1' left out: it is shifted along x by 10 px"),
        (level_of("1", 2.0, 2.0), "level '1' left out: its scale along x says 4 times smaller"),
        (level_of("1", 0.5, 0.5), "level '1' left out: its scale along x says 1 times smaller"),
        (level_of("other", 1.0, 1.0), "level 'other' left out: 350 x 350 px is another shape"),
        (level_of("deep", 1.0, 1.0), "level 'deep' left out: it has other channels or pixels"),
        (level_of("none", 1.0, 1.0), "level 'none' left out: "),
        (level_of("../out", 1.0, 1.0), "level '../out' left out: "),
    ],
)
def test_a_level_shows_the_whole_slide_smaller_or_is_left_out(
    tmp_path: Path, second: dict[str, Any], note: str | None
) -> None:
    path = tmp_path / "s.zarr"
    datasets = [level_of("0", 0.5, 0.5), second]
    write_image(path, PICTURE, factors=(1, 2), multiscale={"datasets": datasets})
    group = zarr.open_group(path)
    square = np.ascontiguousarray(PICTURE[:350, :350].transpose(2, 0, 1))
    group.create_array("other", data=square)
    group.create_array("deep", data=PICTURE[::2, ::2].transpose(2, 0, 1).astype(np.uint16))
    with open_slide(path) as slide:
        assert slide.mpp == (0.5, 0.5)
        assert np.array_equal(whole(slide), PICTURE)
        if note is None:
            assert (len(slide.levels), slide.notes) == (2, ())
        else:
            assert len(slide.levels) == 1
            assert note in slide.notes[0]


@given(
    st.tuples(st.integers(1, 50_000), st.integers(1, 50_000)),
    st.floats(1.01, 40),
    st.sampled_from([np.floor, np.ceil, np.rint]),
)
def test_any_rounding_of_one_factor_is_a_smaller_copy(
    size0: tuple[int, int], factor: float, rounding: Any
) -> None:
    size = (max(1, int(rounding(size0[0] / factor))), max(1, int(rounding(size0[1] / factor))))
    smaller = all(part < whole for whole, part in zip(size0, size, strict=True))
    assert is_smaller_copy(size0, size) == smaller


@pytest.mark.parametrize(
    "size", [(1000, 1000), (2000, 1000), (1000, 2001), (500, 1010), (512, 1000), (0, 0)]
)
def test_another_shape_is_no_smaller_copy(size: tuple[int, int]) -> None:
    assert not is_smaller_copy((1000, 2000), size)


def test_datasets_in_any_order_and_the_largest_of_several_multiscales(tmp_path: Path) -> None:
    path = tmp_path / "s.zarr"
    datasets = [level_of("1", 1.0, 1.0), level_of("0", 0.5, 0.5)]
    write_image(path, PICTURE, factors=(1, 2), multiscale={"datasets": datasets})
    with open_slide(path) as slide:
        assert [level.width for level in slide.levels] == [700, 350]
        assert slide.mpp == (0.5, 0.5)
    group = zarr.open_group(path)
    (entry,) = group.attrs["multiscales"]  # type: ignore[misc]
    small = {**entry, "datasets": datasets[:1]}
    group.attrs["multiscales"] = [small, entry]
    with open_slide(path) as slide:
        assert slide.width == 700


KINDS = [
    {"zarr_format": 2, "separator": "."},
    {"zarr_format": 2, "axes": "tczyx", "chunks": (1, 1, 1, 128, 128)},
    {"zarr_format": 3, "axes": "yxc", "chunks": (64, 64, 3), "shards": (128, 128, 3)},
]


def unlink_chunks(path: Path, level: str, *, kept: int = 0) -> None:
    """Delete the chunks of a level but for the first ones."""
    files = [file for file in (path / level).rglob("*") if file.is_file()]
    chunks = sorted(file for file in files if file.name not in (".zarray", "zarr.json", ".zattrs"))
    for chunk in chunks[kept:]:
        chunk.unlink()


@pytest.mark.parametrize("kept", [0, 3])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_level_that_was_not_written_whole_is_left_out(
    tmp_path: Path, kind: dict[str, Any], kept: int
) -> None:
    path = tmp_path / "s.zarr"
    write_image(path, PICTURE, factors=(1, 2, 4), **kind)
    unlink_chunks(path, "1", kept=kept)
    with open_slide(path) as slide:
        assert [level.width for level in slide.levels] == [700, 175]
        assert "level '1' left out: chunks of it were never written" in slide.notes


def test_a_level_without_the_chunks_that_the_slide_lacks_is_kept(tmp_path: Path) -> None:
    glass = PICTURE.copy()
    glass[256:] = glass[:, 512:] = 255
    path = tmp_path / "s.zarr"
    write_image(path, glass, factors=(1, 2), chunks=(3, 128, 128), fill_value=255)
    assert not (path / "1" / "0" / "1" / "1").exists()
    with open_slide(path) as slide:
        assert (len(slide.levels), slide.notes) == (2, ())


def test_an_image_whose_pixels_were_never_written_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.zarr"
    write_image(path, PICTURE)
    unlink_chunks(path, "0")
    with pytest.raises(SlideError, match="never written"):
        open_slide(path)


@pytest.mark.parametrize("separator", [".", "/"])
def test_chunks_that_lie_elsewhere_than_the_metadata_say_are_not_taken_for_black(
    tmp_path: Path, separator: str
) -> None:
    path = tmp_path / "s.zarr"
    write_image(path, PICTURE, separator=separator)
    metadata = path / "0" / ".zarray"
    stated = json.loads(metadata.read_text())
    metadata.write_text(json.dumps({**stated, "dimension_separator": "./".strip(separator)}))
    with pytest.raises(SlideError, match="lie elsewhere than its metadata say"):
        open_slide(path)


@pytest.mark.parametrize("stated", [0, "0", None, [], {"path": 0}])
def test_a_level_is_listed_in_odd_ways(tmp_path: Path, stated: Any) -> None:
    path = tmp_path / "s.zarr"
    write_image(path, PICTURE, multiscale={"datasets": [stated]})
    with suppress(SlideError), open_slide(path, mpp=0.5) as slide:
        assert np.array_equal(whole(slide), PICTURE)


def test_a_level_with_chunks_of_no_size_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "s.zarr"
    write_image(path, PICTURE, factors=(1, 2), zarr_format=3)
    metadata = path / "1" / "zarr.json"
    stated = json.loads(metadata.read_text())
    stated["chunk_grid"]["configuration"]["chunk_shape"][1] = 0
    metadata.write_text(json.dumps(stated))
    with open_slide(path) as slide:
        assert "level '1' left out" in " ".join(slide.notes)


def test_channels_are_taken_by_their_colours(tmp_path: Path) -> None:
    path = tmp_path / "s.zarr"
    bgr = {"attributes": colours("#0000ff", "00FF00", "FF0000")}
    write_image(path, PICTURE[..., ::-1], **bgr)
    with open_slide(path) as slide:
        assert np.array_equal(whole(slide), PICTURE)
        assert len(slide.notes) == 1
    unknown = ("16711680", "65280", "255"), ("red", "green", "blue"), ("FFFFFF",) * 3
    for stated in unknown:
        write_image(path, PICTURE, attributes=colours(*stated))
        with open_slide(path) as slide:
            assert (slide.notes, np.array_equal(whole(slide), PICTURE)) == ((), True)


FOUR = np.dstack([PICTURE, PICTURE[..., :1]])


@pytest.mark.parametrize(
    ("pixels", "kind", "message"),
    [
        (PICTURE.astype(np.uint16), {}, "pixels of uint16; expected .* 8-bit RGB"),
        (PICTURE.astype(np.float32), {}, "pixels of float32"),
        (PICTURE.astype(np.int8), {}, "pixels of int8"),
        (PICTURE[..., :1], {}, r"1 channel\(s\): greyscale or fluorescence"),
        (PICTURE[..., 0], {"axes": "yx"}, r"1 channel\(s\)"),
        (FOUR, {}, r"4 channel\(s\)"),
        (PICTURE, {"multiscale": {"axes": ["t", "y", "x"]}}, "3 planes along axis t"),
        (PICTURE, {"multiscale": {"axes": None}}, "its axes are not known"),
        (PICTURE, {"multiscale": {"axes": ["c", "y"]}}, "its axes are not known"),
        (PICTURE, {"multiscale": {"axes": ["c", "x", "x"]}}, "its axes are not known"),
        (PICTURE, {"multiscale": {"datasets": []}}, "list no levels"),
        (PICTURE, {"multiscale": {"datasets": [{"path": "9"}]}}, "largest level '9'"),
        (PICTURE, {"attributes": {"multiscales": []}}, "hold no image"),
        (PICTURE, {"attributes": {"plate": {}}}, "a plate of many wells"),
        (PICTURE, {"attributes": {"well": {}}}, "a well of several fields"),
        (PICTURE, {"attributes": {"image-label": {}}}, "an image of labels"),
        (PICTURE, {"attributes": colours("00FFFF", "FF00FF", "FFFF00")}, "coloured 00FFFF"),
    ],
)
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_what_is_no_brightfield_slide_is_refused(
    tmp_path: Path, pixels: Any, kind: dict[str, Any], message: str, zarr_format: int
) -> None:
    path = tmp_path / "s.zarr"
    write_image(path, pixels, zarr_format=zarr_format, **kind)
    with pytest.raises(SlideError, match=rf"s\.zarr: .*{message}"):
        open_slide(path)


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of keys to everything inside nested lists and mappings."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield (*above, key)
            yield from places(value[key], (*above, key))


@pytest.mark.parametrize("junk", [None, 5, "x", [], {}, [None], {"a": 1}], ids=str)
def test_damaged_metadata_are_not_stated_or_refused(tmp_path: Path, junk: Any) -> None:
    path = tmp_path / "s.zarr"
    write_image(path, PICTURE[:64, :64], attributes=colours("FF0000", "00FF00", "0000FF"))
    attributes = zarr.open_group(path).attrs.asdict()
    for place in places(attributes):
        damaged = inner = copy.deepcopy(attributes)
        for key in place[:-1]:
            inner = inner[key]  # type: ignore[assignment]
        inner[place[-1]] = junk
        (path / ".zattrs").write_text(json.dumps(damaged))
        # Not stated or refused in a line, and no other error.
        with suppress(SlideError), open_slide(path) as slide:
            assert slide.mpp == (0.5, 0.5)


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "s.zarr", PICTURE)
    with pytest.raises(SlideError, match="not an OME-Zarr image"):
        open_slide(tmp_path / "s.zarr" / "0")
    zarr.save_array(tmp_path / "array.zarr", PICTURE)
    with pytest.raises(SlideError, match="a Zarr array; expected a group"):
        open_slide(tmp_path / "array.zarr")
    zarr.open_group(tmp_path / "empty.zarr", mode="w")
    with pytest.raises(SlideError, match="holds no OME-Zarr image"):
        open_slide(tmp_path / "empty.zarr")
    (tmp_path / "bare.zarr").mkdir()
    with pytest.raises(SlideError, match="not an OME-Zarr image"):
        open_slide(tmp_path / "bare.zarr")
    (tmp_path / "s.zarr" / ".zattrs").write_text("{ damaged")
    with pytest.raises(SlideError, match="not an OME-Zarr image"):
        open_slide(tmp_path / "s.zarr")


@pytest.mark.parametrize("name", ["s.ozx", "s.zarr.zip"])
def test_a_zipped_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(SlideError, match="unzip it"):
        open_slide(tmp_path / name)


def test_a_damaged_chunk_is_named_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "s.zarr"
    write_image(path, PICTURE)
    (path / "0" / "0" / "1" / "1").write_bytes(b"damaged")
    slide = open_slide(path)
    with slide, pytest.raises(SlideError, match=r"s\.zarr: cannot be read at level 0"):
        whole(slide)


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return Path.mkdir, (self.folder,)


@pytest.mark.parametrize("place", ["filters", "compressor"])
def test_codecs_for_python_objects_are_refused_and_run_nothing(tmp_path: Path, place: str) -> None:
    path = tmp_path / "s.zarr"
    write_image(path, PICTURE)
    for metadata in path.glob("*/.zarray"):
        content = json.loads(metadata.read_text("utf-8"))
        codec = {"id": "pickle", "protocol": 5}
        content |= {"compressor": None, "filters": None}
        content[place] = [codec] if place == "filters" else codec
        metadata.write_text(json.dumps(content), "utf-8")
        for chunk in metadata.parent.rglob("*"):
            if chunk.is_file() and chunk != metadata and not chunk.name.startswith("."):
                chunk.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(SlideError, match=r"s\.zarr: its largest level '0' cannot be read .*pickle"):
        open_slide(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("codec", ["numcodecs.pickle", "vlen-bytes", "numcodecs.json2"])
@pytest.mark.parametrize("sharded", [False, True])
def test_unknown_codecs_of_zarr_3_are_refused(tmp_path: Path, codec: str, sharded: bool) -> None:
    path = tmp_path / "s.zarr"
    sides = {"shards": (3, 512, 512)} if sharded else {}
    write_image(path, PICTURE, zarr_format=3, **sides)
    metadata = path / "0" / "zarr.json"
    content = json.loads(metadata.read_text("utf-8"))
    inner = content["codecs"][0]["configuration"]["codecs"] if sharded else content["codecs"]
    inner.append({"name": codec, "configuration": {}})
    metadata.write_text(json.dumps(content), "utf-8")
    with pytest.raises(SlideError, match=r"s\.zarr: its largest level '0' cannot be read"):
        open_slide(path)


class Unpickling(numcodecs.abc.Codec):  # type: ignore[misc]
    """A codec of some plug-in that runs what a file says."""

    codec_id = "unpickling"

    def encode(self, buf: Any) -> Any:
        return buf

    def decode(self, buf: Any, out: Any = None) -> Any:
        return pickle.loads(bytes(buf))


@pytest.mark.parametrize("place", ["filters", "compressor"])
@pytest.mark.parametrize("level", ["0", "1"])
def test_only_codecs_for_pixels_decode_a_slide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, level: str
) -> None:
    monkeypatch.setitem(numcodecs.registry.codec_registry, "unpickling", Unpickling)
    path = tmp_path / "s.zarr"
    write_image(path, PICTURE, factors=(1, 2), compressors=None)
    metadata = path / level / ".zarray"
    codec = {"id": "unpickling"}
    content = json.loads(metadata.read_text("utf-8"))
    content[place] = [codec] if place == "filters" else codec
    metadata.write_text(json.dumps(content), "utf-8")
    for chunk in (path / level).rglob("[0-9]"):
        if chunk.is_file():
            chunk.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    if level == "0":
        with pytest.raises(
            SlideError, match=r"s\.zarr: its largest level '0' .*'unpickling'.*zstd"
        ):
            open_slide(path)
    else:
        with open_slide(path) as slide:
            assert len(slide.levels) == 1
            assert "'unpickling'" in slide.notes[0]
    assert not (tmp_path / "sprung").exists()


class Renamed(zarr.codecs.Crc32cCodec):
    """A codec of some plug-in, with its name in the file."""

    def to_dict(self) -> dict[str, Any]:
        return {"name": "renamed"}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Renamed:
        return cls()


@pytest.mark.parametrize("place", ["codecs", "index_codecs"])
def test_codecs_inside_shards_are_looked_at(tmp_path: Path, place: str) -> None:
    zarr.registry.register_codec("renamed", Renamed)
    path = tmp_path / "s.zarr"
    write_image(path, PICTURE, zarr_format=3, shards=(3, 512, 512))
    open_slide(path).close()
    metadata = path / "0" / "zarr.json"
    content = json.loads(metadata.read_text("utf-8"))
    content["codecs"][0]["configuration"][place].append({"name": "renamed"})
    metadata.write_text(json.dumps(content), "utf-8")
    with pytest.raises(SlideError, match=r"s\.zarr: its largest level '0' .*'renamed'"):
        open_slide(path)


@pytest.mark.parametrize(
    "codecs",
    [
        {"compressors": [getattr(numcodecs, name)()]}
        for name in ("Blosc", "BZ2", "GZip", "LZ4", "LZMA", "Zlib", "Zstd")
    ]
    + [
        {"filters": [one]}
        for one in (
            numcodecs.Delta("u1"),
            numcodecs.FixedScaleOffset(offset=0, scale=1, dtype="u1"),
            numcodecs.Shuffle(1),
            numcodecs.CRC32(),
        )
    ],
    ids=str,
)
def test_codecs_for_pixels_are_read(tmp_path: Path, codecs: dict[str, Any]) -> None:
    path = tmp_path / "s.zarr"
    write_image(path, PICTURE, **codecs)
    with open_slide(path) as slide:
        assert np.array_equal(whole(slide), PICTURE)
