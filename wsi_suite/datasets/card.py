"""The card of a dataset, ``dataset.yaml``: its name, licence and classes."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import Field

from wsi_suite.documents import Document, parse_document
from wsi_suite.errors import DataError
from wsi_suite.files import whole_file
from wsi_suite.yaml_files import YamlError, parse_yaml

CARD_FILE = "dataset.yaml"
"""Name of the card, by which the folder of a dataset is known."""

_REMEDY = "correct it, or restore it from a backup"


class DatasetCard(Document):
    """Content of ``dataset.yaml``.

    Attributes
    ----------
    name
        Of the dataset.
    description, license, citation
        For those who are to use it; empty if nothing was said.
    classes
        The classes that labels may have, in the order in which they are shown.
    """

    name: str = Field(min_length=1)
    description: str = ""
    license: str = ""
    citation: str = ""
    classes: tuple[str, ...] = ()


def read_card(folder: Path) -> DatasetCard:
    """Return the card of a dataset.

    Raises
    ------
    DataError
        There is none, or it is damaged.
    """
    path = folder / CARD_FILE
    try:
        content = parse_yaml(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise DataError(
            f"{folder}: is no dataset, it has no {CARD_FILE}; make one with"
            " 'wsi-suite dataset import'"
        ) from None
    except (OSError, UnicodeDecodeError, YamlError) as error:
        raise DataError(f"{path}: cannot be read ({error}); {_REMEDY}") from None
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected keys and values; {_REMEDY}")
    return parse_document(
        DatasetCard,
        content,
        source=path,
        fault="no card of a dataset",
        remedy=_REMEDY,
        error=DataError,
    )


def write_card(folder: Path, card: DatasetCard) -> None:
    """Write the card of a dataset, whole or not at all."""
    text = yaml.safe_dump(card.as_json(), sort_keys=False, allow_unicode=True)
    with whole_file(folder / CARD_FILE) as written:
        written.write_text(text, "utf-8")
