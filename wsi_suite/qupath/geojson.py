"""Nuclei as GeoJSON that QuPath 0.4 - 0.7 imports as detections.

A file is put together column by column in Arrow, so that a million nuclei take seconds and, being
written in parts, the memory of one part.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from wsi_suite.errors import ConfigError
from wsi_suite.files import whole_file
from wsi_suite.nuclei.table import INTENSITIES, OUTLINE_RAYS, Nuclei

Colour = tuple[int, int, int]
Grades = npt.NDArray[np.uint8]
Shape = Literal["polygon", "ellipse", "point"]

INTENSITY_COLOURS: tuple[Colour, ...] = (
    (90, 90, 180),
    (255, 215, 0),
    (225, 150, 50),
    (200, 50, 50),
)
"""QuPath's colours of Negative, 1+, 2+ and 3+ in R, G, B."""

CLASS_COLOURS: tuple[Colour, ...] = (
    (150, 200, 150),
    (160, 90, 160),
    (80, 170, 200),
    (190, 150, 110),
)
"""Colours of compartments without an intensity, in turn."""

PART_SIZE = 50_000
"""Most nuclei in one file: QuPath holds a whole file as a tree before it imports it."""

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_OID, "wsi-suite nucleus")
"""A nucleus' id is ``uuid5(NAMESPACE, "x,y")``, x and y in level-0 pixels with two decimals."""

# Rays of at least this length (level-0 px) keep their order of angles when vertices are rounded to
# 0.01 px, and a polygon whose vertices go round its centre in order cannot cross itself.
_SMALLEST_RADIUS_PX0 = 0.1

_SUFFIX = re.compile(r"\.geojson(\.gz)?$")


def write_geojson(
    nuclei: Nuclei,
    path: Path | str,
    *,
    grades: Grades | None = None,
    shape: Shape = "polygon",
    radius_px0: float | None = None,
    metadata: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write nuclei as QuPath detections, in one file or, above 50,000, in several.

    Several files are called ``nuclei-01-of-20.geojson`` and so on. They appear together once all
    are written, and files of an earlier run that are not among them are removed. Ids follow from
    positions, so that QuPath knows a nucleus that is imported again.

    Parameters
    ----------
    nuclei
        The nuclei. Their measurements go along, and the score as ``Detection probability``.
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
    metadata
        What every object tells of its origin, beside ``source: wsi-suite``.

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
    """
    target = Path(path)
    parts = _part_paths(target, count=max(1, -(-len(nuclei) // PART_SIZE)))
    told = json.dumps({"source": "wsi-suite", **(metadata or {})}, ensure_ascii=False)
    with ExitStack() as stack:
        for number, part in enumerate(parts):
            rows = np.arange(number * PART_SIZE, min((number + 1) * PART_SIZE, len(nuclei)))
            features = _features(
                nuclei.take(rows),
                grades=None if grades is None else grades[rows],
                shape=shape,
                radius_px0=radius_px0,
                metadata=told,
            )
            partial = stack.enter_context(whole_file(part))
            with _opened(partial, packed=part.suffix == ".gz") as file:
                file.write(b'{"type":"FeatureCollection","features":[\n')
                file.write(features)
                file.write(b"\n]}\n")
    for old in _written_before(target):
        if old not in parts:
            old.unlink()
    return parts


def _features(
    nuclei: Nuclei,
    *,
    grades: Grades | None,
    shape: Shape,
    radius_px0: float | None,
    metadata: str,
) -> pa.Buffer:
    rows = pc.binary_join_element_wise(
        '{"type":"Feature","id":"',
        _ids(nuclei.points),
        '","geometry":',
        _geometry(nuclei, shape=shape, radius_px0=radius_px0),
        ',"properties":{"objectType":"detection","classification":',
        _classification(nuclei, grades=grades),
        ',"measurements":{',
        *_measurements(nuclei),
        f'}},"metadata":{metadata}}}}}',
        "",
    )
    return _join_runs(rows, length=len(rows), separator=",\n")[0].as_buffer()


def _ids(points: npt.NDArray[np.float64]) -> pa.StringArray:
    """Return ``uuid5(NAMESPACE, "x,y")`` of ``(N, 2)`` points, many times faster than `uuid`."""
    prefix, sha1 = NAMESPACE.bytes, hashlib.sha1
    names = _coordinates(points[:, None]).to_pylist()
    digests = b"".join(sha1(prefix + name.encode()).digest()[:16] for name in names)
    octets = np.frombuffer(digests, np.uint8).reshape(-1, 16).copy()
    octets[:, 6] = octets[:, 6] & 0x0F | 0x50  # version 5
    octets[:, 8] = octets[:, 8] & 0x3F | 0x80  # the variant of RFC 9562
    text = octets.tobytes().hex()
    starts = range(0, len(text), 32)
    return pa.array(
        [
            f"{text[i : i + 8]}-{text[i + 8 : i + 12]}-{text[i + 12 : i + 16]}"
            f"-{text[i + 16 : i + 20]}-{text[i + 20 : i + 32]}"
            for i in starts
        ],
        pa.string(),
    )


def _geometry(nuclei: Nuclei, *, shape: Shape, radius_px0: float | None) -> pa.StringArray:
    outline = (
        np.full((len(nuclei), OUTLINE_RAYS), np.nan)
        if nuclei.outline is None
        else np.maximum(nuclei.outline.astype(np.float64), _SMALLEST_RADIUS_PX0)
    )
    radius = _equivalent_radius(outline)
    radius[np.isnan(radius)] = np.nan if radius_px0 is None else radius_px0

    polygon = np.isfinite(outline).all(axis=1) & (shape == "polygon")
    ellipse = np.isfinite(radius) & (shape != "point") & ~polygon
    point = ~polygon & ~ellipse
    drawn = [
        _polygons(nuclei.points[polygon], outline[polygon]),
        _circles(nuclei.points[ellipse], radius[ellipse]),
        _points(nuclei.points[point]),
    ]
    rows = np.concatenate([np.flatnonzero(kind) for kind in (polygon, ellipse, point)])
    return pa.concat_arrays(drawn).take(pa.array(np.argsort(rows)))


def _equivalent_radius(outline: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the radius of the circle of an outline's area: the sum of its triangles'."""
    triangles = outline * np.roll(outline, 1, axis=1) * np.sin(2 * np.pi / OUTLINE_RAYS) / 2
    return np.asarray(np.sqrt(triangles.sum(axis=1) / np.pi))


def _polygons(points: npt.NDArray[np.float64], outline: npt.NDArray[np.float64]) -> pa.StringArray:
    angle = 2 * np.pi * np.arange(OUTLINE_RAYS + 1) / OUTLINE_RAYS
    rays = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    closed = np.concatenate([outline, outline[:, :1]], axis=1)
    ring = _coordinates(points[:, None] + closed[..., None] * rays)
    return pc.binary_join_element_wise('{"type":"Polygon","coordinates":[[[', ring, "]]]}", "")


def _circles(points: npt.NDArray[np.float64], radius: npt.NDArray[np.float64]) -> pa.StringArray:
    """Return circles as QuPath writes ellipses: their bounds, and a mark that says so."""
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)])
    ring = _coordinates(points[:, None] + radius[:, None, None] * corners)
    return pc.binary_join_element_wise(
        '{"type":"Polygon","isEllipse":true,"coordinates":[[[', ring, "]]]}", ""
    )


