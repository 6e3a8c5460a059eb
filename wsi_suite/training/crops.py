"""Training batches: random crops of labelled tiles with their target maps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import DataLoader, Dataset, Sampler

from wsi_suite.config import MeasureSettings
from wsi_suite.detector.model_folder import LARGE_RADIUS_UM
from wsi_suite.measurements import NUCLEUS_AREA
from wsi_suite.staining.deconvolution import H_DAB, StainVectors, separate_stains
from wsi_suite.staining.measurement import measure_nuclei
from wsi_suite.training.augment import degrade, place, restain
from wsi_suite.training.labelled import LabelledTile, TilePixels
from wsi_suite.training.redraw import H_AND_E, redraw_as_hdab
from wsi_suite.training.settings import TrainSettings
from wsi_suite.training.targets import encode_targets


@dataclass(frozen=True)
class TrainingTiles:
    """Tiles to learn from, by their stain.

    Attributes
    ----------
    h_dab
        Tiles stained with hematoxylin and DAB.
    h_and_e
        Tiles stained with hematoxylin and eosin, which are drawn again as H-DAB.
    """

    h_dab: list[LabelledTile]
    h_and_e: list[LabelledTile]

    def __len__(self) -> int:
        return len(self.h_dab) + len(self.h_and_e)


class CropDataset(Dataset[dict[str, npt.NDArray[Any]]]):
    """Random crops of tiles and their target maps; an item is ``(epoch, place, tile)``."""

    def __init__(self, tiles: TrainingTiles, settings: TrainSettings) -> None:
        self._settings = settings
        self._h_dab = len(tiles.h_dab)
        self._tiles = [
            *(_with_radii(tile.read(settings.read_mpp), H_DAB) for tile in tiles.h_dab),
            *(_with_radii(tile.read(settings.read_mpp), H_AND_E) for tile in tiles.h_and_e),
        ]

    def __getitem__(self, item: tuple[int, int, int]) -> dict[str, npt.NDArray[Any]]:
        """Return ``rgb`` ``(3, H, W)`` uint8 and the fields of ``Targets``."""
        epoch, turn, index = item
        settings, augment = self._settings, self._settings.augment
        rng = np.random.default_rng([settings.optimiser.seed, epoch, turn])
        crop_px = settings.optimiser.crop_px
        crop = place(self._tiles[index], crop_px=crop_px, scale=augment.scale, rng=rng)
        if index < self._h_dab:
            amounts = separate_stains(crop.rgb, H_DAB)
        else:
            amounts = redraw_as_hdab(crop, rng=rng)
        rgb = restain(amounts, settings=augment, rng=rng)
        rgb = degrade(rgb, mpp=settings.read_mpp, settings=augment, rng=rng)
        network = settings.network
        cells = round(crop_px / network.cell_px)
        targets = encode_targets(
            crop.points,
            crop.label,
            radius=crop.radius,
            shape=(cells, cells),
            heatmaps=1 if network.class_map else len(settings.labels.names),
            cell_px=network.cell_px,
        )
        return {"rgb": np.ascontiguousarray(rgb.transpose(2, 0, 1)), **vars(targets)}


def _with_radii(tile: TilePixels, stains: StainVectors) -> TilePixels:
    """Return a tile with radii if labels give none: those of discs as large as the stain."""
    unknown = np.isnan(tile.radius)
    if not unknown.any():
        return tile
    height, width = tile.rgb.shape[:2]
    measured = measure_nuclei(
        tile.rgb,
        tile.points.clip(0, (width, height)),
        mpp=tile.mpp,
        stains=stains,
        settings=MeasureSettings(max_radius_um=LARGE_RADIUS_UM),
    )
    pixels = measured.values[NUCLEUS_AREA] / (tile.mpp[0] * tile.mpp[1])
    return replace(tile, radius=np.where(unknown, np.sqrt(pixels / np.pi), tile.radius))


class EpochSampler(Sampler[tuple[int, int, int]]):
    """Random tiles, a function of seed and epoch alone, so that a resume goes on.

    A run is drawn by the square root of its number of tiles, so that the largest does not dominate.

    Parameters
    ----------
    tiles, settings
        Of the training.
    rank
        Number of the device, from 0. Of the crops of each step it takes its part, in turn: the
        crops of all devices are those of one.
    """

    def __init__(self, tiles: TrainingTiles, settings: TrainSettings, *, rank: int = 0) -> None:
        optimiser = settings.optimiser
        self._count = optimiser.epoch_crops
        turns = np.arange(self._count - self._count % optimiser.step_crops)
        part = optimiser.step_crops // optimiser.devices
        self._turns = turns[turns % optimiser.step_crops // part == rank]
        self._seed = settings.optimiser.seed
        self._weights = _weights(tiles, h_and_e_share=settings.h_and_e.share)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; lightning calls this at the start of each."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._turns)

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        rng = np.random.default_rng([self._seed, self.epoch])
        tiles = rng.choice(len(self._weights), size=self._count, p=self._weights)
        return ((self.epoch, int(turn), int(tiles[turn])) for turn in self._turns)


def _weights(tiles: TrainingTiles, *, h_and_e_share: float) -> npt.NDArray[np.float64]:
    """Return the probability of each tile, ``(N,)``, those stained with H&E last."""
    parts = []
    if not tiles.h_and_e:
        h_and_e_share = 0.0
    for part, share in ((tiles.h_dab, 1 - h_and_e_share), (tiles.h_and_e, h_and_e_share)):
        sizes = Counter(tile.run for tile in part)
        weight = np.array([sizes[tile.run] ** -0.5 for tile in part])
        parts.append(share * weight / weight.sum() if part else weight)
    return np.concatenate(parts)


def training_loader(
    tiles: TrainingTiles, settings: TrainSettings, *, rank: int = 0
) -> DataLoader[dict[str, npt.NDArray[Any]]]:
    """Return the loader of training batches, or of the parts of them for the device `rank`."""
    optimiser = settings.optimiser
    return DataLoader(
        CropDataset(tiles, settings),
        batch_size=optimiser.step_crops // optimiser.devices,
        sampler=EpochSampler(tiles, settings, rank=rank),
        num_workers=optimiser.loader_workers,
        persistent_workers=optimiser.loader_workers > 0,
        drop_last=True,
    )
