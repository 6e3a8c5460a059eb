"""Objects of a project's images, in the process that has QuPath's Java in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from wsi_suite.errors import DataError, InputError, OutputError
from wsi_suite.files import whole_file
from wsi_suite.nuclei.parquet import read_grades, read_nuclei
from wsi_suite.qupath.groovy_library import groovy_library, nucleus_columns, region_annotations
from wsi_suite.qupath.objects import Shape, circle_radius_px0, detections, origin_of

if TYPE_CHECKING:
    from paquo.images import QuPathProjectImageEntry

BACKUP_NAME = "data.qpdata.before-push"

_BLOCK = 50_000  # nuclei made at a time: columns of a block are small beside its objects


def push_table(
    entry: QuPathProjectImageEntry,
    *,
    table: str,
    frame: Mapping[str, Any],
    regions: Sequence[Mapping[str, Any]],
    image_type: str | None,
    shape: Shape,
    discard_corrections: bool,
    progress: Callable[[float], None],
) -> dict[str, Any]:
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
        The scored regions: ``name``, ``class``, ``wkb`` (hex) and ``measurements``.
    image_type
        What the image is to be, whatever it is now; ``None``: H-DAB where nothing was set yet.
    shape
        Of the nuclei.
    discard_corrections
        Keep nothing that somebody corrected.
    progress
        Hears which fraction is done.

    Returns
    -------
    dict
        ``counts`` of the rule, number of ``regions``, ``backup`` and ``notes``.

    Raises
    ------
    InputError
        The image has another frame than the nuclei, or its data file is damaged.
    """
    nuclei, provenance = read_nuclei(Path(table))
    check_frame(entry.image_name, frame, size=provenance["size_px0"], table=table)
    data = _read_data(entry)
    notes = _pixel_size_notes(frame, provenance) + _set_type(data, image_type, provenance)
    library, origin = groovy_library(), origin_of(provenance)
    objects = library.java("java.util.ArrayList")()
    grades = read_grades(Path(table))
    for start in range(0, len(nuclei), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(nuclei)))
        made = detections(
            nuclei.take(rows),
            grades=grades[rows],
            shape=shape,
            radius_px0=circle_radius_px0(provenance),
        )
        objects.addAll(library.NucleiData.build(nucleus_columns(made, library, origin)))
        progress(0.6 * (start + len(rows)) / len(nuclei))
    mpp = float(np.mean(provenance["mpp"]))
    counts = library.Nuclei.place(data, objects, None, discard_corrections, mpp)
    placed = library.Nuclei.placeRegions(data, region_annotations(regions, library, origin))
    progress(0.75)
    backup = _back_up(entry)
    _save(entry, data)
    return {
        "counts": {str(key): int(counts.get(key)) for key in counts.keySet()},
        "regions": int(placed),
        "backup": backup,
        "notes": notes,
    }


def pull_objects(entry: QuPathProjectImageEntry, *, folder: Path) -> dict[str, Any]:
    """Write what an image holds of ours and of its annotations; return counts by state."""
    library = groovy_library()
    data = _read_data(entry)
    states = library.Nuclei.states(data)
    with whole_file(folder / "nuclei.geojson") as partial:
        library.NucleiData.writeGeoJson(states, library.java("java.io.File")(str(partial)))
    with whole_file(folder / "nuclei.csv") as partial:
        library.NucleiData.writeTable(states, library.java("java.io.File")(str(partial)))
    annotations = data.getHierarchy().getAnnotationObjects()
    _write_objects(annotations, folder / "annotations.geojson", library)
    counts = library.java("java.util.Collections")
    return {
        "annotations": int(annotations.size()),
        **{
            state: int(counts.frequency(states.values(), state))
            for state in ("untouched", "corrected", "deleted", "added")
        },
    }


def write_annotations(entry: QuPathProjectImageEntry, *, file: Path, class_name: str) -> int:
    """Write the annotations of a class that have an area; return how many there are."""
    library = groovy_library()
    found = library.java("java.util.ArrayList")()
    for annotation in _read_data(entry).getHierarchy().getAnnotationObjects():
        path_class = annotation.getPathClass()
        is_wanted = path_class is not None and str(path_class.toString()) == class_name
        if is_wanted and annotation.getROI().isArea() and not library.Nuclei.isOurs(annotation):
            found.add(annotation)
    if found.size():
        _write_objects(found, file, library)
    return int(found.size())


