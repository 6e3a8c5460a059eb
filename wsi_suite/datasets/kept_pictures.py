"""Pictures in a dataset's folder: copied into it once, never changed, and taken out of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from wsi_suite.datasets.labelled_image import LabelledImage
from wsi_suite.datasets.likeness import difference_hash
from wsi_suite.datasets.pictures import copy_picture, hash_picture, read_rgb
from wsi_suite.datasets.store import IMAGES, VERSIONS, list_versions, read_table
from wsi_suite.datasets.tables import IMAGE_TABLE
from wsi_suite.errors import DataError
from wsi_suite.files import whole_file


@dataclass(frozen=True)
class KeptPicture:
    """Facts of the pixels of a picture in the dataset."""

    sha256: str
    dhash: int | None


def keep_picture(
    folder: Path,
    image: LabelledImage,
    *,
    known: KeptPicture | None,
    revoked: Collection[str],
    copied: list[Path],
) -> KeptPicture:
    """Copy the pixels of a picture into the dataset unless they are there.

    Parameters
    ----------
    folder
        Of the dataset.
    image
        The picture.
    known
        What versions say of the picture of its name.
    revoked
        SHA-256 of the pictures that are refused.
    copied
        Gets the path of a new picture.
    """
    target = folder / IMAGES / image.name
    if known and (image.file is None or image.file == target):
        return known
    if image.file is None:
        raise DataError(f"{folder}: '{image.name}' has labels only; give its picture, too")
    sha256 = hash_picture(image.file)
    if sha256 in revoked:
        raise DataError(
            f"{image.file}: this picture was revoked and is not taken in again; leave it out"
        )
    if known:  # on object storage it is known without being here
        if known.sha256 != sha256:
            raise DataError(
                f"{image.file}: the dataset has another picture called '{image.name}'; rename one"
            )
        return known
    rgb = read_rgb(image.file)
    if rgb.shape[1::-1] != image.size_px:
        raise DataError(
            f"{image.file}: {' x '.join(map(str, rgb.shape[1::-1]))} px, but its labels"
            f" are of {' x '.join(map(str, image.size_px))} px"
        )
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        copied.append(target)
        with whole_file(target) as written:
            copy_picture(image.file, written)
    elif hash_picture(target) != sha256:
        raise DataError(
            f"{target}: another picture than {image.file}, and of no version; delete it, or"
            " rename one"
        )
    return KeptPicture(sha256, difference_hash(rgb))


def known_pictures(folder: Path) -> dict[str, KeptPicture]:
    """Return the pictures that any version names."""
    known: dict[str, KeptPicture] = {}
    for version in list_versions(folder):
        path = folder / VERSIONS / version.name / IMAGE_TABLE
        for row in read_table(path, columns=["name", "sha256", "dhash"]).to_pylist():
            known[row["name"]] = KeptPicture(row["sha256"], row["dhash"])
    return known


def remove_pictures(folder: Path, pictures: Iterable[Path]) -> None:
    """Delete pictures of a dataset, and the folders below ``images/`` that are empty then."""
    for path in pictures:
        path.unlink(missing_ok=True)
        for parent in path.relative_to(folder / IMAGES).parents[:-1]:
            with suppress(OSError):  # others lie in it
                (folder / IMAGES / parent).rmdir()
