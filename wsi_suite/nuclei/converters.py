"""Tables of nuclei as those of pandas, GeoPandas, AnnData and SpatialData, and back.

In all of them x and y are level-0 pixels of QuPath's frame, y downward, and the pixel size stands
beside the table: ``attrs`` of a frame, ``uns["wsi_suite"]`` of an AnnData. What comes back is the
table that went out, to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from wsi_suite.config import MeasureSettings
from wsi_suite.errors import DataError
from wsi_suite.measurements import OUTLINE_RAYS
from wsi_suite.nuclei.outlines import outline_rings
from wsi_suite.nuclei.table import INTENSITIES, NOT_MEASURABLE, Nuclei

if TYPE_CHECKING:
    from anndata import AnnData
    from geopandas import GeoDataFrame
    from pandas import DataFrame, Index, Series
    from spatialdata import SpatialData

F = TypeVar("F", bound=np.floating[Any])

KEY = "wsi_suite"
"""Where frame and pixel size stand."""

FRAME = "level-0 pixels from the upper left corner of the slide's bounds, y downward"

_PLACE = ("x", "y")
_DETECTED = ("detected_x", "detected_y")
_OUTLINE = tuple(f"outline_{ray:02d}" for ray in range(OUTLINE_RAYS))
_OWN = (*_PLACE, *_DETECTED, "confidence", "class", "intensity", *_OUTLINE, "geometry")
_SPATIAL = "pip install 'wsi-suite[spatial]'"
_SPATIALDATA = (
    "pip install spatialdata, into an environment of its own if its dask is not that of wsi-suite"
)
_TABLE = "nuclei_table"  # names are unique over shapes and tables
_UNKNOWN_RADIUS_PX0 = 10.0


def to_pandas(nuclei: Nuclei, *, grades: npt.NDArray[np.uint8] | None = None) -> DataFrame:
    """Return nuclei as a frame of pandas; see :meth:`~wsi_suite.nuclei.table.Nuclei.to_pandas`."""
    pandas = _needed("pandas", "pip install pandas")
    columns: dict[str, Any] = {"x": nuclei.x, "y": nuclei.y}
    if nuclei.detected is not None:
        columns |= dict(zip(_DETECTED, nuclei.detected.T, strict=True))
    columns["confidence"] = nuclei.confidence
    columns["class"] = pandas.Categorical.from_codes(nuclei.label, list(nuclei.classes))
    if grades is not None:
        codes = np.where(_checked(grades, nuclei) == NOT_MEASURABLE, -1, grades.astype(np.int8))
        columns["intensity"] = pandas.Categorical.from_codes(codes, INTENSITIES, ordered=True)
    columns |= nuclei.measurements
    if nuclei.outline is not None:
        columns |= dict(zip(_OUTLINE, nuclei.outline.T, strict=True))
    frame = pandas.DataFrame(columns)
    frame.attrs[KEY] = _told(nuclei)
    return frame


def from_pandas(frame: DataFrame, *, mpp: tuple[float, float] | None = None) -> Nuclei:
    """Return nuclei from a frame; see :meth:`~wsi_suite.nuclei.table.Nuclei.from_pandas`."""
    _needed("pandas", "pip install pandas")
    missing = [name for name in (*_PLACE, "confidence", "class") if name not in frame]
    if missing:
        raise DataError(
            f"no column '{missing[0]}': expected x, y, confidence and class, as to_pandas writes "
            "them; rename or add it"
        )
    told = frame.attrs.get(KEY, {})
    label, classes = _classes(frame["class"], told.get("classes"))
    has_outline = set(_OUTLINE) <= set(frame)
    return Nuclei(
        x=_numbers(frame, "x", np.float64),
        y=_numbers(frame, "y", np.float64),
        confidence=_numbers(frame, "confidence", np.float32),
        label=label,
        classes=classes,
        measurements={
            str(name): _numbers(frame, name, np.float32) for name in frame if name not in _OWN
        },
        outline=_stacked(frame, _OUTLINE, np.float32) if has_outline else None,
        detected=_stacked(frame, _DETECTED, np.float64) if set(_DETECTED) <= set(frame) else None,
        mpp=_pair(told.get("mpp")) if mpp is None else mpp,
    )


def to_geodataframe(nuclei: Nuclei, *, grades: npt.NDArray[np.uint8] | None = None) -> GeoDataFrame:
    """Return nuclei with their outlines as polygons, points where there is none."""
    geopandas = _needed("geopandas", _SPATIAL)
    frame = to_pandas(nuclei, grades=grades)
    return geopandas.GeoDataFrame(frame, geometry=_shapes(nuclei), crs=None)


def to_anndata(nuclei: Nuclei, *, grades: npt.NDArray[np.uint8] | None = None) -> AnnData:
    """Return nuclei as observations, their measurements as variables."""
    anndata = _needed("anndata", _SPATIAL)
    pandas = import_module("pandas")

    def names(texts: Sequence[str]) -> Index:  # AnnData does not write the strings of pandas 3
        return pandas.Index(list(texts), dtype=object)

    frame = to_pandas(nuclei, grades=grades)
    about = {name: frame[name] for name in ("confidence", "class", "intensity") if name in frame}
    for name, column in about.items():
        if name != "confidence":
            about[name] = column.cat.rename_categories(names(column.cat.categories))
    obs = pandas.DataFrame(about)
    obs.index = names([str(row) for row in range(len(nuclei))])
    places = {"spatial": nuclei.points, "detected": nuclei.detected, "outline": nuclei.outline}
    values = list(nuclei.measurements.values())
    return anndata.AnnData(
        X=np.column_stack(values) if values else np.zeros((len(nuclei), 0), np.float32),
        obs=obs,
        var=pandas.DataFrame(index=names(list(nuclei.measurements))),
        obsm={name: place for name, place in places.items() if place is not None},
        uns={KEY: {name: _plain(value) for name, value in _told(nuclei).items()}},
    )


def from_anndata(data: AnnData, *, mpp: tuple[float, float] | None = None) -> Nuclei:
    """Return nuclei from an AnnData whose ``obsm["spatial"]`` are level-0 pixels."""
    _needed("anndata", _SPATIAL)
    for place, name in (("obsm", "spatial"), ("obs", "confidence"), ("obs", "class")):
        if name not in getattr(data, place):
            raise DataError(f"no {place}['{name}'] in the AnnData: expected as to_anndata makes it")
    told = data.uns.get(KEY, {})
    stated = told.get("classes")
    label, classes = _classes(data.obs["class"], None if stated is None else list(stated))
    values = data.X.toarray() if hasattr(data.X, "toarray") else np.asarray(data.X)
    points = np.asarray(data.obsm["spatial"], np.float64)
    outline, detected = data.obsm.get("outline"), data.obsm.get("detected")
    return Nuclei(
        x=np.ascontiguousarray(points[:, 0]),
        y=np.ascontiguousarray(points[:, 1]),
        confidence=np.asarray(data.obs["confidence"], np.float32),
        label=label,
        classes=classes,
        measurements={
            str(name): np.asarray(values[:, column], np.float32)
            for column, name in enumerate(data.var_names)
        },
        outline=None if outline is None else np.asarray(outline, np.float32),
        detected=None if detected is None else np.asarray(detected, np.float64),
        mpp=_pair(told.get("mpp")) if mpp is None else mpp,
    )


def to_spatialdata(nuclei: Nuclei, *, grades: npt.NDArray[np.uint8] | None = None) -> SpatialData:
    """Return nuclei as shapes and a table that annotates them."""
    spatialdata = _needed("spatialdata", _SPATIALDATA)
    models = import_module("spatialdata.models")
    transforms = import_module("spatialdata.transformations")
    geopandas = _needed("geopandas", _SPATIAL)
    if not len(nuclei):
        raise DataError("no nuclei: SpatialData holds no shapes without rows; leave the slide out")
    shapes = geopandas.GeoDataFrame(geometry=_shapes(nuclei))
    if not (shapes.geom_type == "Polygon").all():  # it holds polygons or circles, not both
        shapes = geopandas.GeoDataFrame(
            {"radius": _circle_px0(nuclei)}, geometry=geopandas.points_from_xy(nuclei.x, nuclei.y)
        )
    systems = {"global": transforms.Identity()}
    if nuclei.mpp is not None:
        systems["um"] = transforms.Scale(list(nuclei.mpp), axes=_PLACE)
    table = to_anndata(nuclei, grades=grades)
    table.obs["region"] = import_module("pandas").Categorical(["nuclei"] * len(nuclei))
    table.obs["instance_id"] = np.arange(len(nuclei))
    return spatialdata.SpatialData(
        shapes={"nuclei": models.ShapesModel.parse(shapes, transformations=systems)},
        tables={
            _TABLE: models.TableModel.parse(
                table, region="nuclei", region_key="region", instance_key="instance_id"
            )
        },
    )


def from_spatialdata(data: SpatialData, *, mpp: tuple[float, float] | None = None) -> Nuclei:
    """Return nuclei from a SpatialData, by its table alone."""
    if _TABLE not in data.tables:
        raise DataError(
            f"no table '{_TABLE}' in the SpatialData: expected as to_spatialdata makes it"
        )
    return from_anndata(data.tables[_TABLE], mpp=mpp)


def _needed(name: str, remedy: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError:
        raise ImportError(f"this needs {name}: {remedy}") from None


def _told(nuclei: Nuclei) -> dict[str, Any]:
    told: dict[str, Any] = {"frame": FRAME, "classes": list(nuclei.classes)}
    return told if nuclei.mpp is None else {**told, "mpp": list(nuclei.mpp)}


def _plain(value: object) -> object:
    """Return a value as the files of AnnData hold it: no lists."""
    return np.array(value) if isinstance(value, list) else value


def _checked(grades: npt.NDArray[np.uint8], nuclei: Nuclei) -> npt.NDArray[np.uint8]:
    if len(grades) != len(nuclei):
        raise DataError(f"{len(grades)} grades for {len(nuclei)} nuclei: give one for each")
    return grades


def _classes(
    column: Series, stated: Sequence[str] | None
) -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
    """Return labels and the names that they are indices into."""
    names = [str(name) for name in column]
    if any(column.isna()):
        raise DataError("column 'class' lacks a name in some rows: give each nucleus one")
    listed = list(column.cat.categories) if hasattr(column, "cat") else sorted(set(names))
    classes = [str(name) for name in (stated if stated is not None else listed)]
    unknown = sorted(set(names) - set(classes))
    if unknown:
        classes += unknown  # renamed or added since
    if len(classes) > NOT_MEASURABLE:
        raise DataError(f"column 'class' has {len(classes)} names: expected up to 255")
    position = {name: number for number, name in enumerate(classes)}
    return np.array([position[name] for name in names], np.uint8), tuple(classes)


def _numbers(frame: DataFrame, name: object, kind: type[F]) -> npt.NDArray[F]:
    try:
        return np.array(frame[name], kind)
    except (TypeError, ValueError):
        raise DataError(
            f"column '{name}' holds no numbers: drop it, or turn it into numbers"
        ) from None


def _stacked(frame: DataFrame, names: Sequence[str], kind: type[F]) -> npt.NDArray[F]:
    return np.column_stack([_numbers(frame, name, kind) for name in names])


def _pair(mpp: object) -> tuple[float, float] | None:
    if mpp is None:
        return None
    x, y = np.asarray(mpp, float).tolist()
    return x, y


def _shapes(nuclei: Nuclei) -> npt.NDArray[np.object_]:
    import shapely

    shapes = np.asarray(shapely.points(nuclei.points), np.object_)
    if nuclei.outline is not None:
        outlined = np.isfinite(nuclei.outline).all(axis=1)
        rings = outline_rings(nuclei.detected_points[outlined], nuclei.outline[outlined])
        shapes[outlined] = shapely.polygons(rings)
    return shapes


def _circle_px0(nuclei: Nuclei) -> npt.NDArray[np.float64]:
    """Return radii in level-0 pixels: the outline's quadratic mean, else the measured disc's."""
    mpp = nuclei.mpp
    unknown = _UNKNOWN_RADIUS_PX0 if mpp is None else MeasureSettings().disc_radius_um / mpp[0]
    radius = np.full(len(nuclei), unknown)
    if nuclei.outline is not None:
        mean = np.sqrt(np.mean(nuclei.outline.astype(np.float64) ** 2, axis=1))
        radius = np.where(np.isfinite(mean), mean, unknown)
    return radius
