import numpy as np
import pytest

from wsi_suite.detector.network import NetworkSpec
from wsi_suite.training.crops import CropDataset, EpochSampler, training_loader
from wsi_suite.training.settings import OptimiserSettings, TrainSettings

SETTINGS = TrainSettings(
    name="tiny",
    network=NetworkSpec(stages=2),
    optimiser=OptimiserSettings(crop_px=48, batch=2, seed=5),
)


def test_a_crop_is_a_function_of_seed_epoch_and_tile(tiles):
    first, second = (CropDataset(tiles, SETTINGS)[3, 1] for _ in range(2))
    assert all(np.array_equal(first[name], second[name], equal_nan=True) for name in first)
    dataset = CropDataset(tiles, SETTINGS)
    assert not np.array_equal(dataset[4, 1]["rgb"], first["rgb"])
    assert not np.array_equal(dataset[3, 2]["rgb"], first["rgb"])


def test_a_crop_comes_with_its_target_maps(tiles):
    crop = CropDataset(tiles, SETTINGS)[0, 0]
    assert {name: (value.shape, value.dtype.name) for name, value in crop.items()} == {
        "rgb": ((3, 48, 48), "uint8"),
        "heat": ((2, 24, 24), "float32"),
        "offset": ((2, 24, 24), "float32"),
        "centre": ((24, 24), "bool"),
        "size": ((1, 24, 24), "float32"),
    }
    # The tiles have dark dots at their nuclei.
    grey = crop["rgb"].mean(axis=0).reshape(24, 2, 24, 2).mean(axis=(1, 3))
    assert crop["centre"].sum() > 2
    assert grey[crop["centre"]].mean() < grey.mean() - 30


def test_every_tile_comes_once_an_epoch_in_an_order_of_its_own():
    sampler = EpochSampler(20, seed=1)
    orders = []
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        items = list(sampler)
        assert [number for number, _ in items] == [epoch] * 20
        orders.append([index for _, index in items])
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(20))
    assert orders[0] != orders[1]


@pytest.mark.parametrize(("batch", "sizes"), [(2, [2]), (8, [3]), (1, [1, 1, 1])])
def test_batches_are_full(tiles, batch, sizes):
    optimiser = SETTINGS.optimiser.model_copy(update={"batch": batch})
    settings = SETTINGS.model_copy(update={"optimiser": optimiser})
    assert [len(part["rgb"]) for part in training_loader(tiles, settings)] == sizes
