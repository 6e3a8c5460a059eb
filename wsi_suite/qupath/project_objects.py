"""Objects of a project's images, in the process that has QuPath's Java in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from wsi_suite.errors import DataError, InputError, OutputError
from wsi_suite.files import java_error, whole_file
from wsi_suite.nuclei.parquet import read_grades, read_nuclei
from wsi_suite.qupath.groovy_library import groovy_library, nucleus_columns, region_annotations
from wsi_suite.qupath.java import in_words, is_of_files, open_server
from wsi_suite.qupath.objects import Shape, circle_radius_px0, detections, origin_of
from wsi_suite.qupath.project_files import (
    BACKUP_NAME,
    DAMAGED_NAME,
    DATA_NAME,
    cannot_write,
    data_files,
    ends_whole,
    has_data,
    replacing,
    stamp,
)

if TYPE_CHECKING:
    from paquo.images import QuPathProjectImageEntry

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
    may_write: Callable[[], None] = lambda: None,
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
    may_write
        Raises if the image must not be written now; asked right before it is.

    Returns
    -------
    dict
        ``counts`` of the rule, number of ``regions``, ``classes`` of the model, ``backup`` and
        ``notes``.

    Raises
    ------
    InputError
        The image has another frame than the nuclei, or its data file is damaged.
    OutputError
        The image cannot be saved; it is as it was.
    """
    nuclei, provenance = read_nuclei(Path(table))
    check_frame(entry.image_name, frame, size=provenance["size_px0"], table=table)
    found = _read_data(entry)
    data, notes = found.data, list(found.notes)
    notes += _pixel_size_notes(frame, provenance) + _set_type(data, image_type, provenance)
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
    placed = library.Nuclei.place(data, objects, None, discard_corrections, mpp)
    counts = {str(key): int(placed.get(key)) for key in placed.keySet()}
    notes += _clearing_notes(counts.pop("cleared"), replaced=counts.pop("replaced"))
    drawn = library.Nuclei.placeRegions(data, region_annotations(regions, library, origin))
    progress(0.75)
    backup = _save(entry, found, may_write=may_write)
    _close(data)
    return {
        "counts": counts,
        "regions": int(drawn),
        "classes": list(nuclei.classes),
        "backup": backup,
        "notes": notes,
    }


def pull_objects(entry: QuPathProjectImageEntry, *, folder: Path) -> dict[str, Any]:
    """Write our nuclei and all annotations of an image: all files or none.

    Returns
    -------
    dict
        Counts by state, of ``annotations``, and ``notes``.

    Raises
    ------
    OutputError
        A file cannot be written; those of an earlier pull are as they were.
    """
    library = groovy_library()
    found = _read_data(entry)
    data = found.data
    states = library.Nuclei.states(data)
    annotations = library.Nuclei.inOrder(data.getHierarchy().getAnnotationObjects())
    geojson, table = library.NucleiData.writeGeoJson, library.NucleiData.writeTable
    _write_by_java(
        {
            folder / "nuclei.geojson": (geojson, states),
            folder / "nuclei.csv": (table, states),
            folder / "annotations.geojson": (geojson, _without_states(annotations, library)),
        },
        library,
    )
    counts = library.java("java.util.Collections")
    _close(data)
    return {
        "annotations": int(annotations.size()),
        **{
            state: int(counts.frequency(states.values(), state))
            for state in ("untouched", "corrected", "deleted", "added")
        },
        "notes": list(found.notes),
    }


def write_annotations(entry: QuPathProjectImageEntry, *, file: Path, class_name: str) -> int:
    """Write the annotations of a class that have an area; return how many there are."""
    library = groovy_library()
    found = library.java("java.util.ArrayList")()
    hierarchy = _read_data(entry).data.getHierarchy()
    for annotation in library.Nuclei.inOrder(hierarchy.getAnnotationObjects()):
        path_class = annotation.getPathClass()
        is_wanted = path_class is not None and str(path_class.toString()) == class_name
        if is_wanted and annotation.getROI().isArea() and not library.Nuclei.isOurs(annotation):
            found.add(annotation)
    if found.size():
        content = (library.NucleiData.writeGeoJson, _without_states(found, library))
        _write_by_java({file: content}, library)
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


@dataclass(frozen=True)
class _Found:
    """The data of an image as they are on the disk.

    Attributes
    ----------
    data
        QuPath's ``ImageData``.
    file
        The file that they were read from, whole; ``None`` if there is none yet.
    damaged
        Whether ``data.qpdata`` exists and could not be read whole.
    stamp
        Of ``data.qpdata``, to see whether another program writes it meanwhile.
    notes
        What the user should know.
    """

    data: Any
    file: Path | None
    damaged: bool
    stamp: tuple[int, int] | None
    notes: tuple[str, ...] = ()


