"""Statistics of a model's training fields, by which later slides are told to be far from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wsi_suite.detector.checksums import file_sum
from wsi_suite.detector.field_description import central_fields, describe_fields
from wsi_suite.detector.known_fields import write_known_fields
from wsi_suite.detector.model_folder import WEIGHTS_FILE, ModelFolder, load_network
from wsi_suite.detector.network import NucleusNet
from wsi_suite.nuclei.familiarity import ASPECTS, KnownFields, folds_of, learn_aspect
from wsi_suite.training.labelled import LabelledTile

FIELD_PX = 192
"""Side of a field, as far as tiles are as large."""


def learn_familiarity(
    model: ModelFolder, *, train: Sequence[LabelledTile], held_out: Sequence[LabelledTile]
) -> KnownFields | None:
    """Learn the fields of a model's training tiles, and write them beside it.

    Parameters
    ----------
    model
        The model; its weights are read from its folder.
    train
        Tiles that it was trained on.
    held_out
        Tiles that it was not trained on, as those of its validation runs: they only count among
        the fields that the limits are read off.

    Returns
    -------
    KnownFields or None
        ``None`` if there are too few fields to learn from; nothing is written then.
    """
    network = load_network(model)
    field_px = _field_px(train, model)
    if not field_px:
        return None
    fields, runs = fields_of_tiles(network, train, model=model, field_px=field_px)
    others, _ = fields_of_tiles(network, held_out, model=model, field_px=field_px)
    groups, by = folds_of(runs)
    aspects = {}
    for name in ASPECTS:
        if name in fields:
            none = np.empty((0, fields[name].shape[1]))
            aspect = learn_aspect(fields[name], groups, held_out=others.get(name, none))
            if aspect is not None:
                aspects[name] = aspect
    if not aspects:
        return None
    known = KnownFields(
        weights_sha256=file_sum(model.path / WEIGHTS_FILE),
        read_mpp=model.spec.read_mpp,
        field_px=field_px,
        runs=tuple(sorted(set(runs))),
        fields=len(runs),
        held_out=by,
        aspects=aspects,
    )
    write_known_fields(model, known)
    return known


def fields_of_tiles(
    network: NucleusNet, tiles: Sequence[LabelledTile], *, model: ModelFolder, field_px: int
) -> tuple[dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]], list[str]]:
    """Return the descriptions of tiles' fields by aspect, and the run of each field."""
    parts, runs = [], []
    for tile in tiles:
        fields = central_fields(tile.read(model.spec.read_mpp).rgb, field_px)
        described = describe_fields(network, fields, spec=model.spec)
        if described:
            parts.append(described)
            runs += [tile.run] * len(next(iter(described.values())))
    if not parts:
        return {}, []
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, runs


def _field_px(tiles: Sequence[LabelledTile], model: ModelFolder) -> int:
    """Return the side of a field that fits into every tile; 0 if one is too small for any."""
    sides = [min(tile.read(model.spec.read_mpp).rgb.shape[:2]) for tile in tiles]
    align = model.spec.network.align_px
    return int(min(FIELD_PX, *sides)) // align * align
