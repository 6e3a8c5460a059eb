"""Points in a table: CSV as spreadsheets write it, workbooks, or Parquet; one row a nucleus."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wsi_suite.datasets.formats import ReadOptions, WriteOptions
from wsi_suite.datasets.labelled_image import UNGRADED, LabelledImage, nucleus_labels
from wsi_suite.datasets.losses import describe_losses, tally
from wsi_suite.datasets.pictures import find_pictures, picture_size
from wsi_suite.errors import DataError
from wsi_suite.files import whole_file
from wsi_suite.geometry import Points
from wsi_suite.tables import MISSING, Table, find_column, name_is, read_table

_REQUIRED = {
    "image": ("image", "file", "filename", "image name", "picture", "tile", "id"),
    "class": ("class", "label", "classification", "category", "type"),
}
_X, _Y = ("x", "x_px", "centroid x px", "cx"), ("y", "y_px", "centroid y px", "cy")
_OPTIONAL = {
    "radius_px": ("radius_px", "radius"),
    "grade": ("grade", "intensity"),
    "annotator": ("annotator", "reader", "user"),
    "mpp": ("mpp", "um per px"),
    "patient": ("patient", "case"),
    "slide": ("slide", "id_run"),
}
_SHARED = ("mpp", "patient", "slide")
_GRADES = ("0", "1", "2", "3")
_UM = ("x_um", "y_um", "centroid x um", "centroid y um", "centroid x µm", "centroid y µm")
HOLDS = ("radius", "grade", "annotator", "pixel size", "patient", "slide")


def read(source: Path, options: ReadOptions) -> Iterator[LabelledImage]:
    """Yield the pictures that a table of points names.

    The columns are ``image``, ``x``, ``y`` (pixels of the picture from its top left corner),
    ``class`` and, as far as they are known, ``radius_px``, ``grade``, ``annotator``, ``mpp``,
    ``patient``, ``slide``; QuPath's and other usual names are known, too. Pictures without row are
    left out: nobody said that they have no nuclei. The pictures lie in ``options.images``, else in
    ``images/`` beside the table, else beside it.
    """
    table = _read_parquet(source) if source.suffix.lower() == ".parquet" else read_table(source)
    for name in table.columns:
        if name_is(name, _UM):
            raise DataError(f"{source}: column '{name}' is in um; expected pixels, x and y")
    folder = options.images or (
        source.parent / "images" if (source.parent / "images").is_dir() else source.parent
    )
    columns = {key: _column(table, key, names) for key, names in _REQUIRED.items()}
    for key, names in _OPTIONAL.items():
        if any(name_is(one, names) for one in table.columns):
            columns[key] = _column(table, key, names)
    points = np.column_stack([_numbers(table, "x", _X), _numbers(table, "y", _Y)])
    pictures = find_pictures(folder, columns["image"], source=source, tell=options.tell)
    names_of = {text: name for name, (_, texts) in pictures.items() for text in texts}
    rows_of: dict[str, list[int]] = {name: [] for name in pictures}
    for row, text in enumerate(columns["image"]):
        rows_of[names_of[text]].append(row)
    for name, (file, _) in pictures.items():
        rows = rows_of[name]
        if not rows:
            continue
        cells = {key: [texts[row] for row in rows] for key, texts in columns.items()}
        lines = [table.lines[row] for row in rows]
        yield _image(name, file, points[rows], cells, lines=lines, table=source, mpp=options.mpp)


def write(images: Iterable[LabelledImage], out: Path, options: WriteOptions) -> list[str]:
    """Write points as CSV, or as Parquet if `out` ends so.

    Pictures without nuclei have no row, and pictures are not copied.
    """
    del options
    lost: Counter[str] = Counter()
    empty = 0
    rows: list[dict[str, object]] = []
    for image in tally(images, lost, holds=HOLDS):
        empty += len(image.labels) == 0
        rows.extend(_rows(image))
    names = ("image", "x", "y", "class", *(key for key in _OPTIONAL if _is_known(key, rows)))
    with whole_file(out) as made:
        if out.suffix.lower() == ".parquet":
            columns = {name: [row[name] for row in rows] for name in names}
            pq.write_table(pa.table(columns), made)
        else:
            with made.open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, names, extrasaction="ignore")
                writer.writeheader()
                writer.writerows(rows)
    said = describe_losses(lost, title="A table of points")
    return [*said, f"{empty:,} pictures without nuclei have no row"] if empty else said


def _rows(image: LabelledImage) -> Iterator[dict[str, object]]:
    labels, mpp = image.labels, image.mpp
    if mpp is not None and abs(mpp[0] / mpp[1] - 1) > 0.02:
        raise DataError(f"'{image.name}': pixel size {mpp}; expected one in x and y")
    columns = (labels.points.tolist(), labels.class_names, labels.radii_px.tolist())
    both = zip(*columns, labels.grades.tolist(), labels.annotators, strict=True)
    for (x, y), name, radius, grade, annotator in both:
        yield {
            "image": image.name,
            "x": x,
            "y": y,
            "class": name,
            "radius_px": None if np.isnan(radius) else radius,
            "grade": None if grade == UNGRADED else grade,
            "annotator": annotator,
            "mpp": None if mpp is None else float(np.sqrt(np.prod(mpp))),
            "patient": image.patient,
            "slide": image.slide,
        }


def _is_known(key: str, rows: list[dict[str, object]]) -> bool:
    return any(row[key] is not None for row in rows)


def _image(
    name: str,
    file: Path,
    points: Points,
    cells: Mapping[str, list[str]],
    *,
    lines: list[int],
    table: Path,
    mpp: float | None,
) -> LabelledImage:
    """Return one picture with the points and cells of its rows."""
    missing = np.isnan(points).any(axis=1)
    if missing.any():
        line = lines[int(np.argmax(missing))]
        raise DataError(f"{table}: line {line}: no x or y; fill it in, or delete the line")
    shared = {key: _shared(cells.get(key, []), key, name=name, table=table) for key in _SHARED}
    stated = mpp if shared["mpp"] is None else _number(shared["mpp"], table, name)
    return LabelledImage(
        name=name,
        size_px=picture_size(file),
        mpp=None if stated is None else (stated, stated),
        labels=nucleus_labels(
            points,
            [cell or None for cell in cells["class"]],
            radii_px=[_number(cell, table, name) for cell in cells["radius_px"]]
            if "radius_px" in cells
            else None,
            annotators=[None if _is_missing(cell) else cell for cell in cells["annotator"]]
            if "annotator" in cells
            else None,
            grades=[_grade(cell, table, name) for cell in cells["grade"]]
            if "grade" in cells
            else None,
        ),
        file=file,
        patient=shared["patient"],
        slide=shared["slide"],
    )


def _shared(cells: list[str], key: str, *, name: str, table: Path) -> str | None:
    """Return the value that all rows of a picture have in a column."""
    values = sorted({cell for cell in cells if not _is_missing(cell)})
    if len(values) > 1 and not (
        key == "mpp" and len({_number(one, table, name) for one in values}) == 1
    ):
        raise DataError(f"{table}: '{name}' has {key} {values[0]} and {values[1]}; expected one")
    return values[0] if values else None


def _column(table: Table, key: str, names: tuple[str, ...]) -> list[str]:
    option = f"a column named '{key}'"
    return table.column(find_column(table, None, known=names, meant=f"the {key}", option=option))


def _numbers(table: Table, key: str, names: tuple[str, ...]) -> np.ndarray:
    option = f"a column named '{key}'"
    return table.numbers(find_column(table, None, known=names, meant=f"the {key}", option=option))


def _is_missing(cell: str) -> bool:
    return cell.casefold() in MISSING


def _number(text: str, table: Path, name: str) -> float:
    """Return the number in a cell, NaN if it says that there is none."""
    if _is_missing(text):
        return np.nan
    try:
        return float(text.replace(",", "."))
    except ValueError:
        raise DataError(f"{table}: '{text}' of '{name}' is not a number") from None


def _grade(text: str, table: Path, name: str) -> int:
    plain = text.strip().removesuffix("+").removesuffix(".0")  # as columns with gaps become floats
    if _is_missing(plain):
        return UNGRADED
    if plain.casefold() == "negative":
        return 0
    if plain not in _GRADES:
        raise DataError(f"{table}: grade '{text}' in '{name}'; expected 0 to 3, or 1+")
    return int(plain)


def _read_parquet(path: Path) -> Table:
    try:
        content = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: not a Parquet table ({' '.join(str(error).split())})") from None
    columns = [_texts(content[name]) for name in content.column_names]
    rows = tuple(zip(*columns, strict=True))
    return Table(path, tuple(content.column_names), tuple(range(1, len(rows) + 1)), rows)


def _texts(column: pa.ChunkedArray) -> list[str]:
    return ["" if value is None else str(value) for value in column.to_pylist()]
