"""The two tables of a version of a dataset: one row a picture, one row a nucleus.

``images.parquet``, in the order of the names:

=============================  ===================================================================
``name``                       text, path below ``images/`` with ``/`` between its parts
``sha256``                     text, of the file
``dhash``                      uint64 or null, by which pictures that look alike are found
``width_px``, ``height_px``    int32
``mpp_x``, ``mpp_y``           float64, um per pixel
``patient`` ... ``stain``      text or null; also ``slide`` and ``laboratory``
``split``                      text or null: the part of the split that the picture belongs to
``corner_x_px0``, ``_y_px0``   float64 or null, its top left corner in level-0 pixels of its slide
``annotated``                  WKB or null: where all nuclei are labelled; null: everywhere
``nuclei``                     int32, how many are labelled
=============================  ===================================================================

``nuclei.parquet``, in the order of their pictures, then as labelled:

=============  ===================================================================================
``image``      text, the name of the picture
``x``, ``y``   float64, pixels of the picture from its top left corner
``class``      text or null
``radius_px``  float64 or null
``grade``      uint8 or null: 0 to 3 for Negative to 3+
``annotator``  text or null
``outline``    WKB or null, the outline in the frame of x and y
=============  ===================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from wsi_suite.datasets.labelled_image import (
    UNGRADED,
    LabelledImage,
    NucleusLabels,
    nucleus_labels,
)
from wsi_suite.errors import DataError

IMAGE_COLUMNS = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        ("dhash", pa.uint64()),
        pa.field("width_px", pa.int32(), nullable=False),
        pa.field("height_px", pa.int32(), nullable=False),
        pa.field("mpp_x", pa.float64(), nullable=False),
        pa.field("mpp_y", pa.float64(), nullable=False),
        ("patient", pa.string()),
        ("slide", pa.string()),
        ("laboratory", pa.string()),
        ("stain", pa.string()),
        ("split", pa.string()),
        ("corner_x_px0", pa.float64()),
        ("corner_y_px0", pa.float64()),
        ("annotated", pa.binary()),
        pa.field("nuclei", pa.int32(), nullable=False),
    ]
)
IMAGE_TABLE, NUCLEUS_TABLE = "images.parquet", "nuclei.parquet"

_BACKUP = "restore it from a backup"

NUCLEUS_COLUMNS = pa.schema(
    [
        pa.field("image", pa.string(), nullable=False),
        pa.field("x", pa.float64(), nullable=False),
        pa.field("y", pa.float64(), nullable=False),
        ("class", pa.string()),
        ("radius_px", pa.float64()),
        ("grade", pa.uint8()),
        ("annotator", pa.string()),
        ("outline", pa.binary()),
    ]
)


def image_row(image: LabelledImage, *, sha256: str, dhash: int | None) -> dict[str, Any]:
    """Return the row of a picture whose pixel size is known."""
    assert image.mpp is not None
    corner = image.corner_px0 or (None, None)
    return {
        "name": image.name,
        "sha256": sha256,
        "dhash": dhash,
        "width_px": image.size_px[0],
        "height_px": image.size_px[1],
        "mpp_x": image.mpp[0],
        "mpp_y": image.mpp[1],
        "patient": image.patient,
        "slide": image.slide,
        "laboratory": image.laboratory,
        "stain": image.stain,
        "split": image.split,
        "corner_x_px0": corner[0],
        "corner_y_px0": corner[1],
        "annotated": None if image.annotated is None else shapely.to_wkb(image.annotated),
        "nuclei": len(image.labels),
    }


def nucleus_rows(image: LabelledImage) -> pa.RecordBatch:
    """Return the rows of the nuclei of a picture."""
    labels = image.labels
    unknown, ungraded = np.isnan(labels.radii_px), labels.grades == UNGRADED
    return pa.RecordBatch.from_arrays(
        [
            pa.array([image.name] * len(labels), pa.string()),
            pa.array(labels.points[:, 0]),
            pa.array(labels.points[:, 1]),
            pa.array(labels.class_names, pa.string()),
            pa.array(labels.radii_px, mask=unknown),
            pa.array(labels.grades, mask=ungraded),
            pa.array(labels.annotators, pa.string()),
            pa.array(shapely.to_wkb(labels.outlines).tolist(), pa.binary()),
        ],
        schema=NUCLEUS_COLUMNS,
    )


def image_from(
    row: Mapping[str, Any], labels: NucleusLabels, *, file: Path, labels_sha256: str
) -> LabelledImage:
    """Return the picture of a row, with its labels and the file of its pixels."""
    corner = row["corner_x_px0"], row["corner_y_px0"]
    return LabelledImage(
        name=row["name"],
        size_px=(row["width_px"], row["height_px"]),
        mpp=(row["mpp_x"], row["mpp_y"]),
        labels=labels,
        file=file,
        patient=row["patient"],
        slide=row["slide"],
        laboratory=row["laboratory"],
        stain=row["stain"],
        corner_px0=None if None in corner else corner,
        annotated=None if row["annotated"] is None else shapely.from_wkb(row["annotated"]),
        split=row["split"],
        labels_sha256=labels_sha256,
    )


def labels_from(rows: pa.Table) -> NucleusLabels:
    """Return the labels in rows of ``nuclei.parquet``."""
    outlines = shapely.from_wkb(np.array(rows["outline"].to_pylist(), np.object_))
    return nucleus_labels(
        np.column_stack([rows["x"].to_numpy(), rows["y"].to_numpy()]),
        rows["class"].to_pylist(),
        radii_px=rows["radius_px"].to_numpy(),
        outlines=outlines.tolist(),
        annotators=rows["annotator"].to_pylist(),
        grades=rows["grade"].fill_null(UNGRADED).to_numpy(),
    )


def columns_of(path: Path) -> pa.Schema:
    """Return the columns of a table, by the name of its file."""
    return IMAGE_COLUMNS if path.name == IMAGE_TABLE else NUCLEUS_COLUMNS


def read_pieces(
    path: Path, *, columns: Sequence[str] | None = None, rows: int = 65_536
) -> Iterator[pa.Table]:
    """Yield a table of a version in pieces, so that memory does not grow with it.

    Parameters
    ----------
    path
        ``images.parquet`` or ``nuclei.parquet``.
    columns
        The columns that are wanted; without it all.
    rows
        Of a piece, at most.

    Raises
    ------
    DataError
        The table is missing or damaged, or lacks a column.
    """
    schema = columns_of(path)
    wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns])
    try:
        with pq.ParquetFile(path) as file:
            lacking = sorted({*schema.names} - {*file.schema_arrow.names})
            if lacking:
                raise DataError(f"{path}: damaged (no column '{lacking[0]}'); {_BACKUP}")
            for batch in file.iter_batches(rows, columns=wanted.names):
                yield pa.Table.from_batches([batch]).select(wanted.names).cast(wanted)
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: damaged ({reason}); {_BACKUP}") from None


def rows_by_image(path: Path, images: Sequence[Mapping[str, Any]]) -> Iterator[pa.Table]:
    """Yield the nuclei of one picture after the other, in memory for a few pictures only.

    Parameters
    ----------
    path
        ``nuclei.parquet``.
    images
        Rows of the pictures, in their order; their ``name`` and ``nuclei`` are read.

    Raises
    ------
    DataError
        The table is damaged, or its rows are not those of the pictures.
    """
    pieces = read_pieces(path)
    held = NUCLEUS_COLUMNS.empty_table()
    for image in images:
        while len(held) < image["nuclei"]:
            piece = next(pieces, None)
            if piece is None:
                raise _other_rows(path, image["name"])
            held = pa.concat_tables([held, piece])
        rows = held.slice(0, image["nuclei"]).combine_chunks()
        if len(rows) and rows["image"].unique().to_pylist() != [image["name"]]:
            raise _other_rows(path, image["name"])
        yield rows
        held = held.slice(image["nuclei"])
    if len(held) or next(pieces, None) is not None:
        raise _other_rows(path, "a picture that is not listed")


def _other_rows(path: Path, name: str) -> DataError:
    return DataError(
        f"{path}: damaged (its rows of '{name}' are not as many as {IMAGE_TABLE} has); {_BACKUP}"
    )
