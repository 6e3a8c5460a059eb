"""The table of nuclei: positions, classes, confidence and measurements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from anndata import AnnData
    from geopandas import GeoDataFrame
    from pandas import DataFrame
    from spatialdata import SpatialData

FloatArray = npt.NDArray[np.float32]

INTENSITIES = ("Negative", "1+", "2+", "3+")
"""QuPath's names of the intensity classes; a nucleus' grade (uint8) is an index into them."""

NOT_MEASURABLE = 255
"""The grade of a nucleus in which no stain could be measured."""


@dataclass(frozen=True)
class Nuclei:
    """Nuclei as columns of one length N.

    Attributes
    ----------
    x, y
        ``(N,)`` float64, level-0 pixels of QuPath's frame: where a nucleus counts, that is the
        centre of its outline as QuPath has it; the detected point if that is not known yet.
    confidence
        ``(N,)`` float32, confidence of the detector in [0, 1].
    label
        ``(N,)`` uint8, index into `classes`.
    classes
        Names of the compartments, as QuPath shows them.
    measurements
        ``(N,)`` float32 each, by QuPath's name of the measurement. NaN if nothing could be
        measured.
    outline
        ``(N, 16)`` float32, distance from the detected point to the border of the nucleus along
        each ray, level-0 pixels; ``None`` where nuclei are points.
    detected
        ``(N, 2)`` float64, the points that the detector found, level-0 pixels; ``None``: x and y
        are these points.
    mpp
        um per level-0 pixel, x and y; ``None`` where it is not known.

    Examples
    --------
    A table of a run, its strongly stained nuclei, and the same for pandas:

    >>> import wsi_suite as ws
    >>> nuclei, _ = ws.read_nuclei("results/B12_ER/nuclei.parquet")
    >>> nuclei
    <Nuclei: 243 (192 Stroma, 51 Epithelium), outlines, 0.25 um/px>
    >>> dab = nuclei.measurements["Nucleus: DAB OD mean"]
    >>> strong = nuclei.take(dab > 0.6)
    >>> len(strong)
    133
    >>> strong.to_pandas().columns[:4].tolist()
    ['x', 'y', 'detected_x', 'detected_y']
    """

    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    confidence: FloatArray
    label: npt.NDArray[np.uint8]
    classes: tuple[str, ...]
    measurements: Mapping[str, FloatArray] = field(default_factory=dict)
    outline: FloatArray | None = None
    detected: npt.NDArray[np.float64] | None = None
    mpp: tuple[float, float] | None = None

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        from wsi_suite.nuclei.card import in_words

        return in_words(self)

    def _repr_html_(self) -> str:
        from wsi_suite.nuclei.card import as_card

        return as_card(self)

    @property
    def points(self) -> npt.NDArray[np.float64]:
        """``(N, 2)`` float64 centres, level-0 pixels."""
        return np.column_stack([self.x, self.y])

    @property
    def detected_points(self) -> npt.NDArray[np.float64]:
        """``(N, 2)`` float64 points where the rays of the outlines start, level-0 pixels."""
        return self.points if self.detected is None else self.detected

    def take(self, rows: npt.NDArray[np.int_] | npt.NDArray[np.bool_]) -> Nuclei:
        """Return the nuclei at `rows`: indices in their order, or a mask."""
        return replace(
            self,
            x=self.x[rows],
            y=self.y[rows],
            confidence=self.confidence[rows],
            label=self.label[rows],
            measurements={name: values[rows] for name, values in self.measurements.items()},
            outline=None if self.outline is None else self.outline[rows],
            detected=None if self.detected is None else self.detected[rows],
        )

    def sorted(self) -> Nuclei:
        """Return the nuclei in reading order, by (y, x)."""
        return self.take(np.lexsort([self.x, self.y]))

    @classmethod
    def empty(cls, classes: tuple[str, ...]) -> Nuclei:
        """Return a table without rows."""
        none = np.zeros(0)
        return cls(
            none, none, none.astype(np.float32), none.astype(np.uint8), classes, outline=None
        )

    def to_pandas(self, *, grades: npt.NDArray[np.uint8] | None = None) -> DataFrame:
        """Return a frame of pandas, a row a nucleus.

        Columns are those of ``nuclei.parquet``; an outline takes 16. Frame, pixel size and names of
        classes stand in ``attrs["wsi_suite"]``.

        Parameters
        ----------
        grades
            ``(N,)`` uint8, 0 to 3, or 255 if not measurable: adds the column ``intensity``.

        Raises
        ------
        ImportError
            pandas is not installed.
        """
        from wsi_suite.nuclei.converters import to_pandas

        return to_pandas(self, grades=grades)

    @classmethod
    def from_pandas(cls, frame: DataFrame, *, mpp: tuple[float, float] | None = None) -> Nuclei:
        """Return the nuclei of a frame as :meth:`to_pandas` makes it.

        Columns of other names are measurements. Intensities follow from these and are not read.

        Parameters
        ----------
        frame
            With x, y (level-0 pixels), confidence and class at least.
        mpp
            um per level-0 pixel, x and y, in place of what ``attrs`` says.

        Raises
        ------
        DataError
            A column is missing, or no numbers.
        """
        from wsi_suite.nuclei.converters import from_pandas

        return from_pandas(frame, mpp=mpp)

    def to_geodataframe(self, *, grades: npt.NDArray[np.uint8] | None = None) -> GeoDataFrame:
        """Return a frame of GeoPandas: that of :meth:`to_pandas`, and a geometry for each nucleus.

        Geometries are QuPath's polygons in level-0 pixels, points where there is no outline, and
        without a reference system: y points downward.

        Raises
        ------
        ImportError
            geopandas is not installed.
        """
        from wsi_suite.nuclei.converters import to_geodataframe

        return to_geodataframe(self, grades=grades)

    @classmethod
    def from_geodataframe(
        cls, frame: GeoDataFrame, *, mpp: tuple[float, float] | None = None
    ) -> Nuclei:
        """Return the nuclei of a frame as :meth:`to_geodataframe` makes it, by its columns.

        Errors are those of :meth:`from_pandas`; geometries are not read.
        """
        from wsi_suite.nuclei.converters import from_pandas

        return from_pandas(frame, mpp=mpp)

    def to_anndata(self, *, grades: npt.NDArray[np.uint8] | None = None) -> AnnData:
        """Return an AnnData: nuclei are observations, their measurements variables.

        ``obsm["spatial"]`` holds x and y in level-0 pixels, as squidpy expects it,
        ``uns["wsi_suite"]`` frame, pixel size and names of classes.

        Raises
        ------
        ImportError
            anndata is not installed.
        """
        from wsi_suite.nuclei.converters import to_anndata

        return to_anndata(self, grades=grades)

    @classmethod
    def from_anndata(cls, data: AnnData, *, mpp: tuple[float, float] | None = None) -> Nuclei:
        """Return the nuclei of an AnnData as :meth:`to_anndata` makes it.

        Raises
        ------
        DataError
            Places, confidences or classes are missing.
        """
        from wsi_suite.nuclei.converters import from_anndata

        return from_anndata(data, mpp=mpp)

    def to_spatialdata(self, *, grades: npt.NDArray[np.uint8] | None = None) -> SpatialData:
        """Return a SpatialData: shapes, and the table of :meth:`to_anndata` that annotates them.

        They are called ``nuclei`` and ``nuclei_table``. The system ``global`` is that of
        level-0 pixels, ``um`` that of micrometres. Where some nucleus has no outline, all are
        circles.

        Raises
        ------
        ImportError
            spatialdata is not installed.
        DataError
            There are no nuclei.
        """
        from wsi_suite.nuclei.converters import to_spatialdata

        return to_spatialdata(self, grades=grades)

    @classmethod
    def from_spatialdata(
        cls, data: SpatialData, *, mpp: tuple[float, float] | None = None
    ) -> Nuclei:
        """Return the nuclei of ``nuclei_table`` of a SpatialData; errors as `from_anndata`."""
        from wsi_suite.nuclei.converters import from_spatialdata

        return from_spatialdata(data, mpp=mpp)


def concatenate(tables: Sequence[Nuclei]) -> Nuclei:
    """Join tables that have the same classes and measurements, in their order."""
    first = next((table for table in tables if len(table)), tables[0])
    filled = [table for table in tables if len(table)] or [first]
    assert all(table.classes == first.classes for table in filled)
    return Nuclei(
        x=np.concatenate([table.x for table in filled]),
        y=np.concatenate([table.y for table in filled]),
        confidence=np.concatenate([table.confidence for table in filled]),
        label=np.concatenate([table.label for table in filled]),
        classes=first.classes,
        measurements={
            name: np.concatenate([table.measurements[name] for table in filled])
            for name in first.measurements
        },
        outline=None
        if first.outline is None
        else np.concatenate([table.outline for table in filled if table.outline is not None]),
        detected=None
        if first.detected is None
        else np.concatenate([table.detected for table in filled if table.detected is not None]),
        mpp=first.mpp,
    )


def take_joined(tables: Sequence[Nuclei], rows: npt.NDArray[np.int_]) -> Nuclei:
    """Return ``concatenate(tables).take(rows)`` without holding the joined table.

    Memory is that of the result and of one table, if `tables` reads each when it is asked for.

    Parameters
    ----------
    tables
        As for :func:`concatenate`.
    rows
        Indices into the joined table, each at most once, in the order of the result.
    """
    places = np.full(rows.max(initial=-1) + 1, -1)
    places[rows] = np.arange(len(rows))
    joined: Nuclei | None = None
    start = 0
    for table in tables:
        if joined is None or not start:  # columns are those of the first table with rows
            joined = _unfilled(table, len(rows))
        if len(table):
            own = places[start : start + len(table)]
            chosen = np.flatnonzero(own >= 0)
            for column, values in zip(_columns(joined), _columns(table), strict=True):
                column[own[chosen]] = values[chosen]
        start += len(table)
    assert joined is not None, "there is a table"
    return joined


def _unfilled(table: Nuclei, length: int) -> Nuclei:
    """Return a table with the columns of another, whose values are still to be set."""

    def column(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.empty((length, *values.shape[1:]), values.dtype)

    return replace(
        table,
        x=column(table.x),
        y=column(table.y),
        confidence=column(table.confidence),
        label=column(table.label),
        measurements={name: column(values) for name, values in table.measurements.items()},
        outline=None if table.outline is None else column(table.outline),
        detected=None if table.detected is None else column(table.detected),
    )


def _columns(table: Nuclei) -> Iterator[npt.NDArray[Any]]:
    yield from (table.x, table.y, table.confidence, table.label)
    yield from (table.measurements[name] for name in sorted(table.measurements))
    yield from (column for column in (table.outline, table.detected) if column is not None)
