"""The text files of a folder of labelled tiles: ``tiles.csv`` and ``labels/<id>.txt``."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wsi_suite.datasets.pictures import tile_id
from wsi_suite.detector.label_spec import LabelSpec
from wsi_suite.errors import DataError, PixelSizeError

_COLUMNS = ("id", "id_run", "mpp")


@dataclass(frozen=True)
class TileRow:
    """One line of ``tiles.csv``.

    Attributes
    ----------
    line
        Number of the line, from 1.
    run
        The group of tiles that stays together in every split.
    mpp
        um per pixel of the image; ``None`` if the table does not say.
    """

    line: int
    run: str
    mpp: float | None


@dataclass(frozen=True)
class Labels:
    """The nuclei of one label file.

    Attributes
    ----------
    points
        ``(N, 2)`` float64 ``(x, y)``, pixels of the image from its corner.
    label
        ``(N,)`` uint8, index into ``LabelSpec.names``.
    radius
        ``(N,)`` float64 pixels of the image, NaN if it is not known.
    """

    points: npt.NDArray[np.float64]
    label: npt.NDArray[np.uint8]
    radius: npt.NDArray[np.float64]


def read_tile_table(path: Path) -> dict[str, TileRow] | None:
    """Read ``tiles.csv``: one line a tile, in the columns ``id``, ``id_run`` and ``mpp``.

    Columns are parted by commas, semicolons or tabs, as spreadsheets write them.

    Returns
    -------
    dict or None
        The lines, by id; ``None`` if there is no such file.

    Raises
    ------
    DataError
        A column is missing or stands twice, a line has more values than there are columns, a tile
        is listed twice, or a value is missing or no number.
    PixelSizeError
        A pixel size is not within 0.05 - 10 um.
    """
    if not path.exists():
        return None
    lines = _read_text(path).splitlines()
    delimiter = max(",;\t", key=lines[0].count) if lines else ","
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    header = [column.strip().lower() for column in next(reader, [])]
    for column in ("id", "id_run"):
        if column not in header:
            raise DataError(f"{path}: {_missing_column(column, header)}")
    for column in _COLUMNS:
        if header.count(column) > 1:
            raise DataError(f"{path}: two columns '{column}'; keep one of them")
    table: dict[str, TileRow] = {}
    for values in reader:
        fields = [value.strip() for value in values]
        if not any(fields):
            continue
        where = f"{path}:{reader.line_num}"
        if any(fields[len(header) :]):
            raise DataError(
                f"{where}: {len(fields)} values in {len(header)} columns; put a value that holds"
                f" '{delimiter}' in double quotes"
            )
        row = dict(zip(header, fields, strict=False))
        name = tile_id(row.get("id", ""))
        if name in table:
            raise DataError(
                f"{where}: tile '{name}' stands on line {table[name].line} too; keep one of them"
            )
        if not name or not row.get("id_run"):
            raise DataError(
                f"{where}: no {'id_run' if name else 'id'}; give one, the same for all tiles of a"
                " slide or patient"
            )
        mpp = _stated_mpp(row.get("mpp", ""), where)
        table[name] = TileRow(line=reader.line_num, run=row["id_run"], mpp=mpp)
    return table


def check_mpp(value: float, where: object) -> float:
    """Return a pixel size in um, or raise PixelSizeError if it cannot be right."""
    if not 0.05 <= value <= 10:
        raise PixelSizeError(f"{where}: pixel size {value} um is not within 0.05 - 10")
    return value


def read_labels(path: Path, spec: LabelSpec, *, size: tuple[int, int]) -> Labels:
    """Read a label file.

    Parameters
    ----------
    path
        One nucleus a line: two coordinates, a class and, if it is known, a radius in pixels,
        parted by blanks, commas or semicolons.
    spec
        How label files are read.
    size
        Width and height of the image, px.

    Raises
    ------
    DataError
        The file is missing or not text, a line is none, or a point lies beyond the image.
    """
    if not path.exists():
        raise DataError(f"{path}: missing; a tile without nuclei has an empty label file")
    index = {value: spec.names.index(name) for value, name in spec.classes.items()}
    points, label, radius = [], [], []
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        first, second, value, *rest = _numbers(line, where)
        if value not in index:
            known = ", ".join(map(str, sorted(index)))
            raise DataError(f"{where}: class {value:g} is not one of {known}")
        x, y = (first, second) if spec.columns == "xy" else (second, first)
        centre = 0.5 if x.is_integer() and y.is_integer() else 0.0
        point = (x + centre, y + centre)
        if not (0 <= point[0] <= size[0] and 0 <= point[1] <= size[1]):
            raise DataError(_beyond(where, (x, y), size))
        points.append(point)
        label.append(index[int(value)])
        radius.append(rest[0] if rest else math.nan)
    if len(points) > 1 and max(map(max, points)) < 1:
        raise DataError(
            f"{path}: all coordinates lie between 0 and 1, as shares of the picture; expected"
            f" pixels: multiply them by its width and height, {size[0]} and {size[1]}"
        )
    return Labels(
        np.array(points, np.float64).reshape(-1, 2),
        np.array(label, np.uint8),
        np.array(radius, np.float64),
    )


def _missing_column(column: str, header: list[str]) -> str:
    there = ", ".join(header) or "none"
    near = [name for name in header if name not in _COLUMNS and name in column.split("_")]
    remedy = f"rename '{near[0]}' to '{column}'" if near else f"expected {','.join(_COLUMNS)}"
    return f"no column '{column}' (its columns: {there}); {remedy}"


def _stated_mpp(text: str, where: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        raise DataError(f"{where}: mpp '{text}' is not a number; expected um per pixel") from None
    return check_mpp(value, where)


def _beyond(where: str, point: tuple[float, float], size: tuple[int, int]) -> str:
    x, y = point
    exchanged = 0 <= y < size[0] and 0 <= x < size[1]
    remedy = (
        "if y stands first in the file, set labels.columns to yx"
        if exchanged
        else "expected pixels of this picture from its top left corner, from 0"
    )
    return (
        f"{where}: x {x:g}, y {y:g} lies beyond the picture of {size[0]} x {size[1]} px; {remedy}"
    )


def _numbers(line: str, where: str) -> list[float]:
    """Return the three or four numbers of a line of a label file."""
    if ";" in line:
        fields = line.replace(",", ".").split(";")  # how spreadsheets write decimal commas
    elif "," in line:
        fields = line.split(",")
    else:
        fields = line.split()
    try:
        numbers = [float(field) for field in fields]
    except ValueError:
        numbers = []
    if len(numbers) not in (3, 4) or not all(map(math.isfinite, numbers)):
        raise DataError(
            f"{where}: '{line.strip()}' is not two coordinates, a class and perhaps a radius,"
            " parted by blanks or by commas"
        )
    if len(numbers) == 4 and numbers[3] <= 0:
        raise DataError(f"{where}: radius {numbers[3]:g} is not above 0; leave it out if unknown")
    return numbers


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error})") from None
