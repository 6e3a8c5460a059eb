"""The objects in a GeoJSON file, as QuPath 0.2 - 0.7 and people write them."""

from __future__ import annotations

import gc
import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsi_suite.errors import InputError

REMEDY = "export it from QuPath with File > Export objects as GeoJSON"

MALFORMED = (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError)
"""Exceptions that a malformed GeoJSON object may raise."""

_ENDINGS = (".geojson", ".json")
_KINDS = {"annotation", "detection", "cell", "tile", "tmacore", "root"}
_GEOMETRIES = {
    *("Point", "MultiPoint", "LineString", "MultiLineString"),
    *("Polygon", "MultiPolygon", "GeometryCollection"),
}


@dataclass(frozen=True)
class DrawnObject:
    """An object in a GeoJSON file.

    Attributes
    ----------
    number
        Its place in the file, from 1.
    kind
        ``annotation``, ``detection``, ``cell``, ``tile``, ``tmacore`` or ``root``.
    geometry
        Its shape as GeoJSON has it, level-0 pixels; of a cell the nucleus, if it has one.
    name, class_name
        As its author called it; ``None`` without.
    locked
        Whether it is protected from changes.
    missing
        Whether it is a TMA core that QuPath marks as missing.
    metadata
        Texts by their names.
    """

    number: int
    kind: str
    geometry: Mapping[str, Any]
    name: str | None
    class_name: str | None
    locked: bool
    missing: bool
    metadata: Mapping[str, Any]


def read_objects(path: Path, *, refusal: type[InputError]) -> list[DrawnObject]:
    """Read all objects of a file, children of others too, in the file's order.

    A FeatureCollection, one Feature, a bare geometry (an annotation, as in QuPath) or a list of
    those; plain, packed with gzip, or in a zip archive.

    Parameters
    ----------
    path
        The file.
    refusal
        The error to raise if the file is missing or is not GeoJSON.
    """
    return objects_in((_parsed(content) for content in _contents(path)), path=path, refusal=refusal)


def read_members(path: Path, name: str, *, refusal: type[InputError]) -> list[object]:
    """Return the members of that name that stand beside the features of a file's collections."""
    try:
        documents = [_parsed(content) for content in _contents(path)]
    except _UnusableError as error:
        raise refusal(f"{path}: {error}; {REMEDY}") from None
    return [one[name] for one in documents if isinstance(one, Mapping) and name in one]


def objects_in(
    documents: Iterable[object], *, path: Path | str, refusal: type[InputError]
) -> list[DrawnObject]:
    """Return all objects of JSON documents that were parsed; see :func:`read_objects`.

    Parameters
    ----------
    documents
        Their contents.
    path, refusal
        Where they come from, and the error to raise if they are not GeoJSON.
    """
    objects: list[DrawnObject] = []
    try:
        with _without_collector():
            for document in documents:
                for feature in _features(document):
                    objects.append(_object(feature, number=len(objects) + 1))
    except (_UnusableError, RecursionError) as error:
        raise refusal(f"{path}: {error}; {REMEDY}") from None
    except MALFORMED:
        raise malformed(path, len(objects) + 1, refusal=refusal) from None
    return objects


def malformed(path: Path | str, number: int, *, refusal: type[InputError]) -> InputError:
    """Return the error that names an object that is not as GeoJSON has it."""
    return refusal(f"{path}: object {number} is not as GeoJSON has it; {REMEDY}")


@contextmanager
def _without_collector() -> Iterator[None]:
    """Keep the garbage collector from walking a growing tree: that is half the time of reading."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _UnusableError(Exception):
    """The file cannot be used; the message says why, not which."""


def _contents(path: Path) -> Iterator[bytes]:
    """Yield the texts in a file: one, or those in a zip archive."""
    try:
        content = path.read_bytes()
        if content.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                names = [name for name in archive.namelist() if name.lower().endswith(_ENDINGS)]
                if not names:
                    raise _UnusableError("an archive without a .geojson file")
                for name in names:
                    yield archive.read(name)
            return
        yield gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    except (OSError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or error
        raise _UnusableError(f"cannot be read ({reason})") from None


def _parsed(content: bytes) -> object:
    if not content.strip():
        raise _UnusableError("the file is empty")
    try:
        document: object = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise _UnusableError(f"not JSON ({error})") from None
    return document


def _features(document: object) -> Iterator[dict[str, Any]]:
    """Yield the features of a document, each before its children."""
    if isinstance(document, list):
        for part in document:
            yield from _features(part)
        return
    if not isinstance(document, dict):
        raise _UnusableError("JSON, but not GeoJSON objects")
    match document:
        case {"type": "FeatureCollection", "features": list()}:
            yield from _features(document["features"])
        case {"type": "Feature"}:
            yield document
            properties = document.get("properties") or {}
            if children := properties.get("childObjects") or properties.get("children"):
                yield from _features(children)
        case {"type": str() as kind} if kind in _GEOMETRIES:
            yield {"type": "Feature", "geometry": document}
        case _:
            raise _UnusableError("JSON, but not GeoJSON objects")


def _object(feature: dict[str, Any], *, number: int) -> DrawnObject:
    properties = feature.get("properties") or {}
    name, metadata = properties.get("name"), _unpacked(properties.get("metadata"))
    return DrawnObject(
        number=number,
        kind=_kind(feature, properties),
        geometry=feature.get("nucleusGeometry") or feature.get("geometry") or {},
        name=str(name).strip() or None if name else None,
        class_name=_class_name(properties.get("classification")),
        locked=properties.get("isLocked") is True,
        missing=properties.get("isMissing") in (True, "true"),
        metadata=metadata if isinstance(metadata, dict) else {},
    )


def _kind(feature: dict[str, Any], properties: dict[str, Any]) -> str:
    """Return the type of an object; missing or unknown types are annotations, as in QuPath."""
    keys = ("objectType", "object_type", "type")
    given = next((properties[key] for key in keys if key in properties), None)
    # QuPath 0.2 had no such property and wrote PathDetectionObject and the like as id.
    kind = str(given or feature.get("id")).replace("_", "").lower()
    kind = kind.removeprefix("path").removesuffix("object")
    return kind if kind in _KINDS else "annotation"


def _class_name(classification: object) -> str | None:
    """Return QuPath's name of a class.

    A text, ``{"name": ...}``, ``{"names": [...]}`` or, before 0.4, a name beside its
    ``parentClass``; such an object may be packed into a text. Without a name (absent, null or
    empty, a colour alone) there is no class.
    """
    classification = _unpacked(classification)
    if isinstance(classification, dict):
        parent = _class_name(classification.get("parentClass"))
        parts = [parent, *(classification.get("names") or [classification.get("name")])]
    else:
        parts = classification if isinstance(classification, list) else [classification]
    names = [str(part).strip() for part in parts if part is not None]
    return ": ".join(name for name in names if name) or None


def _unpacked(value: object) -> object:
    """Return a value that is a text of JSON taken apart: GDAL and GeoPandas write objects so."""
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
