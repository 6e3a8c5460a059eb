"""``dataset``: ``import``, ``export``, ``copy``, ``show`` and ``card``."""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from wsi_suite.datasets.card import DatasetCard
from wsi_suite.datasets.collecting import add_images, make_dataset, name_annotator
from wsi_suite.datasets.formats import (
    ReadOptions,
    WriteOptions,
    map_classes,
    reader_of,
    writer_of,
)
from wsi_suite.datasets.labelled_image import LabelledImage
from wsi_suite.datasets.locking import alone_at
from wsi_suite.datasets.remote import at_hand, copy_dataset, on_disk
from wsi_suite.datasets.store import (
    Dataset,
    Version,
    is_dataset,
    list_versions,
    open_dataset,
    read_images,
)
from wsi_suite.errors import ConfigError
from wsi_suite.given_values import number_of, path_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Added:
    """A version of a dataset, after work that adds one if anything is new.

    Attributes
    ----------
    version
        The newest version.
    before
        The one before the work; ``None`` if the dataset was made by it.
    """

    version: Version
    before: Version | None

    @property
    def is_new(self) -> bool:
        """Whether the version was added; if nothing is new, the one before stays."""
        return self.before is None or self.before.number != self.version.number


@dataclass(frozen=True)
class ExportedLabels:
    """Labels that were written in another format.

    Attributes
    ----------
    path
        File or folder.
    pictures
        How many.
    classes
        Nuclei by class; those without one under an empty name.
    losses
        Sentences on what the format could not hold.
    """

    path: Path
    pictures: int
    classes: dict[str, int]
    losses: tuple[str, ...]


def import_labels(
    source: str | Path,
    dataset: str | Path,
    *,
    format: str,  # noqa: A002 - the word of the command line
    images: str | Path | None = None,
    mpp: float | None = None,
    in_class: str | None = None,
    classes: Mapping[str, str] | None = None,
    message: str = "",
    replace: bool = False,
    annotator: str | None = None,
    new_classes: bool = False,
    tell: Callable[[str], None] = log.warning,
) -> Added:
    """Add pictures and labels to a dataset, as a new version; make the dataset if there is none.

    Parameters
    ----------
    source
        File or folder with the labels.
    dataset
        Folder of the dataset, or its URL, as ``s3://bucket/mine``.
    format
        Format of the labels: ``qupath``, ``coco``, ``tiles`` or another that ``wsi-suite dataset
        formats`` lists.
    images
        Folder of the pictures, if they do not lie where the format has them.
    mpp
        um per pixel of pictures whose source does not say.
    in_class
        With ``qupath``: class of the annotations that are fields in which all nuclei are right.
    classes
        Other names for classes, as ``{"Tumor": "Epithelium"}``; an empty new name leaves the nuclei
        out, an empty old one names those without class.
    message
        What changed, for the log.
    replace
        Take the new labels of pictures that are there already.
    annotator
        Who made these labels, whatever the source says; labels of others stay beside them.
    new_classes
        Add classes that the dataset does not have yet.
    tell
        Receives remarks on what is left out or repaired.

    Returns
    -------
    Added
        The new version, or that which stays if nothing is new.

    Raises
    ------
    WsiSuiteError
        The source or the dataset cannot be used, a picture is there already, or a class is new.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> added = ws.dataset.import_labels("endonuke", "mine", format="tiles")
    >>> added.version.number, added.version.images
    (1, 2)
    """
    read = reader_of(format)
    path, names = path_of(source, option="source"), dict(classes or {})
    told = message or f"import of {path.name} ({format})"
    with (
        tempfile.TemporaryDirectory(prefix="wsi-suite-") as scratch,
        at_hand(place_of(dataset), writes=True) as folder,
    ):
        options = ReadOptions(
            images=path_of(images, option="--images", optional=True),
            mpp=None if mpp is None else number_of(mpp, option="--mpp"),
            fields=in_class,
            scratch=Path(scratch),
            tell=tell,
        )
        found = map_classes(read(path, options), names, tell=tell)
        if annotator is not None:
            found = name_annotator(found, annotator)
        if not is_dataset(folder):
            card = DatasetCard(name=folder.resolve().name)
            return Added(make_dataset(folder, card, found, message=told, tell=tell).version, None)
        before = list_versions(folder)  # without any, an import was interrupted
        made = add_images(
            folder,
            found,
            message=told,
            replace=replace,
            beside=annotator,
            new_classes=new_classes or not before,
            tell=tell,
        ).version
    return Added(made, before[-1] if before else None)


