from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from wsi_suite.detector.network_spec import NetworkSpec
from wsi_suite.training.augment import AugmentSettings
from wsi_suite.training.crops import CropDataset, EpochSampler, TrainingTiles, training_loader
from wsi_suite.training.settings import HAndESettings, OptimiserSettings, TrainSettings

SETTINGS = TrainSettings(
    name="tiny",
    network=NetworkSpec(stages=2),
    optimiser=OptimiserSettings(crop_px=48, batch=2, epoch_crops=3, seed=5),
    augment=AugmentSettings(gain=0, faint_dab=0, dab=(1, 1), hematoxylin=(1, 1)),
)


@pytest.fixture
def training_tiles(tiles):
    return TrainingTiles(tiles, [])


def test_a_crop_is_a_function_of_seed_epoch_and_turn(training_tiles):
    first, second = (CropDataset(training_tiles, SETTINGS)[3, 1, 0] for _ in range(2))
    assert all(np.array_equal(first[name], second[name], equal_nan=True) for name in first)
    dataset = CropDataset(training_tiles, SETTINGS)
    assert not np.array_equal(dataset[4, 1, 0]["rgb"], first["rgb"])
    assert not np.array_equal(dataset[3, 2, 0]["rgb"], first["rgb"])
    assert not np.array_equal(dataset[3, 1, 1]["rgb"], first["rgb"])


def test_a_crop_comes_with_its_target_maps(training_tiles):
    crop = CropDataset(training_tiles, SETTINGS)[0, 0, 0]
    assert {name: (value.shape, value.dtype.name) for name, value in crop.items()} == {
        "rgb": ((3, 48, 48), "uint8"),
        "heat": ((1, 24, 24), "float32"),
        "kind": ((24, 24), "int64"),
        "offset": ((2, 24, 24), "float32"),
        "centre": ((24, 24), "bool"),
        "size": ((1, 24, 24), "float32"),
    }
    # The tiles have dark dots at their nuclei.
    grey = crop["rgb"].mean(axis=0).reshape(24, 2, 24, 2).mean(axis=(1, 3))
    assert crop["centre"].sum() > 2
    assert grey[crop["centre"]].mean() < grey.mean() - 30


def test_radii_that_labels_do_not_give_are_those_of_the_stain(training_tiles):
    still = AugmentSettings(scale=(1, 1), blurred=0)
    settings = SETTINGS.model_copy(update={"augment": still})
    crop = CropDataset(training_tiles, settings)[0, 0, 0]
    size_px = crop["size"][0][crop["centre"]] * 2
    assert np.median(size_px) == pytest.approx(3, abs=0.7)  # the dots have a radius of 3 px


def test_tiles_of_a_small_run_come_oftener(tiles):
    tiles = [replace(tiles[i % len(tiles)], run="few" if i < 4 else "many") for i in range(20)]
    settings = SETTINGS.model_copy(
        update={"optimiser": SETTINGS.optimiser.model_copy(update={"epoch_crops": 6000})}
    )
    drawn = Counter(
        tiles[tile].run for _, _, tile in EpochSampler(TrainingTiles(tiles, []), settings)
    )
    assert drawn["many"] / drawn["few"] == pytest.approx(2, rel=0.1)  # 16 and 4 tiles


def test_tiles_of_another_stain_come_as_often_as_asked(tiles):
    settings = SETTINGS.model_copy(
        update={
            "optimiser": SETTINGS.optimiser.model_copy(update={"epoch_crops": 6000}),
            "h_and_e": HAndESettings(share=0.25),
        }
    )
    mixed = TrainingTiles(tiles[:1], tiles[1:])
    items = list(EpochSampler(mixed, settings))
    assert np.mean([tile > 0 for _, _, tile in items]) == pytest.approx(0.25, abs=0.02)
    crop = CropDataset(mixed, settings)[items[0]]
    assert crop["rgb"].shape == (3, 48, 48)


def test_each_epoch_has_an_order_of_its_own(training_tiles):
    sampler = EpochSampler(training_tiles, SETTINGS)
    orders = []
    for epoch in (0, 1, 1):
        sampler.set_epoch(epoch)
        items = list(sampler)
        # Of three crops the last does not fill a step.
        assert [(number, turn) for number, turn, _ in items] == [(epoch, 0), (epoch, 1)]
        orders.append([tile for _, _, tile in items])
    assert orders[1] == orders[2]


@pytest.mark.parametrize(("batch", "sizes"), [(2, [2]), (8, [3]), (1, [1, 1, 1])])
def test_batches_are_full(training_tiles, batch, sizes):
    optimiser = SETTINGS.optimiser.model_copy(update={"batch": batch})
    settings = SETTINGS.model_copy(update={"optimiser": optimiser})
    assert [len(part["rgb"]) for part in training_loader(training_tiles, settings)] == sizes