def _points(points: npt.NDArray[np.float64]) -> pa.StringArray:
    where = _coordinates(points[:, None])
    return pc.binary_join_element_wise('{"type":"Point","coordinates":[', where, "]}", "")


def _classification(nuclei: Nuclei, *, grades: Grades | None) -> pa.StringArray:
    """Return QuPath's class of each nucleus; a name without a colour would abort the import."""
    kinds = len(INTENSITIES) + 1
    texts = []
    for number, name in enumerate(nuclei.classes):
        named = [f"{name}: {intensity}" for intensity in INTENSITIES] + [name]
        colours = [*INTENSITY_COLOURS, CLASS_COLOURS[number % len(CLASS_COLOURS)]]
        for text, colour in zip(named, colours, strict=True):
            texts.append(json.dumps({"name": text, "color": colour}, ensure_ascii=False))
    shown = np.full(len(nuclei), kinds - 1) if grades is None else np.minimum(grades, kinds - 1)
    codes = nuclei.label.astype(np.int64) * kinds + shown
    return pa.array(texts, pa.string()).take(pa.array(codes))


def _measurements(nuclei: Nuclei) -> Iterator[pa.StringArray | str]:
    """Yield names and values in turn. JSON knows no NaN; QuPath reads the text "NaN" as it."""
    columns = {"Detection probability": nuclei.score, **nuclei.measurements}
    for number, (name, values) in enumerate(columns.items()):
        yield "," * (number > 0) + json.dumps(name, ensure_ascii=False) + ":"
        numbers = pa.array(np.round(values.astype(np.float64), 4), mask=~np.isfinite(values))
        yield pc.fill_null(pc.cast(numbers, pa.string()), '"NaN"')


def _coordinates(vertices: npt.NDArray[np.float64]) -> pa.StringArray:
    """Return ``x,y],[x,y],[...`` for each row of ``(N, V, 2)`` vertices, with two decimals."""
    hundredths = np.rint(vertices * 100).astype(np.int64).ravel()
    # Integers seen as decimals: Arrow writes those three times as fast as floating point numbers.
    decimals = pa.Array.from_buffers(
        pa.decimal64(18, 2), len(hundredths), [None, pa.py_buffer(hundredths)]
    )
    pairs = _join_runs(pc.cast(decimals, pa.string()), length=2, separator=",")
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


def _written_before(path: Path) -> list[Path]:
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
