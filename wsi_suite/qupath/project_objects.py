"""Objects of a project's images, in the process that has QuPath's Java in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wsi_suite.errors import InputError
from wsi_suite.nuclei.parquet import read_grades, read_nuclei
from wsi_suite.qupath.groovy_library import groovy_library, nucleus_columns, region_annotations
from wsi_suite.qupath.objects import Shape, circle_radius_px0, detections, origin_of
from wsi_suite.qupath.project_data import close, read_data
from wsi_suite.qupath.project_image_type import set_type
from wsi_suite.qupath.project_messages import FoundNuclei, Frame, Pulled, Pushed, Region
from wsi_suite.qupath.project_saving import save_objects, without_states, write_by_java

if TYPE_CHECKING:
    from paquo.images import QuPathProjectImageEntry

_BLOCK = 50_000  # nuclei made at a time: columns of a block are small beside its objects


def push_table(
    entry: QuPathProjectImageEntry,
    *,
    table: str,
    frame: Frame,
    regions: Sequence[Region],
    image_type: str | None,
    shape: Shape,
    intensities: bool,
    discard_corrections: bool,
    progress: Callable[[float], None],
    may_write: Callable[[], None] = lambda: None,
) -> Pushed:
    """Put the nuclei of a ``nuclei.parquet`` into an image, and save it.

    Parameters
    ----------
    entry
        The image.
    table
        The nuclei.
    frame
        Of the image, as QuPath has it.
    regions
        The scored regions.
    image_type
        What the image is to be, whatever it is now; ``None``: H-DAB if nothing was set yet.
    shape
        Of the nuclei.
    intensities
        Whether their classes tell intensities, of which QuPath computes scores. Without them an
        image that has no type gets none.
    discard_corrections
        Keep nothing that somebody corrected.
    progress
        Receives which fraction is done.
    may_write
        Raises if the image must not be written now; asked right before it is.

    Raises
    ------
    InputError
        The image has another frame than the nuclei, or its data file is damaged.
    OutputError
        The image cannot be saved; it is as it was.
    """
    nuclei, provenance = read_nuclei(Path(table))
    check_frame(entry.image_name, frame, size=provenance["size_px0"], table=table)
    found = read_data(entry)
    data, notes = found.data, list(found.notes)
    notes += _pixel_size_notes(frame, provenance)
    if intensities or image_type is not None:
        notes += set_type(data, image_type, provenance)
    library, origin = groovy_library(), origin_of(provenance)
    objects = library.java("java.util.ArrayList")()
    grades = read_grades(Path(table))
    for start in range(0, len(nuclei), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(nuclei)))
        made = detections(
            nuclei.take(rows),
            grades=grades[rows] if intensities else None,
            shape=shape,
            radius_px0=circle_radius_px0(provenance),
        )
        objects.addAll(library.NucleiData.build(nucleus_columns(made, library, origin)))
        progress(0.6 * (start + len(rows)) / len(nuclei))
    mpp = float(np.mean(provenance["mpp"]))
    placed = library.Nuclei.place(data, objects, None, discard_corrections, mpp)
    counts = {str(key): int(placed.get(key)) for key in placed.keySet()}
    notes += _clearing_notes(counts.pop("cleared"), replaced=counts.pop("replaced"))
    drawn = library.Nuclei.placeRegions(data, region_annotations(regions, library, origin))
    progress(0.75)
    backup = save_objects(entry, found, may_write=may_write)
    close(data)
    return Pushed(
        counts=counts,
        regions=int(drawn),
        classes=tuple(nuclei.classes),
        backup=None if backup is None else Path(backup),
        notes=tuple(notes),
    )


def place_fields(
    entry: QuPathProjectImageEntry,
    *,
    fields: Sequence[Region],
    found: FoundNuclei | None,
    mpp: float,
    may_write: Callable[[], None] = lambda: None,
) -> Pushed:
    """Put fields to annotate into an image, with nuclei that can be edited, and save it.

    Parameters
    ----------
    entry
        The image.
    fields
        The fields: locked annotations that belong to the user.
    found
        Nuclei in them, as points; ``None``: the fields are empty.
    mpp
        um per pixel, which QuPath may not know.
    may_write
        As for :func:`push_table`.

    Raises
    ------
    InputError, OutputError
        As for :func:`push_table`.
    """
    stored, library = read_data(entry), groovy_library()
    data, notes = stored.data, list(stored.notes)
    data.getHierarchy().addObjects(region_annotations(fields, library, None))
    data.setProperty(library.Nuclei.SCALE, str(mpp))
    counts = {"placed": 0}
    if found is not None:
        nuclei = found.nuclei()
        columns = nucleus_columns(
            detections(nuclei, shape="point"), library, found.origin, editable=True
        )
        objects = library.NucleiData.build(columns)
        placed = library.Nuclei.place(data, objects, None, False, mpp)
        counts["placed"] = int(placed.get("placed"))
    backup = save_objects(entry, stored, may_write=may_write)
    close(data)
    return Pushed(
        counts=counts,
        regions=len(fields),
        classes=() if found is None else found.classes,
        backup=None if backup is None else Path(backup),
        notes=tuple(notes),
    )


def pull_objects(entry: QuPathProjectImageEntry, *, folder: Path) -> Pulled:
    """Write our nuclei and all annotations of an image: all files or none.

    Raises
    ------
    OutputError
        A file cannot be written; those of an earlier pull are as they were.
    """
    library = groovy_library()
    found = read_data(entry)
    data = found.data
    states = library.Nuclei.states(data)
    annotations = library.Nuclei.annotationsOf(data, states)
    geojson, table = library.NucleiData.writeGeoJson, library.NucleiData.writeTable
    write_by_java(
        {
            folder / "nuclei.geojson": (geojson, states),
            folder / "nuclei.csv": (table, states),
            folder / "annotations.geojson": (geojson, annotations),
        },
        library,
    )
    counts = library.java("java.util.Collections")
    close(data)
    by_state = {
        state: int(counts.frequency(states.values(), state))
        for state in ("untouched", "corrected", "deleted", "added")
    }
    return Pulled({"annotations": int(annotations.size()), **by_state}, tuple(found.notes))


def write_annotations(entry: QuPathProjectImageEntry, *, file: Path, class_name: str) -> int:
    """Write the annotations of a class that have an area; return how many there are."""
    library = groovy_library()
    found = library.java("java.util.ArrayList")()
    hierarchy = read_data(entry).data.getHierarchy()
    for annotation in library.Nuclei.inOrder(hierarchy.getAnnotationObjects()):
        path_class = annotation.getPathClass()
        is_wanted = path_class is not None and str(path_class.toString()) == class_name
        if is_wanted and annotation.getROI().isArea() and not library.Nuclei.isOurs(annotation):
            found.add(annotation)
    if found.size():
        content = (library.NucleiData.writeGeoJson, without_states(found, library))
        write_by_java({file: content}, library)
    return int(found.size())


def check_frame(image: str, frame: Frame, *, size: Sequence[int], table: str) -> None:
    """Refuse an image whose frame is not the one that nuclei were found in.

    Raises
    ------
    InputError
        Naming both sizes.
    """
    if frame.moved:
        raise InputError(
            f"{image}: is rotated, cropped or changed otherwise in the project "
            f"({', '.join(frame.moved)}), so that nuclei would lie elsewhere; add the slide as "
            "it is"
        )
    if [frame.width, frame.height] != list(size):
        raise InputError(
            f"{image}: {frame.width} x {frame.height} px in the project ({frame.server}), but "
            f"{size[0]} x {size[1]} px in {table}; add the slide again, through OpenSlide and "
            "without --no-crop, or another series of it"
        )


def _pixel_size_notes(frame: Frame, provenance: Mapping[str, Any]) -> list[str]:
    ours = provenance["mpp"]
    if frame.mpp is None:
        return [f"QuPath knows no pixel size of the image: set {ours[0]:.4g} um there"]
    if not np.allclose(frame.mpp, ours, rtol=0.02):
        return [
            f"QuPath has {frame.mpp[0]:.4g} um per pixel, the run {ours[0]:.4g}: areas and "
            "densities differ"
        ]
    return []


def _clearing_notes(cleared: int, *, replaced: int) -> list[str]:
    """Return notes on nuclei that were removed together and not judged one by one."""
    if not cleared:
        return []
    told = (
        f"{cleared:,} nuclei of earlier pushes were gone from whole regions: this counts as "
        "cleared, not as corrected, and new ones were put there; to keep a region empty, draw an "
        "annotation of class 'Ignore*' around it"
    )
    if replaced:
        told += f"; detections of others stand where {replaced:,} of them were: QuPath counts both"
    return [told]
