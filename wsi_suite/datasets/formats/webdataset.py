"""WebDataset: tar files of pictures and JSON, to be streamed in training.

A sample is ``<key>.<ending>`` and ``<key>.json``; parts of a split have shards of their own.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from wsi_suite.datasets.formats import WriteOptions
from wsi_suite.datasets.labelled_image import LabelledImage
from wsi_suite.datasets.pictures import read_picture_file
from wsi_suite.datasets.records import facts_of, nuclei_of, part_name
from wsi_suite.errors import DataError
from wsi_suite.files import whole_file

SHARD_BYTES = 500 * 2**20
"""Size from which on a new shard is begun."""

_ALL = "all"


def write(images: Iterable[LabelledImage], out: Path, options: WriteOptions) -> list[str]:
    """Write a folder of ``<part>-000000.tar``; the same dataset gives the same bytes."""
    del options
    shards: dict[str, _Shards] = {}
    with whole_file(out) as made:
        made.mkdir()
        try:
            for image in images:
                part = part_name(image.split or _ALL)
                shards.setdefault(part, _Shards(made, part)).add(image)
        finally:
            for one in shards.values():
                one.close()
    return []


class _Shards:
    """The shards of one part of a split, one open at a time."""

    def __init__(self, folder: Path, part: str) -> None:
        self._folder, self._part, self._number, self._size = folder, part, 0, 0
        self._tar: tarfile.TarFile | None = None
        self._keys: set[str] = set()

    def add(self, image: LabelledImage) -> None:
        if image.file is None:
            raise DataError(f"'{image.name}' has labels only; give its picture, too")
        # A key ends at the first dot, so that names have none.
        path = PurePosixPath(image.name)
        key = str(path.with_suffix("")).replace(".", "_")
        if key in self._keys:
            raise DataError(f"'{image.name}': another picture has its key '{key}'; rename one")
        self._keys.add(key)
        record = {**facts_of(image), "nuclei": nuclei_of(image)}
        text = json.dumps(record, ensure_ascii=False, allow_nan=False).encode()
        for ending, content in ((path.suffix, read_picture_file(image.file)), (".json", text)):
            self._put(f"{key}{ending}", content)
        if self._size >= SHARD_BYTES:
            self.close()

    def _put(self, name: str, content: bytes) -> None:
        if self._tar is None:
            path = self._folder / f"{self._part}-{self._number:06}.tar"
            self._tar = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115
            self._number, self._size = self._number + 1, 0
        entry = tarfile.TarInfo(name)  # its time and owner are nobody's: the same bytes each time
        entry.size = len(content)
        self._tar.addfile(entry, io.BytesIO(content))
        self._size += len(content)

    def close(self) -> None:
        if self._tar is not None:
            self._tar.close()
        self._tar = None
