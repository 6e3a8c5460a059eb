"""Several settings of a training, cross-validated on the same folds and compared.

Such as a backbone from scratch, from weights of elsewhere, and from these and frozen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from wsi_suite.documents import Document, Part, write_document
from wsi_suite.errors import ConfigError, DataError, ModelError
from wsi_suite.files import file_names
from wsi_suite.progress import Progress, Step, no_progress
from wsi_suite.training.crossvalidation import FoldResult, run_folds
from wsi_suite.training.folds import Work, plan_work
from wsi_suite.training.paired import HeldOut, compare_folds
from wsi_suite.training.settings import TrainSettings
from wsi_suite.training.trial import FigureDifference

COMPARISON_FILE = "comparison.json"


class VariantResult(Part):
    """One of several settings.

    Attributes
    ----------
    name
        What the user calls it.
    changes
        Settings that differ from those of the first variant, by their dotted names.
    folds
        Its figures of each fold.
    differences
        Its figures less those of the first variant on the same tiles; none for the first.
    """

    name: str
    changes: dict[str, Any]
    folds: tuple[FoldResult, ...]
    differences: dict[str, FigureDifference]


class VariantComparison(Document):
    """Content of ``comparison.json``."""

    variants: tuple[VariantResult, ...]


def compare_variants(
    variants: Mapping[str, TrainSettings],
    *,
    data: Path,
    out: Path,
    folds: int | None = None,
    seeds: Sequence[int] | None = None,
    h_and_e: Path | None = None,
    mpp: float | None = None,
    device: str = "auto",
    progress: Progress = no_progress,
) -> VariantComparison:
    """Cross-validate several settings on the same folds and write ``comparison.json``.

    Each variant has a folder in `out` with its cross-validation. A comparison that was stopped
    continues when it is called again.

    Parameters
    ----------
    variants
        Settings by name; all others are compared with the first.
    data, out, folds, seeds, h_and_e, mpp, device, progress
        As in :func:`~wsi_suite.training.crossvalidation.cross_validate`.

    Raises
    ------
    ConfigError
        There are less than two variants, or their classes or seeds differ.
    DataError, ModelError, OutputConflictError
        As :func:`~wsi_suite.training.crossvalidation.cross_validate` raises them.
    """
    first, *_ = _check(variants)
    planned = {
        name: _plan(name, settings, data=data, folds=folds, seeds=seeds, mpp=mpp)
        for name, settings in variants.items()  # all of them, before hours of work on the first
    }
    results: list[VariantResult] = []
    reference: list[HeldOut] = []
    for (name, settings), folder in zip(variants.items(), file_names(variants), strict=True):
        tried = run_folds(
            planned[name],
            data=data,
            out=out / folder,
            h_and_e=h_and_e,
            mpp=mpp,
            device=device,
            progress=partial(_of_variant, progress, name),
        )
        held_out = [HeldOut(result.test_runs, result.seed, trial) for result, trial in tried]
        reference = reference or held_out
        results.append(
            VariantResult(
                name=name,
                changes=changed_settings(variants[first], settings),
                folds=tuple(result for result, _ in tried),
                differences=compare_folds(held_out, reference) if name != first else {},
            )
        )
        comparison = VariantComparison(variants=tuple(results))
        write_document(out / COMPARISON_FILE, comparison)
    return comparison


def _check(variants: Mapping[str, TrainSettings]) -> list[str]:
    """Return the names of variants that can be compared."""
    names = list(variants)
    if len(names) < 2:
        raise ConfigError(
            "variants: expected two or more, the first to compare the others with; give --variant "
            "again, as in --variant scratch:"
        )
    check_alike(variants)
    return names


def check_alike(variants: Mapping[str, TrainSettings]) -> None:
    """Refuse settings whose classes or seeds differ.

    Raises
    ------
    ConfigError
        They do; the message names the variant.
    """
    names = list(variants)
    classes, seed = variants[names[0]].labels.names, variants[names[0]].optimiser.seed
    for name, settings in variants.items():
        if settings.optimiser.seed != seed:
            raise ConfigError(
                f"variant {name}: its optimiser.seed {settings.optimiser.seed} is not that of "
                f"{names[0]} ({seed}); all variants have the same seeds, give them with --seed"
            )
        if settings.labels.names != classes:
            raise ConfigError(
                f"variant {name}: its classes ({', '.join(settings.labels.names)}) are not those "
                f"of {names[0]} ({', '.join(classes)}); only the same can be compared"
            )


def _plan(
    name: str,
    settings: TrainSettings,
    *,
    data: Path,
    folds: int | None,
    seeds: Sequence[int] | None,
    mpp: float | None,
) -> Work:
    """Plan the cross-validation of a variant; errors say whose they are."""
    try:
        return plan_work(settings, data=data, folds=folds, seeds=seeds, mpp=mpp)
    except (ConfigError, DataError, ModelError) as error:
        raise type(error)(f"variant {name}: {error}") from None


def changed_settings(first: BaseModel, other: BaseModel) -> dict[str, Any]:
    """Return the settings of `other` that differ from those of `first`, by their dotted names."""
    changes: dict[str, Any] = {}
    for name in type(first).model_fields:
        before, after = getattr(first, name), getattr(other, name)
        if before == after:
            continue
        if isinstance(before, BaseModel) and type(before) is type(after):
            inner = changed_settings(before, after)
            changes |= {f"{name}.{key}": value for key, value in inner.items()}
        else:
            changes[name] = other.model_dump(mode="json")[name]
    return changes


def _of_variant(progress: Progress, name: str, step: Step) -> None:
    progress(replace(step, name=f"{name}, {step.name}"))
