from __future__ import annotations

import json
import multiprocessing
import pickle
import xml.etree.ElementTree as ET
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from wsi_suite.errors import ConfigError, OutputConflictError, OutputError
from wsi_suite.geometry import Box
from wsi_suite.slides.chunks import chunk_shape, whiten_unwanted
from wsi_suite.slides.grid import TileGrid, plan_grid
from wsi_suite.slides.store import TileStore, estimated_bytes
from wsi_suite.slides.store_layout import staging_folder

WIDTH, HEIGHT = 1501, 1110
PLANE = Box(0, 0, WIDTH, HEIGHT)
SIDES = {"chunk_px": 64, "block_px": 512}
IMAGE = {"width": WIDTH, "height": HEIGHT, "mpp": (0.5, 0.51), "name": "Schnitt Ä", **SIDES}

versions = pytest.mark.parametrize("version", ["0.5", "0.4"])


def plan(share: float = 0.4, *, seed: int = 0) -> TileGrid:
    wanted = np.random.default_rng(seed).random(chunk_shape(WIDTH, HEIGHT, chunk_px=64)) < share
    wanted[:8, 8:16] = False  # a whole block of glass
    return plan_grid(WIDTH, HEIGHT, wanted=wanted, tile_px=64, **SIDES)  # windows are chunks


def picture() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def as_stored(grid: TileGrid, pixels: np.ndarray) -> np.ndarray:
    stored = pixels.copy()
    whiten_unwanted(stored, PLANE, wanted=grid.wanted, chunk_px=64)
    return stored


