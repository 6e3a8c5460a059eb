"""Detection on labelled tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from wsi_suite.config import MeasureSettings
from wsi_suite.detector.detector import separate_peaks
from wsi_suite.detector.flips import Network
from wsi_suite.detector.model_folder import ModelSpec
from wsi_suite.detector.network import NucleusNet, decode_peaks
from wsi_suite.detector.stretch import restore, stretch, stretch_limits
from wsi_suite.nuclei.seen import SeenFields, learn_fields
from wsi_suite.nuclei.table import Nuclei
from wsi_suite.staining.deconvolution import H_DAB
from wsi_suite.staining.measurement import measure_nuclei
from wsi_suite.training.labelled import LabelledTile
from wsi_suite.training.matches import Labelled

PixelChange = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]
"""Another look of ``(H, W, 3)`` uint8 pixels; the nuclei stay where they are."""

LOWEST_CONFIDENCE = 0.05
"""Detections below this are left out of precision-recall curves."""


def detect_tiles(
    network: NucleusNet,
    tiles: Sequence[LabelledTile],
    *,
    spec: ModelSpec,
    change: PixelChange | None = None,
    look: Network | None = None,
) -> tuple[list[Labelled], list[Labelled]]:
    """Return the labelled and the found nuclei of tiles, in um, down to a low confidence.

    Parameters
    ----------
    network
        In evaluation mode.
    tiles
        Labelled with the model's classes.
    spec
        Of the model.
    change
        Applied to the ``(H, W, 3)`` uint8 pixels at ``spec.read_mpp`` before the network sees them.
    look
        How the network is asked; by default with the pixels as they are.
    """
    device = next(network.parameters()).device
    truth, found = [], []
    for tile in tiles:
        pixels = tile.read(spec.read_mpp)
        height, width = pixels.rgb.shape[:2]
        rgb = pixels.rgb if change is None else change(pixels.rgb)
        padded = torch.from_numpy(pad_white(rgb, network.spec.align_px)).to(device)
        with torch.inference_mode():
            maps = (look or network)(padded.movedim(-1, 0)[None])
        peaks = separate_peaks(
            decode_peaks(maps, min_confidence=LOWEST_CONFIDENCE, cell_px=network.spec.cell_px)[0],
            spec,
        )
        peaks = peaks.take(np.flatnonzero((peaks.points < (width, height)).all(axis=1)))
        truth.append(
            Labelled(pixels.points * pixels.mpp, tile.label, np.ones(len(tile.label), np.float32))
        )
        found.append(
            Labelled(
                peaks.points * pixels.mpp, peaks.label, peaks.confidence, peaks.class_probability
            )
        )
    return truth, found


def as_in_instanseg(rgb: npt.NDArray[np.uint8], *, spec: ModelSpec) -> npt.NDArray[np.uint8]:
    """Return pixels as a model's export sees them in QuPath's InstanSeg extension."""
    rgb = stretch(rgb, *stretch_limits(rgb))
    return restore(rgb, darkest=spec.darkest, brightest=spec.brightest)


def fields_of_tiles(
    network: NucleusNet, tiles: Sequence[LabelledTile], *, spec: ModelSpec
) -> SeenFields | None:
    """Return the appearance of training fields, as a model stores it."""
    return learn_fields(
        tables_of_tiles(network, tiles, spec=spec),
        mpp=(1.0, 1.0),
        min_confidence=spec.min_confidence,
    )


def tables_of_tiles(
    network: NucleusNet, tiles: Sequence[LabelledTile], *, spec: ModelSpec
) -> list[Nuclei]:
    """Return the nuclei found in tiles, measured with the default settings; positions in um."""
    _, found = detect_tiles(network, tiles, spec=spec)
    tables = []
    for tile, nuclei in zip(tiles, found, strict=True):
        pixels = tile.read(spec.read_mpp)
        kept = nuclei.confidence >= spec.min_confidence
        points_um = nuclei.points[kept]
        values = measure_nuclei(
            pixels.rgb,
            points_um / pixels.mpp,
            mpp=pixels.mpp,
            stains=H_DAB,
            settings=MeasureSettings(),
        ).values
        tables.append(
            Nuclei(
                x=points_um[:, 0],
                y=points_um[:, 1],
                confidence=nuclei.confidence[kept],
                label=nuclei.label[kept].astype(np.uint8),
                classes=spec.classes,
                measurements=values,
            )
        )
    return tables


def pad_white(rgb: npt.NDArray[np.uint8], multiple: int) -> npt.NDArray[np.uint8]:
    """Return ``(H, W, 3)`` pixels padded with white, right and below, to multiples."""
    height, width = rgb.shape[:2]
    pad = ((0, -height % multiple), (0, -width % multiple), (0, 0))
    return np.pad(rgb, pad, constant_values=255)
