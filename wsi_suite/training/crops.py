"""Training batches: random crops of labelled tiles with their target maps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import DataLoader, Dataset, Sampler

from wsi_suite.training.augment import augment
from wsi_suite.training.labelled import LabelledTile
from wsi_suite.training.settings import TrainSettings
from wsi_suite.training.targets import encode_targets


class CropDataset(Dataset[dict[str, npt.NDArray[Any]]]):
    """Random crops of tiles and their target maps; an item is ``(epoch, tile)``."""

    def __init__(self, tiles: list[LabelledTile], settings: TrainSettings) -> None:
        self._settings = settings
        self._labels = [tile.label for tile in tiles]
        self._tiles = [tile.read(settings.read_mpp) for tile in tiles]

    def __getitem__(self, item: tuple[int, int]) -> dict[str, npt.NDArray[Any]]:
        """Return ``rgb`` ``(3, H, W)`` uint8 and the fields of ``Targets``."""
        epoch, index = item
        settings = self._settings
        rng = np.random.default_rng([settings.optimiser.seed, epoch, index])
        crop_px = settings.optimiser.crop_px
        crop = augment(self._tiles[index], crop_px=crop_px, settings=settings.augment, rng=rng)
        cells = round(crop_px / settings.network.cell_px)
        targets = encode_targets(
            crop.points,
            self._labels[index],
            radius=crop.radius,
            shape=(cells, cells),
            classes=len(settings.labels.names),
            cell_px=settings.network.cell_px,
        )
        return {"rgb": np.ascontiguousarray(crop.rgb.transpose(2, 0, 1)), **vars(targets)}


class EpochSampler(Sampler[tuple[int, int]]):
    """A new order every epoch, a function of seed and epoch alone, so that a resume goes on."""

    def __init__(self, count: int, *, seed: int) -> None:
        self._count, self._seed, self.epoch = count, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this at the start of every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng([self._seed, self.epoch]).permutation(self._count)
        return ((self.epoch, int(index)) for index in order)


def training_loader(
    tiles: list[LabelledTile], settings: TrainSettings
) -> DataLoader[dict[str, npt.NDArray[Any]]]:
    """Return the loader of training batches."""
    optimiser = settings.optimiser
    return DataLoader(
        CropDataset(tiles, settings),
        batch_size=min(optimiser.batch, len(tiles)),
        sampler=EpochSampler(len(tiles), seed=optimiser.seed),
        num_workers=optimiser.loader_workers,
        persistent_workers=optimiser.loader_workers > 0,
        drop_last=True,
    )