def write_all(store: TileStore, grid: TileGrid, pixels: np.ndarray) -> None:
    for block in grid.blocks:
        store.write_block(block, pixels[block.box.within(PLANE)])


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def area_average(pixels: np.ndarray) -> np.ndarray:
    # Means over the pixels that exist, halves rounded up: the slow way.
    height, width = ((side + 1) // 2 for side in pixels.shape[:2])
    total, count = np.zeros((height, width, 3)), np.zeros((height, width, 1))
    for dy in (0, 1):
        for dx in (0, 1):
            part = pixels[dy::2, dx::2].astype(float)
            total[: part.shape[0], : part.shape[1]] += part
            count[: part.shape[0], : part.shape[1]] += 1
    return np.floor(total / count + 0.5).astype(np.uint8)


@versions
def test_zarr_reads_the_pixels_and_a_pyramid_of_area_averages(tmp_path, version):
    grid, pixels = plan(), picture()
    store = TileStore.create(tmp_path / "tiles.ome.zarr", **IMAGE, version=version)
    write_all(store, grid, pixels)
    path = store.finish()
    group = zarr.open_group(path, mode="r", zarr_format=2 if version == "0.4" else 3)
    level = as_stored(grid, pixels)
    for name in "012345":
        array = group[name]
        assert array.fill_value == 255
        assert array.chunks == (3, 64, 64)
        np.testing.assert_array_equal(np.moveaxis(array[:], 0, -1), level)
        level = area_average(level)
    assert "6" not in group
    assert max(array.shape) <= 64
    if version == "0.5":
        shards = [group[name].shards[1] for name in "012345"]
        assert shards == [512, 256, 128, 64, 256, 256]


@versions
def test_absent_chunks_are_not_on_disk(tmp_path, version):
    grid = plan()
    store = TileStore.create(tmp_path / "t.ome.zarr", **IMAGE, version=version)
    write_all(store, grid, picture())
    path = store.finish()
    if version == "0.4":
        stored = {
            tuple(map(int, f.relative_to(path / "0" / "0").parts))
            for f in (path / "0" / "0").rglob("*")
            if f.is_file()
        }
        assert stored == set(map(tuple, np.argwhere(grid.wanted).tolist()))
        return
    shards = {
        tuple(map(int, f.relative_to(path / "0" / "c" / "0").parts))
        for f in (path / "0" / "c" / "0").rglob("*")
        if f.is_file()
    }
    assert shards == {(block.row, block.col) for block in grid.blocks}
    for block in grid.blocks:
        data = (path / "0" / "c" / "0" / str(block.row) / str(block.col)).read_bytes()
        index = np.frombuffer(data[-(64 * 16 + 4) : -4], "<u8").reshape(8, 8, 2)
        rows, cols = block.chunks.shape
        present = index[..., 1] != np.iinfo(np.uint64).max
        assert (present[:rows, :cols] == block.chunks).all()
        assert present.sum() == block.chunks.sum()
        assert index[present][:, 1].sum() == len(data) - 64 * 16 - 4


@versions
def test_metadata_are_valid_ome_zarr(tmp_path, version):
    from ome_zarr_models import v04, v05

    store = TileStore.create(tmp_path / "t.ome.zarr", **IMAGE, version=version)
    path = store.finish()
    image = (v04 if version == "0.4" else v05).Image.from_zarr(zarr.open_group(path, mode="r"))
    (multiscale,) = image.ome_attributes.multiscales
    assert multiscale.name == "Schnitt Ä"
    assert [(axis.name, axis.unit) for axis in multiscale.axes] == [
        ("c", None),
        ("y", "micrometer"),
        ("x", "micrometer"),
    ]
    scales = [dataset.coordinateTransformations[0].scale for dataset in multiscale.datasets]
    assert scales == [[1, 0.51 * 2**k, 0.5 * 2**k] for k in range(6)]
    attributes = dict(zarr.open_group(path, mode="r").attrs)
    omero = attributes.get("ome", attributes)["omero"]
    assert [channel["color"] for channel in omero["channels"]] == ["FF0000", "00FF00", "0000FF"]


def test_bio_formats_finds_pixel_size_and_colours_of_a_04_store(tmp_path):
    path = TileStore.create(tmp_path / "t.ome.zarr", **IMAGE, version="0.4").finish()
    root = ET.parse(path / "OME" / "METADATA.ome.xml").getroot()
    ome = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"
    pixels = root.find(f"{ome}Image/{ome}Pixels")
    assert (
        pixels.attrib.items()
        >= {
            "SizeX": "1501",
            "SizeY": "1110",
            "SizeC": "3",
            "Type": "uint8",
            "PhysicalSizeX": "0.5",
            "PhysicalSizeY": "0.51",
            "PhysicalSizeXUnit": "µm",
        }.items()
    )
    colours = [int(channel.attrib["Color"]) for channel in pixels.findall(f"{ome}Channel")]
    # OME: RGBA in a signed 32-bit number
    assert [colour & 0xFFFFFFFF for colour in colours] == [0xFF0000FF, 0x00FF00FF, 0x0000FFFF]
    zarray = json.loads((path / "0" / ".zarray").read_text())
    assert zarray["dimension_separator"] == "/"
    assert zarray["compressor"]["id"] == "zlib"


@versions
def test_a_killed_run_is_continued_to_the_same_bytes(tmp_path, version):
    grid, pixels = plan(), picture()
    whole = TileStore.create(tmp_path / "whole.ome.zarr", **IMAGE, version=version)
    write_all(whole, grid, pixels)
    killed = TileStore.create(tmp_path / "killed.ome.zarr", **IMAGE, version=version)
    for block in grid.blocks[:2]:
        killed.write_block(block, pixels[block.box.within(PLANE)])
    # Killed while a shard was being written: half a file under a temporary name, half a shard.
    file = next(f for f in (killed.folder / "0").rglob("*") if f.is_file() and f.name.isdigit())
    (staging_folder(killed.folder, "") / "0.01234567.partial").write_bytes(b"half")
    file.write_bytes(file.read_bytes()[:100])
    resumed = TileStore.create(tmp_path / "killed.ome.zarr", **IMAGE, version=version)
    for block in grid.blocks:
        resumed.write_block(block, pixels[block.box.within(PLANE)])
    resumed_files, whole_files = files(resumed.finish()), files(whole.finish())
    assert resumed_files.keys() == whole_files.keys()
    assert resumed_files == whole_files


def test_a_writer_that_outlived_its_run_is_shut_out(tmp_path):
    """A worker of a cluster ends its block although the process that sent it was killed."""
    grid, pixels = plan(), picture()
    first, second = grid.blocks[:2]
    lost = TileStore.create(tmp_path / "t.ome.zarr", **IMAGE, writer="lost")
    lost.write_block(first, pixels[first.box.within(PLANE)])
    store = TileStore.create(tmp_path / "t.ome.zarr", **IMAGE, writer="new")
    before = files(store.folder)
    with pytest.raises(OutputError):
        lost.write_block(second, np.zeros_like(pixels[second.box.within(PLANE)]))
    assert files(store.folder) == before
    write_all(store, grid, pixels)
    finished = store.finish()
    before = files(finished)
    with pytest.raises(OutputError):
        lost.write_block(second, np.zeros_like(pixels[second.box.within(PLANE)]))
    assert [path.name for path in tmp_path.iterdir()] == ["t.ome.zarr"]
    assert files(finished) == before
    assert not [path for path in finished.iterdir() if path.name.startswith("writing")]


def test_a_store_killed_while_it_was_begun_is_begun_anew(tmp_path):
    store = TileStore.create(tmp_path / "t.ome.zarr", **IMAGE)
    before = files(store.folder)
    (store.folder / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    (store.folder / "3" / "zarr.json").unlink()
    again = TileStore.create(tmp_path / "t.ome.zarr", **IMAGE)
    assert files(again.folder) == before


def test_finishing_may_be_killed_and_repeated(tmp_path, monkeypatch):
    grid, pixels = plan(), picture()
    store = TileStore.create(tmp_path / "t.ome.zarr", **IMAGE)
    write_all(store, grid, pixels)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(PermissionError(13, "busy")))
        with pytest.raises(OutputError, match="busy"):
            store.finish()
    assert not store.path.exists()
    assert TileStore.open(store.path).finish() == store.path
    assert TileStore.open(store.path).folder == store.path
    assert not (tmp_path / "t.ome.zarr.partial").exists()


@versions
def test_boxes_are_read_anywhere(tmp_path, version):
    grid, pixels = plan(), picture()
    store = TileStore.create(tmp_path / "t.ome.zarr", **IMAGE, version=version)
    write_all(store, grid, pixels)
    padded = np.pad(as_stored(grid, pixels), ((100, 100), (100, 100), (0, 0)), constant_values=255)
    for box in (
        Box(0, 0, 10, 10),
        Box(-100, -50, 300, 200),
        Box(1400, 1000, 200, 200),
        Box(500, 510, 30, 1),
        Box(1601, 0, 10, 10),
        Box(5, 5, 0, 3),
        Box(-100, -100, WIDTH + 200, HEIGHT + 200),
    ):
        expected = padded[box.y + 100 : box.bottom + 100, max(0, box.x + 100) : box.right + 100]
        if box.x >= WIDTH + 100:
            expected = np.full((box.height, box.width, 3), 255)
        np.testing.assert_array_equal(store.read(box), expected)


@settings(max_examples=25)  # each writes a store
@given(st.integers(1, 150), st.integers(1, 150), st.integers(0, 2**32 - 1))
def test_what_is_written_is_read(tmp_path_factory, width, height, seed):
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
    wanted = generator.random(chunk_shape(width, height, chunk_px=16)) < 0.6
    grid = plan_grid(width, height, wanted=wanted, chunk_px=16, tile_px=16, block_px=32)
    store = TileStore.create(
        tmp_path_factory.mktemp("store") / "t.ome.zarr",
        width=width,
        height=height,
        mpp=(1, 1),
        name="t",
        chunk_px=16,
        block_px=32,
    )
    plane = Box(0, 0, width, height)
    for block in grid.blocks:
        store.write_block(block, pixels[block.box.within(plane)])
    whiten_unwanted(pixels, plane, wanted=wanted, chunk_px=16)
    path = store.finish()
    for level in range(len(store.levels)):
        size = Box(0, 0, *store.layout.sizes[level])
        np.testing.assert_array_equal(TileStore.open(path).read(size, level=level), pixels)
        pixels = area_average(pixels)


def _write_from_another_process(path: Path, grid: TileGrid, number: int) -> None:
    block = grid.blocks[number]
    TileStore.open(path).write_block(block, picture()[block.box.within(PLANE)])


def test_processes_write_blocks_of_one_store(tmp_path):
    grid = plan()
    store = TileStore.create(tmp_path / "t.ome.zarr", **IMAGE)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as pool:
        jobs = [
            pool.submit(_write_from_another_process, store.path, grid, number)
            for number in range(len(grid.blocks))
        ]
        for job in jobs:
            job.result()
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(store)).read(PLANE), as_stored(grid, picture())
    )