def export_labels(
    dataset: str | Path,
    out: str | Path,
    *,
    format: str,  # noqa: A002 - the word of the command line
    version: int | str | None = None,
    classes: Mapping[str, str] | None = None,
    radius_um: float | None = None,
    tell: Callable[[str], None] = log.warning,
) -> ExportedLabels:
    """Write a version of a dataset in another format.

    Parameters
    ----------
    dataset
        Folder of the dataset, or its URL.
    out
        File or folder to write; it must not be there yet.
    format
        Format to write; ``wsi-suite dataset formats`` lists them.
    version
        Number of a version, or the beginning of its digest; by default the newest.
    classes
        Other names for classes, as ``{"Tumor": "Epithelium"}``; an empty new name leaves the nuclei
        out.
    radius_um
        Radius of nuclei of which none is known, um, for formats that need an extent.
    tell
        Receives remarks.

    Returns
    -------
    ExportedLabels
        What was written, and what the format could not hold.

    Raises
    ------
    WsiSuiteError
        The dataset, the version or the format cannot be used, or `out` is there already.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> added = ws.dataset.import_labels("endonuke", "for-coco", format="tiles")
    >>> done = ws.dataset.export_labels("for-coco", "coco", format="coco", radius_um=3)
    >>> done.pictures
    2
    """
    write, path = writer_of(format), path_of(out, option="out")
    if radius_um is not None:
        radius_um = number_of(radius_um, option="--radius-um")
    written = Counter[str]()

    def counted(opened: Dataset) -> Iterator[LabelledImage]:
        for image in map_classes(read_images(opened), dict(classes or {}), tell=tell):
            written.update(name or "" for name in image.labels.class_names)
            yield image

    with alone_at(path), at_hand(place_of(dataset), pictures=True) as folder:
        opened = open_dataset(folder, version=version)
        losses = write(counted(opened), path, WriteOptions(radius_um=radius_um))
    return ExportedLabels(path, opened.version.images, dict(sorted(written.items())), tuple(losses))


def copy(source: str | Path, target: str | Path) -> int:
    """Copy a dataset with all its versions to another folder or URL, or from one.

    Every file is checked, and every version is whole or not there. At a URL that holds earlier
    versions of the same dataset the later ones are added: so a copy that was stopped goes on.

    Parameters
    ----------
    source
        Folder or URL of the dataset.
    target
        Folder that is not there yet, or URL, as ``s3://bucket/mine``.

    Returns
    -------
    int
        Number of versions.

    Raises
    ------
    WsiSuiteError
        A file is damaged, or the target holds something else.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> added = ws.dataset.import_labels("endonuke", "original", format="tiles")
    >>> ws.dataset.copy("original", "backup")
    1
    """
    return copy_dataset(place_of(source, option="source"), place_of(target, option="target"))


def show(dataset: str | Path, *, version: int | str | None = None) -> Dataset:
    """Return a version of a dataset: its card, its nuclei by class, and its digest.

    Parameters
    ----------
    dataset
        Folder of the dataset. Of a URL give `copy` first.
    version
        Number of a version, or the beginning of its digest; by default the newest.

    Raises
    ------
    WsiSuiteError
        There is no dataset or no such version.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> added = ws.dataset.import_labels("endonuke", "shown", format="tiles")
    >>> opened = ws.dataset.show("shown")
    >>> opened.card.name, opened.version.nuclei == sum(opened.version.classes.values())
    ('shown', True)
    """
    return open_dataset(on_disk(place_of(dataset)), version=version)


def card(
    dataset: str | Path,
    *,
    version: int | str | None = None,
    tell: Callable[[str], None] = log.warning,
) -> list[Path]:
    """Write cards of a version for repositories: croissant.json, and Hugging Face's README.md.

    Parameters
    ----------
    dataset
        Folder of the dataset. Name, description, license and citation are those of its
        ``dataset.yaml``.
    version
        Number of a version, or the beginning of its digest; by default the newest.
    tell
        Receives which of these are empty.

    Returns
    -------
    list of Path
        The cards.

    Raises
    ------
    WsiSuiteError
        The dataset or the version cannot be used, or a card cannot be written.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> added = ws.dataset.import_labels("endonuke", "described", format="tiles")
    >>> [path.name for path in ws.dataset.card("described", tell=lambda missing: None)]
    ['croissant.json', 'README.md']
    """
    from wsi_suite.datasets.cards import write_cards

    opened = open_dataset(on_disk(place_of(dataset)), version=version)
    written = list(write_cards(opened))
    for field in ("description", "license", "citation"):
        if not getattr(opened.card, field):
            tell(f"{opened.folder / 'dataset.yaml'}: no {field}")
    return written


def place_of(given: str | Path, *, option: str = "dataset") -> str:
    """Return the folder or URL of a dataset as a text, or refuse another value."""
    if not isinstance(given, str | Path) or not str(given):
        raise ConfigError(f"{option}: a {type(given).__name__}: expected a folder or a URL")
    return str(given)
