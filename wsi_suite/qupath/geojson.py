"""Nuclei as GeoJSON that QuPath 0.4 - 0.7 imports as detections.

A file is put together column by column in Arrow, so that a million nuclei take seconds and, being
written in parts, the memory of one part.

QuPath 0.4 drops the metadata of detections, 0.5 warns of it once an object; both know the objects
by their ids alone.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from wsi_suite.errors import ConfigError
from wsi_suite.files import whole_file
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.qupath.objects import (
    ELLIPSE,
    POINT,
    POLYGON,
    PUSHED,
    Codes,
    Detections,
    Floats,
    PathClass,
    Shape,
    detections,
    path_classes,
    pushed_texts,
    two_decimals,
)

PART_SIZE = 50_000
"""Most nuclei in one file: QuPath holds a whole file as a tree before it imports it."""

_BLOCK = 5_000  # nuclei made into text at a time: what fits into a processor's cache is faster

_AHEAD = min(4, os.cpu_count() or 1)  # runs of nuclei made into text at once

_SUFFIX = re.compile(r"\.geojson(\.gz)?$")


def write_geojson(
    nuclei: Nuclei,
    path: Path | str,
    *,
    grades: Codes | None = None,
    shape: Shape = "polygon",
    radius_px0: float | None = None,
    origin: Mapping[str, str] | None = None,
    part_size: int = PART_SIZE,
) -> list[Path]:
    """Write nuclei as QuPath detections, in one file, or in several if they are many.

    Several files are called ``nuclei-01-of-20.geojson`` and so on. They appear together once all
    are written, and files of an earlier run that are not among them are removed. Ids follow from
    positions, so that QuPath knows a nucleus that is imported again.

    Parameters
    ----------
    nuclei
        The nuclei. Their measurements go along, and the confidence as ``Detection probability``.
    path
        A name that ends in ``.geojson`` or ``.geojson.gz``.
    grades
        ``(N,)`` uint8, 0 to 3 for a class such as ``Epithelium: 1+``. Where it is 255 (not
        measurable), or without grades, the class is the compartment alone.
    shape
        Polygons (the outlines), ellipses (circles of the same area) or points.
    radius_px0
        Radius of the circle for a nucleus without outline, in level-0 pixels; without it such a
        nucleus is a point.
    origin
        Metadata that every object tells, beside what it was when it was made; see
        :func:`~wsi_suite.qupath.objects.origin_of`. Without it objects have no metadata.
    part_size
        Nuclei of a file at most; more make several files.

    Returns
    -------
    list of Path
        The files, in the order of the nuclei.

    Raises
    ------
    ConfigError
        QuPath does not import files of that name.
    OutputError
        A file cannot be written.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> nuclei, _ = ws.read_nuclei("results/B12_ER/nuclei.parquet")
    >>> [path.name for path in ws.write_geojson(nuclei, "B12_ER.geojson.gz")]
    ['B12_ER.geojson.gz']
    """
    target = Path(path)
    parts = _part_paths(target, count=max(1, -(-len(nuclei) // part_size)))
    with ExitStack() as stack:
        for part, rows in zip(parts, _runs(len(nuclei), part_size), strict=True):
            partial = stack.enter_context(whole_file(part))
            with _opened(partial, packed=part.suffix == ".gz") as file:
                for text in feature_collection(
                    nuclei.take(rows),
                    grades=None if grades is None else grades[rows],
                    shape=shape,
                    radius_px0=radius_px0,
                    origin=origin,
                ):
                    file.write(text)
    for old in geojson_parts(target):
        if old not in parts:
            old.unlink()
    return parts


def feature_collection(
    nuclei: Nuclei,
    *,
    grades: Codes | None = None,
    shape: Shape = "polygon",
    radius_px0: float | None = None,
    origin: Mapping[str, str] | None = None,
) -> Iterator[bytes | pa.Buffer]:
    """Yield a FeatureCollection piece by piece, UTF-8; parameters as in :func:`write_geojson`.

    Its member ``classes`` names every class that such nuclei may have, those that are absent too:
    the scripts offer them for corrections.
    """
    classes = _json(_described(path_classes(nuclei.classes)))
    yield b'{"type":"FeatureCollection","classes":%s,"features":[\n' % classes.encode()

    def text_of(rows: npt.NDArray[np.int_]) -> pa.Buffer:
        made = detections(
            nuclei.take(rows),
            grades=None if grades is None else grades[rows],
            shape=shape,
            radius_px0=radius_px0,
        )
        return _features(made, origin=origin)

    for number, text in enumerate(_in_order(text_of, _runs(len(nuclei), _BLOCK))):
        yield b",\n" * (number > 0)
        yield text
    yield b"\n]}\n"


def _in_order(
    make: Callable[[npt.NDArray[np.int_]], pa.Buffer], runs: Iterable[npt.NDArray[np.int_]]
) -> Iterator[pa.Buffer]:
    """Yield the text of each run of rows; some are made ahead, in threads.

    Arrow works beside Python, so that threads divide the time.
    """
    waiting: deque[Future[pa.Buffer]] = deque()
    with ThreadPoolExecutor(_AHEAD, "wsi-geojson") as pool:
        for rows in runs:
            waiting.append(pool.submit(make, rows))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _runs(count: int, length: int) -> Iterator[npt.NDArray[np.int_]]:
    """Yield the rows 0 to `count` in runs of `length`; of nothing one run without rows."""
    for start in range(0, max(count, 1), length):
        yield np.arange(start, min(start + length, count))


def _features(made: Detections, *, origin: Mapping[str, str] | None) -> pa.Buffer:
    rows = pc.binary_join_element_wise(
        '{"type":"Feature","id":"',
        _uuid_texts(made.ids),
        '","geometry":',
        _geometry(made),
        ',"properties":{"objectType":"detection","classification":',
        _classification(made),
        ',"measurements":{',
        _measurements(made),
        "}",
        *([] if origin is None else _metadata(made, origin=origin)),
        "}}",
        "",
    )
    return _join_runs(rows, length=len(rows), separator=",\n")[0].as_buffer()


def _uuid_texts(ids: Codes) -> pa.StringArray:
    """Return ``(N, 16)`` ids as text, ``xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx``."""
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    texts = np.full((len(ids), 36), ord("-"), np.uint8)
    is_digit = np.ones(36, np.bool_)
    is_digit[[8, 13, 18, 23]] = False
    texts[:, is_digit] = digits[np.stack([ids >> 4, ids & 0x0F], axis=-1).reshape(len(ids), 32)]
    ends = np.arange(0, texts.size + 1, 36, dtype=np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(texts)]
    return pa.Array.from_buffers(pa.string(), len(ids), buffers)


def _geometry(made: Detections) -> pa.StringArray:
    drawn = {
        POINT: _points(made.points[made.kind == POINT]),
        ELLIPSE: _ellipses(made.bounds),
        POLYGON: _polygons(made.rings),
    }
    for texts in drawn.values():
        if len(texts) == len(made):  # all of one kind: nothing to put in order
            return texts
    rows = np.concatenate([np.flatnonzero(made.kind == kind) for kind in drawn])
    return pa.concat_arrays(drawn.values()).take(pa.array(np.argsort(rows)))


def _points(points: Floats) -> pa.StringArray:
    where = _coordinates(points[:, None])
    return pc.binary_join_element_wise('{"type":"Point","coordinates":[', where, "]}", "")


def _ellipses(bounds: Floats) -> pa.StringArray:
    """Return ellipses as QuPath writes them: their bounds, and a mark that says so."""
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)])
    ring = _coordinates(bounds[:, corners, [0, 1]])
    return pc.binary_join_element_wise(
        '{"type":"Polygon","isEllipse":true,"coordinates":[[[', ring, "]]]}", ""
    )


def _polygons(rings: Floats) -> pa.StringArray:
    ring = _coordinates(np.concatenate([rings, rings[:, :1]], axis=1))
    return pc.binary_join_element_wise('{"type":"Polygon","coordinates":[[[', ring, "]]]}", "")


def _classification(made: Detections) -> pa.StringArray:
    """Return QuPath's class of each object; a name without a colour would abort the import."""
    texts = [_json(one) for one in _described(made.path_classes)]
    return pa.array(texts, pa.string()).take(pa.array(made.path_class))