def test_the_pixels_given_are_left_as_they_were(tmp_path):
    block = plan().blocks[0]
    pixels = picture()[block.box.within(PLANE)].copy()
    before = pixels.copy()
    TileStore.create(tmp_path / "t.ome.zarr", **IMAGE).write_block(block, pixels)
    np.testing.assert_array_equal(pixels, before)


@versions
def test_long_paths_with_spaces_and_umlauts(tmp_path, version):
    folder = tmp_path / ("Präparat Größe 5 µm " * 5) / ("ö" * 60) / ("x y" * 30)
    folder.mkdir(parents=True)
    assert len(str(folder)) > 260
    grid, pixels = plan(0.05), picture()
    store = TileStore.create(folder / "tiles.ome.zarr", **IMAGE, version=version)
    write_all(store, grid, pixels)
    np.testing.assert_array_equal(
        TileStore.open(store.finish()).read(PLANE), as_stored(grid, pixels)
    )


def test_a_finished_store_is_never_overwritten(tmp_path):
    store = TileStore.create(tmp_path / "t.ome.zarr", **IMAGE)
    twin = TileStore.open(store.path)
    store.finish()
    with pytest.raises(OutputConflictError, match=r"t\.ome\.zarr: exists"):
        TileStore.create(tmp_path / "t.ome.zarr", **IMAGE)
    with pytest.raises(OutputConflictError, match="exists"):
        twin.finish()


