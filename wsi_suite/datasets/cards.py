"""Cards that repositories of datasets read: Croissant, and Hugging Face's ``README.md``."""

from __future__ import annotations

import json
import mimetypes
import re
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from wsi_suite.datasets.splitting import class_counts
from wsi_suite.datasets.store import (
    IMAGES,
    VERSIONS,
    Dataset,
    read_image_rows,
)
from wsi_suite.datasets.tables import IMAGE_TABLE, NUCLEUS_TABLE
from wsi_suite.errors import DataError
from wsi_suite.files import hash_file, whole_file

CROISSANT_FILE, README_FILE = "croissant.json", "README.md"

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**9, "100K<n<1M"))
_TYPES = {
    "name": "sc:Text",
    "sha256": "sc:Text",
    "width_px": "sc:Integer",
    "height_px": "sc:Integer",
    "mpp_x": "sc:Float",
    "mpp_y": "sc:Float",
    "patient": "sc:Text",
    "slide": "sc:Text",
    "laboratory": "sc:Text",
    "stain": "sc:Text",
    "split": "sc:Text",
    "image": "sc:Text",
    "x": "sc:Float",
    "y": "sc:Float",
    "class": "sc:Text",
    "radius_px": "sc:Float",
    "grade": "sc:Integer",
    "annotator": "sc:Text",
}
_IMAGE_FIELDS = (*_TYPES,)[:11]
_NUCLEUS_FIELDS = (*_TYPES,)[11:]

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context of Croissant 1.0, as its specification gives it."""


def write_cards(dataset: Dataset) -> list[Path]:
    """Write ``croissant.json`` and ``README.md`` of a version into the dataset's folder.

    Both are replaced: what is to be said of a dataset belongs into ``dataset.yaml``. Source:
    Croissant 1.0, https://docs.mlcommons.org/croissant/docs/croissant-spec-1.0.html; Hugging Face,
    https://huggingface.co/docs/hub/datasets-cards.
    """
    texts = {
        CROISSANT_FILE: json.dumps(croissant(dataset), indent=2, ensure_ascii=False) + "\n",
        README_FILE: readme(dataset),
    }
    paths = []
    for name, text in texts.items():
        path = dataset.folder / name
        with whole_file(path) as made:
            made.write_text(text, "utf-8")
        paths.append(path)
    return paths


def described_version(folder: Path) -> int | None:
    """Return the number of the version that the cards in a folder describe; ``None`` without."""
    try:
        content = json.loads((folder / CROISSANT_FILE).read_text("utf-8"))
        return int(str(content["version"]).partition(".")[0])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder / CROISSANT_FILE}: cannot be read ({error}); delete it and write it again"
            " with 'wsi-suite dataset card'"
        ) from None


def croissant(dataset: Dataset) -> dict[str, Any]:
    """Return the description of a version as Croissant 1.0."""
    card, version = dataset.card, dataset.version
    kinds = {mimetypes.guess_type(row["name"])[0] for row in read_image_rows(dataset)}
    tables = {"images-table": IMAGE_TABLE, "nuclei-table": NUCLEUS_TABLE}
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": card.name,
        "description": card.description or f"{card.name}: labelled nuclei",
        "license": card.license or "not stated",
        "citeAs": card.citation or "not stated",
        "url": card.name,
        "version": f"{version.number}.0.0",
        "datePublished": version.created[:10],
        "distribution": [
            *(
                {
                    "@type": "cr:FileObject",
                    "@id": key,
                    "name": name,
                    "contentUrl": f"{VERSIONS}/{version.name}/{name}",
                    "encodingFormat": "application/x-parquet",
                    "sha256": hash_file(dataset.folder / VERSIONS / version.name / name),
                }
                for key, name in tables.items()
            ),
            {
                "@type": "cr:FileSet",
                "@id": "pictures",
                "name": "pictures",
                "encodingFormat": sorted(kind or "image/png" for kind in kinds)[0],
                "includes": f"{IMAGES}/**",
            },
        ],
        "recordSet": [
            _record_set("images", "images-table", _IMAGE_FIELDS),
            _record_set("nuclei", "nuclei-table", _NUCLEUS_FIELDS),
        ],
    }


def readme(dataset: Dataset) -> str:
    """Return the card for people, with the head that Hugging Face reads."""
    card, version = dataset.card, dataset.version
    rows, counts = read_image_rows(dataset), class_counts(dataset)
    head = {
        "pretty_name": card.name,
        **_license(card.license),
        "task_categories": ["object-detection"],
        "tags": ["histopathology", "nuclei", "croissant"],
        "size_categories": [next(word for most, word in _SIZES if version.images < most)],
    }
    parts = sorted({row["split"] for row in rows if row["split"]})
    lines = [
        "---",
        yaml.safe_dump(head, sort_keys=False, allow_unicode=True).rstrip(),
        "---",
        "",
        f"# {card.name}",
        "",
        card.description or "No description was given.",
        "",
        f"Version {version.number} of {version.created[:10]}, digest `{version.digest[:16]}`:"
        f" {version.images:,} pictures with {version.nuclei:,} labelled nuclei.",
        "",
        "| part | pictures | " + " | ".join(_names(version.classes)) + " |",
        "|---" * (2 + len(version.classes)) + "|",
    ]
    for part in (*parts, None):
        some = [row for row in rows if part is None or row["split"] == part]
        nuclei: Counter[str] = Counter()
        for row in some:
            nuclei.update(counts.get(row["name"], {}))
        values = " | ".join(f"{nuclei[name]:,}" for name in version.classes)
        lines.append(f"| {part or 'all'} | {len(some):,} | {values} |")
    lines += [
        "",
        f"Pictures lie in `{IMAGES}/`. `{VERSIONS}/{version.name}/{IMAGE_TABLE}` has a row for each"
        f" picture, `{NUCLEUS_TABLE}` beside it one for each nucleus: x and y are pixels of the"
        " picture from its top left corner.",
        "",
        f"License: {card.license or 'not stated'}. Citation: {card.citation or 'not stated'}.",
        "",
    ]
    return "\n".join(lines)


def _license(stated: str) -> dict[str, str]:
    """Return the license as Hugging Face names it: an id in small letters, or another's name."""
    if stated and not re.fullmatch(r"[\w.-]+", stated):
        return {"license": "other", "license_name": stated}
    return {"license": stated.lower() or "other"}


def _names(classes: dict[str, int]) -> list[str]:
    return [name.replace("|", "\\|") or "without class" for name in classes]


def _record_set(name: str, table: str, columns: tuple[str, ...]) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{column}",
                "name": column,
                "dataType": _TYPES[column],
                "source": {"fileObject": {"@id": table}, "extract": {"column": column}},
            }
            for column in columns
        ],
    }
