"""Datasets of labelled nuclei, as ``wsi-suite dataset`` has them.

::

    import wsi_suite as ws

    ws.dataset.import_labels("corrected", "mine", format="qupath", in_class="Field")
    ws.dataset.split("mine", parts={"train": 80, "val": 10, "test": 10})
    assert ws.dataset.verify("mine").is_whole

Each name is loaded when it is first used. `dataset` arguments are folders, or URLs as
``s3://bucket/mine``. What the functions return is in :mod:`wsi_suite.types`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__all__ = [
    "agree",
    "card",
    "consensus",
    "copy",
    "diff",
    "export_labels",
    "import_labels",
    "log",
    "revoke",
    "sample",
    "score_annotators",
    "show",
    "split",
    "verify",
]

if TYPE_CHECKING:
    from wsi_suite.commands.dataset_annotators import agree, consensus, score_annotators
    from wsi_suite.commands.dataset_files import card, copy, export_labels, import_labels, show
    from wsi_suite.commands.dataset_sample import sample
    from wsi_suite.commands.dataset_versions import diff, log, revoke, split, verify

_HOMES = {
    "dataset_annotators": ("agree", "consensus", "score_annotators"),
    "dataset_files": ("card", "copy", "export_labels", "import_labels", "show"),
    "dataset_sample": ("sample",),
    "dataset_versions": ("diff", "log", "revoke", "split", "verify"),
}


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"wsi_suite.commands.{home}"), name)
    raise AttributeError(f"module 'wsi_suite.dataset' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