@versions
def test_a_store_of_an_earlier_version_is_read(tmp_path, version):
    """Blocks were called regions in its attributes."""
    grid, pixels = plan(0.05), picture()
    store = TileStore.create(tmp_path / "t.ome.zarr", **IMAGE, version=version)
    write_all(store, grid, pixels)
    group = zarr.open_group(store.finish())
    own = dict(group.attrs["wsi_suite"])
    assert own.pop("format") == 1
    group.attrs["wsi_suite"] = {**own, "region_px": own.pop("block_px")}
    opened = TileStore.open(tmp_path / "t.ome.zarr")
    np.testing.assert_array_equal(opened.read(PLANE), as_stored(grid, pixels))


def test_a_partial_store_of_an_earlier_version_is_continued(tmp_path):
    store = TileStore.create(tmp_path / "t.ome.zarr", **IMAGE)
    group = zarr.open_group(store.folder)
    own = dict(group.attrs["wsi_suite"])
    del own["format"]
    group.attrs["wsi_suite"] = own
    assert TileStore.create(tmp_path / "t.ome.zarr", **IMAGE).layout == store.layout


def test_a_store_of_a_later_format_is_refused(tmp_path):
    store = TileStore.create(tmp_path / "t.ome.zarr", **IMAGE)
    group = zarr.open_group(store.folder)
    group.attrs["wsi_suite"] = {"format": 2, "side": 4096}
    with pytest.raises(OutputError, match=r"t\.ome\.zarr.*: of format 2, which a later version"):
        TileStore.open(tmp_path / "t.ome.zarr")


def test_a_partial_store_of_another_image_is_refused(tmp_path):
    TileStore.create(tmp_path / "t.ome.zarr", **IMAGE)
    for change in ({"width": 1500}, {"mpp": (0.5, 0.5)}, {"version": "0.4"}, {"name": "other"}):
        with pytest.raises(OutputConflictError, match="another image or with other settings"):
            TileStore.create(tmp_path / "t.ome.zarr", **(IMAGE | change))


def test_what_is_not_a_store_is_refused(tmp_path):
    with pytest.raises(OutputError, match="no tiles here"):
        TileStore.open(tmp_path / "missing.ome.zarr")
    zarr.create_group(tmp_path / "other.zarr")
    with pytest.raises(OutputError, match="no tiles here"):
        TileStore.open(tmp_path / "other.zarr")


@versions
def test_a_damaged_file_is_named(tmp_path, version):
    grid = plan()
    store = TileStore.create(tmp_path / "t.ome.zarr", **IMAGE, version=version)
    write_all(store, grid, picture())
    for file in (store.folder / "0").rglob("*"):
        if file.is_file() and not file.name.startswith((".z", "zarr")):
            file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(OutputError, match="level 0 cannot be read"):
        store.read(PLANE)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputError, match="cannot be written"):
        TileStore.create(tmp_path / "file" / "t.ome.zarr", **IMAGE)


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    block = plan().blocks[0]
    store = TileStore.create(tmp_path / "t.ome.zarr", **IMAGE)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    before = files(store.folder)
    pixels = picture()[block.box.within(PLANE)]
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.raises(OutputError, match="No space left"):
            store.write_block(block, pixels)
    assert files(store.folder) == before


def test_block_sides_that_do_not_halve_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="block_px = 192"):
        TileStore.create(tmp_path / "t.ome.zarr", **(IMAGE | {"block_px": 192}))


def test_the_estimate_is_of_the_size_of_incompressible_tissue(tmp_path):
    grid = plan()
    store = TileStore.create(tmp_path / "t.ome.zarr", **IMAGE)
    write_all(store, grid, picture())
    stored = sum(map(len, files(store.finish()).values()))
    pixels = sum(block.stored_px for block in grid.blocks)
    assert pixels < grid.wanted.sum() * 64**2, "the raster's edge cuts chunks"
    assert 0.6 < estimated_bytes(pixels) / stored < 1.2