def _described(classes: Iterable[PathClass]) -> list[dict[str, object]]:
    return [{"name": one.name, "color": one.colour} for one in classes]


def _measurements(made: Detections) -> pa.StringArray:
    """Return the measurements, separated by commas.

    One that is NaN is left out, which QuPath takes as NaN: JSON has no number for it, and the text
    "NaN" makes QuPath 0.4 abort the import.
    """
    named = []
    for name, values in made.measurements.items():
        numbers = pc.cast(pa.array(values, mask=np.isnan(values)), pa.string())
        named.append(pc.binary_join_element_wise(_json(name) + ":", numbers, ""))
    return pc.binary_join_element_wise(*named, ",", null_handling="skip")


def _metadata(made: Detections, *, origin: Mapping[str, str]) -> Iterator[pa.StringArray | str]:
    known = "".join(f"{_json(key)}:{_json(value)}," for key, value in origin.items())
    yield f',"metadata":{{{known}"{PUSHED}":"'
    # Names are escaped as JSON wants it; the numbers before them need no escapes.
    escaped = tuple(_json(name)[1:-1] for name in made.compartments)
    yield pushed_texts(replace(made, compartments=escaped))
    yield '"}'


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _coordinates(vertices: Floats) -> pa.StringArray:
    """Return ``x,y],[x,y],[...`` for each row of ``(N, V, 2)`` vertices, with two decimals."""
    pairs = _join_runs(two_decimals(vertices), length=2, separator=",")
    return _join_runs(pairs, length=vertices.shape[1], separator="],[")


