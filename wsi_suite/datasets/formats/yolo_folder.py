"""The folder of a YOLO dataset: which pictures it has, and where the labels of each lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from wsi_suite.datasets.pictures import list_all_pictures
from wsi_suite.errors import DataError

PARTS = ("train", "val", "test")
"""Parts of a split that ``data.yaml`` names."""

_IMAGES, _LABELS = "images", "labels"
_NO_LABELS = "classes.txt"  # what annotation programs put among the labels


@dataclass(frozen=True)
class YoloPicture:
    """A picture, the place of its label file, and its part if it is in one part only."""

    name: str
    file: Path
    labels: Path
    split: str | None


def list_yolo_pictures(
    source: Path, content: Mapping[str, Any], *, images: Path | None, tell: Callable[[str], None]
) -> list[YoloPicture]:
    """Return the pictures of a dataset in the order of their names.

    They are those below ``images/`` and those that ``train``, ``val`` and ``test`` of ``data.yaml``
    name: folders, lists of folders, or text files of paths. The labels lie in ``labels`` in place
    of the last ``images`` of the path, else beside the picture. A name is the path below the
    dataset without the first ``images``.

    Parameters
    ----------
    source
        Folder with ``data.yaml``.
    content
        Of ``data.yaml``.
    images
        Folder of the pictures, if it is not where the format has it; labels are in ``labels/``.
    tell
        Receives which parts are missing.

    Raises
    ------
    DataError
        There are no pictures, two have one name or one label file, or a label file is of none.
    """
    if images is not None:
        files = {file: set[str]() for file in list_all_pictures(images).values()}
        root, labels = images, source / _LABELS
    else:
        files = _files(source, content, tell=tell)
        root, labels = source, None
    found: dict[str, YoloPicture] = {}
    owner: dict[Path, Path] = {}
    for file, parts in files.items():
        below = _below(file, root)
        path = labels_of(file) if labels is None else labels / below.with_suffix(".txt")
        name = below.as_posix()
        if name in found:
            raise DataError(f"{file}: {found[name].file} has the same name; rename one")
        if path in owner:
            raise DataError(f"{file}: {owner[path]} has the same label file {path}; rename one")
        owner[path] = file
        split = next(iter(parts)) if len(parts) == 1 else None
        found[name] = YoloPicture(name, file, path, split)
    _refuse_others(source, owner)
    return [found[name] for name in sorted(found)]


def _files(
    source: Path, content: Mapping[str, Any], *, tell: Callable[[str], None]
) -> dict[Path, set[str]]:
    """Return the pictures with the parts that name them."""
    files: dict[Path, set[str]] = {}
    if (source / _IMAGES).is_dir():
        files = {file: set() for file in list_all_pictures(source / _IMAGES).values()}
    for part in PARTS:
        entries = content.get(part) or ()
        for entry in [entries] if isinstance(entries, str) else entries:
            place = _place(source, str(content.get("path") or "."), str(entry))
            if place is None:
                tell(f"{source}: '{part}: {entry}' of data.yaml is not there, and left out")
                continue
            for file in _pictures_at(place):
                files.setdefault(file, set()).add(part)
    if not files:
        raise DataError(f"{source}: holds no pictures; expected images/, or parts in data.yaml")
    return files


def _place(source: Path, base: str, entry: str) -> Path | None:
    """Return a folder or list that ``data.yaml`` names, though the dataset may have been moved."""
    inner = "/".join(part for part in PurePosixPath(entry).parts if part not in ("..", "/"))
    for place in (source / base / entry, source / entry, source / inner):
        if place.is_dir() or (place.is_file() and place.suffix == ".txt"):
            return (
                source / place.resolve().relative_to(source.resolve())
                if (place.resolve().is_relative_to(source.resolve()))
                else place.resolve()
            )
    return None


def _pictures_at(place: Path) -> Iterator[Path]:
    if place.is_dir():
        yield from list_all_pictures(place).values()
        return
    try:
        lines = [line.strip() for line in place.read_text("utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{place}: cannot be read as a list of pictures ({error})") from None
    for line in filter(None, lines):
        file = place.parent / PurePosixPath(line.removeprefix("./"))
        if not file.is_file():
            raise DataError(f"{place}: names {line}, which is missing; restore it, or delete it")
        yield file


def _below(file: Path, root: Path) -> PurePosixPath:
    """Return the path of a picture below the dataset, without the folder ``images``."""
    parts = list(file.relative_to(root).parts if file.is_relative_to(root) else file.parts[-2:])
    if _IMAGES in parts[:-1]:
        parts.remove(_IMAGES)
    return PurePosixPath(*parts)


def labels_of(file: Path) -> Path:
    """Return the label file of a picture: with ``labels`` in place of the last ``images``."""
    parts = list(file.with_suffix(".txt").parts)
    if _IMAGES in parts[:-1]:
        parts[len(parts) - 1 - parts[::-1].index(_IMAGES)] = _LABELS
    return Path(*parts)


def _refuse_others(source: Path, owner: Mapping[Path, Path]) -> None:
    """Refuse label files that belong to no picture."""
    folders = {path.parent for path in owner} | {source / _LABELS}
    for folder in sorted(folders):
        for path in (
            sorted(folder.glob("*.txt"))
            if folder.name == _LABELS or _LABELS in folder.parts
            else ()
        ):
            if path not in owner and path.name != _NO_LABELS:
                raise DataError(f"{path}: labels without a picture; add it, or delete them")
