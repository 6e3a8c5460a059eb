"""Settings of a training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from wsi_suite.config import Section
from wsi_suite.detector.label_spec import LabelSpec
from wsi_suite.detector.network_spec import NetworkSpec
from wsi_suite.training.augment import AugmentSettings


class SplitSettings(Section):
    """Which runs are kept from training."""

    test_runs: tuple[str, ...] = Field((), description="runs that only the final figures see")
    validation_runs: tuple[str, ...] = Field(
        (), description="runs that calibrate and set the threshold"
    )
    train_runs: tuple[str, ...] = Field(
        (), description="runs to train on; by default all that are not in the other parts"
    )


class OptimiserSettings(Section):
    """AdamW with a one-cycle rate.

    The cycle is planned over `epochs`, also where `patience` may end a training earlier. An early
    end comes at a high rate, where single weights are noisy. The running mean of the weights makes
    up for a part of that. What is watched and kept is always the running mean.

    The crops of a step are the same whatever the number of `devices`, each of which takes a part of
    them. Batch norms and losses see that part only, so that weights depend on the number.
    """

    epochs: int = Field(125, ge=1, description="parts of a training; each ends in a checkpoint")
    epoch_crops: int = Field(640, ge=1, description="crops per epoch, drawn at random")
    batch: int = Field(16, ge=1, description="crops per step")
    crop_px: int = Field(192, ge=32, description="side of a crop, read pixels")
    learning_rate: float = Field(2e-3, gt=0, description="highest rate of the cycle")
    weight_decay: float = Field(1e-2, ge=0, description="of AdamW")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto: bf16 if the device has it in hardware, else fp32"
    )
    label_smoothing: float = Field(
        0.1, ge=0, lt=1, description="share of a class label that is spread over all classes"
    )
    average: float = Field(
        0.999, ge=0, lt=1, description="decay of the running mean of the weights that is kept"
    )
    seed: int = Field(0, ge=0, description="of weights, order and augmentation")
    validate_every: int = Field(5, ge=1, description="epochs between looks at validation runs")
    patience: int | None = Field(
        None, ge=1, description="looks without a better mAP that end a training; keeps the best"
    )
    freeze: Literal["backbone"] | None = Field(
        None, description="backbone: its weights and statistics stay as the start has them"
    )
    keep_start: float = Field(
        0.0, ge=0, lt=1, description="share of start_from's weights in the average that is the end"
    )
    loader_workers: int = Field(0, ge=0, description="processes that prepare crops")
    devices: int = Field(
        1, ge=1, description="GPUs, each with a part of every batch, by DistributedDataParallel"
    )

    @property
    def step_crops(self) -> int:
        """Crops per step, of all devices together."""
        return min(self.batch, self.epoch_crops)

    @model_validator(mode="after")
    def _share_out(self) -> OptimiserSettings:
        if self.step_crops % self.devices:
            raise ValueError(
                f"devices {self.devices}: do not share out {self.step_crops} crops per step; "
                "make batch a multiple of devices"
            )
        return self


class HAndESettings(Section):
    """Tiles stained with hematoxylin and eosin that are drawn again as H-DAB."""

    share: float = Field(0.4, ge=0, le=1, description="share of the crops, if there are any")
    labels: LabelSpec = Field(
        LabelSpec(columns="yx", classes={1: "Stroma", 2: "Epithelium", 3: "Stroma"}),
        description="how their label files are read; BRCA-M2C's by default",
    )


class TrainSettings(Section):
    """A training, whole."""

    name: str
    read_mpp: float = Field(0.5, gt=0, description="resolution of the crops, um per pixel")
    headline_class: str | None = Field(None, description="class whose H-score stands first")
    start_from: str | None = Field(
        None, description="a model, bundled or a folder, whose weights are the start"
    )
    init: str | None = Field(
        None, description="a .safetensors or .pth file of a ResNet, the start of the backbone"
    )
    labels: LabelSpec = LabelSpec()
    network: NetworkSpec = NetworkSpec()
    h_and_e: HAndESettings = HAndESettings()
    split: SplitSettings = SplitSettings()
    optimiser: OptimiserSettings = OptimiserSettings()
    augment: AugmentSettings = AugmentSettings()

    @model_validator(mode="after")
    def _agree(self) -> TrainSettings:
        if self.optimiser.crop_px % self.network.align_px:
            raise ValueError(
                f"optimiser.crop_px must be a multiple of {self.network.align_px} with "
                f"network.stages {self.network.stages} and upsample {self.network.upsample}"
            )
        starts = {
            "start_from": self.start_from is not None,
            "init": self.init is not None,
            "network.pretrained": self.network.pretrained,
        }
        given = [name for name, there in starts.items() if there]
        if len(given) > 1:
            raise ValueError(f"{given[0]} and {given[1]} both give a start; set one of them")
        if self.optimiser.freeze and not given:
            raise ValueError(
                "optimiser.freeze: random weights are not worth keeping; set a start "
                f"({', '.join(starts)})"
            )
        if self.optimiser.keep_start and self.start_from is None:
            raise ValueError("optimiser.keep_start: is a share of start_from's weights; set that")
        if self.headline_class not in (None, *self.labels.names):
            raise ValueError(f"headline_class must be one of {', '.join(self.labels.names)}")
        return self