def check_frame(image: str, frame: Mapping[str, Any], *, size: Sequence[int], table: str) -> None:
    """Refuse an image whose frame is not the one that nuclei were found in.

    Raises
    ------
    InputError
        Naming both sizes.
    """
    how = " ".join([frame["server"], *frame["args"]])
    if frame["moved"]:
        raise InputError(
            f"{image}: is rotated, cropped or changed otherwise in the project "
            f"({', '.join(frame['moved'])}), so that nuclei would lie elsewhere; add the slide as "
            "it is"
        )
    if [frame["width"], frame["height"]] != list(size):
        raise InputError(
            f"{image}: {frame['width']} x {frame['height']} px in the project ({how}), but "
            f"{size[0]} x {size[1]} px in {table}; add the slide anew, through OpenSlide and "
            "without --no-crop, or another series of it"
        )


def _read_data(entry: QuPathProjectImageEntry) -> Any:  # noqa: ANN401
    """Read an image's data, and never take a damaged file for one without objects.

    QuPath logs that it cannot read a file and goes on with an empty image; saving that would lose
    everything.
    """
    import jpype
    from paquo.java import BufferedImage, PathIO

    file = entry.entry_path / "data.qpdata"
    try:
        data = entry.java_object.readImageData()
        if data.getHierarchy().isEmpty() and file.exists():
            path = jpype.JClass("java.nio.file.Path").of(str(file))
            PathIO.readImageData(path, None, data.getServer(), BufferedImage)  # raises
    except jpype.JException as error:
        raise DataError(
            f"{file}: QuPath cannot read the objects of '{entry.image_name}' "
            f"({error.getMessage()}); put back {BACKUP_NAME} or another copy of it"
        ) from error
    return data


def _set_type(data: Any, wanted: str | None, provenance: Mapping[str, Any]) -> list[str]:  # noqa: ANN401
    """Set image type and stain vectors where nobody has, or as asked; return what is to be told."""
    from paquo.java import ImageType

    stains = _stains(provenance["stain_vectors"])
    kind = data.getImageType()
    if wanted is None and kind not in (None, ImageType.UNSET):
        now = data.getColorDeconvolutionStains()
        if kind == ImageType.BRIGHTFIELD_H_DAB and _differ(now, stains):
            return [
                "the image's stain vectors are not those of the run and were kept; "
                "--image-type brightfield_h_dab sets those of the run"
            ]
        if kind != ImageType.BRIGHTFIELD_H_DAB:
            return [f"the image's type is '{kind}' and was kept; --image-type sets another"]
        return []
    kind = ImageType.valueOf((wanted or "brightfield_h_dab").upper())
    data.setImageType(kind)
    if kind == ImageType.BRIGHTFIELD_H_DAB:
        data.setColorDeconvolutionStains(stains)
    return []


def _stains(argument: str) -> Any:  # noqa: ANN401
    import jpype

    stains = jpype.JClass("qupath.lib.color.ColorDeconvolutionStains")
    return stains.parseColorDeconvolutionStainsArg(argument)


def _differ(one: Any, other: Any) -> bool:  # noqa: ANN401
    """Return whether stain vectors differ by more than rounding."""

    def values(stains: Any) -> list[float]:  # noqa: ANN401
        vectors = [*stains.getStain(1).getArray(), *stains.getStain(2).getArray()]
        glass = (stains.getMaxRed(), stains.getMaxGreen(), stains.getMaxBlue())
        return [*map(float, vectors), *(float(value) / 255 for value in glass)]

    return not np.allclose(values(one), values(other), atol=2e-3)


def _pixel_size_notes(frame: Mapping[str, Any], provenance: Mapping[str, Any]) -> list[str]:
    ours = provenance["mpp"]
    if frame["mpp"] is None:
        return [f"QuPath knows no pixel size of the image: set {ours[0]:.4g} um there"]
    if not np.allclose(frame["mpp"], ours, rtol=0.02):
        return [
            f"QuPath has {frame['mpp'][0]:.4g} um per pixel, the run {ours[0]:.4g}: areas and "
            "densities differ"
        ]
    return []


def _back_up(entry: QuPathProjectImageEntry) -> str | None:
    """Keep the image's data as they were before; ``None`` where there were none."""
    file = entry.entry_path / "data.qpdata"
    if not file.exists():
        return None
    backup = file.with_name(BACKUP_NAME)
    with whole_file(backup) as partial:
        shutil.copy2(file, partial)
    return str(backup)


def _save(entry: QuPathProjectImageEntry, data: Any) -> None:  # noqa: ANN401
    """Save as QuPath does: where that fails, the earlier file is back."""
    import jpype

    try:
        entry.java_object.saveImageData(data)
    except jpype.JException as error:
        raise OutputError(
            f"{entry.entry_path}: QuPath cannot save ({error.getMessage()}); check rights and disk"
        ) from error


def _write_objects(objects: Any, file: Path, library: SimpleNamespace) -> None:  # noqa: ANN401
    states = library.java("java.util.LinkedHashMap")()
    for item in objects:
        states.put(item, None)
    with whole_file(file) as partial:
        library.NucleiData.writeGeoJson(states, library.java("java.io.File")(str(partial)))
