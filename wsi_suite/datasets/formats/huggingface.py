"""A folder that Hugging Face ``datasets`` loads as pictures with metadata.

``load_dataset("path/of/folder")`` reads ``README.md``, which names the parts, and of each part
``metadata.parquet`` and the pictures that it names. The table has the same typed columns in all
parts, also where nothing is known. Source: https://huggingface.co/docs/datasets/image_dataset
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from wsi_suite.datasets.formats import WriteOptions
from wsi_suite.datasets.labelled_image import LabelledImage
from wsi_suite.datasets.pictures import copy_picture
from wsi_suite.datasets.records import facts_of, nuclei_of, part_name
from wsi_suite.errors import DataError
from wsi_suite.files import whole_file

_WORDS = {"val": "validation"}  # what Hugging Face calls the parts
_WITHOUT = "unassigned"
_NUCLEI = {
    **{name: pa.float64() for name in ("x", "y", "radius_px")},
    **{name: pa.string() for name in ("class", "annotator", "outline")},
    "grade": pa.int64(),
}
_COLUMNS = pa.schema(
    {
        **{name: pa.string() for name in ("file_name", "name")},
        **{name: pa.int64() for name in ("width_px", "height_px")},
        **{name: pa.float64() for name in ("mpp_x", "mpp_y")},
        **{name: pa.string() for name in ("patient", "slide", "laboratory", "stain")},
        "corner_px0": pa.list_(pa.float64()),
        "annotated": pa.string(),
        "nuclei": pa.struct({name: pa.list_(kind) for name, kind in _NUCLEI.items()}),
    }
)


def write(images: Iterable[LabelledImage], out: Path, options: WriteOptions) -> list[str]:
    """Write a folder for each part of the split.

    Without a split all pictures are ``train``, as Hugging Face has it; in one with a split, those
    of no part are ``unassigned``.
    """
    del options
    tables: dict[str, pq.ParquetWriter] = {}
    with whole_file(out) as made:
        made.mkdir()
        try:
            for image in images:
                if image.file is None:
                    raise DataError(f"'{image.name}' has labels only; give its picture, too")
                part = part_name(_WORDS.get(image.split or "", image.split or _WITHOUT))
                target = made / part / image.name
                target.parent.mkdir(parents=True, exist_ok=True)
                copy_picture(image.file, target)
                if part not in tables:
                    tables[part] = pq.ParquetWriter(made / part / "metadata.parquet", _COLUMNS)
                record = {"file_name": image.name, **facts_of(image), "nuclei": nuclei_of(image)}
                tables[part].write_table(pa.Table.from_pylist([record], _COLUMNS))
        finally:
            for table in tables.values():
                table.close()
        (made / "README.md").write_text(_readme(tables), "utf-8")
    return []


def _readme(parts: Mapping[str, object]) -> str:
    """Return the head that names the files of each part."""
    names = {part: "train" if len(parts) == 1 and part == _WITHOUT else part for part in parts}
    files = [{"split": names[part], "path": f"{part}/**"} for part in sorted(parts)]
    head = {"configs": [{"config_name": "default", "data_files": files}]}
    return f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n"
