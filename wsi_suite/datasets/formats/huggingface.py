"""A folder that Hugging Face ``datasets`` loads as pictures with metadata.

``load_dataset("imagefolder", data_dir=...)`` reads ``<part>/metadata.jsonl`` and the pictures that
it names. Source: https://huggingface.co/docs/datasets/image_dataset
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from wsi_suite.datasets.formats import WriteOptions
from wsi_suite.datasets.labelled_image import LabelledImage
from wsi_suite.datasets.pictures import copy_picture
from wsi_suite.datasets.records import facts_of, nuclei_of
from wsi_suite.errors import DataError
from wsi_suite.files import whole_file

_WORDS = {"val": "validation"}  # what Hugging Face calls the parts


def write(images: Iterable[LabelledImage], out: Path, options: WriteOptions) -> list[str]:
    """Write a folder for each part of the split, ``train`` if there is none."""
    del options
    tables: dict[str, TextIO] = {}
    with whole_file(out) as made:
        made.mkdir()
        try:
            for image in images:
                if image.file is None:
                    raise DataError(f"'{image.name}' has labels only; give its picture, too")
                part = image.split or "train"
                folder = made / _WORDS.get(part, part)
                target = folder / image.name
                target.parent.mkdir(parents=True, exist_ok=True)
                copy_picture(image.file, target)
                if part not in tables:
                    tables[part] = (folder / "metadata.jsonl").open("w", encoding="utf-8")
                record = {"file_name": image.name, **facts_of(image), "nuclei": nuclei_of(image)}
                del record["name"], record["split"]
                line = json.dumps(record, ensure_ascii=False, allow_nan=False)
                tables[part].write(line + "\n")
        finally:
            for table in tables.values():
                table.close()
    return []
