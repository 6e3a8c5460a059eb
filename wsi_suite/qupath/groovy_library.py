"""The Groovy library of QuPath's scripts, in the process that has QuPath's Java in it.

What is done to a million objects is done by Groovy inside Java (``qupath_scripts/*.gvy``), on flat
arrays: an object made from Python would take ten times as long.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import numpy as np

from wsi_suite.qupath.objects import (
    FIELD_CLASSES,
    SOURCE,
    Detections,
    PathClass,
    path_classes,
)
from wsi_suite.qupath.project_messages import Region
from wsi_suite.resources import qupath_scripts_folder


@functools.cache
def prepare_library() -> Future[SimpleNamespace]:
    """Begin to compile the Groovy library in the background, which takes seconds."""
    return ThreadPoolExecutor(1, "groovy").submit(_compile)


def groovy_library() -> SimpleNamespace:
    """Return the classes of the Groovy library by name; ``java`` loads Java's own."""
    return prepare_library().result()


def _compile() -> SimpleNamespace:
    import jpype

    java = jpype.JClass
    system = java("java.lang.ClassLoader").getSystemClassLoader()
    loader = java("groovy.lang.GroovyClassLoader")(system)
    classes = {
        name: java(
            loader.parseClass(java("java.io.File")(str(qupath_scripts_folder() / f"{name}.gvy")))
        )
        for name in ("Positions", "Removals", "Nuclei", "NucleiData", "Classes")
    }
    return SimpleNamespace(java=java, **classes)


def nucleus_columns(
    made: Detections,
    library: SimpleNamespace,
    origin: Mapping[str, str],
    *,
    editable: bool = False,
) -> Any:  # noqa: ANN401
    """Return the columns of nuclei as Java arrays.

    With `editable` they become annotations, which QuPath lets a user drag and draw again.
    """
    import jpype

    def array(kind: Any, values: Any) -> Any:  # noqa: ANN401
        return jpype.JArray(kind)(np.ascontiguousarray(values).ravel())

    columns = library.NucleiData.Columns()
    columns.setIds(array(jpype.JLong, made.ids.view(">i8").astype(np.int64)))
    columns.setKind(array(jpype.JByte, made.kind.astype(np.int8)))
    # Single precision, as in QuPath's polygons and in what it reads from a file.
    columns.setPoints(array(jpype.JDouble, made.points.astype(np.float32).astype(np.float64)))
    columns.setBounds(array(jpype.JDouble, made.bounds.astype(np.float32).astype(np.float64)))
    columns.setRings(array(jpype.JDouble, made.rings))
    columns.setVertices(made.rings.shape[1])
    columns.setCentroid(array(jpype.JDouble, made.centroid))
    columns.setArea(array(jpype.JDouble, made.area_px0))
    columns.setCompartment(array(jpype.JByte, made.compartment.astype(np.int8)))
    columns.setCompartments(jpype.JArray(jpype.JString)(list(made.compartments)))
    columns.setPathClass(array(jpype.JByte, made.path_class.astype(np.int8)))
    names = [path_class.name for path_class in made.path_classes]
    columns.setPathClasses(jpype.JArray(jpype.JString)(names))
    columns.setColours(jpype.JArray(jpype.JInt)([_packed(one) for one in made.path_classes]))
    columns.setNames(jpype.JArray(jpype.JString)(list(made.measurements)))
    values = [array(jpype.JDouble, column) for column in made.measurements.values()]
    columns.setValues(jpype.JArray(jpype.JDouble, 2)(values))
    columns.setMetadata(_text_map(origin, library))
    columns.setEditable(editable)
    return columns


def add_classes(
    project: Any,  # noqa: ANN401
    compartments: tuple[str, ...],
    library: SimpleNamespace,
    *,
    fields: bool = False,
) -> None:
    """Add the classes that corrections need to the list of a project.

    Parameters
    ----------
    project
        QuPath's ``Project``, in Java. Its list is written at once.
    compartments
        Classes of the model.
    library
        As :func:`groovy_library` returns it.
    fields
        Add the classes of fields to annotate, and of nuclei those without intensities.
    """
    integer = library.java("java.lang.Integer")
    wanted = library.java("java.util.LinkedHashMap")()
    listed = path_classes(compartments)
    if fields:
        listed = (*(one for one in listed if one.name in compartments), *FIELD_CLASSES)
    for path_class in listed:
        wanted.put(path_class.name, integer(_packed(path_class)))
    library.Classes.addTo(project, wanted)


def _packed(path_class: PathClass) -> int:
    red, green, blue = path_class.colour
    return red << 16 | green << 8 | blue


def _text_map(values: Mapping[str, str], library: SimpleNamespace) -> Any:  # noqa: ANN401
    texts = library.java("java.util.LinkedHashMap")()
    for key, value in values.items():
        texts.put(key, value)
    return texts


def region_annotations(
    regions: Sequence[Region], library: SimpleNamespace, origin: Mapping[str, str] | None
) -> Any:  # noqa: ANN401
    """Return regions as locked annotations, marked as ours unless there is no origin."""
    from paquo.java import GeometryTools, PathClass, PathObjects, WKBReader

    plane = library.java("qupath.lib.regions.ImagePlane").getDefaultPlane()
    annotations = library.java("java.util.ArrayList")()
    for number, region in enumerate(regions):
        geometry = WKBReader().read(WKBReader.hexToBytes(region.wkb))
        roi = GeometryTools.geometryToROI(geometry, plane)
        path_class = PathClass.fromString(region.class_name) if region.class_name else None
        annotation = PathObjects.createAnnotationObject(roi, path_class)
        annotation.setName(region.name)
        identity = f"{origin} {number} {region.name} {region.wkb}"
        annotation.setID(
            library.java("java.util.UUID").fromString(str(uuid5(NAMESPACE_OID, identity)))
        )
        for name, value in region.measurements.items():
            annotation.getMeasurementList().put(name, float(value))
        annotation.setLocked(True)
        if origin is not None:
            library.Nuclei.mark(annotation, _text_map({SOURCE: origin[SOURCE]}, library))
        annotations.add(annotation)
    return annotations
