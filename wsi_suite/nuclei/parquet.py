"""Nuclei on disk: ``nuclei.parquet``, one row a nucleus.

======================  ============================================================
``x``, ``y``            float64, level-0 pixels of QuPath's frame: where the nucleus counts, the
                        centre of its outline as QuPath has it
``detected_x``, ``_y``  float64, the point that the detector found; ids follow from it, and the
                        rays of the outline start there
``confidence``          float32, the detector's confidence; ``score`` in files of earlier versions
``class``               dictionary string, the compartment
``intensity``           dictionary string: Negative, 1+, 2+, 3+; null: not measurable
``Nucleus: ...``        float32, the measurements by QuPath's names; NaN: none
``outline``             16 float32 a nucleus, its radii in level-0 pixels; may be absent
======================  ============================================================

The schema's metadata holds one key, ``wsi_suite``: JSON with what the caller wants to be
remembered, the ``format`` of the table and, under ``classes``, all compartments of the model,
whether or not one has a nucleus. Outlines stay in full precision, so that what is made from the
file again is what the run itself made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ConfigDict

from wsi_suite.documents import Document, parse_document
from wsi_suite.errors import DataError
from wsi_suite.files import whole_file
from wsi_suite.measurements import OUTLINE_RAYS
from wsi_suite.nuclei.provenance import Provenance, parse_provenance
from wsi_suite.nuclei.table import INTENSITIES, NOT_MEASURABLE, Nuclei

_KEY = b"wsi_suite"
_COLUMNS = ("x", "y", "confidence", "class", "intensity")
_EARLIER_NAMES = {"score": "confidence"}
"""Columns of format 1."""

_DETECTED = ("detected_x", "detected_y")
_OUTLINE = "outline"
_FAULT, _REMEDY = "no table of nuclei", "give the nuclei.parquet of a run"


class _Description(Document):
    """Metadata of a table: its own fields, and those of the caller."""

    model_config = ConfigDict(extra="allow")

    format: int = 3
    """From 2 on confidences are called so; from 3 on thresholds may be calibrated."""

    classes: tuple[str, ...]


def write_nuclei(
    nuclei: Nuclei,
    path: Path | str,
    *,
    intensity: npt.NDArray[np.uint8],
    metadata: Mapping[str, Any],
    staging: str | Path | None = None,
) -> None:
    """Write a table of nuclei; the same nuclei and metadata give the same bytes.

    Parameters
    ----------
    nuclei
        The nuclei, in the order in which they are to stand.
    path
        The Parquet file, replaced in one step.
    intensity
        ``(N,)`` uint8, the grade of each nucleus: 0 to 3, or 255 if it is not measurable.
    metadata
        What to remember with them, as JSON can hold it; ``classes`` and ``format`` are added.
    staging
        As for :func:`~wsi_suite.files.whole_file`.

    Raises
    ------
    OutputError
        The file cannot be written.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> rgb, truth = ws.make_tile(mpp=0.5)
    >>> ws.write_nuclei(truth.nuclei, "truth.parquet", intensity=truth.grades(), metadata={})
    >>> ws.read_nuclei("truth.parquet")[0]
    <Nuclei: 454 (411 Stroma, 43 Epithelium), outlines>
    """
    columns: dict[str, pa.Array] = {
        "x": pa.array(nuclei.x),
        "y": pa.array(nuclei.y),
        **_detected_columns(nuclei),
        "confidence": pa.array(nuclei.confidence),
        "class": _dictionary(nuclei.label, nuclei.classes),
        "intensity": _dictionary(intensity, INTENSITIES),
    }
    columns |= {name: pa.array(values) for name, values in nuclei.measurements.items()}
    if nuclei.outline is not None:
        columns[_OUTLINE] = pa.FixedSizeListArray.from_arrays(
            pa.array(nuclei.outline.ravel()), OUTLINE_RAYS
        )
    own = _Description(classes=nuclei.classes).as_json()
    size = {} if nuclei.mpp is None else {"mpp": nuclei.mpp}
    described = json.dumps({**size, **metadata, **own}, sort_keys=True)
    table = pa.table(columns).replace_schema_metadata({_KEY: described.encode()})
    staging = None if staging is None else Path(staging)
    with whole_file(Path(path), staging=staging) as partial:
        pq.write_table(
            table,
            partial,
            compression="zstd",
            use_dictionary=["class", "intensity"],
            column_encoding=dict.fromkeys(_floats(table.schema), "BYTE_STREAM_SPLIT"),
        )


def read_nuclei(path: Path | str, *, outline: bool = True) -> tuple[Nuclei, dict[str, Any]]:
    """Read a table of nuclei and the metadata written with it.

    The intensity column is not read (see :func:`read_grades`): it follows from the measurements and
    the thresholds.
    Without the outlines, which are most of the file, reading takes a small part of the time.

    Raises
    ------
    DataError
        The file is missing or unreadable, or no table of nuclei.
    LaterFormatError
        A later version of the suite wrote it.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> nuclei, provenance = ws.read_nuclei("results/B12_ER/nuclei.parquet")
    >>> nuclei
    <Nuclei: 243 (192 Stroma, 51 Epithelium), outlines, 0.25 um/px>
    >>> provenance["slide"], provenance["score"]["thresholds_od"]
    ('B12_ER.svs', [0.2, 0.4, 0.6])
    """
    table, description = _read_table(Path(path), outline=outline)
    classes = description.classes
    known = (*_COLUMNS, *_DETECTED, _OUTLINE)
    names = [name for name in table.column_names if name not in known]
    return Nuclei(
        x=table["x"].to_numpy(),
        y=table["y"].to_numpy(),
        confidence=table["confidence"].to_numpy(),
        label=_labels(table["class"].combine_chunks(), classes),
        classes=classes,
        measurements={name: table[name].to_numpy() for name in names},
        outline=_outline(table),
        detected=_detected(table),
        mpp=_mpp(description),
    ), dict(description.model_extra or {})


def read_provenance(path: Path | str) -> Provenance:
    """Read the provenance of the table of nuclei of a run, without the table.

    Raises
    ------
    DataError
        The file is missing or unreadable, or no table of a run.
    LaterFormatError
        A later version of the suite wrote it.
    """
    _, description = _read_schema(Path(path))
    return parse_provenance(description.model_extra or {}, source=Path(path))


def read_grades(path: Path | str) -> npt.NDArray[np.uint8]:
    """Read the grades of a table of nuclei, ``(N,)`` uint8: 0 to 3, or 255 for not measurable.

    They are those of the run; other thresholds give others.

    Raises
    ------
    DataError
        The file is missing or unreadable, or no table of nuclei.
    """
    table, _ = _read_table(Path(path), outline=False)
    column = table["intensity"].combine_chunks()
    names = column.dictionary.to_pylist()
    position = np.array([*map(INTENSITIES.index, names), NOT_MEASURABLE], np.uint8)
    return np.asarray(position[column.indices.fill_null(len(names)).to_numpy()])


def _read_table(path: Path, *, outline: bool) -> tuple[pa.Table, _Description]:
    names, description = _read_schema(path)
    wanted = [name for name in names if outline or name != _OUTLINE]
    try:
        table = pq.read_table(path, columns=wanted)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from None
    return table.rename_columns([_EARLIER_NAMES.get(name, name) for name in wanted]), description


def _read_schema(path: Path) -> tuple[list[str], _Description]:
    """Return the names of the columns of a table, as they stand in the file, and its metadata."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected the nuclei.parquet of a run")
    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from None
    described = (schema.metadata or {}).get(_KEY)
    # First: a table of a later format may have other columns.
    description = None if described is None else _parse(described, path)
    names = {_EARLIER_NAMES.get(name, name) for name in schema.names}
    missing = [name for name in _COLUMNS if name not in names]
    if missing or description is None:
        reason = f"no column '{missing[0]}'" if missing else "no metadata 'wsi_suite'"
        raise DataError(f"{path}: {_FAULT} ({reason}); {_REMEDY}")
    return schema.names, description


