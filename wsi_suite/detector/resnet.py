"""Plain ResNets of torch alone, for networks whose weights are read from a file.

Importing timm takes three times as long as torch itself, and a model that only looks needs of it no
more than these layers. Parts are named, ordered and computed as in timm and torchvision, so that
weights fit and answers are the same to the bit. New networks are made by timm
(:mod:`~wsi_suite.detector.backbone`), which initialises them, has pretrained weights, and has the
ResNets that are not plain.

Source: He et al., *Deep Residual Learning for Image Recognition*, 2016; in bottlenecks the 3 x 3
convolution has the stride, as in torchvision.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from wsi_suite.detector.network_spec import NetworkSpec


class BasicBlock(nn.Module):
    """Two convolutions beside a shortcut."""

    expansion = 1

    def __init__(self, width_in: int, width: int, *, stride: int, downsample: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.act2 = nn.ReLU(inplace=True)
        self.downsample = _downsample(width_in, width, stride=stride) if downsample else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of a batch."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.act1(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        x += shortcut
        features: Tensor = self.act2(x)
        return features


class Bottleneck(nn.Module):
    """Three convolutions, the middle one narrow, beside a shortcut."""

    expansion = 4

    def __init__(self, width_in: int, width: int, *, stride: int, downsample: bool) -> None:
        super().__init__()
        width_out = width * self.expansion
        self.conv1 = nn.Conv2d(width_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.act2 = nn.ReLU(inplace=True)
        self.conv3 = nn.Conv2d(width, width_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width_out)
        self.act3 = nn.ReLU(inplace=True)
        self.downsample = _downsample(width_in, width_out, stride=stride) if downsample else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of a batch."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.act1(self.bn1(self.conv1(x)))
        x = self.act2(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        x += shortcut
        features: Tensor = self.act3(x)
        return features


PLAIN: dict[str, tuple[type[BasicBlock | Bottleneck], tuple[int, int, int, int]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet26": (Bottleneck, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
    "resnet152": (Bottleneck, (3, 8, 36, 3)),
}
"""Block, and number of blocks in each stage, by timm's name."""


class PlainResNet(nn.Module):
    """Stem and stages of a ResNet in :data:`PLAIN`; the features of each stage come out.

    Attributes
    ----------
    widths
        Channels of the features of each stage.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        block, depths = PLAIN[_name(spec)]
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.act1 = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if spec.stem_pool else nn.Identity()
        self.widths = [64 * block.expansion << stage for stage in range(spec.stages)]
        width_in = 64
        for stage, width_out in enumerate(self.widths):
            blocks = []
            for number in range(depths[stage]):
                stride = 2 if stage and not number else 1
                downsample = stride != 1 or width_in != width_out
                blocks.append(block(width_in, 64 << stage, stride=stride, downsample=downsample))
                width_in = width_out
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features of each stage, the finest first."""
        return list(self.stages(x))

    def stages(self, x: Tensor) -> Iterator[Tensor]:
        """Compute the features of each stage when they are asked for, and keep no other."""
        x = self.maxpool(self.act1(self.bn1(self.conv1(x))))
        for stage in range(len(self.widths)):
            x = self.get_submodule(f"layer{stage + 1}")(x)
            yield x


def plain_resnet(spec: NetworkSpec) -> PlainResNet | None:
    """Return the backbone of a network, weights to be loaded; ``None`` if only timm has it."""
    return PlainResNet(spec) if _name(spec) in PLAIN else None


def _name(spec: NetworkSpec) -> str:
    return spec.backbone.partition(".")[0]  # a tag names weights, as in resnet18.a1_in1k


def _downsample(width_in: int, width_out: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width_in, width_out, 1, stride=stride, bias=False), nn.BatchNorm2d(width_out)
    )
