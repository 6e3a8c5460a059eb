"""How fast blocks are written to a tile store, beside what bounds it.

Run ``python benchmarks/writing.py``; see README.md.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import numpy.typing as npt
import zarr
from PIL import Image
from rich.console import Console
from rich.table import Table

from wsi_suite.slides.chunks import CHUNK_PX
from wsi_suite.slides.grid import BLOCK_PX, plan_grid
from wsi_suite.slides.ome_metadata import OmeZarrVersion
from wsi_suite.slides.store import TileStore
from wsi_suite.slides.store_pixels import COMPRESSOR, ZSTD_LEVEL, halve

Pixels = npt.NDArray[np.uint8]


def main() -> None:
    """Time each way of writing one block and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    pixels = texture()

    table = Table("what", "MB/s", "MB per CPU-second", "of compressor", "stored / raw")
    bound = 0.0
    with tempfile.TemporaryDirectory() as name:
        for label, write in ways(pixels, Path(name)).items():
            wall, cpu, stored = best(write, repeats=arguments.repeats)
            bound = bound or pixels.nbytes / cpu
            table.add_row(
                label,
                f"{pixels.nbytes / wall / 1e6:.0f}",
                f"{pixels.nbytes / cpu / 1e6:.0f}",
                f"{pixels.nbytes / cpu / bound:.2f}",
                f"{stored / pixels.nbytes:.2f}",
            )
    Console().print(table)


def ways(pixels: Pixels, folder: Path) -> dict[str, Callable[[], int]]:
    """Return what is timed, by name; each returns the bytes that it stored."""
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    chunks = [
        planes[:, y : y + CHUNK_PX, x : x + CHUNK_PX].tobytes()
        for y in range(0, BLOCK_PX, CHUNK_PX)
        for x in range(0, BLOCK_PX, CHUNK_PX)
    ]

    room = bytearray(2 * len(chunks[0]))

    def compress() -> int:
        return sum(len(_zstd(chunk, room)) for chunk in chunks)

    pyramid = pyramid_chunks(pixels)

    def compress_into_a_file() -> int:
        with (folder / "chunks").open("wb") as file:
            file.writelines(_zstd(chunk, room) for chunk in pyramid)
            file.flush()
            os.fsync(file.fileno())
        return (folder / "chunks").stat().st_size

    def copy() -> int:
        return pixels.copy().nbytes

    def save() -> int:
        np.save(folder / "block.npy", pixels)
        return pixels.nbytes

    return {
        "zstd alone": compress,
        "zstd of 4 levels, into a file": compress_into_a_file,
        "memory copy": copy,
        "np.save": save,
        "zarr, shard": with_zarr(planes, folder / "a.zarr", empty_chunks=False),
        "zarr, shard, empty chunks too": with_zarr(planes, folder / "b.zarr", empty_chunks=True),
        "TileStore 0.5, 4 levels": with_store(pixels, folder, version="0.5"),
        "TileStore 0.5, 4 levels, half blank": with_store(pixels, folder, version="0.5", share=0.5),
        "TileStore 0.4, 4 levels": with_store(pixels, folder, version="0.4"),
    }


def pyramid_chunks(pixels: Pixels) -> list[bytes]:
    """Return the chunks of the four levels that a block is stored at, as planes."""
    chunks = []
    while pixels.shape[0] >= CHUNK_PX:
        for y in range(0, pixels.shape[0], CHUNK_PX):
            for x in range(0, pixels.shape[1], CHUNK_PX):
                part = pixels[y : y + CHUNK_PX, x : x + CHUNK_PX]
                chunks.append(part.transpose(2, 0, 1).tobytes())
        pixels = halve(pixels)
    return chunks


def _zstd(chunk: bytes, room: bytearray) -> memoryview:
    return memoryview(imagecodecs.zstd_encode(chunk, level=ZSTD_LEVEL, out=room))


def with_zarr(planes: Pixels, path: Path, *, empty_chunks: bool) -> Callable[[], int]:
    """Return a function that writes one shard, finest level only, by assignment."""
    array = zarr.create_array(
        path,
        shape=planes.shape,
        dtype="uint8",
        chunks=(3, CHUNK_PX, CHUNK_PX),
        shards=planes.shape,
        fill_value=255,
        compressors=COMPRESSOR[3],
        config={"write_empty_chunks": empty_chunks},
    )

    def write() -> int:
        array[:] = planes
        return files_size(path)

    return write


def with_store(
    pixels: Pixels, folder: Path, *, version: OmeZarrVersion, share: float = 1.0
) -> Callable[[], int]:
    """Return a function that writes one block with its pyramid."""
    side = BLOCK_PX // CHUNK_PX
    wanted = np.random.default_rng(0).random((side, side)) < share
    (block,) = plan_grid(BLOCK_PX, BLOCK_PX, wanted=wanted).blocks
    store = TileStore.create(
        folder / f"{version}-{share}.ome.zarr",
        width=BLOCK_PX,
        height=BLOCK_PX,
        mpp=(0.5, 0.5),
        name="benchmark",
        version=version,
    )

    def write() -> int:
        store.write_block(block, pixels)
        return files_size(store.folder)

    return write


def best(write: Callable[[], int], *, repeats: int) -> tuple[float, float, int]:
    """Return the shortest wall time and CPU time (s), and the bytes stored."""
    walls, cpus, stored = [], [], 0
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        stored = write()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return min(walls), min(cpus), stored


def files_size(folder: Path) -> int:
    """Return the bytes of all files under a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def texture() -> Pixels:
    """Return a block of blobs and grain that compresses as fine tissue does."""
    generator = np.random.default_rng(0)
    coarse = generator.integers(180, 230, (BLOCK_PX // 16, BLOCK_PX // 16, 3), dtype=np.uint8)
    blobs = np.asarray(
        Image.fromarray(coarse).resize((BLOCK_PX, BLOCK_PX), Image.Resampling.BILINEAR)
    )
    return blobs + generator.integers(0, 6, blobs.shape, dtype=np.uint8)


if __name__ == "__main__":
    main()