def _parse(described: bytes, path: Path) -> _Description:
    return parse_document(
        _Description, described, source=path, fault=_FAULT, remedy=_REMEDY, error=DataError
    )


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = str(error).splitlines()[0]
    return DataError(
        f"{path}: not a readable Parquet file ({reason}); expected the nuclei.parquet of a run"
    )


def _dictionary(codes: npt.NDArray[np.uint8], names: tuple[str, ...]) -> pa.DictionaryArray:
    indices = pa.array(codes.astype(np.int32), mask=codes == NOT_MEASURABLE)
    return pa.DictionaryArray.from_arrays(indices, pa.array(names, pa.string()))


def _labels(column: pa.DictionaryArray, classes: tuple[str, ...]) -> npt.NDArray[np.uint8]:
    # The dictionary in the file may list the names in another order than the model does.
    position = [classes.index(name) for name in column.dictionary.to_pylist()]
    return np.asarray(np.array(position, np.uint8)[column.indices.to_numpy()])


def _detected_columns(nuclei: Nuclei) -> dict[str, pa.Array]:
    if nuclei.detected is None:
        return {}
    columns = np.ascontiguousarray(nuclei.detected.T)
    return {name: pa.array(column) for name, column in zip(_DETECTED, columns, strict=True)}


def _detected(table: pa.Table) -> npt.NDArray[np.float64] | None:
    if not set(_DETECTED) <= set(table.column_names):
        return None
    return np.column_stack([table[name].to_numpy() for name in _DETECTED])


def _mpp(description: _Description) -> tuple[float, float] | None:
    """Return the pixel size, which tables of other writers may lack."""
    try:
        x, y = (description.model_extra or {})["mpp"]
        return float(x), float(y)
    except (KeyError, TypeError, ValueError):
        return None


def _outline(table: pa.Table) -> npt.NDArray[np.float32] | None:
    if _OUTLINE not in table.column_names:
        return None
    flat = table[_OUTLINE].combine_chunks().flatten().to_numpy()
    return np.asarray(flat.reshape(-1, OUTLINE_RAYS), np.float32)


def _floats(schema: pa.Schema) -> list[str]:
    """Return the paths of the Parquet columns that hold floating point numbers."""
    return [
        f"{field.name}.list.element" if field.name == _OUTLINE else field.name
        for field in schema
        if field.name not in ("class", "intensity")
    ]
