"""Sources that have one label file for each picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from wsi_suite.datasets.pictures import find_pictures
from wsi_suite.errors import DataError


def labelled_pictures(
    source: Path, endings: Sequence[str], *, images: Path | None, tell: Callable[[str], None]
) -> Iterator[tuple[str, Path, Path]]:
    """Yield for each picture its name, its file and its label file, in the order of the names.

    Parameters
    ----------
    source
        A label file, or a folder of them.
    endings
        Of label files, in lower case; a label file has the stem of its picture.
    images
        Folder of the pictures; ``None``: ``images/`` beside or in the folder, else beside the
        label files.
    tell
        Receives how many pictures are without label file.

    Raises
    ------
    DataError
        There are no label files, two of one picture, or a picture is missing.
    """
    files = _list_files(source, endings)
    beside = source if source.is_dir() else source.parent
    places = (images, beside / "images", beside.parent / "images", beside)
    folder = next(place for place in places if place is not None and place.is_dir())
    found = find_pictures(folder, files, source=source, tell=tell)
    by_text = {text: (name, path) for name, (path, texts) in found.items() for text in texts}
    for text, (name, path) in sorted(by_text.items(), key=lambda pair: pair[1]):
        yield name, path, files[text]


def _list_files(source: Path, endings: Sequence[str]) -> dict[str, Path]:
    """Return the files by the name of the picture that they belong to."""
    if source.is_file():
        return {_stem(source.name, endings): source}
    if not source.is_dir():
        raise DataError(f"{source}: no such file or folder")
    found: dict[str, Path] = {}
    for path in sorted(source.rglob("*")):
        if not path.name.lower().endswith(tuple(endings)) or not path.is_file():
            continue
        below = path.relative_to(source)
        name = PurePosixPath(below.parent.as_posix(), _stem(path.name, endings)).as_posix()
        if name in found:
            raise DataError(f"{path}: {found[name].name} is of the same picture; keep one of them")
        found[name] = path
    if not found:
        raise DataError(f"{source}: holds no label file ({', '.join(endings)})")
    return found


def _stem(name: str, endings: Sequence[str]) -> str:
    ending = next((one for one in endings if name.lower().endswith(one)), Path(name).suffix)
    return name[: len(name) - len(ending)]
