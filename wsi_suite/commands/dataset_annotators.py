"""``dataset``: ``agree`` and ``consensus``."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from wsi_suite.commands.dataset_files import Added, place_of
from wsi_suite.commands.defaults import MATCH_UM, MIN_MATCH_UM
from wsi_suite.datasets import controls
from wsi_suite.datasets.agreement import PairAgreement, compare_annotators, fleiss_kappa, vote
from wsi_suite.datasets.commits import commit
from wsi_suite.datasets.controls import ControlScore, read_key
from wsi_suite.datasets.labelled_image import LabelledImage
from wsi_suite.datasets.remote import at_hand
from wsi_suite.datasets.store import Dataset, open_dataset, read_images
from wsi_suite.errors import ConfigError, DataError
from wsi_suite.given_values import number_of, path_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AnnotatorAgreement:
    """Agreement of the annotators of a dataset.

    Attributes
    ----------
    pairs
        Each pair of annotators, by their names.
    fleiss_kappa
        Fleiss' kappa of all, missed nuclei counted; ``None`` with a reference, or if chance alone
        explains all of it.
    """

    pairs: tuple[PairAgreement, ...]
    fleiss_kappa: float | None


@dataclass(frozen=True)
class ControlScores:
    """How annotators did on hidden controls.

    Attributes
    ----------
    controls
        How many controls the key has.
    annotators
        Scores of each annotator.
    """

    controls: int
    annotators: tuple[ControlScore, ...]


def agree(
    dataset: str | Path,
    *,
    version: int | str | None = None,
    match_um: float = MATCH_UM,
    reference: str | None = None,
) -> AnnotatorAgreement:
    """Compare the annotators of a dataset: kappa with missed nuclei, and where they differ.

    Pictures count that both annotators labelled.

    Parameters
    ----------
    dataset
        Folder of the dataset, or its URL.
    version
        Number of a version, or the beginning of its digest; by default the newest.
    match_um
        Largest distance of two points of one nucleus, um.
    reference
        Compare every annotator with this one only.

    Returns
    -------
    AnnotatorAgreement
        Kappa, F1 and confusion of each pair.

    Raises
    ------
    WsiSuiteError
        The dataset cannot be used, no picture has labels of two annotators, or `reference` is none
        of them.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> for name in ("ann", "bob"):
    ...     added = ws.dataset.import_labels("endonuke", "both", format="tiles", annotator=name)
    >>> (pair,) = ws.dataset.agree("both").pairs
    >>> pair.first, pair.second, pair.kappa
    ('ann', 'bob', 1.0)
    """
    within = number_of(match_um, option="--match-um", least=MIN_MATCH_UM)
    with at_hand(place_of(dataset)) as folder:
        opened = open_dataset(folder, version=version)
        pairs = compare_annotators(read_images(opened), within_um=within)
        fleiss = fleiss_kappa(read_images(opened), within_um=within)
    if not pairs:
        raise DataError(f"{dataset}: no picture has labels of two annotators")
    if reference is not None:
        known = sorted({name for one in pairs for name in (one.first, one.second)})
        pairs = [one for one in pairs if reference in (one.first, one.second)]
        if not pairs:
            raise DataError(f"{dataset}: no annotator '{reference}'; known: {', '.join(known)}")
    hidden = reference is not None or math.isnan(fleiss)
    return AnnotatorAgreement(tuple(pairs), None if hidden else fleiss)


def score_annotators(
    dataset: str | Path,
    *,
    key: str | Path,
    version: int | str | None = None,
    match_um: float = MATCH_UM,
) -> ControlScores:
    """Compare annotators with the truth of hidden controls: ``wsi-suite dataset agree --key``.

    Parameters
    ----------
    dataset
        Folder of the dataset, or its URL.
    key
        The file that :func:`~wsi_suite.commands.dataset_sample.sample` wrote with `control`.
    version, match_um
        As for :func:`agree`.

    Raises
    ------
    WsiSuiteError
        The dataset or the key cannot be used, or none of the pictures is a control.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> sampled = ws.dataset.sample(
    ...     "slides", out="round", fields=2, format="points", control="endonuke", controls=1,
    ...     size_um=60, model="endonuke-resnet18",
    ... )
    >>> added = ws.dataset.import_labels(
    ...     "round/labels.csv", "labelled", format="points", images="round/images", annotator="ann"
    ... )
    >>> found = ws.dataset.score_annotators("labelled", key=sampled.key)
    >>> [(one.annotator, one.pictures) for one in found.annotators]
    [('ann', 1)]
    """
    told = read_key(path_of(key, option="--key"))
    within = number_of(match_um, option="--match-um", least=MIN_MATCH_UM)
    with at_hand(place_of(dataset)) as folder:
        opened = open_dataset(folder, version=version)
        scores = controls.score_annotators(read_images(opened), told, within_um=within)
    return ControlScores(len(told.controls), tuple(scores))


def consensus(
    dataset: str | Path,
    *,
    match_um: float = MATCH_UM,
    least_share: float = 0.5,
    message: str = "",
    tell: Callable[[str], None] = log.warning,
) -> Added:
    """Add a version with the nuclei that most annotators of each picture labelled.

    A nucleus lies at the mean of their points and has the class and grade of most votes. If two
    classes have as many, it has none. Outlines are left out and counted.

    Parameters
    ----------
    dataset
        Folder of the dataset, or its URL.
    match_um
        Largest distance of two points of one nucleus, um.
    least_share
        Keep nuclei that more than this share of a picture's annotators labelled, 0 to 0.99.
    message
        What changed, for the log.
    tell
        Receives remarks on what is left out.

    Returns
    -------
    Added
        The new version, or that which stays if no picture has labels of several annotators.

    Raises
    ------
    WsiSuiteError
        The dataset cannot be used, or another process writes to it.

    Examples
    --------
    >>> import wsi_suite as ws
    >>> for name in ("ann", "bob"):
    ...     added = ws.dataset.import_labels("endonuke", "voted", format="tiles", annotator=name)
    >>> made = ws.dataset.consensus("voted")
    >>> made.before.nuclei / made.version.nuclei
    2.0
    """
    within = number_of(match_um, option="--match-um", least=MIN_MATCH_UM)
    share = number_of(least_share, option="--least-share", least=0)
    if share > 0.99:
        raise ConfigError(f"--least-share {least_share}: expected 0 to 0.99")
    told = message or f"consensus of more than {share:g} of the annotators"
    with at_hand(place_of(dataset), writes=True) as folder:
        before = open_dataset(folder).version

        def voted(last: Dataset | None) -> Iterable[LabelledImage]:
            images = read_images(last) if last else ()
            return vote(images, least_share=share, within_um=within, tell=tell)

        made = commit(folder, voted, message=told).version
    return Added(made, before)
