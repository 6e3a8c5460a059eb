"""Architecture of a network as a model's folder describes it; needs no torch."""

from __future__ import annotations

import math

from pydantic import Field

from wsi_suite.config import Section


class NetworkSpec(Section):
    """Architecture of a network, complete enough to build it again."""

    backbone: str = Field("resnet18", description="a ResNet of timm, by its name")
    pretrained: bool = Field(False, description="start from timm's ImageNet weights (downloads)")
    stages: int = Field(4, ge=1, le=4, description="ResNet stages used; fewer see less far")
    channels: int = Field(64, ge=8, description="width of the feature pyramid")
    stem_pool: bool = Field(False, description="keep the max-pooling before the first stage")
    upsample: int = Field(1, ge=1, le=4, description="network pixels per read pixel")
    class_map: bool = Field(
        True, description="one heatmap and a map of classes; false: one heatmap per class"
    )
    sizes: bool = Field(True, description="predict a radius beside the centre")

    @property
    def cell_stride(self) -> int:
        """Network pixels per cell: the stride of the first stage."""
        return 4 if self.stem_pool else 2

    @property
    def cell_px(self) -> float:
        """Read pixels per cell of the output."""
        return self.cell_stride / self.upsample

    @property
    def align_px(self) -> int:
        """Windows start and end at multiples of this many read pixels."""
        stride = self.cell_stride << (self.stages - 1)  # of the last stage, network pixels
        return stride // math.gcd(stride, self.upsample)