def _read_data(entry: QuPathProjectImageEntry) -> _Found:
    """Read the newest data of an image that are whole.

    QuPath logs that it cannot read a file and goes on with an older or an empty image; saving that
    would lose everything. So it is seen here which file was read.

    Raises
    ------
    InputError
        QuPath cannot open the slide.
    DataError
        There are files, and none of them can be read.
    """
    import jpype

    folder = entry.entry_path
    before = stamp(folder / DATA_NAME)
    why = "its end is missing"
    for file in data_files(folder).candidates:
        try:
            data = _read_file(entry, file)
        except jpype.JException as error:
            why = in_words(error)
            continue
        if file.name == DATA_NAME:
            return _Found(data, file, damaged=False, stamp=before)
        damaged = before is not None
        told = (
            f"{DATA_NAME} was {'cut off or damaged' if damaged else 'missing'}, as after a crash: "
            f"the image was taken from {file.name} of {_time_of(file)}"
        )
        return _Found(data, file, damaged=damaged, stamp=before, notes=(told,))
    if not has_data(folder):
        try:
            return _Found(entry.java_object.readImageData(), None, damaged=False, stamp=before)
        except jpype.JException as error:
            raise InputError(
                f"{entry.image_name}: QuPath cannot open it ({in_words(error)})"
            ) from error
    open_server(entry).close()  # without the slide QuPath reads no objects, however whole
    raise DataError(
        f"{folder / DATA_NAME}: QuPath cannot read the objects of '{entry.image_name}' whole "
        f"({why}), and no copy beside it is whole; put back {BACKUP_NAME} or another copy of it, "
        "or open the image in QuPath and save what it shows"
    )


def _read_file(entry: QuPathProjectImageEntry, file: Path) -> Any:  # noqa: ANN401
    """Read one data file with QuPath; a Java exception is raised if it is damaged."""
    import jpype
    from paquo.java import BufferedImage, PathIO

    if file.name == DATA_NAME:
        data = entry.java_object.readImageData()
        if str(data.getLastSavedPath()) == str(file):
            return data
    server = open_server(entry)
    path = jpype.JClass("java.nio.file.Path").of(str(file))
    return PathIO.readImageData(path, None, server, BufferedImage)


def _close(data: Any) -> None:  # noqa: ANN401
    """Close an image's pixels. QuPath may open them only here, and need not find the slide."""
    import jpype

    with suppress(jpype.JException):
        data.getServer().close()


def _time_of(file: Path) -> str:
    return f"{datetime.fromtimestamp(file.stat().st_mtime):%Y-%m-%d %H:%M}"


def _set_type(data: Any, wanted: str | None, provenance: Mapping[str, Any]) -> list[str]:  # noqa: ANN401
    """Set image type and stain vectors if they are unset or on request; return notes."""
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


def _save(
    entry: QuPathProjectImageEntry, found: _Found, *, may_write: Callable[[], None]
) -> str | None:
    """Save the data of an image; return the backup of the earlier data, if there were any.

    A kill or a full disk at any moment leaves the earlier file or the new one, whole.
    """
    import jpype
    from paquo.java import File, PathIO

    file = entry.entry_path / DATA_NAME
    called = f"the objects of '{entry.image_name}'"
    backup = None
    file.parent.mkdir(parents=True, exist_ok=True)
    if found.file is not None:
        backup = file.with_name(BACKUP_NAME)
        if found.file != backup:
            with replacing(backup, called=f"the backup of {called}") as partial:
                shutil.copy2(found.file, partial)
    try:
        with replacing(file, called=called) as partial:
            PathIO.writeImageData(File(str(partial)), found.data)
            if not ends_whole(partial):
                raise cannot_write(file, called=called, why="the new file is cut off")
            may_write()
            if stamp(file) != found.stamp:
                raise OutputError(
                    f"{file}: another program changed {called} meanwhile, and that was kept; give "
                    "the same command again"
                )
            if found.damaged:  # perhaps somebody can get more out of it
                file.replace(file.with_name(DAMAGED_NAME))
    except jpype.JException as error:
        if not is_of_files(error):
            raise
        raise cannot_write(file, called=called, why=in_words(error)) from error
    found.data.setLastSavedPath(str(file), True)
    with suppress(OSError):  # counts of the earlier objects; QuPath writes it when it saves
        file.with_name("summary.json").unlink(missing_ok=True)
    return None if backup is None else str(backup)


def _without_states(objects: Any, library: SimpleNamespace) -> Any:  # noqa: ANN401
    states = library.java("java.util.LinkedHashMap")()
    for item in objects:
        states.put(item, None)
    return states


def _write_by_java(
    contents: Mapping[Path, tuple[Callable[[Any, Any], None], Any]], library: SimpleNamespace
) -> None:
    """Have Java write files: all of them whole, or none.

    Parameters
    ----------
    contents
        For each file what writes it, and the objects.

    Raises
    ------
    OutputError
        One cannot be written.
    """
    with ExitStack() as stack:
        for file, (write, objects) in contents.items():
            partial = stack.enter_context(whole_file(file))
            try:
                write(objects, library.java("java.io.File")(str(partial)))
            except Exception as error:
                if not is_of_files(error):
                    raise
                raise java_error(error) from error
