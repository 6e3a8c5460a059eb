"""How the pyramid of a tile store is laid out in arrays, shards and chunks, and in a folder."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, Field

from wsi_suite.documents import Document, parse_document
from wsi_suite.errors import ConfigError
from wsi_suite.files import long_path, output_error
from wsi_suite.slides.ome_metadata import OmeZarrVersion, image_attributes, ome_xml
from wsi_suite.slides.store_pixels import COMPRESSOR

_OWN_KEY = "wsi_suite"
_STAGING = "writing-"


@dataclass(frozen=True)
class Layout:
    """Sizes of a pyramid and of the shards that tasks write.

    Attributes
    ----------
    width, height
        Size of the finest level, px.
    chunk_px, block_px
        Sides of chunks and blocks; a block is a power of two of chunks wide.
    version
        Of OME-Zarr.
    """

    width: int
    height: int
    chunk_px: int
    block_px: int
    version: OmeZarrVersion

    def __post_init__(self) -> None:
        if self.chunk_px % 2:
            raise ConfigError(f"chunk_px = {self.chunk_px}: expected an even number")
        if self.block_px % self.chunk_px or (self.block_px // self.chunk_px).bit_count() != 1:
            raise ConfigError(
                f"block_px = {self.block_px}: expected chunk_px = {self.chunk_px} times a power "
                "of two"
            )

    @property
    def zarr_format(self) -> Literal[2, 3]:
        """Of Zarr; 2 has no shards."""
        return 2 if self.version == "0.4" else 3

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """``(width, height)`` of each level, down to one that fits in a chunk.

        An odd side is rounded up, so every pixel of a level stands for some of the one before.
        """
        sizes = [(self.width, self.height)]
        while max(sizes[-1]) > self.chunk_px:
            sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
        return sizes

    @property
    def block_levels(self) -> int:
        """At how many levels, from the finest, a block is whole chunks."""
        return min(len(self.sizes), (self.block_px // self.chunk_px).bit_length())

    def shard_px(self, level: int) -> int:
        """Return the side of a shard, written at once, at a level.

        A block as long as it is whole chunks; coarser levels are made from pieces of a block's
        size, which keeps memory the same.
        """
        of_block = self.block_px >> level
        return of_block if of_block >= self.chunk_px else max(self.block_px // 2, self.chunk_px)

    def attributes(self, name: str, *, mpp: tuple[float, float]) -> dict[str, Any]:
        """Return the attributes of the group of a store: for viewers, and for the suite."""
        shown = image_attributes(name, mpp=mpp, levels=len(self.sizes), version=self.version)
        return {**shown, _OWN_KEY: _OwnAttributes(**asdict(self)).as_json()}


class _OwnAttributes(Document):
    """Attributes of a store that are this suite's own: its :class:`Layout`."""

    width: int
    height: int
    chunk_px: int
    # The second name stands in stores that were written before blocks were called so.
    block_px: int = Field(validation_alias=AliasChoices("block_px", "region_px"))
    version: OmeZarrVersion


def begin_store(folder: Path, layout: Layout, *, name: str, mpp: tuple[float, float]) -> None:
    """Make an empty store, in place of whatever is in the folder."""
    import zarr

    group = zarr.create_group(folder, zarr_format=layout.zarr_format, overwrite=True)
    sharded = layout.zarr_format == 3
    for level, (width, height) in enumerate(layout.sizes):
        side = layout.shard_px(level)
        group.create_array(
            str(level),
            shape=(3, height, width),
            dtype="uint8",
            chunks=(3, layout.chunk_px, layout.chunk_px),
            shards=(3, side, side) if sharded else None,
            fill_value=255,
            compressors=COMPRESSOR[layout.zarr_format],
            dimension_names=("c", "y", "x") if sharded else None,
            chunk_key_encoding={"name": "default" if sharded else "v2", "separator": "/"},
        )
    if not sharded:
        group.create_group("OME")
        xml = ome_xml(name, width=layout.width, height=layout.height, mpp=mpp)
        (folder / "OME" / "METADATA.ome.xml").write_text(xml, encoding="utf-8")
    # Last: without them a folder is not a store, and is begun again.
    group.attrs.put(layout.attributes(name, mpp=mpp))


def read_attributes(folder: Path) -> dict[str, Any] | None:
    """Return the attributes of a store of this suite; None if there is none, or no whole one."""
    import zarr

    try:
        attributes = dict(zarr.open_group(folder, mode="r").attrs)
    except (OSError, ValueError):
        return None
    return attributes if _OWN_KEY in attributes else None


def layout_of(attributes: Mapping[str, Any], *, folder: Path) -> Layout:
    """Return the layout that the attributes of the store in a folder tell.

    Raises
    ------
    OutputError
        They are damaged, or of a later format.
    """
    own = parse_document(
        _OwnAttributes,
        attributes[_OWN_KEY],
        source=folder,
        fault="its tiles are damaged",
        remedy="make them again with 'wsi-suite tile'",
    )
    return Layout(own.width, own.height, own.chunk_px, own.block_px, own.version)


def is_like(attributes: Mapping[str, Any], other: Mapping[str, Any], *, folder: Path) -> bool:
    """Return whether the attributes of two stores tell the same image and the same layout."""
    shown, others = (
        {key: value for key, value in each.items() if key != _OWN_KEY}
        for each in (attributes, other)
    )
    return shown == others and (
        layout_of(attributes, folder=folder) == layout_of(other, folder=folder)
    )


def store_folder(path: Path) -> Path:
    """Return the folder of a store in the form that its many deep files need on Windows."""
    return long_path(path, limit=0)


def partial_folder(path: Path) -> Path:
    """Return where a store is until it is finished."""
    return store_folder(path.with_name(path.name + ".partial"))


def reopen_store(path: Path) -> None:
    """Make a finished store a partial one again, so that blocks of it can be replaced."""
    finished, partial = store_folder(path), partial_folder(path)
    if finished.exists() and not partial.exists():
        with writing(path):
            finished.rename(partial)


def staging_folder(folder: Path, writer: str) -> Path:
    """Return the folder inside a partial store in which a run's files wait for their names."""
    return folder / f"{_STAGING}{writer}"


def shut_out_writers(folder: Path) -> None:
    """Keep every run so far from writing to a partial store.

    A worker may outlive its run: on a cluster whose client was killed it ends its block first.
    Without its staging folder it can give no file a name any more.
    """
    for staging in folder.glob(f"{_STAGING}*"):
        # Renamed first, in one step: what is being written there meanwhile does not stop us.
        over = staging.with_name(f"{_STAGING}{secrets.token_hex(8)}")
        staging.rename(over)
        shutil.rmtree(over)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's errors into one line about `path`."""
    try:
        yield
    except OSError as error:
        raise output_error(path, error) from error