def _join_runs(texts: pa.StringArray, *, length: int, separator: str) -> pa.StringArray:
    """Join each run of `length` texts; without texts and length, the result is one empty text."""
    ends = np.arange(0, len(texts) + 1, length) if length else np.zeros(2)
    return pc.binary_join(pa.ListArray.from_arrays(pa.array(ends, pa.int32()), texts), separator)


def _part_paths(path: Path, *, count: int) -> list[Path]:
    suffix = _SUFFIX.search(path.name)
    if suffix is None:
        raise ConfigError(
            f"{path}: expected a name that ends in .geojson or .geojson.gz, as QuPath imports them"
        )
    if count == 1:
        return [path]
    stem, digits = path.name[: suffix.start()], len(str(count))
    return [
        path.with_name(f"{stem}-{number:0{digits}}-of-{count}{suffix.group()}")
        for number in range(1, count + 1)
    ]


def geojson_parts(path: Path) -> list[Path]:
    """Return the files that :func:`write_geojson` may have left under this name."""
    stem = _SUFFIX.sub("", path.name)
    ours = re.compile(rf"{re.escape(stem)}(-\d+-of-\d+)?{re.escape(path.name[len(stem) :])}")
    return [file for file in path.parent.iterdir() if ours.fullmatch(file.name)]


@contextmanager
def _opened(path: Path, *, packed: bool) -> Iterator[BinaryIO | gzip.GzipFile]:
    with path.open("wb") as file:
        if not packed:
            yield file
            return
        # Neither name nor time: the same nuclei are to give the same bytes.
        with gzip.GzipFile("", "wb", compresslevel=4, fileobj=file, mtime=0) as archive:
            yield archive
